import pytest

from isthmus.connectivity.plan import PlaneFiles, PlaneRequest, file_digests
from isthmus.store import files as store_files


def done(folder, projected=(), splits=("train", "test"), points=5):
    """The files of a plane, as a finished one leaves them."""
    files = PlaneFiles(folder)
    for path in (files.grid, files.networks):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    grids = {str(points): list(splits)}
    content = {"splits": list(splits), "grids": grids, "projected": file_digests(projected)}
    store_files.write_json(files.run.result, content)
    return files


def of(splits, points=5):
    return PlaneRequest(points=points, splits=splits)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_text("weights")
    return path


def test_a_request_is_read_from_the_values_of_a_configuration():
    values = {"points": 5, "margin": 0.1, "align": "weights", "bn": "keep", "splits": ["val"]}
    assert PlaneRequest.from_values(values | {"plane": ["a", "b", "c"]}) == PlaneRequest(**values)


def test_a_folder_that_is_not_there_is_not_done(tmp_path):
    assert not PlaneFiles(tmp_path / "nowhere").is_done(of(["train"]), [])


def test_a_plane_is_done_for_its_splits_and_no_others(tmp_path):
    files = done(tmp_path)
    assert files.is_done(of(["train", "test"]), [])
    assert files.is_done(of(["test"]), [])
    assert not files.is_done(of(["test", "val"]), [])


def test_a_plane_is_done_for_its_points_and_no_others(tmp_path):
    files = done(tmp_path)
    assert not files.is_done(of(["test"], points=9), [])
    store_files.write_json(files.run.result, {"points": 5, "splits": ["test"], "projected": {}})
    assert not files.is_done(of(["test"]), [])  # of an older version, which had other ends


def test_networks_at_chance_are_named(tmp_path):
    files = done(tmp_path)
    store_files.write_json(files.run.result, {"num_classes": 10})
    rows = [
        (name, bn, split, loss)
        for name, loss in (("A", 0.5), ("B", 2.3026), ("C", 2.29))
        for bn in ("reset", "as_trained")
        for split in ("train", "test")
    ]
    store_files.write_csv(files.networks, ("name", "bn", "split", "loss"), rows)
    assert files.at_chance().endswith("log(10) = 2.3026, or more: B")
    store_files.write_csv(files.networks, ("name", "bn", "split", "loss"), rows[:4])
    assert files.at_chance() is None


@pytest.mark.parametrize("name", ["grid", "networks"])
def test_a_plane_without_one_of_its_tables_is_not_done(tmp_path, name):
    files = done(tmp_path)
    getattr(files, name).unlink()
    assert not files.is_done(of(["train"]), [])


def test_a_plane_is_done_only_with_the_networks_that_are_to_be_projected(tmp_path, weights):
    assert not done(tmp_path).is_done(of(["train"]), [weights])
    files = done(tmp_path, [weights])
    assert files.is_done(of(["train"]), [weights])
    assert not files.is_done(of(["train"]), [])
    weights.write_text("others")
    assert not files.is_done(of(["train"]), [weights])


def test_digests_say_what_files_hold(tmp_path, weights):
    copy = tmp_path / "e.safetensors"
    copy.write_bytes(weights.read_bytes())
    found = file_digests([weights, copy, tmp_path / "none"])
    assert found[str(weights)] == found[str(copy)]
    assert found[str(tmp_path / "none")] == "absent"
