import math

import numpy as np
import pandas as pd
import pytest

from isthmus.plots import plane
from tests.plots import connected


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.get_aspect() == 1]


def test_the_table_holds_the_points_and_the_networks():
    points, networks = connected.plane(), connected.networks()
    drawn = plane.plane_table(points, networks)
    grid = drawn[drawn["network"] == ""]
    both = grid.merge(points, on=["x", "y", "split", "loss", "accuracy"])
    assert len(both) == len(grid) == len(points) and set(grid["distance"]) == {0}
    others = drawn[drawn["network"] != ""].reset_index(drop=True)
    pd.testing.assert_frame_equal(others.rename(columns={"network": "name"}), networks)


def test_networks_are_marked_where_they_are_with_their_own_values():
    figure = plane.draw_plane(plane.plane_table(connected.plane(), connected.networks()))
    for axes, value in zip(panels(figure), 2 * [0.5, 0.75], strict=True):
        marks = axes.collections[1:]
        places = [tuple(mark.get_offsets()[0]) for mark in marks]
        assert places == [(0, 0), (4, 0), (1, 3), (1.5, 1)]
        assert [mark.get_array().tolist() for mark in marks] == 4 * [[value]]
        assert [text.get_text() for text in axes.texts] == ["A", "B", "C", "1"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "A, B, C span the plane",
        "1: swa_9, 2.25 from the plane",
    ]


def test_the_finest_grid_of_each_split_is_drawn_with_networks_treated_as_its_points():
    coarse, fine = connected.plane(3), connected.plane(5, splits=("test",))
    several = pd.concat([coarse.assign(points=3), fine.assign(points=5)])
    networks = connected.networks().assign(bn="reset")
    as_trained = networks.assign(bn="as_trained", loss=9.0)
    drawn = plane.plane_table(several, pd.concat([networks, as_trained]))
    sizes = drawn[drawn["network"] == ""].groupby("split").size().to_dict()
    assert sizes == {"train": 9, "test": 25}
    assert set(drawn.loc[drawn["network"] != "", "loss"]) == {0.5}


def test_networks_of_one_name_are_told_apart_by_their_place():
    projected = [("step_8", 0.0, 1.0, 1.5), ("step_8", 2.0, 1.0, 2.5)]
    figure = plane.draw_plane(plane.plane_table(connected.plane(), connected.networks(projected)))
    assert [text.get_text() for text in figure.legends[0].get_texts()][1:] == [
        "1: step_8, 1.5 from the plane",
        "2: step_8, 2.5 from the plane",
    ]


def test_a_long_name_has_a_row_of_its_own():
    projected = [(40 * "n", 0.0, 1.0, 1.5), ("step_8", 2.0, 1.0, 2.5)]
    figure = plane.draw_plane(plane.plane_table(connected.plane(), connected.networks(projected)))
    figure.canvas.draw()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 < figure.bbox.x1


def test_contours_are_those_of_the_grid_whatever_the_order_of_its_points():
    points = connected.plane()
    shuffled = points.sample(frac=1, random_state=0)
    axes = panels(plane.draw_plane(plane.plane_table(shuffled, connected.networks())))
    contours = axes[0].collections[0]
    assert contours.zmax == pytest.approx(points["loss"].max())
    around_origin = min(np.ptp(path.vertices) for path in contours.get_paths() if len(path))
    assert around_origin < np.ptp(points["x"])
    assert len(axes) == 4


def test_the_words_on_the_figure():
    figure = plane.draw_plane(plane.plane_table(connected.plane(), connected.networks()))
    scales = [child for axes in panels(figure) for child in axes.child_axes]
    assert [scale.get_ylabel().replace("\n", " ") for scale in scales] == [
        "train loss (nats)",
        "train accuracy (fraction)",
        "test loss (nats)",
        "test accuracy (fraction)",
    ]
    assert panels(figure)[2].get_xlabel() == "L2 distance along A-B"
    assert panels(figure)[0].get_ylabel() == "L2 distance\nfrom line A-B"


@pytest.mark.parametrize("low", [1e-5, 0.003, 0.11, 0.9])
def test_losses_of_many_sizes_have_round_levels_that_grow_by_ratios(low):
    levels = plane.levels(np.geomspace(low, 9, 50), "loss")
    assert levels[0] <= low < levels[1] and levels[-2] < 9 <= levels[-1]
    assert 5 <= len(levels) <= plane.LEVELS + 2
    growth = levels[1:] / levels[:-1]
    assert growth.max() < growth.min() ** 4


def test_losses_of_one_size_and_accuracies_have_even_levels():
    for values, metric in (([1, 4], "loss"), ([0.01, 1], "accuracy"), ([0.97, 0.98], "accuracy")):
        levels = plane.levels(np.array(values, dtype=float), metric)
        assert np.diff(levels) == pytest.approx(levels[1] - levels[0])
        assert levels[0] <= values[0] and values[1] <= levels[-1]


def test_levels_stop_at_a_millionth_of_the_largest():
    levels = plane.levels(np.array([0.0, 1e-30, 1e-3, 1.0]), "loss")
    assert 1e-7 < levels[0] <= 1e-6
    colours = plane.Colours.from_values(pd.Series([0.0, 1e-30, 1e-3, 1.0]), "loss")
    assert colours.look["norm"].extend == "min"  # what is below has a colour all the same


@pytest.mark.parametrize("value", [0.0, 0.5, math.nan, math.inf])
def test_planes_of_one_value_are_drawn(value):
    points = connected.plane(2, ("test",)).assign(loss=value, accuracy=value)
    networks = connected.networks((), ("test",)).assign(loss=value)
    figure = plane.draw_plane(plane.plane_table(points, networks))
    figure.canvas.draw()
    assert len(panels(figure)) == 2
    assert figure.legends[0].get_title().get_text() == ""


def test_a_point_that_is_no_number_hides_no_other():
    points = connected.plane()
    points.loc[[0, 7], "loss"] = [math.nan, math.inf]
    figure = plane.draw_plane(plane.plane_table(points, connected.networks()))
    figure.canvas.draw()
    assert panels(figure)[0].collections[0].zmax < 10


@pytest.mark.parametrize("width", [0.1, 100.0])
def test_planes_of_all_shapes_are_drawn(width):
    points = connected.plane()
    figure = plane.draw_plane(
        plane.plane_table(points.assign(x=width * points["x"]), connected.networks())
    )
    figure.canvas.draw()
    assert max(figure.get_size_inches()) < 16


def test_the_table_that_was_saved_draws_the_same_figure(tmp_path):
    drawn = plane.plane_table(connected.plane(), connected.networks())
    drawn.to_csv(tmp_path / "drawn.csv", index=False)
    before, after = plane.draw_plane(drawn), plane.draw_plane(pd.read_csv(tmp_path / "drawn.csv"))
    for one, other in zip(panels(before), panels(after), strict=True):
        assert [text.get_text() for text in one.texts] == [text.get_text() for text in other.texts]
        paths = zip(*(axes.collections[0].get_paths() for axes in (one, other)), strict=True)
        for path, same in paths:
            np.testing.assert_allclose(path.vertices, same.vertices, atol=1e-9)


def test_a_plane_that_is_not_whole_is_refused():
    points, networks = connected.plane(), connected.networks()
    with pytest.raises(ValueError, match="got 24 points of split train at 5 x and 5 y$"):
        plane.plane_table(points[1:], networks)
    with pytest.raises(ValueError, match="at least 2 x 2 points, got 1 points of split test"):
        plane.plane_table(connected.plane(1, ("test",)), networks)
    with pytest.raises(ValueError, match="got 26 points of split train at 5 x and 5 y$"):
        plane.plane_table(pd.concat([points[:1], points]), networks)
    with pytest.raises(ValueError, match="^the plane has no network C; it has A, B, swa_9$"):
        plane.plane_table(points, networks[networks["name"] != "C"])
    with pytest.raises(ValueError, match="^the plane has no network A, B, C; it has none$"):
        plane.plane_table(points, networks[:0])
    with pytest.raises(ValueError, match="^nothing to draw: the table of the plane has no rows"):
        plane.plane_table(points[:0], networks)
    with pytest.raises(ValueError, match="no column x; it has y, split"):
        plane.plane_table(points.drop(columns="x"), networks)
    with pytest.raises(ValueError, match="no column distance; it has name"):
        plane.plane_table(points, networks.drop(columns="distance"))
