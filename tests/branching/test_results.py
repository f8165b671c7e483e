import itertools
import random
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus import tables
from isthmus.branching import results
from isthmus.branching.plan import (
    PlannedAverage,
    SpawnPlan,
    SpawnTree,
    average_folder,
    member_snapshots,
    state_file,
    weights_file,
)
from isthmus.branching.results import LEG_COLUMNS, Legs, leg_rows
from isthmus.store import files as store_files
from isthmus.vocabulary import SPLITS
from tests.branching import families

PLAN = SpawnPlan.from_options(families.asked(spawn_steps=["1ep"], child_seeds=[1]), 3, 9)
ACROSS = PlannedAverage("across", 4, (10, 2), ((10, 4), (2, 4)))
BACK = PlannedAverage("back", 4, (2,), ((2, 0), (2, 4)))
CHILD = PlannedAverage("child", 4, (2,), ((2, 4),))


def row(average=ACROSS, spawn_step=3, loss=0.1 + 0.2, **how):
    how = {"model": "plain", "bn": "reset", "split": "test"} | how
    return results.average_row(PLAN, spawn_step, average, how, {"loss": loss, "accuracy": 2 / 3})


def test_a_row_says_what_was_evaluated_and_gives_every_digit():
    assert row() == {
        "spawn_step": 3,
        "child_step": 4,
        "spawn_epoch": "1",
        "child_epoch": "1.33333",
        "seeds": "10-2",
        "kind": "across",
        "model": "plain",
        "num_models": 2,
        "bn": "reset",
        "split": "test",
        "loss": 0.1 + 0.2,
        "accuracy": 2 / 3,
    }


def test_the_columns_of_the_issue_are_there():
    asked = "spawn_step child_step seeds kind num_models bn split loss accuracy".split()
    assert set(asked) <= set(results.AVERAGE_COLUMNS)
    assert set(row()) == set(results.AVERAGE_COLUMNS)


def test_a_key_finds_the_row_in_the_table_of_its_folder(tmp_path):
    rows = [
        row(split=split, model=model) for split in ("train", "test") for model in ("plain", "a")
    ]
    tables.write(tmp_path / "a.csv", results.AVERAGE_COLUMNS, rows)
    keys = tables.read_keys(tmp_path / "a.csv", results.KEY)
    wanted = [
        results.row_key(ACROSS, m, "reset", s) for s in ("train", "test") for m in ("plain", "a")
    ]
    assert keys == wanted


def test_a_child_is_evaluated_as_trained_and_as_the_averages_it_is_compared_with():
    treatments = {bn: results.bn_modes(CHILD, bn) for bn in ("reset", "average", "keep")}
    assert treatments == {
        "reset": ["keep", "reset"],
        "average": ["keep", "average"],
        "keep": ["keep"],
    }
    assert results.bn_modes(BACK, "reset") == ["reset"]


def sort_rows(rows):
    """Rows as they are in a table, in its order."""
    texts = [{name: str(cell) for name, cell in row.items()} for row in rows]
    return sorted(texts, key=results.row_order)


def test_the_order_of_a_table_does_not_depend_on_the_order_of_its_rows():
    rows = [
        row(average, spawn_step, model=model, split=split)
        for spawn_step in (0, 3, 12)
        for average in (CHILD, ACROSS, BACK, PlannedAverage("child", 11, (10,), ((10, 11),)))
        for model in ("plain", "ema_0.9")
        for split in SPLITS
    ]
    expected = sort_rows(rows)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert sort_rows(rows) == expected


def test_steps_and_seeds_are_sorted_as_numbers_and_splits_as_they_come_in_a_study():
    rows = [row(PlannedAverage("child", k, (s,), ((s, k),))) for k in (11, 2) for s in (10, 9)]
    assert [(r["child_step"], r["seeds"]) for r in sort_rows(rows)] == [
        ("2", "9"),
        ("2", "10"),
        ("11", "9"),
        ("11", "10"),
    ]
    splits = [row(split=split) for split in ("test", "val", "train")]
    assert [r["split"] for r in sort_rows(splits)] == ["train", "val", "test"]
    kinds = [row(a) for a in (BACK, ACROSS, CHILD)]
    found = [r["kind"] for r in sort_rows([r | {"seeds": "2"} for r in kinds])]
    assert found == ["child", "across", "back"]


@pytest.mark.parametrize(
    ("average", "folder"),
    [
        (CHILD, "children/1ep/seed_2"),
        (BACK, "avg_back/1ep/seed_2"),
        (ACROSS, "avg_across/1ep/seeds_10-2"),
    ],
)
def test_an_average_lies_with_those_of_its_kind_and_seeds(average, folder):
    assert average_folder(SpawnTree(Path("t")), "1ep", average).folder == Path("t") / folder


def test_the_table_of_a_tree_has_the_rows_of_all_folders_whoever_asked_for_them(tmp_path):
    tree, rows = SpawnTree(tmp_path), [row(CHILD), row(BACK), row(ACROSS, spawn_step=6)]
    for average, some in zip((CHILD, BACK, ACROSS), rows, strict=True):
        path = average_folder(tree, "1ep", average).folder / results.TABLE_NAME
        tables.write(path, results.AVERAGE_COLUMNS, [some])
    tables.write(tree.averages, results.AVERAGE_COLUMNS, [])  # of which it is not itself a part
    results.complete_tables(tree)
    assert tables.read(tree.averages).to_dict("records") == [
        {name: some[name] for name in results.AVERAGE_COLUMNS} for some in sort_rows(rows)
    ]


def test_an_empty_tree_has_no_rows(tmp_path):
    tree = SpawnTree(tmp_path / "nothing")
    results.complete_tables(tree)
    assert tree.averages.read_text() == ",".join(results.AVERAGE_COLUMNS) + "\n"
    assert tree.distances.read_text() == ",".join(results.DISTANCE_COLUMNS) + "\n"


def legs(folder=Path("t"), **changes):
    values = {
        "tree": SpawnTree(folder),
        "num_legs": 2,
        "strategy": None,
        "child_seeds": [1, 2],
        "child_length": None,
        "bn": "reset",
    }
    return Legs(**(values | changes))


def test_the_parent_of_the_first_leg_is_that_of_the_tree():
    made = legs()
    assert made.parent(0) == made.tree.parent
    assert made.parent(1).folder == made.folder / "leg_1" / "parent"
    assert made.child(0, 2).folder == made.folder / "leg_0" / "children" / "seed_2"
    assert made.average(0).folder == made.folder / "leg_0" / "average"


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "decrease_lr"},
        {"child_seeds": [1, 2, 3]},
        {"child_seeds": [2, 1]},
        {"child_length": "1ep"},
        {"bn": "average"},
    ],
)
def test_what_changes_the_legs_changes_their_folder(changes):
    assert legs(**changes).folder != legs().folder


def test_more_legs_are_added_to_the_same_folder():
    assert legs(num_legs=5).folder == legs(num_legs=1).folder


def test_children_are_as_long_as_the_parent_unless_asked_otherwise():
    assert legs().length(3, 9) == 9
    assert legs(child_length="1ep2it").length(3, 9) == 5


def test_legs_are_done_when_the_table_has_them_all(tmp_path):
    made = legs(tmp_path)
    assert not made.are_done()
    row = ["child", "1", 16, "keep", "test", "0.5", "0.5"]
    tables.write(made.table, LEG_COLUMNS, [[1, *row]])
    assert not made.are_done()
    tables.write(made.table, LEG_COLUMNS, [[0, *row], [1, *row]])
    assert made.are_done()
    assert legs(tmp_path, num_legs=1).are_done()
    assert not legs(tmp_path, num_legs=3).are_done()


def test_the_rows_of_a_network_are_its_splits():
    table = {"train": {"loss": 0.1 * 3, "accuracy": 0.25}, "test": {"loss": 5.0, "accuracy": 1.0}}
    rows = leg_rows(1, ("child", "2"), 8, "keep", table)
    assert rows == [
        dict(zip(LEG_COLUMNS, [1, "child", "2", 8, "keep", "train", 0.1 * 3, 0.25], strict=True)),
        dict(zip(LEG_COLUMNS, [1, "child", "2", 8, "keep", "test", 5.0, 1.0], strict=True)),
    ]


def plan(*seeds, child_steps=("0", "2it")):
    return SpawnPlan.from_options(
        families.asked(spawn_steps=["1ep"], child_seeds=[*seeds], child_steps=[*child_steps]), 3, 9
    )


def kept(tree, *seeds, iteration=5):
    """Children of 1ep, iteration 3, whose snapshots of an iteration are there."""
    for seed in seeds:
        store_files.write_bytes(tree.child("1ep", seed).snapshot_state(iteration), b"")


def l2(seed, other):
    """A number that says what it belongs to."""
    return float(f"{seed}.{other}") if other.isdigit() else 0.5


def distances(tree):
    """The rows of the table of the whole tree."""
    results.complete_tables(tree)
    return tables.read(tree.distances).to_dict("records")


def write(tree, seeds, child_step="2", folder="1ep", spawn_step="3"):
    """The table of one spawn step, with every pair of some seeds."""
    rows = []
    for seed in seeds:
        for other in (*results.ALONE, *(str(s) for s in seeds if s > seed)):
            cosine = "" if other == "origin" else repr(-l2(seed, other))
            moment = (spawn_step, child_step, "1", "0.666667")
            rows.append((*moment, str(seed), other, repr(l2(seed, other)), cosine))
    tables.write(tree.distance(folder), results.PAIRS, rows)


def test_every_child_is_held_against_its_origins_and_every_pair_of_siblings_once(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 1, 2, 10)
    found = results.missing_distances(tree, plan(10, 1, 2, child_steps=["2it"]), 3)
    alone = [("2", str(seed), other) for seed in (1, 2, 10) for other in results.ALONE]
    couples = [("2", "1", "2"), ("2", "1", "10"), ("2", "2", "10")]
    assert sorted(found) == sorted(alone + couples)


def test_at_the_spawn_step_nothing_of_a_child_needs_to_be_kept(tmp_path):
    assert {
        step for step, _, _ in results.missing_distances(SpawnTree(tmp_path), plan(1, 2), 3)
    } == {"0"}


def test_a_child_that_stopped_early_is_left_out_of_later_steps(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 2)
    found = results.missing_distances(tree, plan(1, 2, child_steps=["2it"]), 3)
    assert found == [("2", "2", other) for other in results.ALONE]


def test_what_is_in_the_table_is_not_missing(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 1, 2, 3)
    write(tree, [1, 2])
    asked = plan(1, 2, child_steps=["2it"])
    assert results.missing_distances(tree, asked, 3) == []
    more = results.missing_distances(tree, plan(1, 2, 3, child_steps=["2it"]), 3)
    assert [(seed, other) for _, seed, other in more] == [
        ("1", "3"),
        ("2", "3"),
        *(("3", other) for other in results.ALONE),
    ]


def test_the_order_of_the_seeds_does_not_matter(tmp_path):
    asked = [
        results.missing_distances(SpawnTree(tmp_path), plan(*p), 3)
        for p in itertools.permutations([1, 2, 9])
    ]
    assert all(found == asked[0] for found in asked)


def test_the_distance_to_siblings_is_the_mean_over_all_pairs_of_a_child(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [1, 2, 5])
    rows = {row["seed"]: row for row in distances(tree)}
    assert list(rows) == ["1", "2", "5"]
    couples = {"1": [1.2, 1.5], "2": [1.2, 2.5], "5": [1.5, 2.5]}
    for seed, values in couples.items():
        assert float(rows[seed]["l2_siblings"]) == pytest.approx(statistics.fmean(values))
        assert float(rows[seed]["cosine_siblings"]) == pytest.approx(-statistics.fmean(values))
        assert rows[seed]["l2_origin"] == rows[seed]["l2_parent"] == "0.5"
        assert rows[seed]["cosine_initialization"] == rows[seed]["cosine_parent"] == "-0.5"


def test_an_only_child_has_empty_cells_for_siblings(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [7])
    (row,) = distances(tree)
    empty = [name for name in results.DISTANCE_COLUMNS if row[name] == ""]
    assert empty == ["l2_siblings", "cosine_siblings"]


def test_the_table_of_a_tree_is_sorted_by_numbers(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [10, 9], folder="4ep", spawn_step="12", child_step="11")
    write(tree, [2], folder="1ep")
    found = [(row["spawn_step"], row["child_step"], row["seed"]) for row in distances(tree)]
    assert found == [("3", "2", "2"), ("12", "11", "9"), ("12", "11", "10")]


def test_rows_of_pairs_are_sorted_by_step_then_child_then_what_it_is_held_against():
    names = ("child_step", "seed", "other")
    keys = [("2", "1", other) for other in (*results.ALONE, "2", "10")]
    keys += [("2", "9", "parent"), ("10", "1", "origin")]
    rows = [dict(zip(names, key, strict=True)) for key in keys]
    assert sorted(reversed(rows), key=results.pair_order) == rows


ASKED = families.asked(spawn_steps=["0ep"], child_seeds=list(range(10)))
SUMMARY_PLAN = SpawnPlan.from_options(ASKED, 4, 16)


def write_summary(tree, *rows):
    """A table of rows (spawn_step, child_step, kind, num_models, model, split, accuracy)."""
    written = []
    for position, (spawn_step, child_step, kind, num, model, split, accuracy) in enumerate(rows):
        members = tuple((position, child_step) for _ in range(num))
        average = PlannedAverage(kind, child_step, (position,), members)
        how = {"model": model, "bn": "reset", "split": split}
        row = results.average_row(
            SUMMARY_PLAN, spawn_step, average, how, {"loss": 1.0, "accuracy": accuracy}
        )
        written.append(row)
    tables.write(tree.averages, results.AVERAGE_COLUMNS, written)


def table(tree):
    """The summary of the branches: first line, head, and one list of words a spawn step."""
    text = results.summarize(tree, ASKED)
    first, head, *lines = text.splitlines()
    return first, head, [line.split() for line in lines]


def child(spawn_step, child_step, accuracy, model="plain", split="test"):
    return spawn_step, child_step, "child", 1, model, split, accuracy


def test_each_spawn_step_has_its_mean_child_and_mean_averages_at_the_last_child_step(tmp_path):
    tree = SpawnTree(tmp_path)
    write_summary(
        tree,
        child(0, 4, 0.9),  # not the last
        child(0, 8, 0.5),
        child(0, 8, 0.7),
        (0, 8, "across", 2, "plain", "test", 0.75),
        (0, 8, "across", 3, "plain", "test", 0.85),
        (0, 8, "back", 2, "plain", "test", 0.25),
        (0, 8, "back", 2, "plain", "test", 0.35),
        child(10, 2, 0.8),
    )
    first, head, lines = table(tree)
    assert first == (
        "mean test accuracy of plain children, and of averages of as many networks (bn=reset)"
    )
    assert head.split("  ") == ["spawned at", "compared at", "child", "across 2", "across 3"] + [
        "back 2"
    ]
    assert lines == [
        ["0ep", "2ep", "0.6000", "0.7500", "0.8500", "0.3000"],
        ["2.5ep", "0.5ep", "0.8000"],
    ]


@pytest.mark.parametrize(
    ("splits", "shown"),
    [(["train"], "train"), (["train", "val"], "val"), (["test", "val", "train"], "test")],
)
def test_it_speaks_of_the_test_split_or_the_last_that_there_is(tmp_path, splits, shown):
    tree = SpawnTree(tmp_path)
    accuracies = {"train": 0.1, "val": 0.2, "test": 0.3}
    write_summary(tree, *(child(0, 4, accuracies[split], split=split) for split in splits))
    first, _, ((_, _, accuracy),) = table(tree)
    assert first.startswith(f"mean {shown} accuracy")
    assert float(accuracy) == accuracies[shown]


def test_it_speaks_of_plain_networks_or_else_of_the_first_averaged_model(tmp_path):
    tree = SpawnTree(tmp_path)
    averaged = child(0, 4, 0.2, "ema_0.9"), child(0, 4, 0.3, "ema_0.99")
    write_summary(tree, *averaged, child(0, 4, 0.1))
    assert table(tree)[2] == [["0ep", "1ep", "0.1000"]]
    write_summary(tree, *averaged)
    first, _, lines = table(tree)
    assert first.startswith("mean test accuracy of ema_0.9 children")
    assert lines == [["0ep", "1ep", "0.2000"]]


def test_an_empty_tree_has_nothing_to_say(tmp_path):
    assert results.summarize(SpawnTree(tmp_path), ASKED) == ""
    write_summary(SpawnTree(tmp_path))
    assert results.summarize(SpawnTree(tmp_path), ASKED) == ""


def test_legs_have_their_parent_mean_child_and_average(tmp_path):
    legs = Legs(SpawnTree(tmp_path), 2, None, [1, 2], None, "reset")
    rows = []
    for leg in (0, 1, 2):  # one of them was asked for by someone else
        for split, minus in (("train", 0.0), ("test", 0.1)):
            for role, seeds, accuracy in (
                ("parent", "", 0.5),
                ("child", "1", 0.6),
                ("child", "2", 0.7),
                ("average", "1-2", 0.8),
            ):
                number = accuracy - minus + leg / 100
                rows.append([leg, role, seeds, 16, "keep", split, "1.0", 0.0])
                rows.append([leg, role, seeds, 16, "reset", split, "1.0", number])
    tables.write(legs.table, LEG_COLUMNS, rows)
    text = results.summarize(legs.tree, ASKED, legs)
    lines = text.splitlines()
    assert lines[0] == "test accuracy"
    assert [line.split() for line in lines[1:]] == [
        ["leg", "parent", "children", "average"],
        ["0", "0.4000", "0.5500", "0.7000"],
        ["1", "0.4100", "0.5600", "0.7100"],
    ]


def test_other_children_and_other_treatments_of_batch_norm_are_left_out(tmp_path):
    tree = SpawnTree(tmp_path)
    write_summary(
        tree, child(0, 4, 0.2), child(0, 4, 0.4), (0, 4, "across", 2, "plain", "test", 0.9)
    )
    only_first = replace(ASKED, child_seeds=[0])
    text = results.summarize(tree, only_first)
    assert text.splitlines()[-1].split() == ["0ep", "1ep", "0.2000"]
    assert results.summarize(tree, replace(ASKED, bn="keep")) == ""


SPAWNED = 3  # 1ep
MODELS = ("plain", "ema_0.9")
BNS = ("reset", "average", "keep")


def plan_wanted(**asked):
    values = {"spawn_steps": ["1ep"], "child_seeds": [1, 2], "child_steps": ["0", "2it", "4it"]}
    request = families.asked(**(values | {"child_length": "4it"} | asked))
    return SpawnPlan.from_options(request, 3, 9)


def trained(run, *kept, models=MODELS, end=None, stopped=None):
    """A run that looks as if it had been trained."""
    for iteration in kept:
        for model in models:
            store_files.write_bytes(run.weights(iteration, model), b"")
        store_files.write_bytes(run.snapshot_state(iteration), b"")
    end = max(kept) if end is None else end
    reached = end if stopped is None else stopped
    summary = {"iteration": reached, "end": end, "iterations_per_epoch": 3}
    store_files.write_json(run.result, summary | {"stopped_early": stopped is not None})


def evaluated(tree, asked):
    """The tables of all that is asked for."""
    for run, some in results.cells_by_folder(tree, asked, SPAWNED).items():
        rows = []
        for average in some:
            for model in results.common_models(tree, asked, SPAWNED, average):
                for bn in results.bn_modes(average, asked.bn):
                    for split in asked.splits:
                        how = {"model": model, "bn": bn, "split": split}
                        cell = {"loss": 1.0, "accuracy": 0.5}
                        rows.append(results.average_row(asked, SPAWNED, average, how, cell))
        tables.write(run.folder / results.TABLE_NAME, results.AVERAGE_COLUMNS, rows)


def measured(tree, asked):
    missing = results.missing_distances(tree, asked, SPAWNED)
    rows = [(SPAWNED, step, "1", "0", seed, other, "1.0", "") for step, seed, other in missing]
    tables.write(tree.distance("1ep"), results.PAIRS, rows)


@pytest.fixture
def tree(tmp_path):
    """A parent and two children, trained but neither evaluated nor measured."""
    tree = SpawnTree(tmp_path)
    trained(tree.parent, 0, SPAWNED, end=9)
    for seed in (1, 2):
        trained(tree.child("1ep", seed), 5, 7)
    return tree


@pytest.fixture
def done(tree):
    evaluated(tree, plan_wanted())
    measured(tree, plan_wanted())
    return tree


def test_a_tree_that_has_everything_lacks_nothing(done):
    assert results.is_complete(done, plan_wanted(), save=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"spawn_steps": ["1ep", "2ep"]},
        {"spawn_steps": ["1ep", "2ep"], "only": 0},  # the parent keeps them for the other jobs
        {"spawn_step": "4it"},
        {"child_seeds": [1, 2, 3]},
        {"child_steps": ["0", "2it", "3it", "4it"]},
        {"child_length": "5it"},
        {"averages": ["across", "back", "back_plus_one"]},
        {"bn": "average"},
        {"bn": "average", "averages": []},  # children are treated as averages would be
        {"bn": "keep"},
        {"splits": ["train", "val", "test"]},
    ],
    ids=str,
)
def test_whoever_asks_for_more_is_given_more(done, asked):
    assert not results.is_complete(done, plan_wanted(**asked), save=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"child_seeds": [1]},
        {"child_seeds": [2, 1]},
        {"child_steps": ["4it"]},
        {"child_length": "2it", "child_steps": ["2it"]},
        {"averages": ["back"]},
        {"averages": []},
        {"averages": [], "bn": "keep"},  # which every child has
        {"models": ["averaged"]},
        {"splits": ["test"]},
    ],
    ids=str,
)
def test_whoever_asks_for_less_has_it(done, asked):
    assert results.is_complete(done, plan_wanted(**asked), save=False)


def test_averages_as_weights_are_more(done):
    assert not results.is_complete(done, plan_wanted(), save=True)


@pytest.mark.parametrize(
    "lost",
    [
        "parent/result.json",
        "parent/weights/step_3.state.pt",
        "children/1ep/seed_2/result.json",
        "children/1ep/seed_2/weights/step_5.safetensors",
        "children/1ep/seed_1/averages.csv",
        "avg_back/1ep/seed_2/averages.csv",
        "avg_across/1ep/seeds_1-2/averages.csv",
        "distance/1ep/pairs.csv",
    ],
)
def test_a_file_that_is_lost_is_wanted(done, lost):
    (done.folder / lost).unlink()
    assert not results.is_complete(done, plan_wanted(), save=False)


def test_a_file_of_another_study_in_the_same_tree_is_not_wanted(done):
    trained(done.child("2ep", 1), 7)
    assert results.is_complete(done, plan_wanted(), save=False)


def test_an_average_has_the_models_that_all_of_its_members_have(tmp_path):
    tree = SpawnTree(tmp_path)  # with SWA there is no averaged model before it starts
    trained(tree.parent, 0, SPAWNED, models=["plain"])
    trained(tree.child("1ep", 1), 5, models=["plain", "swa"])
    back = PlannedAverage("back", 2, (1,), ((1, 0), (1, 2)))
    child = PlannedAverage("child", 2, (1,), ((1, 2),))
    assert results.common_models(tree, plan_wanted(), SPAWNED, back) == ["plain"]
    assert results.common_models(tree, plan_wanted(), SPAWNED, child) == ["plain", "swa"]
    averaged = plan_wanted(models=["averaged"])
    assert results.common_models(tree, averaged, SPAWNED, back) == []
    assert results.common_models(tree, averaged, SPAWNED, child) == ["swa"]


def test_a_child_that_stopped_early_has_nothing_later(tmp_path):
    tree, asked = SpawnTree(tmp_path), plan_wanted()
    trained(tree.parent, 0, SPAWNED, end=9)
    trained(tree.child("1ep", 1), 5, 7)
    trained(tree.child("1ep", 2), 5, end=7, stopped=6)
    cells_of = {
        run.folder.name: {
            (cell.average.kind, cell.average.child_step)
            for cell in results.missing_averages(tree, asked, SPAWNED, run, some, save=False)
        }
        for run, some in results.cells_by_folder(tree, asked, SPAWNED).items()
        if "avg_back" not in run.folder.parts
    }
    assert cells_of == {
        "seed_1": {("child", 0), ("child", 2), ("child", 4)},
        "seed_2": {("child", 0), ("child", 2)},
        "seeds_1-2": {("across", 2)},
    }
    evaluated(tree, asked)
    measured(tree, asked)
    assert results.is_complete(tree, asked, save=False)


def test_only_the_splits_that_are_missing_are_evaluated(tree):
    evaluated(tree, plan_wanted(splits=["test"]))
    asked = plan_wanted(splits=["train", "test"])
    for run, some in results.cells_by_folder(tree, asked, SPAWNED).items():
        left = results.missing_averages(tree, asked, SPAWNED, run, some, save=False)
        assert {tuple(cell.splits) for cell in left} == {("train",)}
        treatments = {"keep", "reset"} if "children" in run.folder.parts else {"reset"}
        assert {cell.bn for cell in left} == treatments


def lacking(tree, asked, seed):
    """What the table of a child lacks."""
    run = tree.child("1ep", seed)
    some = results.cells_by_folder(tree, asked, SPAWNED)[run]
    return results.missing_averages(tree, asked, SPAWNED, run, some, save=False)


def test_a_child_that_was_evaluated_as_trained_alone_lacks_the_treatment_of_averages(tree):
    expected = [(step, model) for step in (0, 2, 4) for model in MODELS]
    for bn in ("reset", "average"):
        left = lacking(tree, plan_wanted(bn=bn), 1)
        for treatment in ("keep", bn):
            of_it = [cell for cell in left if cell.bn == treatment]
            assert [(cell.average.child_step, cell.model) for cell in of_it] == expected
        assert len(left) == 2 * len(expected)
    evaluated(tree, plan_wanted(bn="keep"))
    for bn in ("reset", "average"):
        left = lacking(tree, plan_wanted(bn=bn), 1)
        assert [(cell.average.child_step, cell.model) for cell in left] == expected
        assert {cell.bn for cell in left} == {bn}
    assert lacking(tree, plan_wanted(bn="keep"), 1) == []


def test_weights_that_alone_are_missing_leave_nothing_to_evaluate(tree):
    evaluated(tree, plan_wanted())
    left = []
    for run, some in results.cells_by_folder(tree, plan_wanted(), SPAWNED).items():
        left += results.missing_averages(tree, plan_wanted(), SPAWNED, run, some, save=True)
    assert {cell.average.kind for cell in left} == {"across", "back"}
    assert not any(cell.splits for cell in left)


@pytest.mark.parametrize("bn", BNS)
def test_an_average_killed_between_its_weights_and_its_state_is_saved_again(tree, bn):
    asked = plan_wanted(bn=bn)
    evaluated(tree, asked)
    average = PlannedAverage("across", 2, (1, 2), ((1, 2), (2, 2)))
    run = tree.average_across("1ep", [1, 2])
    for model in MODELS:
        store_files.write_bytes(weights_file(run, average, 5, model, bn), b"")
    (cell,) = results.missing_averages(tree, asked, SPAWNED, run, [average], save=True)
    assert (cell.model, cell.bn, cell.splits) == ("plain", bn, [])
    store_files.write_bytes(state_file(run, average, 5, bn), b"")
    assert results.missing_averages(tree, asked, SPAWNED, run, [average], save=True) == []


@pytest.mark.parametrize("saved", BNS)
@pytest.mark.parametrize("bn", BNS)
def test_an_average_saved_under_one_treatment_is_not_saved_under_another(tree, saved, bn):
    evaluated(tree, plan_wanted(bn=bn))
    average = PlannedAverage("across", 2, (1, 2), ((1, 2), (2, 2)))
    run = tree.average_across("1ep", [1, 2])
    for model in MODELS:
        store_files.write_bytes(weights_file(run, average, 5, model, saved), b"")
    store_files.write_bytes(state_file(run, average, 5, saved), b"")
    left = results.missing_averages(tree, plan_wanted(bn=bn), SPAWNED, run, [average], save=True)
    assert [cell.model for cell in left] == ([] if saved == bn else list(MODELS))


def test_members_lie_with_their_child_and_at_the_spawn_step_with_the_parent(tmp_path):
    tree = SpawnTree(tmp_path)
    average = PlannedAverage("back", 4, (2,), ((2, 0), (2, 1), (2, 4)))
    child = tree.child("1ep", 2)
    places = [(tree.parent, 3), (child, 4), (child, 7)]
    assert member_snapshots(tree, plan_wanted(), SPAWNED, average) == places


def test_kinds_and_treatments_in_one_folder_have_files_of_their_own(tmp_path):
    run, member = SpawnTree(tmp_path).average_back("1ep", 1), (1, 2)
    kinds = [kind for kind in results.KINDS if kind.startswith("back")]
    some = [PlannedAverage(kind, 2, (1,), ((1, 0), member)) for kind in kinds]
    files = []
    for bn in BNS:
        for average in some:
            files += [weights_file(run, average, 5, model, bn) for model in MODELS]
            files.append(state_file(run, average, 5, bn))
    assert len(set(files)) == 3 * len(kinds) * len(BNS)
    assert run.weights(5) in files and run.snapshot_state(5) in files  # to train on from


@pytest.mark.parametrize(
    ("kind", "bn", "name"),
    [
        ("across", "reset", "step_12"),
        ("across", "keep", "keep_step_12"),
        ("back", "reset", "step_12"),
        ("back", "average", "average_step_12"),
        ("back_all", "reset", "back_all_step_12"),
        ("back_all", "keep", "back_all_keep_step_12"),
    ],
)
def test_a_file_says_the_treatment_unless_statistics_were_reset(tmp_path, kind, bn, name):
    run, average = store_files.Run(tmp_path), PlannedAverage(kind, 2, (1,), ((1, 1), (1, 2)))
    folder = tmp_path / "weights"
    assert weights_file(run, average, 12, "plain", bn) == folder / f"{name}.safetensors"
    ema = weights_file(run, average, 12, "ema_0.9", bn)
    assert ema == folder / f"{name}.ema_0.9.safetensors"
    assert state_file(run, average, 12, bn) == folder / f"{name}.state.pt"


def test_each_folder_is_gone_through_once(tmp_path):
    tree = SpawnTree(tmp_path)
    folders = results.cells_by_folder(
        tree, plan_wanted(averages=["across", "back", "back_all"]), SPAWNED
    )
    assert {run.folder.relative_to(tmp_path).as_posix() for run in folders} == {
        "children/1ep/seed_1",
        "children/1ep/seed_2",
        "avg_back/1ep/seed_1",
        "avg_back/1ep/seed_2",
        "avg_across/1ep/seeds_1-2",
    }
    kinds = [{average.kind for average in some} for some in folders.values()]
    assert sorted(map(sorted, kinds)) == [
        ["across"],
        *[["back", "back_all"]] * 2,
        *[["child"]] * 2,
    ]


def test_what_a_finished_study_needs_imports_no_torch():
    modules = "options plan results".split()
    code = f"import sys; from isthmus.branching import {', '.join(modules)}; "
    code += "print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n"
