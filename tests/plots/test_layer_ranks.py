import pytest

from isthmus.plots import widths
from tests.plots.wide_tables import ranks


def test_a_point_is_the_mean_of_seeds():
    drawn = widths.layer_ranks_table(ranks(), "frobenius")
    assert len(drawn) == 3 * 2 * 2 * 3  # kinds, parametrizations, steps, layers
    one = drawn[(drawn["kind"] == "weight") & (drawn["layer"] == "hidden.1")]
    assert one["value"].tolist() == [2.5] * 4
    assert widths.layer_ranks_table(ranks())["value"].min() == 11.5


def test_the_figure_has_a_panel_for_each_kind_and_layers_in_order():
    figure = widths.draw_layer_ranks(widths.layer_ranks_table(ranks()))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["weight", "change", "activation"]
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["hidden.0", "hidden.1", "output"]
    labels = {line.get_label() for line in figure.axes[0].get_lines()}
    assert labels == {"mup step 0", "mup step 10", "ipllr step 0", "ipllr step 10"}
    assert figure.axes[0].get_ylabel() == "squared-trace rank"


def test_what_was_not_measured_has_no_panel():
    assert (
        len(widths.draw_layer_ranks(widths.layer_ranks_table(ranks(kinds=("weight",)))).axes) == 1
    )


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="rank: must be trace, frobenius, got nuclear"):
        widths.layer_ranks_table(ranks(), "nuclear")
    with pytest.raises(ValueError, match="no diagnostics.ranks were measured"):
        widths.layer_ranks_table(ranks().assign(metric="output"))
