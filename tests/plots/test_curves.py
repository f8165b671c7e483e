import math

import numpy as np
import pandas as pd
import pytest
import torch

from isthmus.connectivity import barriers
from isthmus.plots import lines as plots_lines
from tests.plots import connected
from tests.plots.connected import line


def test_chords_and_barriers_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    alphas = np.sort([0, 1, *rng.uniform(size=20)])
    loss, accuracy = rng.uniform(0, 3, 22), rng.uniform(0, 1, 22)
    drawn = plots_lines.curves_table(line(alphas=alphas, loss=loss, accuracy=accuracy))
    for metric, values in (("loss", loss), ("accuracy", 1 - accuracy)):
        curve, of_torch = drawn[drawn["metric"] == metric], torch.tensor(values)
        excess = barriers.excess(of_torch, torch.tensor(alphas))
        np.testing.assert_allclose(curve["excess"], excess, atol=1e-12)
        barrier = barriers.barrier(of_torch, torch.tensor(alphas)).item()
        frankle = barriers.barrier_frankle(of_torch).item()
        np.testing.assert_allclose(curve["barrier"], barrier, rtol=1e-12)
        np.testing.assert_allclose(curve["barrier_frankle"], frankle, rtol=1e-12)
        assert curve["chord"].iloc[[0, -1]].tolist() == curve["value"].iloc[[0, -1]].tolist()


def test_the_curves_of_children_are_the_rows_of_the_table():
    lines = connected.study(k1=(1.0,), k2=(3.0,), splits=("train",))
    drawn = plots_lines.curves_table(lines)
    each = drawn[(drawn["curve"] == "each child") & (drawn["metric"] == "loss")]
    assert each["value"].tolist() == lines["loss"].tolist()
    assert each["seeds"].tolist() == lines["child_seed"].astype(str).tolist()
    assert set(each["k1_step"]) == {8} and set(each["total"]) == {4}


def test_a_mean_is_taken_at_the_alphas_that_children_have_in_common():
    one = line(seed=1, alphas=[0, 0.5, 0.75, 1], loss=[1, 3, 4, 1], accuracy=4 * [1])
    other = line(seed=2, alphas=[0, 0.25, 0.5, 1], loss=[1, 5, 4, 1], accuracy=4 * [1])
    drawn = plots_lines.curves_table(pd.concat([one, other]), ("loss",))
    mean = drawn[drawn["curve"] == "mean child"]
    assert mean["alpha"].tolist() == [0, 0.5, 1]
    assert mean["value"].tolist() == [1, 3.5, 1]
    assert set(mean["seeds"]) == {"1 2"} and set(mean["barrier"]) == {2.5}
    own = drawn[drawn["curve"] == "each child"].groupby("seeds")["barrier"].first()
    assert own.to_dict() == {"1": 3, "2": 4}  # their mean is not the barrier of the mean


def test_a_mean_is_over_lines_with_equally_many_points():
    fine = [line(seed=seed, alphas=np.linspace(0, 1, 13)) for seed in (2, 3)]
    coarse = line(seed=4, alphas=np.linspace(0, 1, 5))
    drawn = plots_lines.curves_table(pd.concat([coarse, *fine]), ("loss",))
    mean = drawn[drawn["curve"] == "mean child"]
    assert set(mean["seeds"]) == {"2 3"} and len(mean) == 13
    assert mean["value"].tolist() == pytest.approx(
        ((fine[0]["loss"].to_numpy() + fine[1]["loss"].to_numpy()) / 2).tolist()
    )
    assert set(drawn.loc[drawn["curve"] == "each child", "seeds"]) == {"2", "3", "4"}
    alone = plots_lines.curves_table(pd.concat([coarse, fine[1]]), ("loss",))
    assert (
        set(plots_lines.main_curves(alone)["seeds"]) == {"3"}
        and plots_lines.curve_label(alone) == "one child"
    )
    assert plots_lines.main_curves(alone)["value"].tolist() == fine[1]["loss"].tolist()


def test_a_mean_of_several_main_branches_is_that_of_their_means():
    lines = pd.concat(
        line(seed=child, alphas=[0, 0.5, 1], loss=[1, value, 1], accuracy=3 * [1]).assign(
            global_seed=main
        )
        for main, child, value in ((1, 2, 2.0), (1, 3, 4.0), (10, 2, 9.0))
    )
    drawn = plots_lines.curves_table(lines, ("loss",))
    mean = plots_lines.main_curves(drawn)
    assert mean["value"].tolist() == [1, 6, 1] and set(mean["seeds"]) == {"1-2 1-3 10-2"}
    assert plots_lines.curve_label(drawn) == "mean of 2 main branches"
    of_one = plots_lines.curves_table(lines[lines["global_seed"] == 1], ("loss",))
    assert plots_lines.curve_label(of_one) == "mean of 2 children"
    assert set(of_one["seeds"]) == {"2", "3", "2 3"}


def test_each_split_and_each_treatment_has_its_own_mean():
    others = {"align": "weights", "loss": 9 * [0.25]}
    table = pd.concat([connected.study((0.0,), (1.0,)), line(split="test", **others)])
    drawn = plots_lines.main_curves(plots_lines.curves_table(table, ("loss",)))
    found = drawn.groupby(["split", "align"])["curve"].first().to_dict()
    assert found == {
        ("train", "none"): "mean child",
        ("test", "none"): "mean child",
        ("test", "weights"): "child",
    }
    assert set(drawn.loc[drawn["align"] == "weights", "value"]) == {0.25}


def test_curves_are_named_by_what_they_are():
    children = plots_lines.curves_table(connected.study((0.0,), (1.0,)))
    assert plots_lines.curve_label(children) == "mean of 3 children"
    assert plots_lines.curve_label(plots_lines.curves_table(line())) == "one child"
    files = plots_lines.curves_table(line(None, None, None))
    assert set(files["curve"]) == {"line"} and plots_lines.curve_label(files) == ""


def test_the_order_of_rows_does_not_matter():
    lines = connected.study((0.0,), (1.0,), seeds=(1,), splits=("test",))
    shuffled = lines.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        plots_lines.curves_table(shuffled), plots_lines.curves_table(lines)
    )


@pytest.mark.parametrize("loss", [0.0, 0.7])
def test_a_constant_curve_has_no_barrier(loss):
    drawn = plots_lines.curves_table(line(alphas=[0, 1], loss=[loss, loss]))
    assert (drawn[["excess", "barrier", "barrier_frankle"]] == 0).all(axis=None)
    assert not np.signbit(drawn["excess"]).any()


def test_a_value_that_is_no_number_makes_the_barrier_none():
    drawn = plots_lines.curves_table(line(alphas=[0, 0.5, 1], loss=[1, math.nan, 1]), ("loss",))
    assert drawn[["barrier", "barrier_frankle"]].isna().all(axis=None)


def test_a_curve_without_its_ends_or_columns_is_refused():
    message = "^child 1, split test: alpha must go from 0 to 1, got 0.125 to 1$"
    with pytest.raises(ValueError, match=message):
        plots_lines.curves_table(line()[1:])
    with pytest.raises(ValueError, match="^line, split test: alpha .* got 0 to 0.875$"):
        plots_lines.curves_table(line(None, None, None)[:-1])
    with pytest.raises(ValueError, match="no column alpha; it has k1, k2"):
        plots_lines.curves_table(line().drop(columns="alpha"))
