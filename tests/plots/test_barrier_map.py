import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from isthmus.plots import barriers, frames, style
from tests.plots import connected

INTERVALS = connected.tables(connected.study())[2]


def maps(figure) -> list:
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def test_the_maps_show_exactly_what_was_tabled():
    drawn = barriers.barrier_map_table(INTERVALS)
    panels = maps(barriers.draw_barrier_map(drawn))
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{name} of the {metric}" for metric in ("loss", "error") for name in frames.DEFINITIONS
    ]
    shown = np.concatenate([axes.collections[0].get_array().ravel() for axes in panels])
    assert shown.tolist() == drawn["mean"].tolist()
    chosen = INTERVALS[(INTERVALS["split"] == "test") & INTERVALS["measure"].isin(["barrier"])]
    assert set(chosen["mean"]) <= set(drawn["mean"])
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["1", "3", "5"]
    assert [text.get_text() for text in panels[2].get_yticklabels()] == ["0", "1", "2", "5"]
    assert panels[2].get_xlabel() == "further epochs k2"
    assert panels[2].get_ylabel() == "shared epochs k1"


def test_numbers_are_written_into_cells():
    drawn = barriers.barrier_map_table(INTERVALS)
    first = maps(barriers.draw_barrier_map(drawn))[0]
    cells = drawn[(drawn["metric"] == "loss") & (drawn["measure"] == "barrier")]
    assert [text.get_text() for text in first.texts] == [
        barriers.cell_text(mean) for mean in cells["mean"]
    ]
    assert [barriers.cell_text(mean) for mean in (0, 0.00312, 1.5, 12.34)] == [
        "0.000",
        "0.003",
        "1.500",
        "12.3",
    ]


def test_numbers_can_be_read_on_their_cells():
    for axes in maps(barriers.draw_barrier_map(barriers.barrier_map_table(INTERVALS))):
        mesh = axes.collections[0]
        colours = mesh.cmap(mesh.norm(mesh.get_array())).reshape(-1, 4)
        for text, colour in zip(axes.texts, colours, strict=True):
            ink = matplotlib.colors.to_rgb(text.get_color())[0]
            luminance = np.dot(colour[:3], [0.2126, 0.7152, 0.0722])
            assert abs(ink - luminance) > 0.4


def test_a_pair_that_is_missing_is_grey_and_has_no_number():
    lines = connected.study()
    missing = (lines["k1"] == 1) & (lines["k2"] == 3)
    drawn = barriers.barrier_map_table(connected.tables(lines[~missing])[2])
    axes = maps(barriers.draw_barrier_map(drawn))[0]
    assert np.argwhere(np.ma.getmaskarray(axes.collections[0].get_array())).tolist() == [[1, 1]]
    assert len(axes.texts) == 11
    assert axes.get_facecolor()[0] == 0.75


def test_the_two_definitions_share_their_colours():
    panels = maps(barriers.draw_barrier_map(barriers.barrier_map_table(INTERVALS)))
    assert panels[0].collections[0].norm is panels[1].collections[0].norm
    assert panels[0].collections[0].norm.vmin == 0


def test_the_heading_says_over_how_many_children_the_mean_is():
    title = barriers.map_heading(barriers.barrier_map_table(INTERVALS, "train"))
    assert title.splitlines() == [
        "train, align: none, batch norm: reset, mean over 3 child seeds",
        *frames.DEFINITIONS.values(),
    ]
    alone = connected.tables(connected.study(seeds=(1,)))[2]
    assert "one child seed" in barriers.map_heading(barriers.barrier_map_table(alone))


@pytest.mark.parametrize("k1", [(0.0,), tuple(range(32))])
@pytest.mark.parametrize("k2", [(1.0,), tuple(np.arange(1, 17) / 8)])
def test_maps_of_all_sizes_are_drawn(k1, k2):
    lines = connected.study(k1, k2, (1,), ("test",), alphas=[0, 0.5, 1])
    figure = barriers.draw_barrier_map(barriers.barrier_map_table(connected.tables(lines)[2]))
    with style.look():
        figure.canvas.draw()
    assert bool(maps(figure)[0].texts) == (len(k1) == len(k2) == 1)


def test_barriers_that_are_all_zero_are_drawn():
    drawn = barriers.barrier_map_table(INTERVALS.assign(mean=0.0))
    figure = barriers.draw_barrier_map(drawn)
    with style.look():
        figure.canvas.draw()
    assert {text.get_text() for text in maps(figure)[0].texts} == {"0.000"}


def test_a_scale_has_few_numbers_and_its_largest():
    assert barriers.map_ticks(0.005) == [0, 0.005]
    assert barriers.map_ticks(1.868) == pytest.approx([0, 0.01, 0.03, 0.1, 0.3, 1, 1.9])


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="with bn repair; the table has reset$"):
        barriers.barrier_map_table(INTERVALS, bn="repair")
    with pytest.raises(ValueError, match="no column mean; it has k1"):
        barriers.barrier_map_table(INTERVALS.drop(columns="mean"))
    with pytest.raises(ValueError, match="with align none; the table has no rows at all$"):
        barriers.barrier_map_table(pd.DataFrame(columns=INTERVALS.columns))
