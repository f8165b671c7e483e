import pandas as pd
import pytest

from isthmus.plots import widths

TABLE = pd.DataFrame(
    [
        {"parametrization": name, "seed": seed, "x": x, "target": x**2, "value": seed * x}
        for name in ("ntk", "mup")
        for seed in (2, 1)
        for x in (-1.0, 0.0, 1.0)
    ]
)


def test_there_is_a_panel_for_each_parametrization_with_a_line_for_each_seed():
    figure = widths.draw_function_fits(widths.function_fits_table(TABLE))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mup", "ntk"]
    target, first, second = figure.axes[0].get_lines()
    assert list(target.get_ydata()) == [1, 0, 1]
    assert list(first.get_ydata()) == [-1, 0, 1] and list(second.get_ydata()) == [-2, 0, 2]
    other = figure.axes[1].get_lines()[1]
    assert first.get_color() == other.get_color() and first.get_label() == other.get_label()


def test_another_table_is_refused():
    with pytest.raises(ValueError, match="the table has no column seed"):
        widths.function_fits_table(TABLE.drop(columns="seed"))
