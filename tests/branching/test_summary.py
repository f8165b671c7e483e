from dataclasses import replace

import pytest

from isthmus.branching import results
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnRequest, SpawnTree
from isthmus.branching.results import LEG_COLUMNS, Legs
from isthmus.store import files

ASKED = SpawnRequest(spawn_steps=["0ep"], child_seeds=list(range(10)))
PLAN = SpawnPlan(ASKED, 4, 16)


def write(tree, *rows):
    """A table of rows (spawn_step, child_step, kind, num_models, model, split, accuracy)."""
    written = []
    for position, (spawn_step, child_step, kind, num, model, split, accuracy) in enumerate(rows):
        members = tuple((position, child_step) for _ in range(num))
        average = PlannedAverage(kind, child_step, (position,), members)
        how = {"model": model, "bn": "reset", "split": split}
        row = results.average_row(
            PLAN, spawn_step, average, how, {"loss": 1.0, "accuracy": accuracy}
        )
        written.append([row[name] for name in results.AVERAGE_COLUMNS])
    files.write_csv(tree.averages, results.AVERAGE_COLUMNS, written)


def table(tree):
    """The summary of the branches: first line, head, and one list of words a spawn step."""
    (text,) = results.summarize(tree, ASKED)
    first, head, *lines = text.splitlines()
    return first, head, [line.split() for line in lines]


def child(spawn_step, child_step, accuracy, model="plain", split="test"):
    return spawn_step, child_step, "child", 1, model, split, accuracy


def test_each_spawn_step_has_its_mean_child_and_mean_averages_at_the_last_child_step(tmp_path):
    tree = SpawnTree(tmp_path)
    write(
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
    write(tree, *(child(0, 4, accuracies[split], split=split) for split in splits))
    first, _, ((_, _, accuracy),) = table(tree)
    assert first.startswith(f"mean {shown} accuracy")
    assert float(accuracy) == accuracies[shown]


def test_it_speaks_of_plain_networks_or_else_of_the_first_averaged_model(tmp_path):
    tree = SpawnTree(tmp_path)
    averaged = child(0, 4, 0.2, "ema_0.9"), child(0, 4, 0.3, "ema_0.99")
    write(tree, *averaged, child(0, 4, 0.1))
    assert table(tree)[2] == [["0ep", "1ep", "0.1000"]]
    write(tree, *averaged)
    first, _, lines = table(tree)
    assert first.startswith("mean test accuracy of ema_0.9 children")
    assert lines == [["0ep", "1ep", "0.2000"]]


def test_an_empty_tree_has_nothing_to_say(tmp_path):
    assert results.summarize(SpawnTree(tmp_path), ASKED) == []
    write(SpawnTree(tmp_path))
    assert results.summarize(SpawnTree(tmp_path), ASKED) == []


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
    files.write_csv(legs.table, LEG_COLUMNS, rows)
    (text,) = results.summarize(legs.tree, ASKED, legs)
    lines = text.splitlines()
    assert lines[0] == "test accuracy"
    assert [line.split() for line in lines[1:]] == [
        ["leg", "parent", "children", "average"],
        ["0", "0.4000", "0.5500", "0.7000"],
        ["1", "0.4100", "0.5600", "0.7100"],
    ]


def test_other_children_and_other_treatments_of_batch_norm_are_left_out(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, child(0, 4, 0.2), child(0, 4, 0.4), (0, 4, "across", 2, "plain", "test", 0.9))
    only_first = replace(ASKED, child_seeds=[0])
    (text,) = results.summarize(tree, only_first)
    assert text.splitlines()[-1].split() == ["0ep", "1ep", "0.2000"]
    assert results.summarize(tree, replace(ASKED, bn="keep")) == []
