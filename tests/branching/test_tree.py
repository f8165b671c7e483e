from pathlib import Path

from src.branching import tree
from src.branching.tree import Tree


def test_a_tree_has_one_folder_a_training_and_one_a_set_of_averages():
    made = Tree(Path("t"))
    folders = {
        "parent": made.parent,
        "pretrain": made.pretrain,
        "children/1ep/seed_2": made.child("1ep", 2),
        "avg_back/1ep/seed_2": made.back("1ep", 2),
        "avg_across/1ep2it/seeds_3-1-2": made.across("1ep2it", [3, 1, 2]),
    }
    assert {run.folder.relative_to("t").as_posix() for run in folders.values()} == set(folders)
    assert made.averages == Path("t/averages.csv")
    assert made.distances == Path("t/distance/distance.csv")
    assert made.distance("1ep") == Path("t/distance/1ep/pairs.csv")
    assert made.legs("plain") == Path("t/legs/plain")


def test_the_lock_of_the_tables_is_not_that_of_any_training():
    made = Tree(Path("t"))
    trained = [made.parent, made.pretrain, made.child("0ep", 1)]
    assert made.tables not in [*trained, made.back("0ep", 1), made.across("0ep", [1, 2])]


def test_seeds_are_written_in_the_order_given():
    assert tree.text([10, 2, 33]) == "10-2-33"
    assert tree.text((7,)) == "7"
