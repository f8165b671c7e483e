"""Of `measures`, and of the two figures whose panels it draws."""

import math
from types import SimpleNamespace

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from isthmus.plots import barriers, frames
from isthmus.plots import lines as plots_lines
from isthmus.plots.frames import Selection
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
    title = barriers.map_heading(barriers.barrier_map_table(INTERVALS, Selection("train")))
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
    figure.canvas.draw()
    assert bool(maps(figure)[0].texts) == (len(k1) == len(k2) == 1)


def test_barriers_that_are_all_zero_are_drawn():
    drawn = barriers.barrier_map_table(INTERVALS.assign(mean=0.0))
    figure = barriers.draw_barrier_map(drawn)
    figure.canvas.draw()
    assert {text.get_text() for text in maps(figure)[0].texts} == {"0.000"}


def test_a_scale_has_few_numbers_and_its_largest():
    assert barriers.map_ticks(0.005) == [0, 0.005]
    assert barriers.map_ticks(1.868) == pytest.approx([0, 0.01, 0.03, 0.1, 0.3, 1, 1.9])


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="with bn repair; the table has reset$"):
        barriers.barrier_map_table(INTERVALS, Selection(bn="repair"))
    with pytest.raises(ValueError, match="no column mean; it has k1"):
        barriers.barrier_map_table(INTERVALS.drop(columns="mean"))
    with pytest.raises(ValueError, match="with align none; the table has no rows at all$"):
        barriers.barrier_map_table(pd.DataFrame(columns=INTERVALS.columns))


LINES, PER_CHILD, MEASURES_INTERVALS = connected.tables(connected.study())
COARSE = connected.tables(connected.study(seeds=(1, 2)))
POOLED = connected.tables(
    pd.concat(connected.study(seeds=(1, main)).assign(global_seed=main) for main in (4, 16, 5))
)
BARRIERS = SimpleNamespace(table=barriers.barriers_table, draw=barriers.draw_barriers)
FURTHER_STEPS = SimpleNamespace(
    table=barriers.further_steps_table, draw=barriers.draw_further_steps
)
ALONE = connected.tables(connected.study(seeds=(4,)))


def at(table: pd.DataFrame, **values) -> pd.DataFrame:
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def test_the_numbers_are_those_of_the_tables():
    drawn = barriers.barriers_table(MEASURES_INTERVALS, PER_CHILD, Selection("train"))
    cell = {"k1": 1, "k2": 3, "metric": "error", "measure": "barrier_frankle"}
    mean = at(drawn, **cell, curve="mean child")
    assert mean["value"].item() == at(MEASURES_INTERVALS, **cell, split="train")["mean"].item()
    assert mean["seeds"].item() == "1 2 3"
    assert mean[["low", "high"]].isna().all(axis=None)  # children of one main branch
    each = at(drawn, **cell, curve="each child")
    own = at(PER_CHILD, k1=1, k2=3, metric="error", split="train")
    assert each["seeds"].tolist() == ["1", "2", "3"]
    assert each["value"].tolist() == own["barrier_frankle"].tolist()
    assert (mean["lowest"].item(), mean["highest"].item()) == (
        own["barrier_frankle"].min(),
        own["barrier_frankle"].max(),
    )
    assert len(drawn) == 4 * 3 * 2 * 2 * (3 + 1)


def test_main_branches_are_what_means_of_a_whole_study_and_their_intervals_are_over():
    drawn = barriers.barriers_table(POOLED[2], POOLED[1], Selection("train"))
    cell = {"k1": 1, "k2": 3, "metric": "error", "measure": "barrier_frankle"}
    mean, expected = (
        plots_lines.main_curves(at(drawn, **cell)),
        at(POOLED[2], **cell, split="train"),
    )
    assert mean["curve"].item() == "mean main branch" and mean["seeds"].item() == "4 5 16"
    assert mean[["value", "low", "high"]].to_numpy().tolist() == (
        expected[["mean", "low", "high"]].to_numpy().tolist()
    )
    each = at(drawn, **cell, curve="each main branch").set_index("seeds")["value"].to_dict()
    own = at(POOLED[1], k1=1, k2=3, metric="error", split="train")
    assert each == pytest.approx(
        {str(m): at(own, global_seed=m)["barrier_frankle"].mean() for m in (4, 5, 16)}
    )
    texts = [text.get_text() for text in barriers.draw_barriers(drawn).legends[0].get_texts()]
    assert texts[3:] == ["each main branch", "mean, 95 % interval"]


def test_lines_on_other_grids_are_drawn_apart():
    coarse = [t.assign(alphas="3", refine=math.nan, num_alphas=3, ends="reset") for t in COARSE]
    fine = [
        t.assign(alphas="0 0.1 1", refine=4, num_alphas=7, ends="reset")
        for t in (LINES, PER_CHILD, MEASURES_INTERVALS)
    ]
    both = [pd.concat(pair) for pair in zip(coarse, fine, strict=True)]
    found = frames.list_grids(frames.fill_columns(both[2]))
    assert found == [("reset", "0 0.1 1", "4"), ("reset", "3", "")]  # most rows first
    for grid, alone in zip(found, (fine, coarse), strict=True):
        drawn = barriers.barriers_table(both[2], both[1], Selection(grid=grid))
        pd.testing.assert_frame_equal(drawn, barriers.barriers_table(alone[2], alone[1]))
        count = alone[2]["num_alphas"].iloc[0]
        title = barriers.draw_barriers(drawn).legends[0].get_title().get_text().splitlines()[0]
        assert title == f"test, align: none, batch norm: reset, {count} alphas"


def test_an_older_tables_intervals_over_children_are_left_out():
    assert MEASURES_INTERVALS["low"].notna().all()
    older = MEASURES_INTERVALS.drop(
        columns=["num_main_branches", "lowest", "highest"], errors="ignore"
    )
    drawn = barriers.barriers_table(older, PER_CHILD.drop(columns="global_seed", errors="ignore"))
    assert drawn["low"].isna().all() and len(drawn) == 4 * 3 * 2 * 2 * (3 + 1)


def test_distances_are_drawn_once_and_not_for_each_metric():
    drawn = barriers.further_steps_table(MEASURES_INTERVALS, PER_CHILD)
    distance = at(drawn, measure="distance", curve="mean child")
    assert set(distance["metric"]) == {"loss"} and len(distance) == 4 * 3
    assert set(drawn["measure"]) == {"barrier", "barrier_frankle", "distance", "cosine"}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("figure_of", [BARRIERS, FURTHER_STEPS])
def test_the_figure_shows_exactly_what_was_tabled(figure_of, several):
    drawn = figure_of.table(
        *((POOLED[2], POOLED[1]) if several else (MEASURES_INTERVALS, PER_CHILD))
    )
    figure = figure_of.draw(drawn)
    shown = [curve.get_ydata() for axes in figure.axes for curve in axes.get_lines()]
    in_lines = sorted(np.concatenate(shown).tolist())
    bars = drawn[["low", "high"]].dropna().to_numpy().ravel().tolist()  # their caps are lines too
    assert in_lines == pytest.approx(sorted([*drawn["value"], *bars]))
    bars = [
        tuple(segment[:, 1])
        for axes in figure.axes
        for collection in axes.collections
        for segment in collection.get_segments()
    ]
    means = plots_lines.main_curves(drawn)
    expected = means[["low", "high"] if several else ["lowest", "highest"]]
    expected = sorted(expected.itertuples(index=False, name=None))
    np.testing.assert_allclose(sorted(bars), expected, rtol=1e-12)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for curve in axes.get_lines():
            assert low < min(curve.get_ydata()) and max(curve.get_ydata()) < high


def test_the_words_on_the_figures():
    first = barriers.draw_barriers(barriers.barriers_table(MEASURES_INTERVALS, PER_CHILD))
    assert [axes.get_title(loc="left") for axes in first.axes] == 2 * list(frames.DEFINITIONS)
    assert [axes.get_ylabel() for axes in first.axes] == [
        "barrier of the loss (nats)",
        "",
        "barrier of the error (fraction)",
        "",
    ]
    assert first.axes[2].get_xlabel() == "shared epochs k1"
    (legend,) = first.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "k2 = 1ep",
        "k2 = 3ep",
        "k2 = 5ep",
        "each child",
        "mean, lowest to highest",
    ]
    assert legend.get_title().get_text().splitlines() == [
        "test, align: none, batch norm: reset",
        *frames.DEFINITIONS.values(),
    ]
    other = barriers.draw_further_steps(barriers.further_steps_table(MEASURES_INTERVALS, PER_CHILD))
    assert other.axes[2].get_ylabel() == "L2 distance"
    assert other.axes[5].get_ylabel() == "cosine similarity"
    assert other.axes[5].get_xlabel() == "further epochs k2"


def test_single_children_are_points_without_intervals():
    _, per_child, intervals = ALONE
    drawn = barriers.barriers_table(intervals, per_child)
    assert set(drawn["curve"]) == {"child"} and set(drawn["seeds"]) == {"4"}
    assert drawn["low"].isna().all()
    (legend,) = barriers.draw_barriers(drawn).legends
    assert [text.get_text() for text in legend.get_texts()] == ["k2 = 1ep", "k2 = 3ep", "k2 = 5ep"]


@pytest.mark.parametrize("figure_of", [BARRIERS, FURTHER_STEPS])
def test_the_table_that_was_saved_draws_the_same_figure(tmp_path, figure_of):
    drawn = figure_of.table(MEASURES_INTERVALS, PER_CHILD)
    drawn.to_csv(tmp_path / "drawn.csv", index=False)
    read = pd.read_csv(tmp_path / "drawn.csv")
    for before, after in zip(figure_of.draw(drawn).axes, figure_of.draw(read).axes, strict=True):
        for one, other in zip(before.get_lines(), after.get_lines(), strict=True):
            np.testing.assert_allclose(other.get_xydata(), one.get_xydata(), rtol=1e-12)


@pytest.mark.parametrize("figure_of", [BARRIERS, FURTHER_STEPS])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("k1", [(0.0,), (0.0, 0.125, 1.0, 50.0), tuple(range(20))])
@pytest.mark.parametrize("k2", [(1.0,), (1.0, 30.0)])
def test_figures_of_all_sizes_are_drawn(figure_of, seeds, k1, k2):
    lines = connected.study(k1, k2, seeds, ("test",), alphas=[0, 0.5, 1])
    _, per_child, intervals = connected.tables(lines)
    figure = figure_of.draw(figure_of.table(intervals, per_child))
    figure.canvas.draw()


def test_pairs_with_and_without_several_children_are_drawn_together():
    lines = pd.concat([connected.study((0.0,), (1.0,)), connected.line(1.0, 1.0)])
    _, per_child, intervals = connected.tables(lines)
    drawn = barriers.barriers_table(intervals, per_child)
    curves = drawn.groupby("k1")["curve"].unique().map(list).to_dict()
    assert curves == {0: ["each child", "mean child"], 1: ["child"]}
    assert math.isnan(at(drawn, k1=1, metric="loss", measure="barrier")["low"].item())


def test_what_is_not_in_the_tables_is_refused():
    with pytest.raises(ValueError, match="with split val; the table has test, train$"):
        barriers.barriers_table(MEASURES_INTERVALS, PER_CHILD, Selection("val"))
    with pytest.raises(ValueError, match="with align weights; the table has none$"):
        barriers.barriers_table(MEASURES_INTERVALS, PER_CHILD, Selection(align="weights"))
    with pytest.raises(ValueError, match="no column low; it has k1"):
        barriers.barriers_table(MEASURES_INTERVALS.drop(columns="low"), PER_CHILD)
    with pytest.raises(ValueError, match="no column cosine; it has k1"):
        barriers.further_steps_table(MEASURES_INTERVALS, PER_CHILD.drop(columns="cosine"))
    files = connected.tables(connected.line(None, None, None))
    with pytest.raises(ValueError, match="has a line between two files, but no pairs$"):
        barriers.barriers_table(files[2], files[1])
    message = "^the table of barriers has no child of k1 = 0ep, k2 = 1ep, but there is its mean$"
    with pytest.raises(ValueError, match=message):
        barriers.barriers_table(MEASURES_INTERVALS, PER_CHILD[PER_CHILD["k1"] > 0])


def test_curves_are_moved_sideways_only_as_far_as_there_is_room():
    lines = connected.study((0.0, 1.0), tuple(range(1, 31)), (1, 2), ("test",), alphas=[0, 0.5, 1])
    _, per_child, intervals = connected.tables(lines)
    figure = barriers.draw_barriers(barriers.barriers_table(intervals, per_child))
    figure.canvas.draw()
    axes = figure.axes[0]
    left, right = axes.bbox.x0, axes.bbox.x1
    named = [curve for curve in axes.get_lines() if curve.get_label().startswith("k2")]
    places = [curve.get_transform().transform(curve.get_xydata())[0, 0] for curve in named]
    assert len(set(places)) == 30 and places == sorted(places)
    for curve in named:
        places = curve.get_transform().transform(curve.get_xydata())[:, 0]
        assert left < places.min() and places.max() < right


def test_curves_without_bars_are_not_moved():
    axes = barriers.draw_barriers(barriers.barriers_table(ALONE[2], ALONE[1])).axes[0]
    named = [curve for curve in axes.get_lines() if curve.get_label().startswith("k2")]
    places = [curve.get_transform().transform(curve.get_xydata())[:, 0] for curve in named]
    assert len(places) == 3
    np.testing.assert_allclose(places, 3 * [places[0]])
