import dataclasses
from typing import Any

import pytest

from isthmus.connectivity import options

PLANE = ["a", "b", "c"]


def branches(**changes: Any) -> list[str]:
    values = dataclasses.asdict(options.InterpolateBranches(k1=[0, "1ep"], k2=5))
    return options.errors(values | changes)


def line(**changes: Any) -> list[str]:
    values = dataclasses.asdict(options.InterpolateLine(start="a", end="b"))
    return options.errors(values | changes)


def plane(**changes: Any) -> list[str]:
    values = dataclasses.asdict(options.InterpolatePlane(plane=PLANE))
    return options.errors(values | changes)


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
        ({"k2": [3, -2]}, "k2=-2: must not be negative"),
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
        ({"points": 1}, "points=1: must be at least 2, each way"),
        ({"points": -5}, "points=-5: must be at least 2, each way"),
        ({"margin": -1}, "margin=-1: must not be negative"),
        ({"margin": float("nan")}, "margin=nan: must not be negative"),
        ({"margin": float("inf")}, "margin=inf: must be finite"),
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


def test_a_branch_has_the_next_seed_unless_seeds_are_given():
    assert options.child_seeds({"child_seeds": None, "global_seed": 4}) == [5]
    assert options.child_seeds({"child_seeds": [3], "global_seed": 4}) == [3]
