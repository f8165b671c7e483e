import csv

import numpy as np
import pytest
from scipy import stats

from src.connectivity import line_tables
from src.connectivity.records import Pair, Records
from tests.connectivity.lines import PAIR, line

OTHER = Pair(0, 3, 3)
WHERE = ("k1_step", "k2_step", "child_seed", "align", "bn", "split")


def written(folder, *lines):
    """The three tables of lines, (pair, line) each, as lists of rows by name of column."""
    for pair, each in lines:
        Records(folder).write(pair, each, {})
    line_tables.write(folder)
    return [read(line_tables.path(folder, name)) for name in ("lines", "barriers", "intervals")]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def study(num_children=3):
    """Children of two pairs of moments, each with its own curve, one of them aligned, too."""
    some = []
    for pair in (PAIR, OTHER):
        for seed in range(2, 2 + num_children):
            height, slope = 0.1 * seed + pair.k1, 0.3 - 0.2 * seed
            some.append((pair, line(seed, height, slope, alphas=5)))
            some.append((pair, line(seed, height / 2, slope, alphas=3, align="weights")))
    return some


def test_the_columns_are_those_that_users_were_promised(tmp_path):
    lines, barriers, _ = written(tmp_path, *study())
    assert set(lines[0]) >= {
        *("k1", "k2", "child_seed", "align", "bn", "split", "alpha", "loss", "accuracy")
    }
    assert set(barriers[0]) >= {
        *("k1", "k2", "child_seed", "align", "bn", "split", "metric"),
        *("barrier", "barrier_frankle", "midpoint_gap", "distance", "cosine"),
    }


def test_every_point_of_every_line_is_a_row(tmp_path):
    lines, _, _ = written(tmp_path, *study())
    assert len(lines) == 2 * 3 * (5 + 3) * 2
    one = study()[2][1]["curves"]["test"]
    rows = [
        row
        for row in lines
        if [row[name] for name in WHERE] == ["3", "6", "3", "none", "reset", "test"]
    ]
    for name, of_line in (("alpha", "alphas"), ("loss", "loss"), ("accuracy", "accuracy")):
        assert [float(row[name]) for row in rows] == one[of_line]


def test_moments_are_in_epochs_and_in_iterations_and_add_up(tmp_path):
    for table in written(tmp_path, *study()):
        row = table[-1]
        assert [row[name] for name in ("k1", "k2", "total")] == ["1.0", "2.0", "3.0"]
        assert [row[f"{name}_step"] for name in ("k1", "k2", "total")] == ["3", "6", "9"]


def test_two_saved_networks_have_neither_moments_nor_a_child(tmp_path):
    for table in written(tmp_path, (None, line())):
        assert all(row[name] == "" for row in table for name in line_tables.MOMENTS)
        assert all(row.get("child_seed", "") == "" for row in table)


def test_barriers_are_those_recomputed_from_the_table_of_lines(tmp_path):
    lines, barriers, _ = written(tmp_path, *study())
    assert len(barriers) == 2 * 3 * 2 * 2 * 2
    for row in barriers:
        points = [p for p in lines if all(p[name] == row[name] for name in WHERE)]
        alphas = np.array([float(point["alpha"]) for point in points])
        values = np.array([float(point["loss"]) for point in points])
        if row["metric"] == "error":
            values = 1 - np.array([float(point["accuracy"]) for point in points])
        chord = (1 - alphas) * values[0] + alphas * values[-1]
        middle = (values[0] + values[-1]) / 2
        assert float(row["barrier"]) == pytest.approx((values - chord).max())
        assert float(row["barrier_frankle"]) == pytest.approx(values.max() - middle)
        at_half = values[alphas == 0.5].item()
        assert float(row["midpoint_gap"]) == pytest.approx(at_half - middle)
        assert (row["distance"], row["cosine"]) == ("2.5", "0.25")


def test_intervals_are_those_of_students_t(tmp_path):
    _, barriers, intervals = written(tmp_path, *study(num_children=4))
    assert len(intervals) == 2 * 2 * 2 * 2 * len(line_tables.MEASURES)
    same = ("k1_step", "k2_step", "align", "bn", "split", "metric")
    for row in intervals:
        values = [
            float(each[row["measure"]])
            for each in barriers
            if all(each[name] == row[name] for name in same)
        ]
        assert int(row["num_children"]) == len(values) == 4
        assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-12)
        spread = stats.sem(values)
        low, high = np.mean(values), np.mean(values)
        if spread > 1e-12:  # else scipy has no answer
            low, high = stats.t.interval(0.95, 3, np.mean(values), spread)
        assert float(row["low"]) == pytest.approx(low, abs=1e-9)
        assert float(row["high"]) == pytest.approx(high, abs=1e-9)


def test_one_child_has_a_mean_and_no_interval(tmp_path):
    _, barriers, intervals = written(tmp_path, (PAIR, line(2)))
    for row in intervals:
        assert (row["num_children"], row["low"], row["high"]) == ("1", "", "")
    assert intervals[0]["mean"] == barriers[0]["barrier"]


def test_lines_between_two_children_each_have_a_mean_and_no_interval(tmp_path):
    some = [(PAIR, line(pair, height=0.1 * n)) for n, pair in enumerate(("1-2", "1-10", "2-10"))]
    lines, barriers, intervals = written(tmp_path, *some[::-1])
    assert [row["child_seed"] for row in barriers[::4]] == ["1-2", "1-10", "2-10"]
    assert {row["child_seed"] for row in lines} == {"1-2", "1-10", "2-10"}
    for row in intervals:
        assert (row["num_children"], row["low"], row["high"]) == ("3", "", "")
    assert float(intervals[0]["mean"]) == pytest.approx(
        np.mean([float(row["barrier"]) for row in barriers[::4]])
    )


def test_the_order_in_which_lines_were_measured_makes_no_difference(tmp_path):
    written(tmp_path / "a", *study())
    written(tmp_path / "b", *study()[::-1])
    for name in line_tables.COLUMNS:
        first, second = (line_tables.path(tmp_path / f, name).read_bytes() for f in "ab")
        assert first == second


def test_rows_are_in_order_of_moments_children_alignment_and_split(tmp_path):
    lines, _, _ = written(tmp_path, *study())
    aligns, splits = ("none", "weights"), ("train", "test")
    order = [
        (
            *(int(row[name]) for name in ("k1_step", "k2_step", "child_seed")),
            aligns.index(row["align"]),
            splits.index(row["split"]),
            float(row["alpha"]),
        )
        for row in lines
    ]
    assert order == sorted(order)


def test_numbers_lose_nothing_in_their_tables(tmp_path):
    one = line(2, height=1 / 3, alphas=7)
    lines, _, _ = written(tmp_path, (PAIR, one))
    expected = one["curves"]["train"]["loss"] + one["curves"]["test"]["loss"]
    assert [float(row["loss"]) for row in lines] == expected
