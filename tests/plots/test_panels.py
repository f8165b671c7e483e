import numpy as np
import pandas as pd
import pytest

from isthmus.plots import panels

POINTS = pd.DataFrame(
    {"x": [1, 2], "value": [3.0, 5.0], "lowest": [2.0, 4.0], "highest": [4.0, 9.0]}
)


@pytest.mark.parametrize("count", [1, 5, 6])
def test_positions_without_a_panel_are_empty_and_the_panels_above_them_have_tick_labels(count):
    figure, several = panels.make_panels(2, 3, (6, 4), count=count)
    assert several.shape == (2, 3) and len(figure.axes) == count
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in several.ravel()[:count]]
    assert labelled == [place + 3 >= count for place in range(count)]


def test_panels_have_common_axes_where_wanted():
    _, several = panels.make_panels(2, 2, (4, 4), sharey="row")
    several[0, 0].set_xlim(0, 7)
    several[0, 0].set_ylim(0, 9)
    assert several[1, 1].get_xlim() == (0, 7)
    assert several[0, 1].get_ylim() == (0, 9) and several[1, 0].get_ylim() != (0, 9)


def test_a_band_is_from_the_lowest_to_the_highest_around_the_mean():
    _, axes = panels.make_panel(4, 3)
    panels.draw_band(axes, "x", POINTS, "a", color="red")
    (line,), (band,) = axes.get_lines(), axes.collections
    assert line.get_xydata().tolist() == [[1, 3], [2, 5]] and line.get_label() == "a"
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(1, 2), (1, 4), (2, 4), (2, 9)}
    assert band.get_facecolor()[0].tolist() == [1, 0, 0, 0.15]


def test_single_seeds_have_no_band():
    _, axes = panels.make_panel(4, 3)
    panels.draw_band(axes, [0, 1], POINTS.assign(num_seeds=1), "a", color="red")
    assert axes.get_lines()[0].get_xdata().tolist() == [0, 1] and not axes.collections


def test_bars_are_from_one_end_to_the_other():
    _, axes = panels.make_panel(4, 3)
    panels.draw_bars(axes, "x", POINTS, ("lowest", "highest"), "black")
    (bars,) = axes.collections
    np.testing.assert_allclose(bars.get_segments(), [[(1, 2), (1, 4)], [(2, 4), (2, 9)]])


def test_names_that_are_none_are_not_in_a_legend_and_the_others_are_in_order():
    drawn = pd.DataFrame({"x": [0, 1]})
    figure, (axes,) = panels.make_grid(1)
    for name in ("b", "_c", "a"):
        axes.plot(drawn["x"], label=name)
    panels.add_legend(figure, [axes], title="", order=["a", "b"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_what_all_settings_have_in_common_is_said_once():
    several = ["sgd, lr=0.1, constant", "sgd, lr=0.2, constant"]
    short = {several[0]: "lr=0.1", several[1]: "lr=0.2"}
    assert panels.shorten_settings(several) == (short, "sgd, constant")
    assert panels.shorten_settings(["a, b"]) == ({"a, b": "a, b"}, "")
    assert panels.shorten_settings([""]) == ({"": ""}, "")


def test_pages_have_all_rows_once_and_few_values_each():
    table = pd.DataFrame({"setting": list("abcab"), "value": range(5)})
    pages = dict(panels.split_pages(table, "setting", 2))
    assert {end: page["value"].tolist() for end, page in pages.items()} == {
        "": [0, 1, 3, 4],
        "_2": [2],
    }
