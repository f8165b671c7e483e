import pandas as pd
import pytest
from matplotlib.figure import Figure

from isthmus.plots import frames
from tests.plots import connected, tables

GRID = connected.study(k1=(0.0, 0.5), k2=(2.0, 1.0), seeds=(1,), splits=("test",))
FILES = connected.line(None, None, None)


def test_pairs_are_found_in_order_and_the_line_between_files_first():
    table = pd.concat([GRID, FILES])
    assert frames.list_pairs(table) == [None, (0, 1), (0, 2), (0.5, 1), (0.5, 2)]
    assert len(frames.rows_of_pair(table, None)) == len(frames.rows_of_pair(table, (0.5, 2.0))) == 9
    assert frames.list_pairs(frames.rows_of_pairs(table, [(0, 2), None])) == [None, (0, 2)]


def test_treatments_are_in_the_order_of_a_comparison():
    sorts = [("weights", "repair"), ("activations", "keep"), ("weights", "reset"), ("none", "keep")]
    table = pd.DataFrame(sorts, columns=frames.TREATMENT)
    assert frames.treatments(table) == [sorts[3], sorts[2], sorts[0], sorts[1]]


def test_a_pair_is_named_by_steps_in_files_and_by_epochs_in_words():
    assert frames.pair_file_name(GRID, (0.5, 2.0)) == "k1_4it_k2_2ep"
    fine = connected.line(1.125, 30)
    assert frames.pair_file_name(fine, (1.125, 30)) == "k1_1ep1it_k2_30ep"
    assert frames.pair_title((1.125, 30)) == "k1 = 1.12ep, k2 = 30ep"
    assert frames.figure_title(fine) == "k1 = 1.12ep, k2 = 30ep, align: none, batch norm: reset"
    assert frames.pair_title(None) == frames.pair_file_name(FILES, None) == ""
    assert frames.figure_title(FILES) == "align: none, batch norm: reset"


@pytest.mark.parametrize(
    ("epochs", "scale", "labels"),
    [
        ([0, 1, 2, 5], "linear", ["0", "1", "2", "5"]),
        ([3], "linear", ["3"]),
        ([0, 0.5, 10, 100], "symlog", ["0", "0.5", "1", "10", "100"]),
    ],
)
def test_epochs_are_marked_where_they_were_measured(epochs, scale, labels):
    axes = Figure().subplots()
    frames.epoch_axis(axes, "k1", pd.Series(epochs))
    assert axes.get_xscale() == scale
    assert [text.get_text() for text in axes.get_xticklabels()] == labels
    assert axes.get_xlabel() == "shared epochs k1"


def test_many_epochs_have_fewer_ticks():
    axes = Figure().subplots()
    axes.plot([0, 50], [0, 1])
    frames.epoch_axis(axes, "k2", pd.Series([0, *range(5, 51)]))
    assert len(axes.get_xticks()) < 12


@pytest.mark.parametrize(
    ("table", "pair", "message"),
    [
        (GRID, None, "between two files; the table has k1 = 0ep, k2 = 1ep, .*, k2 = 2ep"),
        (GRID, (7, 1), "with k1 7; the table has 0.0, 0.5"),
        (GRID, (0, 7), "with k2 7; the table has 1.0, 2.0"),
        (GRID[:0], None, "between two files; the table has no rows at all"),
    ],
)
def test_a_pair_that_is_not_there_is_refused(table, pair, message):
    with pytest.raises(ValueError, match=f"^nothing to draw {message}$"):
        frames.rows_of_pair(table, pair)


def test_a_treatment_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="with align weights; the table has none$"):
        frames.rows_of_treatment(GRID, "weights", "reset")
    with pytest.raises(ValueError, match="with bn keep; the table has reset$"):
        frames.rows_of_treatment(GRID, "none", "keep")


def test_networks_are_listed_in_the_order_of_their_numbers():
    assert frames.join_seeds(["10", "2", "1"]) == "1 2 10"
    assert frames.join_seeds(["1-10", "1-2"]) == "1-2 1-10"


def test_children_are_selected_beside_averages_of_any_statistics():
    table = tables.study()
    kept = table.assign(bn="keep")
    assert set(frames.select_averages(kept, "test", "plain", "keep")["kind"]) == set(table["kind"])
    chosen = frames.select_averages(table, "test", "plain", "reset")
    assert set(chosen.loc[chosen["kind"] == "child", "bn"]) == {"keep"}
    assert set(chosen.loc[chosen["kind"] != "child", "bn"]) == {"reset"}
