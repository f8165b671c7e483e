import math

import pytest

from isthmus import sweep_means


@pytest.mark.parametrize(
    ("option", "is_seed"),
    [
        ("global_seed", True),
        ("seeds.dropout", True),
        ("child_seeds", False),
        ("optimizer.lr", False),
    ],
)
def test_seeds_tell_repetitions_from_each_other(option, is_seed):
    assert sweep_means.is_seed(option) == is_seed


def test_settings_stay_in_the_order_of_the_jobs():
    jobs = [({"lr": value}, {"x": float(n)}) for n, value in enumerate(["3", "1", "3"])]
    groups = sweep_means.group_settings(jobs, ["lr"])
    assert groups == {("3",): [{"x": 0.0}, {"x": 2.0}], ("1",): [{"x": 1.0}]}


def test_trainings_show_one_measure_of_each_kind_of_model():
    names = ["plain", "ema_0.9", "averaged", "best"]
    results = {f"{name} {split} accuracy": 0.5 for name in names for split in ("val", "test")}
    text = sweep_means.summarize_means([], {(): [results]})
    assert text.splitlines()[0].startswith("test accuracy")
    assert text.splitlines()[1].split() == ["seeds", "plain", "averaged", "best"]


def test_other_results_are_shown_as_they_are_named():
    text = sweep_means.summarize_means(["width"], {("2",): [{"found": 2.0}, {"found": math.nan}]})
    assert text.splitlines()[1:] == ["width  seeds       found", "    2      2  nan +- nan"]
