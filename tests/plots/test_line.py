import math

import numpy as np
import pandas as pd
import pytest

from isthmus.plots import lines as plots_lines
from isthmus.plots import style
from tests.plots import connected

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
    assert shown(loss, "#0077bb")[-1] == [(plots_lines.BESIDE, 1.5), (plots_lines.BESIDE, 4)]
    assert texts(loss.get_legend()) == ["barrier 2.5", "barrier_frankle 2.5"]
    assert shown(accuracy, "#cc3311") == [[(0.5, pytest.approx(0.8)), (0.5, 0.2)]]
    assert shown(accuracy, "#0077bb")[-1][1] == (plots_lines.BESIDE, 0.2)
    assert texts(accuracy.get_legend()) == [
        "barrier of error 0.6",
        "barrier_frankle of error 0.6",
    ]


def test_the_two_barriers_differ_on_a_slope():
    falling = connected.line(alphas=[0, 0.5, 1], loss=[3, 2.5, 1], accuracy=[1, 1, 1])
    axes = plots_lines.draw_line(plots_lines.line_table(falling, (0, 1))).axes[0]
    assert shown(axes, "#cc3311") == [[(0.5, 2), (0.5, 2.5)]]
    assert shown(axes, "#0077bb")[-1] == [(plots_lines.BESIDE, 2), (plots_lines.BESIDE, 3)]
    assert texts(axes.get_legend()) == ["barrier 0.5", "barrier_frankle 1"]


def test_the_figure_shows_exactly_what_was_tabled():
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
    with style.look():
        figure.canvas.draw()
    assert len(figure.axes) == 2


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="with align weights; the table has none$"):
        plots_lines.line_table(SLOPE, (0, 1), "weights")
    with pytest.raises(ValueError, match="between two files; the table has k1 = 0ep, k2 = 1ep$"):
        plots_lines.line_table(SLOPE)
    with pytest.raises(ValueError, match="no column align, bn; it has k1, "):
        plots_lines.line_table(SLOPE.drop(columns=["align", "bn"]))
