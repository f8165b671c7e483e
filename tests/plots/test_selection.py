import pytest

from isthmus.plots import folders, selection
from tests.plots import made


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Two schedules, two learning rates; the folder of a study; a table without options."""
    root = made.trainings(tmp_path_factory.mktemp("runs"), seeds=(1,))
    made.of_spawn(root / "spawn_1" / "seed_1")
    made.config(root / "spawn_1" / "seed_1", {"scheduler": "cosine"}, {"global_seed": 1}, [])
    made.of_sweeps(root / "wide_1")
    return folders.find_folders(str(root))


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({"scheduler": "constant"}, ["train_constant_0.1", "train_constant_0.5"]),
        ({"optimizer.lr": 0.5, "scheduler": "multistep"}, ["train_multistep_0.5"]),
        ({"optimizer.lr": [0.5, 7]}, ["train_constant_0.5", "train_multistep_0.5"]),
        ({"scheduler": ["cosine", "constant"], "global_seed": 1}, 3),
        ({"averaged.decay": 0.99}, 4),  # one of two
        ({"model.width": [16]}, 4),
        ({"global_seed": 1}, 5),
    ],
)
def test_runs_are_selected_by_all_of_some_values(found, where, names):
    chosen = [folder.path.parent.name for folder in selection.select_runs(found, where)]
    assert (len(chosen) if isinstance(names, int) else chosen) == names


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"lr": 0.1}, r"^where={lr: 0.1}: no run has that option; there are .*optimizer.lr"),
        ({"optimizer.lr": 3}, r"^where={optimizer.lr: 3}: the runs have 0.1, 0.5$"),
        ({"scheduler": "cosine", "optimizer.lr": 0.1}, "no run has all of these values$"),
    ],
)
def test_what_no_run_has_is_named_with_what_there_is(found, where, message):
    with pytest.raises(ValueError, match=message):
        selection.select_runs(found, where)
