import numpy as np
import pandas as pd
import pytest

from isthmus.plots import frames, style
from isthmus.plots import lines as plots_lines
from tests.plots import connected

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


def test_the_figure_shows_exactly_what_was_tabled():
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
    with style.look():
        figure.canvas.draw()
    assert len(figure.axes[0].get_lines()) == 2 * num_sorts
    assert figure.legends[0].get_title().get_text().startswith("line\nbarrier: ")


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="with k1 9; the table has 0.0$"):
        plots_lines.compared_table(study(), (9, 1))
    with pytest.raises(ValueError, match="no column bn; it has"):
        plots_lines.compared_table(study().drop(columns="bn"))
