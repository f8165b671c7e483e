import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from isthmus.plots import options, studies, trials
from tests.plots import searched

NAMES = ["history", "importance", "slices", "parallel"]


def draw(found, importance, folder):
    tables = {options.TRIALS: found, options.IMPORTANCE: importance}
    return studies.draw_tables("tune", tables, folder)


def test_all_that_the_tables_allow_is_drawn_and_not_empty(tmp_path):
    files = draw(searched.trials(), searched.importance(), tmp_path)
    assert {file.name for file in files} == {f"{n}.{kind}" for n in NAMES for kind in KINDS}
    for name in NAMES:
        with Image.open(tmp_path / f"{name}.png") as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 20


KINDS = ("csv", "png", "pdf")


@pytest.mark.parametrize(("count", "drawn"), [(1, ["history", "slices", "parallel"]), (0, [])])
def test_little_is_drawn_of_little(count, drawn, tmp_path):
    files = draw(searched.trials(20)[:count], searched.importance()[:0], tmp_path)
    assert [file.stem for file in files if file.suffix == ".csv"] == drawn


def test_a_search_of_which_all_failed_has_no_figures(tmp_path):
    table = searched.trials().assign(state="failed", value=None)
    assert draw(table, searched.importance()[:0], tmp_path) == []


def test_the_best_so_far_only_rises_and_passes_over_failures():
    drawn = trials.trial_history_table(searched.trials())
    values = drawn["value"].tolist()
    for place, best in enumerate(drawn["best"]):
        assert best == np.nanmax(values[: place + 1])
    assert drawn["best"].is_monotonic_increasing


def test_a_failure_before_any_value_has_no_best():
    table = searched.trials()
    first = pd.concat([table[3:4].assign(number=-1), table[:3]])
    assert trials.trial_history_table(first)["best"].isna().tolist() == [True, False, False, False]


def test_the_history_shows_exactly_what_was_tabled():
    drawn = trials.trial_history_table(searched.trials())
    axes = trials.draw_trial_history(drawn).axes[0]
    complete = drawn[drawn["state"] == "complete"]
    points, failed = axes.collections
    np.testing.assert_array_equal(points.get_offsets(), complete[["number", "value"]])
    np.testing.assert_array_equal(failed.get_offsets()[:, 0], [3])
    (best,) = axes.get_lines()
    np.testing.assert_array_equal(best.get_ydata(), drawn["best"])
    assert axes.get_ylabel() == "validation accuracy (fraction)"


def test_bars_are_in_the_order_of_their_length():
    drawn = trials.trial_importance_table(searched.importance())
    axes = trials.draw_trial_importance(drawn).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["optimizer.lr", "scheduler"]
    assert axes.yaxis_inverted()


def test_each_option_has_a_panel_with_all_complete_trials():
    drawn = trials.trial_slices_table(searched.trials())
    figure = trials.draw_trial_slices(drawn)
    panels = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}
    assert list(panels) == ["optimizer.lr", "averaged.decay", "scheduler"]
    for axes in panels.values():
        (points,) = axes.collections
        np.testing.assert_array_equal(points.get_offsets()[:, 1], drawn["value"])
    lr, decay, scheduler = panels.values()
    np.testing.assert_allclose(lr.collections[0].get_offsets()[:, 0], drawn["optimizer.lr"])
    assert (lr.get_xscale(), decay.get_xscale()) == ("log", "linear")
    assert [tick.get_text() for tick in decay.get_xticklabels()] == ["0.9", "0.99", "0.999"]
    places = np.asarray(scheduler.collections[0].get_offsets()[:, 0]).round()
    names = [tick.get_text() for tick in scheduler.get_xticklabels()]
    assert [names[int(place)] for place in places] == drawn["scheduler"].tolist()


def test_numbers_tried_again_and_again_are_choices():
    assert not trials.is_number(pd.Series([0.9, 0.99] * 3))
    assert trials.is_number(pd.Series([0.9, 0.99]))
    assert trials.is_number(pd.Series([*range(9), 0]))
    assert not trials.is_number(pd.Series([True, False]))
    assert not trials.is_by_ratio(pd.Series([-1.0, 2.0, 100.0]))


def test_choices_are_in_order():
    assert list(trials.choice_order(pd.Series([0.99, 0.9, 0.99]))) == ["0.9", "0.99"]


def test_each_trial_is_a_line_through_its_values_and_the_best_is_on_top():
    drawn = trials.trial_parallel_table(searched.trials())
    axes = trials.draw_trial_parallel(drawn).axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    heights = np.array([line.get_ydata() for line in lines])
    assert len(lines) == len(drawn) == 19
    logs = np.log(drawn["optimizer.lr"])
    np.testing.assert_allclose(heights[:, 0], (logs - logs.min()) / np.ptp(logs))
    np.testing.assert_array_equal(heights[:, 2], drawn["scheduler"] == "cosine")
    assert drawn["value"].is_monotonic_increasing
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(drawn.columns[2:])


def test_an_option_of_one_value_has_an_axis_of_one_point():
    heights = trials.draw_option_axis(Figure().subplots(), 0, pd.Series([0.1, 0.1]))
    assert heights.tolist() == [0, 0]
    assert trials.draw_option_axis(Figure().subplots(), 0, pd.Series([0.1])).tolist() == [0]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_any_number_of_options_is_drawn(count):
    table = searched.trials()[["number", "state", "value"]]
    for i in range(count):
        table[f"option_{i}"] = range(len(table))
    for draw, make_table in (
        (trials.draw_trial_slices, trials.trial_slices_table),
        (trials.draw_trial_parallel, trials.trial_parallel_table),
    ):
        figure = draw(make_table(table))
        figure.savefig(io.BytesIO(), format="png")


def test_tables_of_nothing_are_refused():
    failed = searched.trials().assign(state="failed")
    for make_table in (
        trials.trial_history_table,
        trials.trial_slices_table,
        trials.trial_parallel_table,
    ):
        with pytest.raises(ValueError, match="with state complete; the table has failed"):
            make_table(failed)
        with pytest.raises(ValueError, match="no column state"):
            make_table(failed.drop(columns="state"))
    with pytest.raises(ValueError, match="the table of importance has no options"):
        trials.trial_importance_table(searched.importance()[:0])
    with pytest.raises(ValueError, match="no column option"):
        trials.trial_importance_table(failed)
