import csv
import json

import pytest
import torch

from isthmus.connectivity import permutation_spec, plane
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from isthmus.connectivity.plan import PlaneFiles, PlaneRequest, file_digests
from isthmus.models.mlp import MLP
from isthmus.store import files as store_files
from tests import toys
from tests.connectivity import small


def build():
    return MLP((2, 4, 4), 3, [8, 5])


ASKED = {"points": 2, "splits": ["train", "test"]}


def saved(folder, *weights):
    """Files of networks."""
    files = [folder / f"{name}.safetensors" for name, _ in zip("abcdefg", weights, strict=False)]
    for file, each in zip(files, weights, strict=True):
        store_files.save_weights(file, each, {})
    return files


@pytest.fixture
def files(tmp_path):
    return saved(tmp_path, *(small.make(build, seed).state_dict() for seed in range(4)))


def measured(folder, three, others=(), **request):
    files = PlaneFiles(folder)
    asked = PlaneRequest(**(ASKED | request))
    plane.measure_plane(files, small.evaluator(build()), three, others, asked)
    return files


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_plane_has_its_grid_its_networks_and_a_summary(files, tmp_path):
    found = measured(tmp_path / "run", files[:3], files[3:], points=3, margin=0.5)
    assert len(read(found.grid)) == 9 * 2
    names = [row["name"] for row in read(found.networks)]
    assert names == [*"AABBCC", *[f"{files[3].parent.name}/d"] * 2]
    result = json.loads(found.run.result.read_text())
    assert result == {
        "points": 3,
        "margin": 0.5,
        "align": "none",
        "bn": "reset",
        "splits": ["train", "test"],
        "grids": {"3": ["train", "test"]},
        "precision": "fp32",
        "num_threads": torch.get_num_threads(),
        "num_classes": 3,
        "num_examples": {"train": 40, "test": 20},
        "plane": file_digests(files[:3]),
        "projected": file_digests(files[3:]),
    }
    assert found.is_done(PlaneRequest(points=3, splits=["train", "test"]), files[3:])


def test_a_projected_network_is_off_the_plane_and_one_of_the_three_is_on_it(files, tmp_path):
    found = measured(tmp_path / "run", files[:3], [files[3], files[1]])
    rows = {(row["name"], row["split"]): row for row in read(found.networks)}
    distances = {name.split("/")[-1]: float(row["distance"]) for (name, _), row in rows.items()}
    assert distances["d"] > 0.1
    assert distances["b"] < 1e-5
    assert distances["A"] == distances["B"] == distances["C"] == 0


def test_further_splits_and_projections_are_added_to_what_is_there(files, tmp_path, monkeypatch):
    measured(tmp_path / "run", files[:3], splits=["test"])
    calls, original = [], InterpolationEvaluator.evaluate

    def evaluate(self, some, shares, bn, splits=None):
        calls.append((len(some), list(splits or self.splits)))
        return original(self, some, shares, bn, splits)

    monkeypatch.setattr(InterpolationEvaluator, "evaluate", evaluate)
    found = measured(tmp_path / "run", files[:3], files[3:], splits=["val"])
    assert {tuple(splits) for number, splits in calls if number == 3} == {("val",)}
    assert found.run.read_result()["splits"] == ["val", "test"]
    assert {row["split"] for row in read(found.networks)} == {"val", "test"}
    assert found.is_done(PlaneRequest(points=2, splits=["test"]), files[3:])
    at_once = measured(tmp_path / "once", files[:3], files[3:], splits=["test", "val"])
    assert found.grid.read_bytes() == at_once.grid.read_bytes()
    assert found.networks.read_bytes() == at_once.networks.read_bytes()


def test_a_finer_grid_is_added_to_what_is_there(files, tmp_path):
    measured(tmp_path / "run", files[:3], points=3, splits=["val"])
    found = measured(tmp_path / "run", files[:3], points=5)
    assert found.run.read_result()["grids"] == {"3": ["val"], "5": ["train", "test"]}
    assert {row["split"] for row in read(found.networks)} == {"train", "val", "test"}
    for points, splits in ((3, ["val"]), (5, ["train", "test"])):
        assert found.is_done(PlaneRequest(points=points, splits=splits), [])
    assert not found.is_done(PlaneRequest(points=3, splits=["test"]), [])


def test_a_plane_that_was_interrupted_ends_as_an_uninterrupted_one(files, tmp_path, monkeypatch):
    whole = measured(tmp_path / "whole", files[:3])

    def fails(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(plane, "networks_table", fails)
        measured(tmp_path / "parts", files[:3])
    assert not PlaneFiles(tmp_path / "parts").is_done(PlaneRequest(points=2, splits=["train"]), [])
    parts = measured(tmp_path / "parts", files[:3])
    for name in ("grid", "networks"):
        assert getattr(parts, name).read_bytes() == getattr(whole, name).read_bytes()
    assert parts.run.read_result() == whole.run.read_result()


@pytest.mark.parametrize("align", ["weights", "activations"])
def test_all_other_networks_are_aligned_with_the_first(align, tmp_path):
    four = [small.make(build, seed).state_dict() for seed in range(4)]
    evaluator = small.evaluator(build())
    units = permutation_spec.find_groups(evaluator.model, evaluator.calibration)
    twin = permute(four[0], units, draw_permutations(units, seed=1))
    assert not toys.equal(twin, four[0])
    found = measured(
        tmp_path / "run", saved(tmp_path, *four[:3]), saved(tmp_path / "d", twin), align=align
    )
    *_, last = read(found.networks)
    assert float(last["x"]) == float(last["y"]) == 0
    assert float(last["distance"]) == 0


def test_three_networks_on_a_line_are_refused_and_leave_nothing(files, tmp_path):
    a, b = (store_files.load_weights(file)[0] for file in files[:2])
    middle = {name: tensor.lerp(b[name], 0.25) for name, tensor in a.items()}
    (between,) = saved(tmp_path / "middle", middle)
    with pytest.raises(ValueError, match="^plane: the three networks are on one line, which spans"):
        measured(tmp_path / "run", [*files[:2], between])
    assert not (tmp_path / "run").exists()


def test_a_split_that_the_data_has_not_is_refused(files, tmp_path):
    data = toys.data(num_val=0)
    evaluator = small.evaluator(build(), data)
    request = PlaneRequest(points=2, splits=["val"])
    with pytest.raises(ValueError, match="^splits=val: this data set has train, test$"):
        plane.measure_plane(PlaneFiles(tmp_path / "run"), evaluator, files[:3], [], request)
