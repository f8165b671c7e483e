import pytest

from isthmus.store import locks


@pytest.mark.parametrize("name", ["run.lock", "parent/run.lock", ".hydra/config.yaml"])
def test_a_folder_in_which_nothing_was_written_is_removed_after_an_error(tmp_path, name):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    with pytest.raises(ValueError, match="^no$"), locks.folder_unless_error(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["parent/state.pt", "children/0ep/seed_2/weights/step_0.pt"])
def test_a_folder_in_which_something_was_written_stays_after_an_error(tmp_path, name):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    with pytest.raises(ValueError, match="^no$"), locks.folder_unless_error(folder):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        raise ValueError("no")
    assert (folder / name).exists()


def test_a_folder_that_is_held_by_another_job_stays_after_an_error(tmp_path):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    folder.mkdir(parents=True)
    with (
        locks.hold_shared(folder),
        pytest.raises(ValueError, match="^no$"),
        locks.folder_unless_error(folder),
    ):
        raise ValueError("no")
    assert folder.exists()


def test_a_folder_stays_where_nothing_went_wrong(tmp_path):
    with locks.folder_unless_error(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "a" / "b").is_dir()
