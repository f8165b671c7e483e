import pandas as pd
import pytest

from isthmus.plots import widths
from tests.plots.wide_tables import metrics


def test_a_point_is_the_mean_and_the_range_of_seeds():
    drawn = widths.wide_curves_table(metrics(widths=(16,), depths=(2,)).assign(activation="relu"))
    start = drawn[(drawn["metric"] == "output") & (drawn["step"] == 0)].iloc[0]
    assert start["value"] == pytest.approx(0.375)  # of 1/4 and 2/4
    assert (start["lowest"], start["highest"], start["num_seeds"]) == (0.25, 0.5, 2)


def test_the_figure_has_a_column_for_each_activation():
    table = metrics(widths=(16,), depths=(2,))
    both = [table.assign(activation=name) for name in ("relu", "tanh")]
    figure = widths.draw_wide_curves(widths.wide_curves_table(pd.concat(both)))
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["relu", "tanh"]
    assert figure.axes[0].get_ylabel() == "train loss (nats)"
    assert {line.get_label() for line in figure.axes[3].get_lines()} == {"mup", "ntk"}


def test_activations_need_not_be_told_apart():
    assert len(widths.draw_wide_curves(widths.wide_curves_table(metrics(widths=(16,)))).axes) == 2


def test_a_table_without_diagnostics_is_refused():
    table = metrics().assign(metric="accuracy")
    with pytest.raises(ValueError, match="no diagnostics.steps were measured"):
        widths.wide_curves_table(table)
