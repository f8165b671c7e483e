import csv

import numpy as np
import pytest
from scipy import stats

from isthmus import tables
from isthmus.connectivity import results
from isthmus.connectivity.barriers import BARRIERS
from isthmus.connectivity.options import LineOptions
from isthmus.connectivity.plan import BranchPair, LineRecords
from tests.connectivity.lines import PAIR, line

OTHER = BranchPair(0, 3, 3)
WHERE = ("k1_step", "k2_step", "child_seed", "align", "bn", "split")


def written(folder, *lines):
    """The three tables of lines, (pair, line) each, as lists of rows by name of column."""
    for pair, each in lines:
        LineRecords(folder).write(pair, each, {})
    results.complete_tables(folder)
    return [read(results.table_path(folder, name)) for name in results.NAMES]


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
        *(each.name for each in BARRIERS),
        *("distance", "cosine"),
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
        assert all(row[name] == "" for row in table for name in results.MOMENTS)
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


SAME = ("k1_step", "k2_step", "align", "bn", "ends", "split", "alphas", "refine", "metric")


def test_lines_of_one_main_branch_have_a_mean_and_a_range_and_no_interval(tmp_path):
    _, barriers, intervals = written(tmp_path, *study(num_children=4))
    assert len(intervals) == 2 * 2 * 2 * 2 * len(results.measures())
    for row in intervals:
        values = [
            float(each[row["measure"]])
            for each in barriers
            if all(each[name] == row[name] for name in SAME)
        ]
        assert int(row["num_children"]) == len(values) == 4
        assert (row["num_main_branches"], row["low"], row["high"]) == ("1", "", "")
        assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-12)
        assert (float(row["lowest"]), float(row["highest"])) == (min(values), max(values))


def test_one_child_has_a_mean_and_no_interval(tmp_path):
    _, barriers, intervals = written(tmp_path, (PAIR, line(2)))
    for row in intervals:
        assert (row["num_children"], row["low"], row["high"]) == ("1", "", "")
        assert row["lowest"] == row["highest"] == row["mean"]
    assert intervals[0]["mean"] == barriers[0]["barrier"]


def of_study(folder, heights):
    """The tables of a study whose main branches have children of these heights, by seed."""
    for seed, some in heights.items():
        lines = [(PAIR, line(n, height, alphas=5)) for n, height in enumerate(some, start=10)]
        written(folder / f"seed_{seed}", *lines)
    return [read(results.table_path(folder, name)) for name in results.NAMES]


def test_intervals_are_those_of_students_t_over_the_means_of_main_branches(tmp_path):
    heights = {10: [1.0, 2.0, 0.4], 2: [0.5], 3: [2.0, 2.5]}
    lines, barriers, intervals = of_study(tmp_path, heights)
    assert list(dict.fromkeys(row["global_seed"] for row in lines)) == ["2", "3", "10"]
    assert len(barriers) == 6 * 2 * 2
    for row in intervals:
        values = {
            seed: [
                float(each[row["measure"]])
                for each in barriers
                if all(each[name] == row[name] for name in SAME)
                and each["global_seed"] == str(seed)
            ]
            for seed in heights
        }
        assert {seed: len(some) for seed, some in values.items()} == {10: 3, 2: 1, 3: 2}
        assert (row["num_main_branches"], row["num_children"]) == ("3", "6")
        means = [np.mean(some) for some in values.values()]
        low = high = np.mean(means)
        if stats.sem(means) > 1e-12:  # else scipy has no answer
            low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
        found = [float(row[name]) for name in ("mean", "low", "high")]
        assert found == pytest.approx([np.mean(means), low, high], abs=1e-9)
        whole = sum(values.values(), [])
        assert (float(row["lowest"]), float(row["highest"])) == (min(whole), max(whole))


def test_a_study_of_one_main_branch_has_its_tables(tmp_path):
    tables = of_study(tmp_path, {4: [1.0, 2.0]})
    alone = [read(results.table_path(tmp_path / "seed_4", name)) for name in results.NAMES]
    assert tables == alone
    assert {row["global_seed"] for table in tables[:2] for row in table} == {"4"}


def test_barriers_are_those_of_the_grid_of_each_request(tmp_path):
    first = line(2, alphas=5)
    _, before, _ = written(tmp_path / "a", (PAIR, first))
    second = line(2, before=first, alphas=[0, 0.1, 0.75, 1], splits=["test"])
    third = line(2, before=second, alphas=3, refine=2)
    lines, barriers, intervals = written(tmp_path / "b", (PAIR, third), (PAIR, line(3, alphas=3)))
    kept = [row for row in barriers if row["alphas"] == "5"]
    assert kept == before  # whatever was asked for later
    found = {
        (row["child_seed"], row["split"], row["alphas"], row["refine"]): row
        for row in barriers
        if row["metric"] == "loss"
    }
    assert {key: row["num_alphas"] for key, row in found.items()} == {
        ("2", "train", "5", ""): "5",
        ("2", "test", "5", ""): "5",
        ("2", "test", "0 0.1 0.75 1", ""): "4",
        ("2", "train", "3", "2"): "5",
        ("2", "test", "3", "2"): "5",
        ("3", "train", "3", ""): "3",
        ("3", "test", "3", ""): "3",
    }
    # The top of height 1 is at 1/4 on the training set, and at 3/4 on the test set.
    assert float(found["3", "train", "3", ""]["barrier"]) == pytest.approx(2 / 3)
    assert float(found["2", "train", "3", "2"]["barrier"]) == pytest.approx(1)
    uneven = found["2", "test", "0 0.1 0.75 1", ""]
    assert float(uneven["barrier"]) == pytest.approx(1)
    assert float(uneven["midpoint_gap"]) == pytest.approx(2 / 15 + (1 - 2 / 15) * 0.4 / 0.65)
    assert {row["num_children"] for row in intervals} == {"1"}  # no mean over unequal grids


def test_equal_grids_are_one_whichever_way_they_were_typed(tmp_path):
    typed = line(2, before=line(2, alphas=3), alphas=[0, 0.5, 1])
    _, barriers, intervals = written(tmp_path, (PAIR, typed), (PAIR, line(3, alphas=[0.0, 0.5, 1])))
    assert len(barriers) == 2 * 2 * 2
    assert {row["num_children"] for row in intervals} == {"2"}


def test_ends_as_trained_are_two_more_rows_of_a_line_and_no_part_of_its_barrier(tmp_path):
    some = [
        (PAIR, line(2, resets=True, alphas=3, bn="reset")),
        (PAIR, line(2, resets=True, alphas=3, bn="repair")),
        (PAIR, line(2, resets=True, alphas=3, bn="keep")),
    ]
    lines, barriers, intervals = written(tmp_path, *some)
    for split in ("train", "test"):
        rows = [row for row in lines if row["split"] == split]
        assert [row["bn"] for row in rows] == (
            3 * ["reset"] + 2 * ["as_trained"] + 3 * ["keep"] + 3 * ["repair"]
        )
        numbers = [(row["alpha"], row["loss"], row["accuracy"]) for row in rows[3:5]]
        assert numbers == [("0.0", "7.0", "0.7"), ("1.0", "8.0", "0.8")]
    ends = {row["bn"]: row["ends"] for row in [*barriers, *intervals]}
    assert ends == {"reset": "reset", "repair": "reset", "keep": "as_trained"}
    tops = [float(row["barrier"]) for row in barriers if row["metric"] == "loss"]
    assert tops == pytest.approx(6 * [2 / 3])


def test_a_file_of_an_older_version_is_read_and_its_barriers_computed_anew(tmp_path):
    older = line(2, before=line(2, alphas=3), alphas=5)
    whole = written(tmp_path / "new", (PAIR, older))
    del older["ends"]
    for curve in older["curves"].values():
        curve["barriers"] = {"loss": {"barrier": 9.0}}  # over all that was ever asked for
    mixed = [(PAIR, older), (PAIR, line(3, resets=True, alphas=5))]
    assert written(tmp_path / "old", mixed[0]) == whole
    _, barriers, intervals = written(tmp_path / "old", *mixed)
    assert {row["child_seed"]: row["ends"] for row in barriers} == {"2": "as_trained", "3": "reset"}
    assert {row["num_children"] for row in intervals} == {"1"}  # no mean over unequal treatments


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
    for name in results.NAMES:
        first, second = (results.table_path(tmp_path / f, name).read_bytes() for f in "ab")
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


def text(folder, *lines, pairs=(PAIR,), study=False, **request):
    for pair, each in lines:
        LineRecords(folder).write(pair, each, {})
    if not study:
        results.complete_tables(folder)
    return results.summarize_barriers(folder, pairs, LineOptions(**request)).splitlines()


def test_one_child_has_its_numbers(tmp_path):
    title, head, *rows = text(tmp_path, (PAIR, line(2, height=1.0, alphas=5)), alphas=5)
    assert title == "barriers (align=none, bn=reset)"
    assert head.split() == [
        *("k1", "k2", "split", "metric"),
        *("barrier", "barrier_frankle", "midpoint_gap", "distance"),
    ]
    found = [row.split() for row in rows]
    gap = f"{2 / 3:.4f}"  # the tents have their tops at 1/4 and 3/4
    assert found[0] == ["1.0ep", "2.0ep", "train", "loss", "1.0000", "1.0000", gap, "2.5000"]
    assert [row[2:4] for row in found] == [
        ["train", "loss"],
        ["train", "error"],
        ["test", "loss"],
        ["test", "error"],
    ]


def test_several_children_of_one_main_branch_have_means_and_their_range(tmp_path):
    some = [(PAIR, line(seed, height)) for seed, height in ((2, 1.0), (3, 2.0), (4, 3.0))]
    title, _, first, *_ = text(tmp_path, *some, splits=["train"])
    assert title == "barriers (align=none, bn=reset), means of 3 branches (lowest to highest)"
    assert "2.0000 (1.0000 to 3.0000)" in first


def test_several_main_branches_have_means_and_half_their_intervals(tmp_path):
    for seed, heights in ((1, (1.0,)), (2, (1.0, 3.0)), (3, (3.0,))):
        lines = [(PAIR, line(10 + n, height)) for n, height in enumerate(heights)]
        text(tmp_path / f"seed_{seed}", *lines)
    title, _, first, *_ = text(tmp_path, splits=["train"], study=True)
    assert title == (
        "barriers (align=none, bn=reset), means of 3 main branches +- half the 95 % interval"
    )
    assert "2.0000 +- 2.4841" in first  # 4.3027 / sqrt(3), the t quantile of two degrees
    assert results.num_main_branches(tmp_path, [PAIR], LineOptions()) == 3
    assert results.num_main_branches(tmp_path, [OTHER], LineOptions()) == 0
    assert results.num_main_branches(tmp_path / "seed_2", [PAIR], LineOptions()) == 1


def test_barriers_are_those_of_the_grid_that_is_asked_for(tmp_path):
    first = line(2, alphas=3, splits=["train"])
    several = line(2, before=first, alphas=5, splits=["train"])
    _, _, row, *_ = text(tmp_path, (PAIR, several), alphas=3)
    assert row.split()[4] == "0.6667"
    _, _, row, *_ = text(tmp_path, alphas=5)
    assert row.split()[4] == "1.0000"


def test_networks_at_chance_are_named_once_each(tmp_path):
    store, request = LineRecords(tmp_path), LineOptions(alphas=3)
    lines = []
    for seed, height in ((2, 0.1), (3, 0.2)):
        made = line(seed, height, alphas=3)  # its ends have a loss of 0.5
        made["curves"]["test"]["loss"][-1] = 0.5 + 0.2 * (seed == 2)
        made["curves"]["train"]["loss"][-1] = 0.7
        made["networks"] = ["main.safetensors", f"child_{seed}.safetensors"]
        store.write(PAIR, made, {"num_classes": 2})
        lines.append((PAIR, seed))
    found = results.chance_message([tmp_path], lines, request)
    assert found.endswith("log(2) = 0.6931, or more: child_2.safetensors")
    assert results.chance_message([tmp_path], lines[1:], request) is None
    both = results.chance_message([tmp_path], lines, LineOptions(alphas=3, splits=["train"]))
    assert both.endswith("or more: child_2.safetensors, child_3.safetensors")
    assert len(both.splitlines()) == 1


def test_pairs_with_other_numbers_of_children_are_said_to_have_them(tmp_path):
    some = [(PAIR, line(2)), (OTHER, line(2)), (OTHER, line(3))]
    title, *_ = text(tmp_path, *some, pairs=(OTHER, PAIR))
    assert "means of 1 or 2 branches" in title
    title, *_ = text(tmp_path, pairs=(PAIR,))
    assert "means" not in title


def test_two_saved_networks_have_no_columns_of_moments(tmp_path):
    _, head, *rows = text(tmp_path, (None, line()), pairs=(None,))
    assert head.split()[0] == "split"
    assert all(len(row.split()) == len(head.split()) for row in rows)


def test_only_what_is_asked_for_is_shown(tmp_path):
    some = [
        (PAIR, line(2)),
        (OTHER, line(2)),
        (PAIR, line(2, height=5.0, align="weights", bn="keep")),
    ]
    title, _, *rows = text(tmp_path, *some, align="weights", bn="keep", splits=["test"])
    assert title == "barriers (align=weights, bn=keep)"
    assert [row.split()[:4] for row in rows] == [
        ["1.0ep", "2.0ep", "test", "loss"],
        ["1.0ep", "2.0ep", "test", "error"],
    ]
    assert rows[0].split()[4] == "5.0000"


def test_every_line_is_as_wide_as_the_others(tmp_path):
    _, *lines = text(
        tmp_path, (PAIR, line(2)), (OTHER, line(2, height=1234.5)), pairs=(PAIR, OTHER)
    )
    assert len({len(each) for each in lines}) == 1


def test_tables_are_written_again_only_where_lines_have_changed(tmp_path):
    lines = [(PAIR, line(n, alphas=3)) for n in (2, 3)]
    written(tmp_path / "seed_1", lines[0])
    paths = [results.table_path(tmp_path / f, n) for f in ("seed_1", "") for n in results.NAMES]
    before = [path.stat().st_mtime_ns for path in paths]
    results.complete_tables(tmp_path / "seed_1")
    assert [path.stat().st_mtime_ns for path in paths] == before
    written(tmp_path / "seed_1", lines[1])
    first, second = (read(results.table_path(tmp_path / f, "barriers")) for f in ("seed_1", ""))
    assert first == second and {row["child_seed"] for row in first} == {"2", "3"}
    LineRecords(tmp_path / "seed_2").write(*lines[0], {})  # by a job that was killed then
    written(tmp_path / "seed_1")
    pooled = read(results.table_path(tmp_path, "barriers"))
    assert [row["global_seed"] for row in pooled] == ["1"] * 8 + ["2"] * 4


def test_tables_that_were_cut_off_or_removed_are_written_again(tmp_path):
    whole = written(tmp_path, *study())
    results.table_path(tmp_path, "barriers").write_text("cut off")
    results.table_path(tmp_path, "lines").unlink()
    assert written(tmp_path) == whole


def test_the_summary_is_that_of_the_request_and_of_its_tables(tmp_path):
    lines = [(PAIR, 2), (PAIR, 3)]
    written(tmp_path / "seed_1", (PAIR, line(2)), (PAIR, line(3, height=2.0)))
    both, one = (
        results.summarize(tmp_path / "seed_1", lines, LineOptions(splits=splits))
        for splits in (["train", "test"], ["test"])
    )
    assert both == results.summarize_barriers(tmp_path / "seed_1", [PAIR], LineOptions())
    assert len(one.splitlines()) == 4 and "means of 2 branches" in one
    assert (tmp_path / "seed_1" / "summary.txt").read_text() == f"{one}\n"
    written(tmp_path / "seed_2", (PAIR, line(2)))
    again = results.summarize(tmp_path / "seed_1", lines, LineOptions(splits=["test"]))
    assert again.startswith(one) and "means of 2 main branches" in again


def test_a_table_without_a_measure_is_summarized_without_it(tmp_path):
    written(tmp_path, (PAIR, line(2)))
    path = results.table_path(tmp_path, "intervals")
    table = tables.read(path)
    tables.write(path, list(table), table[table["measure"] != "midpoint_gap"])
    _, head, first, *_ = results.summarize_barriers(tmp_path, [PAIR], LineOptions()).splitlines()
    assert "midpoint_gap" not in head.split() and len(first.split()) == len(head.split())
