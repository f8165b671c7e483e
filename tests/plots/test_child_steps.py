import math

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from isthmus.plots import branching, style
from tests.plots import tables
from tests.plots.tables import average, child

SMALL = tables.averages(
    child(8, 4, 1, 0.25),
    child(8, 4, 2, 0.75),
    child(8, 4, 10, 0.8),
    average(8, 4, "1-2", "across", 2, 0.5),
    average(8, 4, "1-10", "across", 2, 0.75),
    average(8, 4, "1-2-10", "across", 3, 0.9),
    average(8, 4, "1", "back_all", 2, 0.125),
    average(8, 4, "2", "back_all", 2, 0.375),
    child(8, 16, 1, 0.5),
    average(8, 16, "1", "back_all", 3, 0.625),
)


def drawn_values(drawn: pd.DataFrame) -> list[tuple]:
    columns = ["curve", "child_step", "num_models", "seeds", "value"]
    return list(drawn[columns].itertuples(index=False, name=None))


def curves(axes) -> dict[str, list]:
    """Each curve's (x, y) pairs, of all lines of one name."""
    found: dict[str, list] = {}
    for line in axes.get_lines():
        found.setdefault(line.get_label(), []).append(list(zip(*line.get_data(), strict=True)))
    return found


def test_every_value_is_the_mean_over_the_networks_that_are_listed():
    assert drawn_values(branching.child_steps_table(SMALL)) == [
        ("each child", 4, 1, "1", 0.25),
        ("each child", 4, 1, "10", 0.8),
        ("each child", 4, 1, "2", 0.75),
        ("each child", 16, 1, "1", 0.5),
        ("mean child", 4, 1, "1 2 10", pytest.approx(0.6)),
        ("mean child", 16, 1, "1", 0.5),
        ("across (n = 2)", 4, 2, "1-2 1-10", 0.625),
        ("across (n = 3)", 4, 3, "1-2-10", 0.9),
        ("back_all (m = 2 to 3)", 4, 2, "1 2", 0.25),
        ("back_all (m = 2 to 3)", 16, 3, "1", 0.625),
    ]


def test_a_mean_with_a_value_that_is_no_number_is_none_either():
    drawn = branching.child_steps_table(
        SMALL.assign(loss=[math.nan, *SMALL["loss"][1:]]), metric="loss"
    )
    assert math.isnan(drawn.query("curve == 'mean child' and child_step == 4")["value"].item())


def test_the_table_that_was_saved_draws_the_same_figure(tmp_path):
    drawn = branching.child_steps_table(tables.study())
    drawn.to_csv(tmp_path / "drawn.csv", index=False)
    before, after = (
        [curves(axes) for axes in branching.draw_child_steps(table).axes]
        for table in (drawn, pd.read_csv(tmp_path / "drawn.csv"))
    )
    assert [list(panel) for panel in after] == [list(panel) for panel in before]
    for name, lines in before[1].items():
        np.testing.assert_allclose(after[1][name], lines, rtol=1e-12)


def test_the_loss_is_that_of_the_table():
    drawn = branching.child_steps_table(SMALL, metric="loss")
    assert set(drawn["metric"]) == {"loss"}
    assert drawn.query("curve == 'across (n = 3)'")["value"].item() == pytest.approx(1)


def test_the_figure_shows_exactly_what_was_tabled():
    drawn = branching.child_steps_table(SMALL)
    (axes,) = branching.draw_child_steps(drawn).axes
    assert curves(axes) == {
        "each child": [[(4, 0.25), (16, 0.5)], [(4, 0.8)], [(4, 0.75)]],
        "mean child": [[(4, pytest.approx(0.6)), (16, 0.5)]],
        "across (n = 2)": [[(4, 0.625)]],
        "across (n = 3)": [[(4, 0.9)]],
        "back_all (m = 2 to 3)": [[(4, 0.25), (16, 0.625)]],
    }


def test_other_splits_models_and_statistics_are_left_out():
    others = [
        SMALL.assign(split="train", accuracy=0.0),
        SMALL.assign(model="ema_0.9", accuracy=0.0),
        SMALL[SMALL["kind"] != "child"].assign(bn="keep", accuracy=0.0),
    ]
    drawn = branching.child_steps_table(pd.concat([*others, SMALL]))
    pd.testing.assert_frame_equal(drawn, branching.child_steps_table(SMALL))
    ema = branching.child_steps_table(pd.concat([*others, SMALL]), model="ema_0.9")
    assert (ema["value"] == 0).all() and len(ema) == len(drawn)


def test_the_words_on_the_figure():
    figure = branching.draw_child_steps(branching.child_steps_table(tables.study(), metric="loss"))
    assert figure.get_supxlabel() == "child step (iterations)"
    assert figure.get_supylabel() == "test loss (nats)"
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "spawn step 0it",
        "spawn step 8it (2ep)",
    ]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "model plain, batch norm: reset"
    assert [text.get_text() for text in legend.get_texts()] == [
        "each child",
        "mean child",
        "across (n = 2)",
        "across (n = 3)",
        "back (m = 2)",
        "back_plus_one (m = 2 to 3)",
        "back_plus_three (m = 2 to 5)",
        "back_all (m = 2 to 5)",
    ]


def test_a_loss_is_on_a_logarithmic_axis_and_an_accuracy_is_not():
    for metric, scale in (("loss", "log"), ("accuracy", "linear")):
        figure = branching.draw_child_steps(
            branching.child_steps_table(tables.study(), metric=metric)
        )
        assert {axes.get_yscale() for axes in figure.axes} == {scale}


def test_curves_of_one_kind_look_alike_whatever_else_is_drawn():
    both = branching.draw_child_steps(branching.child_steps_table(tables.study(seeds=(1, 2, 3))))
    fewer = branching.draw_child_steps(
        branching.child_steps_table(tables.study(seeds=(1, 2)).query("kind != 'back'"))
    )
    colours = [
        {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
        for figure in (both, fewer)
    ]
    for name in ("mean child", "across (n = 2)", "back_plus_one (m = 2 to 3)"):
        assert colours[0][name] == colours[1][name]
    shown = [matplotlib.colors.to_hex(colour) for colour in colours[0].values()]
    assert len(set(shown)) == len(shown)


def test_a_child_without_siblings_is_drawn_once():
    drawn = branching.child_steps_table(tables.study(seeds=(1,)))
    assert "child" in set(drawn["curve"])
    assert not {"each child", "mean child"} & set(drawn["curve"])


def test_seeds_that_were_read_as_numbers_are_taken():
    table = tables.study(seeds=(1,))
    drawn = branching.child_steps_table(table.assign(seeds=table["seeds"].astype(int)))
    pd.testing.assert_frame_equal(drawn, branching.child_steps_table(table))


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), (0, 1, 2, 4), tuple(range(13))])
@pytest.mark.parametrize("steps", [(0,), (4,), (0, 1, 2, 3, 4, 6, 8)])
@pytest.mark.parametrize("kinds", [["child"], ["back_all"], ["child", "across"]])
def test_a_figure_has_a_panel_a_spawn_step_whatever_there_is(spawn_steps, steps, kinds):
    table = tables.study(spawn_steps, steps)
    figure = branching.draw_child_steps(
        branching.child_steps_table(table[table["kind"].isin(kinds)])
    )
    with style.look():
        figure.canvas.draw()
    assert len(figure.axes) == len(spawn_steps)
    for axes in figure.axes:
        for line in axes.get_lines():
            assert line.get_marker() != "None"  # else a single point would not be seen


def test_the_lowest_panel_of_every_column_has_its_steps():
    figure = branching.draw_child_steps(
        branching.child_steps_table(tables.study(spawn_steps=range(5)))
    )
    labelled = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in figure.axes]
    assert labelled == [False, False, True, True, True]


@pytest.mark.parametrize("loss", [math.inf, math.nan, 0.0])
def test_a_loss_that_a_logarithm_cannot_show_hides_no_other(loss):
    table = tables.study()
    table.loc[0, "loss"] = loss
    figure = branching.draw_child_steps(branching.child_steps_table(table, metric="loss"))
    with style.look():
        figure.canvas.draw()
    low, high = figure.axes[0].get_ylim()
    assert 1 < low < high < 20


def test_losses_that_are_all_zero_are_drawn():
    figure = branching.draw_child_steps(
        branching.child_steps_table(tables.study().assign(loss=0.0), metric="loss")
    )
    assert {axes.get_yscale() for axes in figure.axes} == {"linear"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "error"}, "metric: must be accuracy or loss, got error"),
        ({"split": "val"}, "nothing to draw with split val; the table has test"),
        ({"model": "swa"}, "nothing to draw with model swa; the table has plain"),
        ({"bn": "keep"}, "nothing to draw with bn keep; the table has reset"),
    ],
)
def test_what_is_not_in_the_table_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        branching.child_steps_table(SMALL, **arguments)


def test_a_table_of_no_rows_no_numbers_or_other_columns_is_refused():
    with pytest.raises(ValueError, match="with split test; the table has no rows at all$"):
        branching.child_steps_table(SMALL[:0])
    with pytest.raises(ValueError, match="no loss of split test, model plain is a number"):
        branching.child_steps_table(SMALL.assign(loss=math.nan), metric="loss")
    with pytest.raises(ValueError, match="no column spawn_step, .*accuracy; it has step, value$"):
        branching.child_steps_table(pd.DataFrame({"step": [1], "value": [2]}))
