import math

import numpy as np
import pandas as pd
import pytest
import torch

from isthmus.connectivity import barriers
from isthmus.plots import frames
from isthmus.plots import lines as plots_lines
from tests.plots import connected
from tests.plots.connected import line


def test_the_figure_shows_exactly_what_was_tabled():
    drawn = plots_lines.lines_table(connected.study(), "error")
    assert set(drawn["metric"]) == {"error"}
    figure = plots_lines.draw_lines(drawn)
    assert figure.get_supylabel() == "error above the chord (fraction)"
    assert figure.get_supxlabel() == "alpha (0: main branch, 1: child)"
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [frames.pair_title(pair) for pair in frames.list_pairs(drawn)]
    for pair, axes in zip(frames.list_pairs(drawn), figure.axes, strict=True):
        shown = np.concatenate([curve.get_ydata() for curve in axes.get_lines()])
        assert shown.tolist() == frames.rows_of_pair(drawn, pair)["excess"].tolist()


def test_the_top_of_a_curve_is_its_barrier():
    drawn = plots_lines.main_curves(plots_lines.lines_table(connected.study()))
    tops = drawn.groupby(plots_lines.GROUP)["excess"].max()
    assert tops.tolist() == drawn.groupby(plots_lines.GROUP)["barrier"].first().tolist()
    (legend,) = plots_lines.draw_lines(drawn).legends
    assert legend.get_title().get_text() == (
        "align: none, batch norm: reset\nlargest value: barrier (Entezari et al., 2022)"
    )


def test_the_legend_names_splits_and_children():
    (legend,) = plots_lines.draw_lines(plots_lines.lines_table(connected.study())).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "train, each child",
        "train, mean of 3 children",
        "test, each child",
        "test, mean of 3 children",
    ]


def test_a_whole_grid_has_a_column_a_k2_and_another_wraps():
    whole = plots_lines.lines_table(connected.study(k1=(0.0, 1.0, 2.0, 5.0), k2=(1.0, 3.0)))
    assert plots_lines.num_columns(whole) == 2
    part = frames.rows_of_pairs(whole, frames.list_pairs(whole)[:-1])
    assert plots_lines.num_columns(part) is None


@pytest.mark.parametrize("num_pairs", [1, 2, 24])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_any_number_of_pairs_is_drawn(num_pairs, seeds):
    found = [
        connected.line(k1, 2.0, seed, alphas=[0, 1]) for k1 in range(num_pairs) for seed in seeds
    ]
    figure = plots_lines.draw_lines(plots_lines.lines_table(pd.concat(found)))
    figure.canvas.draw()
    assert len(figure.axes) == num_pairs


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="^metric: must be loss or error, got accuracy$"):
        plots_lines.lines_table(connected.study(), "accuracy")
    with pytest.raises(ValueError, match="with bn keep; the table has reset$"):
        plots_lines.lines_table(connected.study(), bn="keep")
    with pytest.raises(ValueError, match="no column loss; it has k1"):
        plots_lines.lines_table(connected.study().drop(columns="loss"))


SORTS = [("none", "reset"), ("weights", "reset"), ("weights", "repair")]


def study(sorts=SORTS, **others) -> pd.DataFrame:
    tables = [connected.study((0.0,), (1.0, 3.0), align=align, bn=bn) for align, bn in sorts]
    return pd.concat(tables)


def test_a_curve_is_the_one_of_the_figure_of_its_own():
    drawn = plots_lines.compared_table(study(), (0, 3))
    alone = plots_lines.line_table(study(), (0, 3), "weights", "repair")
    same = frames.rows_of_treatment(drawn, "weights", "repair").reset_index(drop=True)
    mean = alone[alone["curve"] == "mean child"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, mean)


def test_the_figure_shows_exactly_what_was_tabled_of_compared():
    drawn = plots_lines.compared_table(study(), (0, 3))
    figure = plots_lines.draw_compared(drawn)
    assert [axes.get_ylabel() for axes in figure.axes][:2] == [
        "train loss (nats)",
        "train accuracy (fraction)",
    ]
    for axes in figure.axes:
        split, metric = axes.get_ylabel().split()[:2]
        panel = drawn[(drawn["split"] == split) & (drawn["metric"] == metric)]
        values = [curve.get_ydata() for curve in axes.get_lines()[::2]]
        assert np.concatenate(values).tolist() == panel["value"].tolist()
        chords = [curve.get_ydata() for curve in axes.get_lines()[1::2]]
        assert np.concatenate(chords).tolist() == panel["chord"].tolist()


def test_every_curve_has_its_barriers_in_the_legend():
    drawn = plots_lines.compared_table(study(), (0, 3))
    figure = plots_lines.draw_compared(drawn)
    panel = drawn[(drawn["split"] == "train") & (drawn["metric"] == "accuracy")]
    expected = [
        f"{align}, {bn}: barrier {rows['barrier'].iloc[0]:.3g}, "
        f"barrier_frankle {rows['barrier_frankle'].iloc[0]:.3g}"
        for align, bn in SORTS
        for rows in [frames.rows_of_treatment(panel, align, bn)]
    ]
    legend = figure.axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == expected
    assert legend.get_title().get_text() == "align, batch norm: barriers (of the error)"
    (above,) = figure.legends
    assert above.get_title().get_text().splitlines() == [
        "k1 = 0ep, k2 = 3ep, mean of 3 children",
        *frames.DEFINITIONS.values(),
    ]


def test_curves_look_different():
    axes = plots_lines.draw_compared(plots_lines.compared_table(study(), (0, 3))).axes[0]
    looks = {(curve.get_color(), curve.get_marker()) for curve in axes.get_lines()[::2]}
    assert len(looks) == len(SORTS)


@pytest.mark.parametrize("num_sorts", [1, 12])
def test_any_number_of_lines_between_files_is_drawn(num_sorts):
    sorts = [(align, bn) for align in frames.ORDER[:3] for bn in frames.ORDER[3:]][:num_sorts]
    lines = [connected.line(None, None, None, align, bn, alphas=[0, 1]) for align, bn in sorts]
    figure = plots_lines.draw_compared(plots_lines.compared_table(pd.concat(lines)))
    figure.canvas.draw()
    assert len(figure.axes[0].get_lines()) == 2 * num_sorts
    assert figure.legends[0].get_title().get_text().startswith("line\nbarrier: ")


def test_what_is_not_in_the_table_is_refused_of_compared():
    with pytest.raises(ValueError, match="with k1 9; the table has 0.0$"):
        plots_lines.compared_table(study(), (9, 1))
    with pytest.raises(ValueError, match="no column bn; it has"):
        plots_lines.compared_table(study().drop(columns="bn"))


def test_chords_and_barriers_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    alphas = np.sort([0, 1, *rng.uniform(size=20)])
    loss, accuracy = rng.uniform(0, 3, 22), rng.uniform(0, 1, 22)
    drawn = plots_lines.curves_table(line(alphas=alphas, loss=loss, accuracy=accuracy))
    for metric, values in (("loss", loss), ("accuracy", 1 - accuracy)):
        curve, of_torch = drawn[drawn["metric"] == metric], torch.tensor(values)
        excess = barriers.excess(of_torch, torch.tensor(alphas))
        np.testing.assert_allclose(curve["excess"], excess, atol=1e-12)
        barrier = barriers.barrier(of_torch, torch.tensor(alphas)).item()
        frankle = barriers.barrier_frankle(of_torch, alphas).item()
        np.testing.assert_allclose(curve["barrier"], barrier, rtol=1e-12)
        np.testing.assert_allclose(curve["barrier_frankle"], frankle, rtol=1e-12)
        assert curve["chord"].iloc[[0, -1]].tolist() == curve["value"].iloc[[0, -1]].tolist()


def test_the_curves_of_children_are_the_rows_of_the_table():
    lines = connected.study(k1=(1.0,), k2=(3.0,), splits=("train",))
    drawn = plots_lines.curves_table(lines)
    each = drawn[(drawn["curve"] == "each child") & (drawn["metric"] == "loss")]
    assert each["value"].tolist() == lines["loss"].tolist()
    assert each["seeds"].tolist() == lines["child_seed"].astype(str).tolist()
    assert set(each["k1_step"]) == {8} and set(each["total"]) == {4}


def test_a_mean_is_taken_at_the_alphas_that_children_have_in_common():
    one = line(seed=1, alphas=[0, 0.5, 0.75, 1], loss=[1, 3, 4, 1], accuracy=4 * [1])
    other = line(seed=2, alphas=[0, 0.25, 0.5, 1], loss=[1, 5, 4, 1], accuracy=4 * [1])
    drawn = plots_lines.curves_table(pd.concat([one, other]), ("loss",))
    mean = drawn[drawn["curve"] == "mean child"]
    assert mean["alpha"].tolist() == [0, 0.5, 1]
    assert mean["value"].tolist() == [1, 3.5, 1]
    assert set(mean["seeds"]) == {"1 2"} and set(mean["barrier"]) == {2.5}
    own = drawn[drawn["curve"] == "each child"].groupby("seeds")["barrier"].first()
    assert own.to_dict() == {"1": 3, "2": 4}  # their mean is not the barrier of the mean


def test_a_mean_is_over_lines_with_equally_many_points():
    fine = [line(seed=seed, alphas=np.linspace(0, 1, 13)) for seed in (2, 3)]
    coarse = line(seed=4, alphas=np.linspace(0, 1, 5))
    drawn = plots_lines.curves_table(pd.concat([coarse, *fine]), ("loss",))
    mean = drawn[drawn["curve"] == "mean child"]
    assert set(mean["seeds"]) == {"2 3"} and len(mean) == 13
    assert mean["value"].tolist() == pytest.approx(
        ((fine[0]["loss"].to_numpy() + fine[1]["loss"].to_numpy()) / 2).tolist()
    )
    assert set(drawn.loc[drawn["curve"] == "each child", "seeds"]) == {"2", "3", "4"}
    alone = plots_lines.curves_table(pd.concat([coarse, fine[1]]), ("loss",))
    assert (
        set(plots_lines.main_curves(alone)["seeds"]) == {"3"}
        and plots_lines.curve_label(alone) == "one child"
    )
    assert plots_lines.main_curves(alone)["value"].tolist() == fine[1]["loss"].tolist()


def test_a_mean_of_several_main_branches_is_that_of_their_means():
    lines = pd.concat(
        line(seed=child, alphas=[0, 0.5, 1], loss=[1, value, 1], accuracy=3 * [1]).assign(
            global_seed=main
        )
        for main, child, value in ((1, 2, 2.0), (1, 3, 4.0), (10, 2, 9.0))
    )
    drawn = plots_lines.curves_table(lines, ("loss",))
    mean = plots_lines.main_curves(drawn)
    assert mean["value"].tolist() == [1, 6, 1] and set(mean["seeds"]) == {"1-2 1-3 10-2"}
    assert plots_lines.curve_label(drawn) == "mean of 2 main branches"
    of_one = plots_lines.curves_table(lines[lines["global_seed"] == 1], ("loss",))
    assert plots_lines.curve_label(of_one) == "mean of 2 children"
    assert set(of_one["seeds"]) == {"2", "3", "2 3"}


def test_each_split_and_each_treatment_has_its_own_mean():
    others = {"align": "weights", "loss": 9 * [0.25]}
    table = pd.concat([connected.study((0.0,), (1.0,)), line(split="test", **others)])
    drawn = plots_lines.main_curves(plots_lines.curves_table(table, ("loss",)))
    found = drawn.groupby(["split", "align"])["curve"].first().to_dict()
    assert found == {
        ("train", "none"): "mean child",
        ("test", "none"): "mean child",
        ("test", "weights"): "child",
    }
    assert set(drawn.loc[drawn["align"] == "weights", "value"]) == {0.25}


def test_curves_are_named_by_what_they_are():
    children = plots_lines.curves_table(connected.study((0.0,), (1.0,)))
    assert plots_lines.curve_label(children) == "mean of 3 children"
    assert plots_lines.curve_label(plots_lines.curves_table(line())) == "one child"
    files = plots_lines.curves_table(line(None, None, None))
    assert set(files["curve"]) == {"line"} and plots_lines.curve_label(files) == ""


def test_the_order_of_rows_does_not_matter():
    lines = connected.study((0.0,), (1.0,), seeds=(1,), splits=("test",))
    shuffled = lines.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        plots_lines.curves_table(shuffled), plots_lines.curves_table(lines)
    )


@pytest.mark.parametrize("loss", [0.0, 0.7])
def test_a_constant_curve_has_no_barrier(loss):
    drawn = plots_lines.curves_table(line(alphas=[0, 1], loss=[loss, loss]))
    assert (drawn[["excess", "barrier", "barrier_frankle"]] == 0).all(axis=None)
    assert not np.signbit(drawn["excess"]).any()


def test_a_value_that_is_no_number_makes_the_barrier_none():
    drawn = plots_lines.curves_table(line(alphas=[0, 0.5, 1], loss=[1, math.nan, 1]), ("loss",))
    assert drawn[["barrier", "barrier_frankle"]].isna().all(axis=None)


def test_a_curve_without_its_ends_or_columns_is_refused():
    message = "^child 1, split test: alpha must go from 0 to 1, got 0.125 to 1$"
    with pytest.raises(ValueError, match=message):
        plots_lines.curves_table(line()[1:])
    with pytest.raises(ValueError, match="^line, split test: alpha .* got 0 to 0.875$"):
        plots_lines.curves_table(line(None, None, None)[:-1])
    with pytest.raises(ValueError, match="no column alpha; it has k1, k2"):
        plots_lines.curves_table(line().drop(columns="alpha"))


RIGHT = plots_lines.RIGHT_OF_LINE
SLOPE = connected.line(alphas=[0, 0.5, 1], loss=[1, 4, 2], accuracy=[0.9, 0.2, 0.7])


def shown(axes, colour: str) -> list[list[tuple]]:
    """The strokes of one colour."""
    lines = [line for line in axes.get_lines() if line.get_color() == colour]
    return [list(zip(*line.get_data(), strict=True)) for line in lines]


def texts(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def test_both_barriers_are_marked_where_they_are_and_named_with_their_values():
    loss, accuracy = plots_lines.draw_line(plots_lines.line_table(SLOPE, (0, 1))).axes
    assert shown(loss, "#cc3311") == [[(0.5, 1.5), (0.5, 4)]]
    assert shown(loss, "#0077bb")[-1] == [
        (plots_lines.RIGHT_OF_LINE, 1.5),
        (plots_lines.RIGHT_OF_LINE, 4),
    ]
    assert texts(loss.get_legend()) == ["barrier 2.5", "barrier_frankle 2.5"]
    assert shown(accuracy, "#cc3311") == [[(0.5, pytest.approx(0.8)), (0.5, 0.2)]]
    assert shown(accuracy, "#0077bb")[-1][1] == (RIGHT, 0.2)
    assert texts(accuracy.get_legend()) == [
        "barrier of error 0.6",
        "barrier_frankle of error 0.6",
    ]


def test_the_two_barriers_differ_on_a_slope():
    falling = connected.line(alphas=[0, 0.5, 1], loss=[3, 2.5, 1], accuracy=[1, 1, 1])
    axes = plots_lines.draw_line(plots_lines.line_table(falling, (0, 1))).axes[0]
    assert shown(axes, "#cc3311") == [[(0.5, 2), (0.5, 2.5)]]
    assert shown(axes, "#0077bb")[-1] == [
        (plots_lines.RIGHT_OF_LINE, 2),
        (plots_lines.RIGHT_OF_LINE, 3),
    ]
    assert texts(axes.get_legend()) == ["barrier 0.5", "barrier_frankle 1"]


def test_the_figure_shows_exactly_what_was_tabled_of_line():
    drawn = plots_lines.line_table(connected.study(), (1, 3))
    figure = plots_lines.draw_line(drawn)
    labels = ["train loss (nats)", "train accuracy (fraction)"]
    labels += ["test loss (nats)", "test accuracy (fraction)"]
    assert [axes.get_ylabel() for axes in figure.axes] == labels
    for axes in figure.axes:
        split, metric = axes.get_ylabel().split()[:2]
        panel = drawn[(drawn["split"] == split) & (drawn["metric"] == metric)]
        lines = axes.get_lines()
        assert np.concatenate([curve.get_ydata() for curve in lines[:4]]).tolist() == (
            panel["value"].tolist()
        )
        assert lines[4].get_ydata().tolist() == plots_lines.main_curves(panel)["chord"].tolist()
    assert figure.axes[2].get_xlabel() == "alpha (0: main branch, 1: child)"


def test_the_words_say_whose_barriers_are_marked():
    drawn = plots_lines.line_table(connected.study(), (1, 3))
    figure = plots_lines.draw_line(drawn)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == (
        "k1 = 1ep, k2 = 3ep, align: none, batch norm: reset, mean of 3 children\n"
        "barriers: of the mean curve (in brackets the mean of the children's own)"
    )
    assert texts(legend) == [
        "each child",
        "mean child",
        "chord",
        "barrier: largest excess over the chord (Entezari et al., 2022)",
        "barrier_frankle: largest minus mean of the ends (Frankle et al., 2020)",
    ]
    panel = drawn[(drawn["split"] == "train") & (drawn["metric"] == "loss")]
    own = panel[panel["curve"] == "each child"].groupby("seeds")["barrier"].first().mean()
    mean = plots_lines.main_curves(panel)["barrier"].iloc[0]
    assert texts(figure.axes[0].get_legend())[0] == f"barrier {mean:.3g} (children {own:.3g})"


def test_a_line_between_two_files_has_no_children():
    figure = plots_lines.draw_line(plots_lines.line_table(connected.line(None, None, None)))
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "align: none, batch norm: reset"
    assert texts(legend)[:2] == ["line", "chord"]
    assert figure.axes[0].get_xlabel() == "alpha (0: start, 1: end)"


def test_one_child_is_named_by_its_seed():
    (legend,) = plots_lines.draw_line(
        plots_lines.line_table(connected.line(seed=7), (0, 1))
    ).legends
    assert legend.get_title().get_text().endswith("batch norm: reset, child seed 7")


def test_the_table_that_was_saved_draws_the_same_figure(tmp_path):
    for name, drawn in (
        ("children", plots_lines.line_table(connected.study(), (0, 5))),
        ("files", plots_lines.line_table(connected.line(None, None, None))),
    ):
        drawn.to_csv(tmp_path / name, index=False)
        read = pd.read_csv(tmp_path / name)
        for before, after in zip(
            plots_lines.draw_line(drawn).axes, plots_lines.draw_line(read).axes, strict=True
        ):
            assert texts(before.get_legend()) == texts(after.get_legend())
            for one, other in zip(before.get_lines(), after.get_lines(), strict=True):
                np.testing.assert_allclose(other.get_xydata(), one.get_xydata(), rtol=1e-12)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("loss", [0.0, 2.0, math.nan, math.inf])
@pytest.mark.parametrize("alphas", [[0, 1], [0, 0.5, 1]])
def test_lines_of_all_sorts_are_drawn(seeds, loss, alphas):
    lines = [connected.line(seed=seed, alphas=alphas, loss=len(alphas) * [loss]) for seed in seeds]
    with np.errstate(invalid="ignore"):  # inf - inf
        drawn = plots_lines.line_table(pd.concat(lines), (0, 1))
    figure = plots_lines.draw_line(drawn)
    figure.canvas.draw()
    assert len(figure.axes) == 2


def test_what_is_not_in_the_table_is_refused_of_line():
    with pytest.raises(ValueError, match="with align weights; the table has none$"):
        plots_lines.line_table(SLOPE, (0, 1), "weights")
    with pytest.raises(ValueError, match="between two files; the table has k1 = 0ep, k2 = 1ep$"):
        plots_lines.line_table(SLOPE)
    with pytest.raises(ValueError, match="no column align, bn; it has k1, "):
        plots_lines.line_table(SLOPE.drop(columns=["align", "bn"]))
