from pathlib import Path

import pytest

from isthmus.branching.plan import SpawnTree
from isthmus.branching.results import LEG_COLUMNS, Legs, leg_rows
from isthmus.store import files


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
    files.write_csv(made.table, LEG_COLUMNS, [[1, *row]])
    assert not made.are_done()
    files.write_csv(made.table, LEG_COLUMNS, [[0, *row], [1, *row]])
    assert made.are_done()
    assert legs(tmp_path, num_legs=1).are_done()
    assert not legs(tmp_path, num_legs=3).are_done()


def test_the_rows_of_a_network_are_its_splits():
    table = {"train": {"loss": 0.1 * 3, "accuracy": 0.25}, "test": {"loss": 5.0, "accuracy": 1.0}}
    rows = leg_rows(1, ("child", "2"), 8, "keep", table)
    assert rows == [
        [1, "child", "2", 8, "keep", "train", "0.30000000000000004", "0.25"],
        [1, "child", "2", 8, "keep", "test", "5.0", "1.0"],
    ]
    assert all(len(row) == len(LEG_COLUMNS) for row in rows)
