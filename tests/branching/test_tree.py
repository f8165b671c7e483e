from pathlib import Path

from isthmus.branching import plan
from isthmus.branching.plan import SpawnTree


def test_a_tree_has_one_folder_a_training_and_one_a_set_of_averages():
    made = SpawnTree(Path("t"))
    folders = {
        "parent": made.parent,
        "pretrain": made.pretrain,
        "children/1ep/seed_2": made.child("1ep", 2),
        "avg_back/1ep/seed_2": made.average_back("1ep", 2),
        "avg_across/1ep2it/seeds_3-1-2": made.average_across("1ep2it", [3, 1, 2]),
    }
    assert {run.folder.relative_to("t").as_posix() for run in folders.values()} == set(folders)
    assert made.averages == Path("t/averages.csv")
    assert made.distances == Path("t/distance/distance.csv")
    assert made.distance("1ep") == Path("t/distance/1ep/pairs.csv")
    assert made.legs("plain") == Path("t/legs/plain")


def test_the_lock_of_the_tables_is_not_that_of_any_training(tmp_path):
    made = SpawnTree(tmp_path)
    with made.lock_tables():
        for run in (
            made.parent,
            made.pretrain,
            made.child("0ep", 1),
            made.average_across("0ep", [1, 2]),
        ):
            with run.lock():
                pass
        assert Path(tmp_path / "distance" / "run.lock").exists()


def test_whoever_holds_the_tables_removes_what_a_killed_job_left(tmp_path):
    made = SpawnTree(tmp_path)
    made.figures.mkdir()
    left = [tmp_path / ".averages.csv.a_1.tmp", made.figures / ".x.png.a_1.tmp"]
    for path in left:
        path.write_text("half")
    with made.lock_tables():
        assert not any(path.exists() for path in left)


def test_seeds_are_written_in_the_order_given():
    assert plan.seeds_text([10, 2, 33]) == "10-2-33"
    assert plan.seeds_text((7,)) == "7"
