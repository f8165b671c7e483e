import numpy as np
import pandas as pd
import pytest

from isthmus.plots import frames, lines, style
from tests.plots import connected


def test_the_figure_shows_exactly_what_was_tabled():
    drawn = lines.lines_table(connected.study(), "error")
    assert set(drawn["metric"]) == {"error"}
    figure = lines.draw_lines(drawn)
    assert figure.get_supylabel() == "error above the chord (fraction)"
    assert figure.get_supxlabel() == "alpha (0: main branch, 1: child)"
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [frames.pair_title(pair) for pair in frames.list_pairs(drawn)]
    for pair, axes in zip(frames.list_pairs(drawn), figure.axes, strict=True):
        shown = np.concatenate([curve.get_ydata() for curve in axes.get_lines()])
        assert shown.tolist() == frames.rows_of_pair(drawn, pair)["excess"].tolist()


def test_the_top_of_a_curve_is_its_barrier():
    drawn = lines.main_curves(lines.lines_table(connected.study()))
    tops = drawn.groupby(lines.GROUP)["excess"].max()
    assert tops.tolist() == drawn.groupby(lines.GROUP)["barrier"].first().tolist()
    (legend,) = lines.draw_lines(drawn).legends
    assert legend.get_title().get_text() == (
        "align: none, batch norm: reset\nlargest value: barrier (Entezari et al., 2022)"
    )


def test_the_legend_names_splits_and_children():
    (legend,) = lines.draw_lines(lines.lines_table(connected.study())).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "train, each child",
        "train, mean of 3 children",
        "test, each child",
        "test, mean of 3 children",
    ]


def test_a_whole_grid_has_a_column_a_k2_and_another_wraps():
    whole = lines.lines_table(connected.study(k1=(0.0, 1.0, 2.0, 5.0), k2=(1.0, 3.0)))
    assert lines.columns_of(whole) == 2
    part = frames.rows_of_pairs(whole, frames.list_pairs(whole)[:-1])
    assert lines.columns_of(part) is None


@pytest.mark.parametrize("num_pairs", [1, 2, 24])
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_any_number_of_pairs_is_drawn(num_pairs, seeds):
    found = [
        connected.line(k1, 2.0, seed, alphas=[0, 1]) for k1 in range(num_pairs) for seed in seeds
    ]
    figure = lines.draw_lines(lines.lines_table(pd.concat(found)))
    with style.look():
        figure.canvas.draw()
    assert len(figure.axes) == num_pairs


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="^metric: must be loss or error, got accuracy$"):
        lines.lines_table(connected.study(), "accuracy")
    with pytest.raises(ValueError, match="with bn keep; the table has reset$"):
        lines.lines_table(connected.study(), bn="keep")
    with pytest.raises(ValueError, match="no column loss; it has k1"):
        lines.lines_table(connected.study().drop(columns="loss"))
