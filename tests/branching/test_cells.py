import random
from pathlib import Path

import pytest

from isthmus.branching import results
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnRequest, SpawnTree
from isthmus.store import files

PLAN = SpawnPlan(SpawnRequest(spawn_steps=["1ep"], child_seeds=[1]), 3, 9)
ACROSS = PlannedAverage("across", 4, (10, 2), ((10, 4), (2, 4)))
BACK = PlannedAverage("back", 4, (2,), ((2, 0), (2, 4)))
CHILD = PlannedAverage("child", 4, (2,), ((2, 4),))


def row(average=ACROSS, spawn_step=3, loss=0.1 + 0.2, **how):
    how = {"model": "plain", "bn": "reset", "split": "test"} | how
    return results.average_row(PLAN, spawn_step, average, how, {"loss": loss, "accuracy": 2 / 3})


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
    assert set(asked) <= set(results.AVERAGE_COLUMNS)
    assert set(row()) == set(results.AVERAGE_COLUMNS)


def test_a_key_finds_the_row_in_the_table_of_its_folder(tmp_path):
    rows = [
        row(split=split, model=model) for split in ("train", "test") for model in ("plain", "a")
    ]
    files.write_csv(tmp_path / "a.csv", results.AVERAGE_COLUMNS, results.sort_rows(rows))
    read = results.read_averages(tmp_path / "a.csv")
    assert len(read) == 4
    assert read[results.row_key(ACROSS, "a", "reset", "train")] == row(split="train", model="a")


def test_a_table_that_is_not_there_has_no_rows(tmp_path):
    assert results.read_rows(tmp_path / "a.csv") == []
    assert results.read_averages(tmp_path / "a.csv") == {}


def test_a_child_is_evaluated_as_trained_and_as_the_averages_it_is_compared_with():
    treatments = {bn: results.bn_modes(CHILD, bn) for bn in ("reset", "average", "keep")}
    assert treatments == {
        "reset": ["keep", "reset"],
        "average": ["keep", "average"],
        "keep": ["keep"],
    }
    assert results.bn_modes(BACK, "reset") == ["reset"]


def test_the_order_of_a_table_does_not_depend_on_the_order_of_its_rows():
    rows = [
        row(average, spawn_step, model=model, split=split)
        for spawn_step in (0, 3, 12)
        for average in (CHILD, ACROSS, BACK, PlannedAverage("child", 11, (10,), ((10, 11),)))
        for model in ("plain", "ema_0.9")
        for split in results.SPLITS
    ]
    expected = results.sort_rows(rows)
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert results.sort_rows(rows) == expected


def test_steps_and_seeds_are_sorted_as_numbers_and_splits_as_they_come_in_a_study():
    rows = [row(PlannedAverage("child", k, (s,), ((s, k),))) for k in (11, 2) for s in (10, 9)]
    assert [(r[1], r[4]) for r in results.sort_rows(rows)] == [
        ("2", "9"),
        ("2", "10"),
        ("11", "9"),
        ("11", "10"),
    ]
    splits = [row(split=split) for split in ("test", "val", "train")]
    position = results.AVERAGE_COLUMNS.index("split")
    assert [r[position] for r in results.sort_rows(splits)] == ["train", "val", "test"]
    kinds = [row(a) for a in (BACK, ACROSS, CHILD)]
    position = results.AVERAGE_COLUMNS.index("kind")
    found = [r[position] for r in results.sort_rows([r | {"seeds": "2"} for r in kinds])]
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
    assert results.average_folder(SpawnTree(Path("t")), "1ep", average).folder == Path("t") / folder


def test_the_table_of_a_tree_has_the_rows_of_all_folders_whoever_asked_for_them(tmp_path):
    tree, rows = SpawnTree(tmp_path), [row(CHILD), row(BACK), row(ACROSS, spawn_step=6)]
    for average, some in zip((CHILD, BACK, ACROSS), rows, strict=True):
        path = results.average_folder(tree, "1ep", average).folder / results.TABLE_NAME
        files.write_csv(path, results.AVERAGE_COLUMNS, results.sort_rows([some]))
    rows_as_read = [{name: some[name] for name in results.AVERAGE_COLUMNS} for some in rows]
    files.write_csv(tree.averages, results.AVERAGE_COLUMNS, [])  # of which it is not itself a part
    assert sorted(results.collect_averages(tree), key=str) == sorted(rows_as_read, key=str)


def test_an_empty_tree_has_no_rows(tmp_path):
    assert results.collect_averages(SpawnTree(tmp_path / "nothing")) == []
