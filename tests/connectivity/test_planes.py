import pytest

from src import runs
from src.connectivity.planes import Files, Request, digests


def done(folder, projected=(), splits=("train", "test")):
    """The files of a plane, as a finished one leaves them."""
    files = Files(folder)
    for path in (files.grid, files.networks):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    content = {"splits": list(splits), "projected": digests(projected)}
    runs.write_json(files.run.result, content)
    return files


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_text("weights")
    return path


def test_a_request_is_read_from_the_values_of_a_configuration():
    values = {"points": 5, "margin": 0.1, "align": "weights", "bn": "keep", "splits": ["val"]}
    assert Request.of(values | {"plane": ["a", "b", "c"]}) == Request(**values)


def test_a_folder_that_is_not_there_is_not_done(tmp_path):
    assert not Files(tmp_path / "nowhere").is_done(["train"], [])


def test_a_plane_is_done_for_its_splits_and_no_others(tmp_path):
    files = done(tmp_path)
    assert files.is_done(["train", "test"], [])
    assert files.is_done(["test"], [])
    assert not files.is_done(["test", "val"], [])


@pytest.mark.parametrize("name", ["grid", "networks"])
def test_a_plane_without_one_of_its_tables_is_not_done(tmp_path, name):
    files = done(tmp_path)
    getattr(files, name).unlink()
    assert not files.is_done(["train"], [])


def test_a_plane_is_done_only_with_the_networks_that_are_to_be_projected(tmp_path, weights):
    assert not done(tmp_path).is_done(["train"], [weights])
    files = done(tmp_path, [weights])
    assert files.is_done(["train"], [weights])
    assert not files.is_done(["train"], [])
    weights.write_text("others")
    assert not files.is_done(["train"], [weights])


def test_digests_say_what_files_hold(tmp_path, weights):
    copy = tmp_path / "e.safetensors"
    copy.write_bytes(weights.read_bytes())
    found = digests([weights, copy, tmp_path / "none"])
    assert found[str(weights)] == found[str(copy)]
    assert found[str(tmp_path / "none")] == "absent"
