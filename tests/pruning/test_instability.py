"""Children of levels, and the lines between them."""

import csv
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from isthmus.connectivity import interpolation
from isthmus.connectivity import line as connectivity_line
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.line import LineEnds, RepairedLine
from isthmus.connectivity.plan import LineRecords
from isthmus.pruning import instability, results
from isthmus.pruning.branches import Children
from isthmus.pruning.options import Instability, Prune
from tests import toys
from tests.connectivity import small
from tests.pruning.studies import assert_sparse, grown, mask, study, weights

ASKED = Instability(seeds=[3, 1, 2], alphas=5)
BRANCH = {"branch": "instability", "instability": ASKED}
NAME = str(toys.options(Prune, **BRANCH).branch_folder)


def measured(made, asked, levels):
    children = Children(made, NAME, "instability", asked.seeds, asked.vary)
    for level in levels:
        instability.measure(asked, children, level)


def requested(folder, **asked):
    """A study whose plan asks for the branch, at levels 0 and 2 if not told."""
    return study(folder, rewind_step="4it", **(BRANCH | {"branch_levels": [0, 2]} | asked))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with three children of its dense and of its last level, and the lines between."""
    made = grown(requested(tmp_path_factory.mktemp("study")))
    measured(made, ASKED, [0, 2])
    return made


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def build():
    return toys.Small((2, 4, 4), 3)


@pytest.mark.parametrize("level", [0, 2])
def test_barriers_are_those_computed_naively_from_the_saved_weights(made, level):
    alphas, folder = torch.linspace(0, 1, 5).double(), made.tree.branch(level, NAME).folder
    found = read(folder / "barriers.csv")
    assert [row["child_seed"] for row in found[::4]] == ["1-2", "1-3", "2-3"]
    assert len(found) == 3 * 2 * 2
    for row in found:
        start, end = (
            weights(made.tree.child(level, NAME, int(seed)))
            for seed in row["child_seed"].split("-")
        )
        naive = small.naive(build, start, end, alphas, toys.data(), row["split"], "reset")
        values = naive[0] if row["metric"] == "loss" else 1 - naive[1]
        chord = (1 - alphas) * values[0] + alphas * values[-1]
        mean = (values[0] + values[-1]) / 2
        assert float(row["barrier"]) == pytest.approx(float((values - chord).max()), abs=1e-5)
        assert float(row["barrier_frankle"]) == pytest.approx(float(values.max() - mean), abs=1e-5)
        assert float(row["midpoint_gap"]) == pytest.approx(float(values[2] - mean), abs=1e-5)
        names = [name for name, _ in build().named_parameters()]
        flat = [torch.cat([w[name].flatten() for name in names]) for w in (start, end)]
        assert float(row["distance"]) == pytest.approx(float((flat[0] - flat[1]).norm()), rel=1e-5)
        cosine = torch.cosine_similarity(*flat, dim=0)
        assert float(row["cosine"]) == pytest.approx(float(cosine), rel=1e-5)


def test_lines_say_when_children_parted_and_have_no_interval(made):
    folder = made.tree.branch(2, NAME).folder
    names = [file.name for file in LineRecords(folder).files]
    pairs = ("1-2", "1-3", "2-3")
    assert names == [f"k1_1ep1it_k2_1ep2it_child_{pair}_none_reset.json" for pair in pairs]
    lines = read(folder / "lines.csv")
    of_points = [row for row in lines if row["bn"] != "as_trained"]
    assert len(of_points) == 3 * 2 * 5 and len(lines) == 3 * 2 * (5 + 2)
    assert {row["k1_step"] for row in lines} == {"4"}
    assert {row["total_step"] for row in lines} == {"9"}
    for row in read(folder / "intervals.csv"):  # the three lines have ends in common
        assert (row["num_children"], row["low"], row["high"]) == ("3", "", "")


def test_pruned_weights_are_0_at_every_point_of_every_line(made):
    kept, model = mask(made.tree.level(2)), made.starts.session.model
    some = [weights(made.tree.child(2, NAME, seed)) for seed in (1, 2, 3)]
    for pair in pairwise(some):
        for shares in connectivity_line.end_shares(torch.linspace(0, 1, 11).double()):
            assert_sparse(interpolation.combine(pair, shares), kept)
    points = InterpolationEvaluator(small.evaluator(model), ["test"])
    repaired = RepairedLine(points, *some[:2])
    assert_sparse(repaired._network_at(0.5), kept)
    ends = LineEnds(points, *some[:2], "none")
    assert ends.end is some[1]


def test_what_is_measured_is_found_again_without_measuring(made, monkeypatch):
    plan, tree, before = made.plan, made.tree, made.num_steps
    assert results.is_complete(tree, plan) and instability.is_measured(ASKED, tree, plan)
    monkeypatch.setattr(LineEnds, "evaluate", None)
    measured(made, ASKED, [0, 2])
    assert made.num_steps == before


@pytest.mark.parametrize(
    ("changes", "levels", "num_steps"),
    [
        ({"seeds": [1, 2, 4]}, [0, 2], 2 * 5),
        ({"alphas": 3}, [0, 2], 0),
        ({"bn": "average"}, [0, 2], 0),
        ({"bn": "repair"}, [0, 2], 0),
        ({"splits": ["val"]}, [0, 2], 0),
        ({}, [0, 1, 2], 3 * 5),
    ],
    ids=str,
)
def test_more_can_be_asked_for_later(made, changes, levels, num_steps):
    asked, before = replace(ASKED, **changes), made.num_steps
    plan = requested(made.tree.folder, branch_levels=levels).plan
    done = results.is_complete(made.tree, plan) and instability.is_measured(asked, made.tree, plan)
    assert not done
    measured(made, asked, levels)
    assert results.is_complete(made.tree, plan) and instability.is_measured(asked, made.tree, plan)
    assert made.num_steps == before + num_steps
    assert instability.is_measured(ASKED, made.tree, made.plan)  # nothing is lost


def test_tables_of_a_branch_that_was_killed_before_them_are_written_with_those_of_the_study(made):
    folder = made.tree.branch(0, NAME).folder
    before = (folder / "barriers.csv").read_bytes()
    (folder / "intervals.csv").unlink()
    (folder / "barriers.csv").write_text("cut off")
    results.complete_tables(made.tree, 1)
    found = read(made.tree.instability_table)
    assert (folder / "barriers.csv").read_bytes() == before
    runs = results.list_instabilities(made.tree)
    assert len(found) == sum(len(read(run.folder / "barriers.csv")) for run in runs)
