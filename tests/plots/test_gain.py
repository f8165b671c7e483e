import numpy as np
import pytest

from isthmus.plots import branching, style
from tests.plots import tables
from tests.plots.tables import average, child

SMALL = tables.averages(
    child(8, 4, 1, 0.25),
    child(8, 4, 2, 0.75),
    child(8, 4, 3, 0.8),
    average(8, 4, "1-2", "across", 2, 0.625),
    average(8, 4, "2-3", "across", 2, 0.75),
    average(8, 4, "1-2-3", "across", 3, 0.5),
    average(8, 4, "1", "back", 2, 0.5),
    child(8, 16, 1, 0.5),
    child(8, 16, 2, 0.25),
    average(8, 16, "1-2", "across", 2, 0.5),
)


def cells(drawn) -> list[tuple]:
    columns = ["child_step", "num_models", "seeds", "average", "mean_child", "gain"]
    return list(drawn[columns].itertuples(index=False, name=None))


def test_the_gain_is_over_exactly_the_children_in_the_average():
    assert cells(branching.gain_table(SMALL, num_models=2)) == [
        (4, 2, "1-2 2-3", 0.6875, pytest.approx(0.6375), pytest.approx(0.05)),
        (16, 2, "1-2", 0.5, 0.375, 0.125),
    ]
    assert cells(branching.gain_table(SMALL, kind="back")) == [(4, 2, "1", 0.5, 0.25, 0.25)]


def test_the_largest_average_across_is_the_default():
    assert cells(branching.gain_table(SMALL)) == [
        (4, 3, "1-2-3", 0.5, pytest.approx(0.6), pytest.approx(-0.1))
    ]


def test_an_average_that_grows_is_drawn_at_all_its_sizes():
    drawn = branching.gain_table(tables.study(), kind="back_all")
    assert sorted(set(drawn["num_models"])) == [2, 3, 4, 5]
    figure = branching.draw_gain(drawn)
    assert figure.axes[0].get_xlabel().startswith("back_all (m = 2 to 5) minus mean child")


def test_equal_accuracies_are_a_gain_of_zero_whatever_the_rounding():
    rows = [child(0, 0, seed, 0.1) for seed in (1, 2, 3)]  # their mean in floats is more than 0.1
    drawn = branching.gain_table(tables.averages(*rows, average(0, 0, "1-2-3", "across", 3, 0.1)))
    assert str(drawn["gain"].item()) == "0.0"


def test_the_zero_line_separates_negative_cells_from_the_others():
    gains = np.array([[0.0, -1.0], [2.0, np.nan], [-1.0, -3.0]])
    assert branching.zero_line(gains) == [
        [(0.5, -0.5), (0.5, 0.5)],  # 0 | -1
        [(-0.5, 1.5), (0.5, 1.5)],  # 2 below -1
    ]


def test_the_map_shows_exactly_what_was_tabled():
    table = tables.study(spawn_steps=(0, 8, 16), child_steps=(0, 4))
    missing = (table["spawn_step"] == 8) & (table["child_step"] == 4) & (table["kind"] == "across")
    drawn = branching.gain_table(table[~missing])
    scale, axes = branching.draw_gain(drawn).axes
    shown = axes.collections[0].get_array()
    assert shown.shape == (3, 2)
    assert np.ma.getmaskarray(shown).tolist() == [[False, False], [False, True], [False, False]]
    assert shown.compressed().tolist() == drawn["gain"].tolist()
    assert axes.get_legend_handles_labels()[1] == ["no average"]
    assert axes.get_xlabel() == "child step (iterations)"
    assert axes.get_ylabel() == "spawn step (iterations)"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "4\n1ep"]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "0it",
        "8it (2ep)",
        "16it (4ep)",
    ]
    assert scale.get_xlabel() == (
        "across (n = 3) minus mean child\nmodel plain, batch norm: reset\ntest accuracy (fraction)"
    )


def test_colours_are_centred_on_zero():
    scale, axes = branching.draw_gain(branching.gain_table(SMALL)).axes
    norm = axes.collections[0].norm
    assert (norm.vmin, norm.vmax) == pytest.approx((-0.1, 0.1))
    assert norm(0.0) == pytest.approx(0.5)
    labels = [text.get_text() for text in scale.get_xticklabels()]
    assert labels == ["-0.1", "-0.03", "-0.01", "0", "+0.01", "+0.03", "+0.1"]


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), tuple(range(41))])
@pytest.mark.parametrize("child_steps", [(0,), (4,), tuple(range(50))])
def test_maps_of_all_sizes_are_drawn(spawn_steps, child_steps):
    figure = branching.draw_gain(
        branching.gain_table(tables.study(spawn_steps, child_steps, seeds=(1, 2)))
    )
    with style.look():
        figure.canvas.draw()
    axes = figure.axes[1]
    assert 1 <= len(axes.get_xticks()) <= 17
    assert 1 <= len(axes.get_yticks()) <= 40


def test_gains_that_are_all_zero_are_white():
    table = tables.averages(
        child(0, 4, 1, 0.5), child(0, 4, 2, 0.5), average(0, 4, "1-2", "across", 2, 0.5)
    )
    mesh = branching.draw_gain(branching.gain_table(table)).axes[1].collections[0]
    assert mesh.norm(0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "back_all"}, "with kind back_all; the table has across, back"),
        ({"num_models": 5}, "with num_models 5; the table has 2, 3"),
        ({"split": "val"}, "with split val; the table has test"),
    ],
)
def test_what_is_not_in_the_table_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^nothing to draw {message}$"):
        branching.gain_table(SMALL, **arguments)


def test_children_without_averages_are_refused():
    with pytest.raises(ValueError, match="with kind across; the table has no rows at all"):
        branching.gain_table(SMALL[SMALL["kind"] == "child"])


def test_an_average_without_its_children_is_refused():
    table = SMALL[(SMALL["kind"] != "child") | (SMALL["seeds"] != "2")]
    message = (
        "no accuracy of child 2 alone, which is in average 1-2-3 of spawn step 8, child step 4"
    )
    with pytest.raises(ValueError, match=message):
        branching.gain_table(table)
