import csv

import pytest
import torch

from isthmus.branching import results
from tests.branching.families import family, grown, trained, weights


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three children of the middle of the second epoch, with their distances."""
    made = family(tmp_path_factory.mktemp("study"))
    grown(made, spawn_steps=["4it"], child_seeds=[1, 2, 3], child_steps=["0", "2it", "5it"])
    return made


@pytest.fixture(scope="module")
def table(study):
    """Rows of the table of the tree by child step and seed."""
    rows = [
        dict(zip(results.DISTANCE_COLUMNS, row, strict=True))
        for row in results.collect_distances(study.tree)
    ]
    return {(int(row["child_step"]), int(row["seed"])): row for row in rows}


def flat(study, run, iteration):
    """The parameters, without running statistics, as one vector."""
    network = weights(run, iteration)
    return torch.cat([network[name].flatten().double() for name in study.parameters()])


def networks(study, child_step):
    """The initialization, the parent at the spawn step, and every child."""
    tree = study.tree
    start = flat(study, tree.parent, 4)
    children = {
        seed: flat(study, tree.child("1ep1it", seed), 4 + child_step) if child_step else start
        for seed in (1, 2, 3)
    }
    return flat(study, tree.parent, 0), start, children


@pytest.mark.parametrize("child_step", [0, 2, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_distances_are_those_of_flat_vectors_of_parameters(study, table, child_step, seed):
    initial, start, children = networks(study, child_step)
    child = children.pop(seed)
    row = table[child_step, seed]
    norm, cosine = torch.linalg.vector_norm, torch.nn.functional.cosine_similarity
    expected = {
        "l2_origin": norm(child),
        "l2_initialization": norm(child - initial),
        "l2_parent": norm(child - start),
        "l2_siblings": sum(norm(child - other) for other in children.values()) / 2,
        "cosine_initialization": cosine(child, initial, dim=0),
        "cosine_parent": cosine(child, start, dim=0),
        "cosine_siblings": sum(cosine(child, other, dim=0) for other in children.values()) / 2,
    }
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value.item(), rel=1e-5, abs=1e-12), name


def test_the_table_has_one_row_for_each_child_and_child_step(table):
    assert sorted(table) == [(step, seed) for step in (0, 2, 5) for seed in (1, 2, 3)]
    row = table[5, 2]
    moment = [row[n] for n in ("spawn_step", "spawn_epoch", "child_epoch")]
    assert moment == ["4", "1.33333", "1.66667"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_the_spawn_step_a_child_is_its_parent_and_its_siblings(table, seed):
    row = table[0, seed]
    assert float(row["l2_parent"]) == float(row["l2_siblings"]) == 0
    assert float(row["cosine_parent"]) == float(row["cosine_siblings"]) == 1


def test_running_statistics_do_not_count(study):
    path = study.tree.child("1ep1it", 1).weights(9)
    names = study.parameters()
    assert len(names) < len(weights(study.tree.child("1ep1it", 1), 9)) and path.exists()
    assert not [name for name in names if "running" in name or "num_batches" in name]


def test_an_only_child_has_empty_cells_for_siblings(tmp_path):
    made = family(tmp_path)
    grown(made, child_seeds=[1], child_steps=["0", "1ep"], child_length="1ep")
    rows = [
        dict(zip(results.DISTANCE_COLUMNS, row, strict=True))
        for row in results.collect_distances(made.tree)
    ]
    assert len(rows) == 2
    for row in rows:
        assert {name for name, cell in row.items() if cell == ""} == {
            "l2_siblings",
            "cosine_siblings",
        }


def test_identical_children_are_at_no_distance(tmp_path):
    made = family(tmp_path, vary=[])
    grown(made, child_steps=["1ep"], child_length="1ep")
    rows = [
        dict(zip(results.DISTANCE_COLUMNS, row, strict=True))
        for row in results.collect_distances(made.tree)
    ]
    assert [float(row["l2_siblings"]) for row in rows] == [0, 0]
    assert [float(row["cosine_siblings"]) for row in rows] == [1, 1]


def test_of_children_that_are_added_only_new_pairs_are_measured(tmp_path, monkeypatch):
    made = family(tmp_path)
    changes = {"child_length": "1ep", "child_steps": ["1ep"]}
    grown(made, child_seeds=[2, 3], **changes)
    path = made.tree.distance("0ep")
    marked = path.read_text().replace("\n0,3,0,1,2,3,", "\n0,3,0,1,2,3,1e9")  # whatever it was
    path.write_text(marked)
    grown(made, child_seeds=[3, 1, 2], **changes)
    rows = results.read_rows(path)
    assert [(row["seed"], row["other"]) for row in rows if row["other"] not in results.ALONE] == [
        ("1", "2"),
        ("1", "3"),
        ("2", "3"),
    ]
    (kept,) = [row for row in rows if (row["seed"], row["other"]) == ("2", "3")]
    assert kept["l2"].startswith("1e9")


def test_what_is_measured_is_left_alone(tmp_path):
    made = family(tmp_path)
    grown(made, child_length="1ep")
    path = made.tree.distance("0ep")
    before = path.stat().st_mtime_ns
    grown(made, child_length="1ep")
    grown(made, child_seeds=[2], child_length="1ep")
    assert path.stat().st_mtime_ns == before


def test_the_table_of_a_spawn_step_has_the_columns_it_says(tmp_path):
    made = family(tmp_path)
    plan = trained(made, child_length="1it", child_steps=["1it"])
    assert not made.tree.distance("0ep").exists()
    grown(made, child_length="1it", child_steps=["1it"])
    with made.tree.distance(plan.text(0)).open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == results.PAIRS
    assert [row[4:6] for row in rows] == [
        *(["1", other] for other in (*results.ALONE, "2")),
        *(["2", other] for other in results.ALONE),
    ]
    assert all((row[7] == "") == (row[5] == "origin") for row in rows)
