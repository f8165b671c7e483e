import math

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from isthmus.plots import branching, options, studies
from tests.plots import tables as plots_tables
from tests.plots.tables import average, child

MOMENT = "spawn_step,child_step,spawn_epoch,child_epoch"
AVERAGES = f"""{MOMENT},seeds,kind,model,num_models,bn,split,loss,accuracy
0,0,0,0,1,child,plain,1,keep,test,2.0,0.1
0,4,0,1,1,child,plain,1,keep,test,1.0,0.5
0,4,0,1,2,child,plain,1,keep,test,1.0,0.6
0,4,0,1,1-2,across,plain,2,reset,test,0.8,0.7
0,4,0,1,1-2,across,plain,2,keep,test,0.9,0.6
0,4,0,1,1,back,plain,2,reset,test,0.9,0.65
0,4,0,1,1,child,ema_0.9,1,keep,test,1.0,0.7
0,4,0,1,1,child,plain,1,keep,train,0.9,0.55
"""
L2 = "l2_origin,l2_initialization,l2_parent,l2_siblings"
DISTANCES = f"""{MOMENT},seed,{L2},cosine_initialization,cosine_parent,cosine_siblings
0,4,0,1,1,5.0,1.0,1.0,1.5,0.9,0.9,0.8
0,4,0,1,2,5.0,1.0,1.0,1.5,0.9,0.9,0.8
"""


def tables(tmp_path, averages=AVERAGES, distances=DISTANCES):
    for name, content in (("a", averages), ("b", distances)):
        (tmp_path / name).write_text(content)
    return pd.read_csv(tmp_path / "a"), pd.read_csv(tmp_path / "b")


def draw(averages, distances, folder):
    tables_by_name = {options.AVERAGES: averages, options.DISTANCES: distances}
    return studies.draw_tables("spawn", tables_by_name, folder)


def names(paths):
    return sorted({path.stem for path in paths})


def test_each_model_and_each_treatment_of_batch_norm_has_its_figures(tmp_path):
    paths = draw(*tables(tmp_path), tmp_path / "figures")
    assert all(path.is_file() for path in paths)
    assert names(paths) == [
        "accuracy_ema_0.9",
        "accuracy_plain",
        "accuracy_plain_keep",
        "distances",
        "gain_across_plain",
        "gain_across_plain_keep",
        "gain_back_plain",
    ]


def test_the_test_split_is_drawn_where_it_was_evaluated(tmp_path):
    averages, distances = tables(tmp_path)
    draw(averages, distances, tmp_path / "both")
    drawn = pd.read_csv(tmp_path / "both" / "accuracy_plain.csv")
    assert set(drawn["split"]) == {"test"}
    only = averages[averages["split"] == "train"]
    draw(only, distances, tmp_path / "train")
    assert set(pd.read_csv(tmp_path / "train" / "accuracy_plain.csv")["split"]) == {"train"}


@pytest.mark.parametrize("which", ["averages", "distances"])
def test_an_empty_table_has_no_figures(tmp_path, which):
    empty = {which: {"averages": AVERAGES, "distances": DISTANCES}[which].splitlines()[0] + "\n"}
    paths = draw(*tables(tmp_path, **empty), tmp_path / "figures")
    assert ("distances" in names(paths)) == (which == "averages")
    assert any(name.startswith("accuracy") for name in names(paths)) == (which == "distances")


SMALL = plots_tables.averages(
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
    drawn = branching.child_steps_table(plots_tables.study())
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
    figure = branching.draw_child_steps(
        branching.child_steps_table(plots_tables.study(), metric="loss")
    )
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
            branching.child_steps_table(plots_tables.study(), metric=metric)
        )
        assert {axes.get_yscale() for axes in figure.axes} == {scale}


def test_curves_of_one_kind_look_alike_whatever_else_is_drawn():
    both = branching.draw_child_steps(
        branching.child_steps_table(plots_tables.study(seeds=(1, 2, 3)))
    )
    fewer = branching.draw_child_steps(
        branching.child_steps_table(plots_tables.study(seeds=(1, 2)).query("kind != 'back'"))
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
    drawn = branching.child_steps_table(plots_tables.study(seeds=(1,)))
    assert "child" in set(drawn["curve"])
    assert not {"each child", "mean child"} & set(drawn["curve"])


def test_seeds_that_were_read_as_numbers_are_taken():
    table = plots_tables.study(seeds=(1,))
    drawn = branching.child_steps_table(table.assign(seeds=table["seeds"].astype(int)))
    pd.testing.assert_frame_equal(drawn, branching.child_steps_table(table))


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), (0, 1, 2, 4), tuple(range(13))])
@pytest.mark.parametrize("steps", [(0,), (4,), (0, 1, 2, 3, 4, 6, 8)])
@pytest.mark.parametrize("kinds", [["child"], ["back_all"], ["child", "across"]])
def test_a_figure_has_a_panel_a_spawn_step_whatever_there_is(spawn_steps, steps, kinds):
    table = plots_tables.study(spawn_steps, steps)
    figure = branching.draw_child_steps(
        branching.child_steps_table(table[table["kind"].isin(kinds)])
    )
    figure.canvas.draw()
    assert len(figure.axes) == len(spawn_steps)
    for axes in figure.axes:
        for line in axes.get_lines():
            assert line.get_marker() != "None"  # else a single point would not be seen


def test_the_lowest_panel_of_every_column_has_its_steps():
    figure = branching.draw_child_steps(
        branching.child_steps_table(plots_tables.study(spawn_steps=range(5)))
    )
    labelled = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in figure.axes]
    assert labelled == [False, False, True, True, True]


@pytest.mark.parametrize("loss", [math.inf, math.nan, 0.0])
def test_a_loss_that_a_logarithm_cannot_show_hides_no_other(loss):
    table = plots_tables.study()
    table.loc[0, "loss"] = loss
    figure = branching.draw_child_steps(branching.child_steps_table(table, metric="loss"))
    figure.canvas.draw()
    low, high = figure.axes[0].get_ylim()
    assert 1 < low < high < 20


def test_losses_that_are_all_zero_are_drawn():
    figure = branching.draw_child_steps(
        branching.child_steps_table(plots_tables.study().assign(loss=0.0), metric="loss")
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


def test_a_value_is_the_mean_over_the_children():
    drawn = branching.distances_table(plots_tables.distances(spawn_steps=(8,), child_steps=(4,)))
    columns = ["measure", "to", "spawn_step", "child_step", "seeds", "value"]
    assert list(drawn[columns].itertuples(index=False, name=None)) == [
        ("l2", "origin", 8, 4, "1 2", 1.5),
        ("l2", "initialization", 8, 4, "1 2", 11.5),
        ("l2", "parent", 8, 4, "1 2", 21.5),
        ("l2", "siblings", 8, 4, "1 2", 31.5),
        ("cosine", "initialization", 8, 4, "1 2", pytest.approx(0.25)),
        ("cosine", "parent", 8, 4, "1 2", pytest.approx(0.35)),
        ("cosine", "siblings", 8, 4, "1 2", pytest.approx(0.45)),
    ]


def test_a_child_that_is_missing_at_a_step_is_not_in_its_mean():
    table = plots_tables.distances(spawn_steps=(8,), child_steps=(4, 16))
    drawn = branching.distances_table(table[:-1])  # without child 2 at step 16
    origin = drawn[(drawn["measure"] == "l2") & (drawn["to"] == "origin")]
    assert origin["seeds"].tolist() == ["1 2", "1"]
    assert origin["value"].tolist() == [1.5, 1.0]


def test_the_figure_shows_exactly_what_was_tabled_of_distances():
    drawn = branching.distances_table(plots_tables.distances())
    figure = branching.draw_distances(drawn)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "to origin (norm of the weights)",
        *2 * ["to initialization", "to parent at the spawn step", "to siblings (mean)"],
    ]
    shown = [line.get_ydata().tolist() for axes in panels for line in axes.get_lines()]
    assert sum(shown, []) == drawn["value"].tolist()
    assert panels[0].get_ylabel() == "L2 distance"
    assert panels[4].get_ylabel() == "cosine similarity"
    assert figure.get_supxlabel() == "child step (iterations)"
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == ["0it", "8it (2ep)"]


def test_one_child_has_no_siblings():
    drawn = branching.distances_table(plots_tables.distances(seeds=(7,)))
    assert set(drawn["to"]) == {"origin", "initialization", "parent"}
    assert len([axes for axes in branching.draw_distances(drawn).axes if axes.axison]) == 5


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), range(33)])
@pytest.mark.parametrize("child_steps", [(0,), (4,)])
def test_figures_of_all_sizes_are_drawn(spawn_steps, child_steps):
    figure = branching.draw_distances(
        branching.distances_table(plots_tables.distances(spawn_steps, child_steps))
    )
    figure.canvas.draw()
    assert all(len(axes.get_lines()) == len(spawn_steps) for axes in figure.axes if axes.axison)
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert len(legend.get_texts()) <= branching.LEGEND_MOST


def test_a_table_of_no_rows_or_other_columns_is_refused():
    table = plots_tables.distances()
    with pytest.raises(ValueError, match="nothing to draw: the table of distances has no numbers"):
        branching.distances_table(table[:0])
    with pytest.raises(ValueError, match="no column l2_parent; it has spawn_step, child_step"):
        branching.distances_table(table.drop(columns="l2_parent"))


GAIN_SMALL = plots_tables.averages(
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
    assert cells(branching.gain_table(GAIN_SMALL, num_models=2)) == [
        (4, 2, "1-2 2-3", 0.6875, pytest.approx(0.6375), pytest.approx(0.05)),
        (16, 2, "1-2", 0.5, 0.375, 0.125),
    ]
    assert cells(branching.gain_table(GAIN_SMALL, kind="back")) == [(4, 2, "1", 0.5, 0.25, 0.25)]


def test_the_largest_average_across_is_the_default():
    assert cells(branching.gain_table(GAIN_SMALL)) == [
        (4, 3, "1-2-3", 0.5, pytest.approx(0.6), pytest.approx(-0.1))
    ]


def test_an_average_that_grows_is_drawn_at_all_its_sizes():
    drawn = branching.gain_table(plots_tables.study(), kind="back_all")
    assert sorted(set(drawn["num_models"])) == [2, 3, 4, 5]
    figure = branching.draw_gain(drawn)
    assert figure.axes[0].get_xlabel().startswith("back_all (m = 2 to 5) minus mean child")


def test_equal_accuracies_are_a_gain_of_zero_whatever_the_rounding():
    rows = [child(0, 0, seed, 0.1) for seed in (1, 2, 3)]  # their mean in floats is more than 0.1
    drawn = branching.gain_table(
        plots_tables.averages(*rows, average(0, 0, "1-2-3", "across", 3, 0.1))
    )
    assert str(drawn["gain"].item()) == "0.0"


def test_the_zero_line_separates_negative_cells_from_the_others():
    gains = np.array([[0.0, -1.0], [2.0, np.nan], [-1.0, -3.0]])
    assert branching.zero_line(gains) == [
        [(0.5, -0.5), (0.5, 0.5)],  # 0 | -1
        [(-0.5, 1.5), (0.5, 1.5)],  # 2 below -1
    ]


def test_the_map_shows_exactly_what_was_tabled():
    table = plots_tables.study(spawn_steps=(0, 8, 16), child_steps=(0, 4))
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
    scale, axes = branching.draw_gain(branching.gain_table(GAIN_SMALL)).axes
    norm = axes.collections[0].norm
    assert (norm.vmin, norm.vmax) == pytest.approx((-0.1, 0.1))
    assert norm(0.0) == pytest.approx(0.5)
    labels = [text.get_text() for text in scale.get_xticklabels()]
    assert labels == ["-0.1", "-0.03", "-0.01", "0", "+0.01", "+0.03", "+0.1"]


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), tuple(range(41))])
@pytest.mark.parametrize("child_steps", [(0,), (4,), tuple(range(50))])
def test_maps_of_all_sizes_are_drawn(spawn_steps, child_steps):
    figure = branching.draw_gain(
        branching.gain_table(plots_tables.study(spawn_steps, child_steps, seeds=(1, 2)))
    )
    figure.canvas.draw()
    axes = figure.axes[1]
    assert 1 <= len(axes.get_xticks()) <= 17
    assert 1 <= len(axes.get_yticks()) <= 40


def test_gains_that_are_all_zero_are_white():
    table = plots_tables.averages(
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
def test_what_is_not_in_the_table_is_refused_of_gain(arguments, message):
    with pytest.raises(ValueError, match=f"^nothing to draw {message}$"):
        branching.gain_table(GAIN_SMALL, **arguments)


def test_children_without_averages_are_refused():
    with pytest.raises(ValueError, match="with kind across; the table has no rows at all"):
        branching.gain_table(GAIN_SMALL[GAIN_SMALL["kind"] == "child"])


def test_an_average_without_its_children_is_refused():
    table = GAIN_SMALL[(GAIN_SMALL["kind"] != "child") | (GAIN_SMALL["seeds"] != "2")]
    message = (
        "no accuracy of child 2 alone, which is in average 1-2-3 of spawn step 8, child step 4"
    )
    with pytest.raises(ValueError, match=message):
        branching.gain_table(table)
