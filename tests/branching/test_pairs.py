import itertools
import statistics

import pytest

from isthmus.branching import results
from isthmus.branching.plan import SpawnPlan, SpawnRequest, SpawnTree
from isthmus.store import files


def plan(*seeds, child_steps=("0", "2it")):
    return SpawnPlan(
        SpawnRequest(spawn_steps=["1ep"], child_seeds=[*seeds], child_steps=[*child_steps]), 3, 9
    )


def kept(tree, *seeds, iteration=5):
    """Children of 1ep, iteration 3, whose snapshots of an iteration are there."""
    for seed in seeds:
        files.write_bytes(tree.child("1ep", seed).snapshot_state(iteration), b"")


def l2(seed, other):
    """A number that says what it belongs to."""
    return float(f"{seed}.{other}") if other.isdigit() else 0.5


def write(tree, seeds, child_step="2", folder="1ep", spawn_step="3"):
    """The table of one spawn step, with every pair of some seeds."""
    rows = []
    for seed in seeds:
        for other in (*results.ALONE, *(str(s) for s in seeds if s > seed)):
            cosine = "" if other == "origin" else repr(-l2(seed, other))
            moment = (spawn_step, child_step, "1", "0.666667")
            rows.append((*moment, str(seed), other, repr(l2(seed, other)), cosine))
    files.write_csv(tree.distance(folder), results.PAIRS, rows)


def test_every_child_is_held_against_its_origins_and_every_pair_of_siblings_once(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 1, 2, 10)
    found = results.missing_distances(tree, plan(10, 1, 2, child_steps=["2it"]), 3)
    alone = [("2", str(seed), other) for seed in (1, 2, 10) for other in results.ALONE]
    couples = [("2", "1", "2"), ("2", "1", "10"), ("2", "2", "10")]
    assert sorted(found) == sorted(alone + couples)


def test_at_the_spawn_step_nothing_of_a_child_needs_to_be_kept(tmp_path):
    assert {
        step for step, _, _ in results.missing_distances(SpawnTree(tmp_path), plan(1, 2), 3)
    } == {"0"}


def test_a_child_that_stopped_early_is_left_out_of_later_steps(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 2)
    found = results.missing_distances(tree, plan(1, 2, child_steps=["2it"]), 3)
    assert found == [("2", "2", other) for other in results.ALONE]


def test_what_is_in_the_table_is_not_missing(tmp_path):
    tree = SpawnTree(tmp_path)
    kept(tree, 1, 2, 3)
    write(tree, [1, 2])
    asked = plan(1, 2, child_steps=["2it"])
    assert results.missing_distances(tree, asked, 3) == []
    more = results.missing_distances(tree, plan(1, 2, 3, child_steps=["2it"]), 3)
    assert [(seed, other) for _, seed, other in more] == [
        ("1", "3"),
        ("2", "3"),
        *(("3", other) for other in results.ALONE),
    ]


def test_the_order_of_the_seeds_does_not_matter(tmp_path):
    asked = [
        results.missing_distances(SpawnTree(tmp_path), plan(*p), 3)
        for p in itertools.permutations([1, 2, 9])
    ]
    assert all(found == asked[0] for found in asked)


def test_the_distance_to_siblings_is_the_mean_over_all_pairs_of_a_child(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [1, 2, 5])
    rows = {
        row[4]: dict(zip(results.DISTANCE_COLUMNS, row, strict=True))
        for row in results.collect_distances(tree)
    }
    assert list(rows) == ["1", "2", "5"]
    couples = {"1": [1.2, 1.5], "2": [1.2, 2.5], "5": [1.5, 2.5]}
    for seed, values in couples.items():
        assert float(rows[seed]["l2_siblings"]) == pytest.approx(statistics.fmean(values))
        assert float(rows[seed]["cosine_siblings"]) == pytest.approx(-statistics.fmean(values))
        assert rows[seed]["l2_origin"] == rows[seed]["l2_parent"] == "0.5"
        assert rows[seed]["cosine_initialization"] == rows[seed]["cosine_parent"] == "-0.5"


def test_an_only_child_has_empty_cells_for_siblings(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [7])
    (row,) = results.collect_distances(tree)
    empty = [name for name, cell in zip(results.DISTANCE_COLUMNS, row, strict=True) if cell == ""]
    assert empty == ["l2_siblings", "cosine_siblings"]


def test_the_table_of_a_tree_is_sorted_by_numbers(tmp_path):
    tree = SpawnTree(tmp_path)
    write(tree, [10, 9], folder="4ep", spawn_step="12", child_step="11")
    write(tree, [2], folder="1ep")
    found = [(row[0], row[1], row[4]) for row in results.collect_distances(tree)]
    assert found == [("3", "2", "2"), ("12", "11", "9"), ("12", "11", "10")]


def test_nothing_measured_is_an_empty_table(tmp_path):
    assert results.collect_distances(SpawnTree(tmp_path)) == []


def test_rows_of_pairs_are_sorted_by_step_then_child_then_what_it_is_held_against():
    names = ("child_step", "seed", "other")
    keys = [("2", "1", other) for other in (*results.ALONE, "2", "10")]
    keys += [("2", "9", "parent"), ("10", "1", "origin")]
    rows = [dict(zip(names, key, strict=True)) for key in keys]
    assert [results.pair_key(row) for row in sorted(reversed(rows), key=results.pair_order)] == keys
