import random
from pathlib import Path

import pytest

from isthmus import runs
from isthmus.branching import cells
from isthmus.branching.plan import Average, Plan, Request
from isthmus.branching.tree import Tree

PLAN = Plan(Request(spawn_steps=["1ep"], child_seeds=[1]), 3, 9)
ACROSS = Average("across", 4, (10, 2), ((10, 4), (2, 4)))
BACK = Average("back", 4, (2,), ((2, 0), (2, 4)))
CHILD = Average("child", 4, (2,), ((2, 4),))


def row(average=ACROSS, spawn_step=3, loss=0.1 + 0.2, **how):
    how = {"model": "plain", "bn": "reset", "split": "test"} | how
    return cells.row(PLAN, spawn_step, average, how, {"loss": loss, "accuracy": 2 / 3})


def test_a_row_says_what_was_evaluated_and_gives_every_digit():
    assert row() == {
        "spawn_step": "3",
        "child_step": "4",
        "spawn_epoch": "1",
        "child_epoch": "1.33333",
        "seeds": "10-2",
        "kind": "across",
        "model": "plain",
        "num_models": "2",
        "bn": "reset",
        "split": "test",
        "loss": "0.30000000000000004",
        "accuracy": "0.6666666666666666",
    }


def test_the_columns_of_the_issue_are_there():
    asked = "spawn_step child_step seeds kind num_models bn split loss accuracy".split()
    assert set(asked) <= set(cells.COLUMNS)
    assert set(row()) == set(cells.COLUMNS)


def test_a_key_finds_the_row_in_the_table_of_its_folder(tmp_path):
    rows = [
        row(split=split, model=model) for split in ("train", "test") for model in ("plain", "a")
    ]
    runs.write_csv(tmp_path / "a.csv", cells.COLUMNS, cells.in_order(rows))
    read = cells.read(tmp_path / "a.csv")
    assert len(read) == 4
    assert read[cells.key(ACROSS, "a", "reset", "train")] == row(split="train", model="a")


def test_a_table_that_is_not_there_has_no_rows(tmp_path):
    assert cells.read_rows(tmp_path / "a.csv") == []
    assert cells.read(tmp_path / "a.csv") == {}


def test_a_child_is_evaluated_as_trained_and_as_the_averages_it_is_compared_with():
    treatments = {bn: cells.treatments(CHILD, bn) for bn in ("reset", "average", "keep")}
    assert treatments == {
        "reset": ["keep", "reset"],
        "average": ["keep", "average"],
        "keep": ["keep"],
    }
    assert cells.treatments(BACK, "reset") == ["reset"]


def test_the_order_of_a_table_does_not_depend_on_the_order_of_its_rows():
    rows = [
        row(average, spawn_step, model=model, split=split)
        for spawn_step in (0, 3, 12)
        for average in (CHILD, ACROSS, BACK, Average("child", 11, (10,), ((10, 11),)))
        for model in ("plain", "ema_0.9")
        for split in cells.SPLITS
    ]
    expected = cells.in_order(rows)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert cells.in_order(rows) == expected


def test_steps_and_seeds_are_sorted_as_numbers_and_splits_as_they_come_in_a_study():
    rows = [row(Average("child", k, (s,), ((s, k),))) for k in (11, 2) for s in (10, 9)]
    assert [(r[1], r[4]) for r in cells.in_order(rows)] == [
        ("2", "9"),
        ("2", "10"),
        ("11", "9"),
        ("11", "10"),
    ]
    splits = [row(split=split) for split in ("test", "val", "train")]
    position = cells.COLUMNS.index("split")
    assert [r[position] for r in cells.in_order(splits)] == ["train", "val", "test"]
    kinds = [row(a) for a in (BACK, ACROSS, CHILD)]
    position = cells.COLUMNS.index("kind")
    found = [r[position] for r in cells.in_order([r | {"seeds": "2"} for r in kinds])]
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
    assert cells.folder(Tree(Path("t")), "1ep", average).folder == Path("t") / folder


def test_the_table_of_a_tree_has_the_rows_of_all_folders_whoever_asked_for_them(tmp_path):
    tree, rows = Tree(tmp_path), [row(CHILD), row(BACK), row(ACROSS, spawn_step=6)]
    for average, some in zip((CHILD, BACK, ACROSS), rows, strict=True):
        path = cells.folder(tree, "1ep", average).folder / cells.NAME
        runs.write_csv(path, cells.COLUMNS, cells.in_order([some]))
    rows_as_read = [{name: some[name] for name in cells.COLUMNS} for some in rows]
    runs.write_csv(tree.averages, cells.COLUMNS, [])  # of which it is not itself a part
    assert sorted(cells.of_tree(tree), key=str) == sorted(rows_as_read, key=str)


def test_an_empty_tree_has_no_rows(tmp_path):
    assert cells.of_tree(Tree(tmp_path / "nothing")) == []
