from typing import Any

import pytest

from isthmus.config import schema, validation
from isthmus.connectivity import options
from isthmus.store import fingerprints
from tests import toys
from tests.values import defaults

PLANE = ["a", "b", "c"]


PARTS = """
class Net:
    def __init__(self, input_shape, num_classes): ...
def sgd(parameters): ...
def constant(iterations, iterations_per_epoch): ...
class Digits:
    def __init__(self, root: str | None = None): ...
"""


@pytest.fixture(autouse=True)
def parts(sources):
    sources({"parts.py": PARTS})


def branches(**changes: Any) -> list[str]:
    names = {"dataset": "Digits", "model": "Net", "optimizer": "sgd", "scheduler": "constant"}
    made = {group: {"_target_": f"isthmus.parts.{name}"} for group, name in names.items()}
    values = defaults(options.InterpolateBranches, k1=[0, "1ep"], k2=5, **made)
    values["seeds"] |= changes.pop("seeds", {})
    return validation.validation_errors(values | changes, options.InterpolateBranches)


def line(**changes: Any) -> list[str]:
    values = defaults(options.InterpolateLine, start="a", end="b", **changes)
    return validation.validation_errors(values, options.InterpolateLine)


def plane(**changes: Any) -> list[str]:
    values = defaults(options.InterpolatePlane, plane=PLANE)
    return validation.validation_errors(values | changes, options.InterpolatePlane)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"k1": 0, "k2": 1},
        {"k1": "0", "k2": "1it"},
        {"child_seeds": [2]},
        {"child_seeds": [1], "global_seed": 2},
        {"child_seeds": [1], "seeds": {"data_order": 3, "augmentation": None, "dropout": None}},
        {"alphas": 2, "refine": 1},
        {"alphas": [0, 0.1, 1.0]},
    ],
)
def test_branches_that_can_be_compared_have_no_errors(changes):
    assert branches(**changes) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"k2": 0}, "k2=0: must be positive; at k1 all branches are one network"),
        ({"k2": [1, "0ep"]}, "k2=0ep: must be positive; at k1 all branches are one network"),
        ({"k2": "0"}, "k2=0: must be positive; at k1 all branches are one network"),
        ({"k1": -1}, "k1=-1: must not be negative"),
        ({"k2": [3, -2]}, "k2=[3,-2]: must not be negative"),
        ({"k1": []}, "k1=[]: must hold at least one value"),
        ({"k2": []}, "k2=[]: must hold at least one value"),
        ({"k1": [1, 2, 1]}, "k1=[1,2,1]: must not repeat a value"),
        ({"child_seeds": []}, "child_seeds=[]: must hold at least one value"),
        ({"child_seeds": [3, 3]}, "child_seeds=[3,3]: must not repeat a value"),
        ({"child_seeds": [3, -1]}, "child_seeds=[3,-1]: must not be negative"),
        (
            {"child_seeds": [2, 1]},
            "child_seeds=[2,1]: with seed 1 and vary=[data_order,augmentation,dropout] the branch "
            "is the main one again",
        ),
        (
            {"vary": []},
            "child_seeds=[2]: with seed 2 and vary=[] the branch is the main one again",
        ),
        (
            {"child_seeds": [7], "vary": ["dropout"], "seeds": {"dropout": 7}},
            "child_seeds=[7]: with seed 7 and vary=[dropout] the branch is the main one again",
        ),
    ],
)
def test_branches_that_cannot_be_compared_are_refused(changes, error):
    assert branches(**changes) == [error]


@pytest.mark.parametrize("errors", [branches, line])
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"alphas": 1}, "alphas=1: must be at least 2, both ends"),
        ({"alphas": 0}, "alphas=0: must be at least 2, both ends"),
        ({"alphas": []}, "alphas=[]: must increase from 0 to 1, the two ends"),
        ({"alphas": [0.5]}, "alphas=[0.5]: must increase from 0 to 1, the two ends"),
        ({"alphas": [0, 0.5]}, "alphas=[0,0.5]: must increase from 0 to 1, the two ends"),
        ({"alphas": [0, 0.5, 0.5, 1]}, "alphas=[0,0.5,0.5,1]: must increase from 0 to 1, the two"),
        ({"alphas": [1, 0]}, "alphas=[1,0]: must increase from 0 to 1, the two ends"),
        ({"alphas": [0, float("nan"), 1]}, "alphas=[0,nan,1]: must increase from 0 to 1, the two"),
        ({"refine": 0}, "refine=0: must be positive"),
        ({"refine": -3}, "refine=-3: must be positive"),
    ],
)
def test_points_of_a_line_that_make_no_line_are_refused(errors, changes, error):
    (found,) = errors(**changes)
    assert found.startswith(error)


def test_the_line_between_two_saved_networks_has_no_errors():
    assert line() == line(alphas=[0, 1], refine=2) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"plane": ["a", "b"]}, "plane=[a,b]: must be three files of weights, got 2"),
        ({"plane": []}, "plane=[]: must be three files of weights, got 0"),
        ({"plane": [*PLANE, "d"]}, "plane=[a,b,c,d]: must be three files of weights, got 4"),
        ({"points": 1}, "points=1: must be at least 2"),
        ({"points": -5}, "points=-5: must be at least 2"),
        ({"margin": -1}, "margin=-1: must not be negative"),
        ({"margin": float("nan")}, "margin=nan: must not be negative"),
        ({"margin": float("inf")}, "margin=inf: must be below inf"),
    ],
)
def test_a_plane_that_has_no_grid_is_refused(changes, error):
    assert plane(**changes) == [error]


def test_a_plane_with_a_grid_has_no_errors():
    assert plane() == plane(points=2, margin=0) == plane(project=["d"]) == []


def test_everything_wrong_is_reported_at_once():
    wrong = {"k1": -1, "k2": 0, "alphas": 1, "refine": 0, "child_seeds": [1]}
    assert len(branches(**wrong)) == 5
    assert len(plane(plane=["a"], points=1, margin=-1)) == 3


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        (3, ["3ep"]),
        (0, ["0ep"]),
        ("500it", ["500it"]),
        ([0, "2ep100it", 7], ["0ep", "2ep100it", "7ep"]),
    ],
)
def test_a_whole_number_is_one_of_epochs(given, listed):
    assert options.list_steps(given) == listed


@pytest.mark.parametrize(("child_seeds", "expected"), [(None, [5]), ([3], [3])])
def test_a_branch_has_the_next_seed_unless_seeds_are_given(child_seeds, expected):
    chosen = {"global_seed": 4, "child_seeds": child_seeds, "k1": 0, "k2": 1}
    assert toys.options(options.InterpolateBranches, **chosen).seeds_of_children == expected


def complete(values, cls, typed):
    """Values of a mode, of a script that also takes a training."""
    known = {key: value for key, value in values.items() if key in schema.fields(cls)}
    return cls.complete_values(known, typed)


def interpolate(**changes):
    """Values of the script as they are composed, with a data set of its defaults."""
    dataset = {"_target_": "isthmus.data.torchvision_files.CIFAR10", "root": "data", "cutout": 4}
    return {
        "dataset": dataset,
        "model": {"_target_": "isthmus.models.mlp.MLP"},
        "precision": "fp32",
        "alphas": 25,
        "k1": "???",
        "start": "a",
        "end": "b",
        "plane": None,
        "splits": ["train"],
        "output_dir": "outputs",
        **changes,
    }


def test_saved_networks_take_only_their_own_values_and_none_of_the_training():
    own = complete(interpolate(), options.InterpolateLine, [])
    assert set(own) == {
        *("dataset", "precision", "alphas", "start", "end", "splits", "output_dir", "contents"),
        "dataset_typed",
    }
    assert own["dataset"] == {"root": "data"}
    assert own["precision"] is None


def test_saved_networks_have_no_children_to_train_at_a_time():
    runtime = {"device": "cpu", "num_jobs": 1}
    assert complete(interpolate(runtime=runtime), options.InterpolateLine, [])["runtime"] == {
        "device": "cpu"
    }
    typed = complete(interpolate(runtime=runtime), options.InterpolateLine, ["runtime.num_jobs"])
    assert typed["runtime"] == runtime  # which is refused


def test_what_was_typed_of_the_data_and_the_precision_stays():
    own = complete(
        interpolate(), options.InterpolateLine, ["dataset.cutout", "precision", "dataset.root"]
    )
    assert own["dataset"] == {"root": "data", "cutout": 4}
    assert own["precision"] == "fp32"
    typed = complete(interpolate(), options.InterpolateLine, ["dataset"])
    assert typed["dataset"] == interpolate()["dataset"]


def test_a_value_that_was_taken_away_is_not_there():
    assert complete(interpolate(), options.InterpolateLine, ["dataset.noise"])["dataset"] == {
        "root": "data"
    }
    assert complete(interpolate(dataset=None), options.InterpolateLine, [])["dataset"] == {}


def test_the_contents_of_the_networks_are_those_of_their_files_in_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("first"), b.write_text("second")
    first, second = (fingerprints.file_digest(str(file)) for file in (a, b))
    own = complete(interpolate(start=str(b), end=str(a)), options.InterpolateLine, [])
    assert own["contents"] == [second, first] != [first, second]
    plane = interpolate(start=None, end=None, plane=[str(a), str(b), "nowhere"])
    assert complete(plane, options.InterpolatePlane, [])["contents"] == [first, second, "absent"]
