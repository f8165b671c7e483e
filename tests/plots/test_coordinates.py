import numpy as np
import pytest

from isthmus.plots import widths
from tests.plots.wide_tables import metrics


def test_slopes_are_those_of_powers():
    drawn = widths.coordinates_table(metrics())
    found = widths.slope_summary(drawn)
    assert len(found) == 2 * 2 * 3  # parametrizations, depths; outputs, and two changes
    first = found[found["metric"] == "output"]
    assert first["slope"].tolist() == pytest.approx([-0.5] * 4)
    assert first["theory"].tolist() == [-0.5] * 4
    later = found[found["metric"] == "output_change"]
    assert later["slope"].tolist() == pytest.approx([0.0] * 8, abs=1e-9)
    assert later[later["step"] == 1]["theory"].tolist() == [0.0] * 4
    assert later[later["step"] == 2]["theory"].isna().all()  # of which theory says nothing


def test_slopes_are_fitted_to_all_seeds():
    table = metrics(names=("mup",), depths=(2,))
    noise = np.exp(np.random.default_rng(0).normal(size=len(table)))
    table["value"] *= np.where(table["metric"] == "output", noise, 1)
    drawn = widths.coordinates_table(table)
    points = drawn[drawn["metric"] == "output"]
    expected = np.polyfit(np.log(points["width"]), np.log(points["value"]), 1)[0]
    assert points["slope"].iloc[0] == pytest.approx(expected)


def test_the_figure_has_a_panel_for_each_depth_and_step_with_slopes_in_its_legends():
    figure = widths.draw_coordinates(widths.coordinates_table(metrics()))
    assert len(figure.axes) == 2 * 3
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["2 hidden layers, 0it", "3 hidden layers, 0it"]
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words == ["mup -0.50 (-0.5)", "ntk -0.50 (-0.5)"]
    assert figure.axes[0].get_ylabel() == "mean |f|"
    assert figure.axes[2].get_ylabel() == "mean |f - f0|"


def test_one_width_has_no_slope():
    with pytest.raises(ValueError, match="slopes need outputs of networks of several widths"):
        widths.coordinates_table(metrics(widths=(16,)))
