"""What `prune.py` puts together: children of levels, and the lines between them."""

import csv
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
from isthmus.pruning.plan import PruningTree
from isthmus.store import files
from tests import toys
from tests.connectivity import small
from tests.pruning.studies import assert_sparse, grown, mask, study, weights
from tests.pruning.test_tables import done

ASKED = {"vary": ["dropout", "data_order"], "bn": "reset", "splits": ["train", "test"]}
BARRIERS = ("k1", "child_seed", "align", *results.HOW, *results.MEASURES)
GRID = ("5", "")


def measured(tree, level, name, vary=("data_order", "dropout"), seeds=("1-2", "1-3", "2-3")):
    """A branch as it ends: the barrier of the error is a tenth of the level, plus the seeds."""
    run = tree.branch(level, name)
    said = {"level": level, "strategy": "fc19", "rewind": "weights", "rewind_step": 4}
    files.write_json(run.result, {**said, "density": 0.5**level, "vary": list(vary)})
    found = []
    for pair in seeds:
        first, other = map(int, pair.split("-"))
        for bn in ("reset", "keep"):
            for split in ("train", "test"):
                for metric, unit in (("loss", 10), ("error", 1)):
                    barrier = unit * (level / 10 + first / 100 + other / 1000) * (bn == "reset")
                    measures = (barrier, barrier + (split == "test"), -0.25, 7.0, 0.5)
                    ends = "reset" if bn == "reset" else "as_trained"
                    for alphas, factor in ((5, 1), (3, 10)):  # barriers of another request
                        how = (bn, ends, split, alphas, "", alphas, metric)
                        numbers = [factor * measure for measure in measures]
                        found.append(("1.0", pair, "none", *how, *numbers))
    files.write_csv(run.folder / "barriers.csv", BARRIERS, found)


@pytest.fixture
def tree(tmp_path):
    tree = PruningTree(tmp_path / "prune_1" / "seed_4")
    for level in range(3):
        done(tree.level(level), level, density=0.5**level)
        measured(tree, level, "instability_0000000000")
    done(tree.branch(1, "retrain_0123456789"), 1, "retrain")
    measured(tree, 1, "instability_1111111111", vary=["dropout"], seeds=["1-2"])
    files.write_csv(
        tree.instability_table, results.BARRIER_COLUMNS, results.collect_barriers(tree, 4)
    )
    return tree


def test_the_table_has_every_barrier_once(tree):
    found = results.read_rows(tree.instability_table)
    assert len(found) == (3 * 3 + 1) * 2 * 2 * 2 * 2
    columns = ("level", "vary", "seeds", "bn", "split", "metric", "alphas")
    keys = [tuple(row[name] for name in columns) for row in found]
    assert len(set(keys)) == len(keys)
    key = ("2", "data_order dropout", "1-3", "reset", "test", "error", "5")
    assert found[keys.index(key)] == {
        "strategy": "fc19",
        "rewind": "weights",
        "rewind_step": "4",
        "seed": "4",
        "level": "2",
        "density": "0.25",
        "vary": "data_order dropout",
        "seeds": "1-3",
        "bn": "reset",
        "ends": "reset",
        "split": "test",
        "alphas": "5",
        "refine": "",
        "num_alphas": "5",
        "metric": "error",
        "barrier": "0.21300000000000002",
        "barrier_frankle": "1.213",
        "midpoint_gap": "-0.25",
        "distance": "7.0",
        "cosine": "0.5",
    }


def test_children_are_no_level_and_no_branch_in_the_table_of_levels(tree):
    assert tree.levels() == [0, 1, 2]
    folders = {row[results.LEVELS.index("folder")] for row in results.collect_levels(tree, 4)}
    assert folders == {"", "retrain_0123456789"}


def test_a_branch_that_is_not_done_is_not_in_the_table(tree):
    tree.branch(2, "instability_0000000000").result.unlink()
    levels = [
        row[results.BARRIER_COLUMNS.index("level")] for row in results.collect_barriers(tree, 4)
    ]
    assert set(levels) == {0, 1}


def test_the_summary_shows_means_of_the_pairs_that_were_asked_for(tree):
    head, *lines = results.summarize_instability(tree, ASKED, GRID, ["1-2", "1-3"]).splitlines()
    assert head == "instability (test, bn=reset, between children 1-2, 1-3)"
    assert lines[0].split("  ")[:3] == ["level", "weights left", "metric"]
    assert [line.split() for line in lines[3:5]] == [
        ["1", "0.5000", "error", "0.1125", "1.1125", "-0.2500", "7.0000"],
        ["1", "0.5000", "loss", "1.1250", "2.1250", "-0.2500", "7.0000"],
    ]
    assert len(lines) == 1 + 3 * 2


def test_a_table_of_an_older_version_is_read(tree):
    run = tree.branch(2, "instability_0000000000")
    found = results.read_rows(run.folder / "barriers.csv")
    older = [name for name in BARRIERS if name not in ("ends", "alphas", "refine", "num_alphas")]
    files.write_csv(run.folder / "barriers.csv", older, [[row[n] for n in older] for row in found])
    table = [
        dict(zip(results.BARRIER_COLUMNS, row, strict=True))
        for row in results.collect_barriers(tree, 4)
    ]
    assert {row["num_alphas"] for row in table if row["level"] == 2} == {""}
    assert {row["num_alphas"] for row in table if row["level"] == 1} == {"3", "5"}


def test_the_summary_leaves_out_levels_without_all_of_them(tree):
    other = {"vary": ["dropout"], "bn": "keep", "splits": ["train"]}
    head, *lines = results.summarize_instability(tree, other, GRID, ["1-2"]).splitlines()
    assert head == "instability (train, bn=keep, between children 1-2)"
    assert [line.split()[0] for line in lines] == ["level", "1", "1"]
    assert len(results.summarize_instability(tree, other, GRID, ["1-2", "1-3"]).splitlines()) == 1


NAME = "instability_0123456789"
INSTABILITY_ASKED = {
    "seeds": [3, 1, 2],
    "vary": ["data_order", "augmentation", "dropout"],
    "alphas": 5,
    "bn": "reset",
    "splits": ["train", "test"],
}


def measured_instability(made, asked, levels):
    children = Children(made, NAME, "instability", asked["seeds"], asked["vary"])
    for level in levels:
        instability.measure(asked, children, level)


def requested(folder, **asked):
    """A study whose plan asks for the branch, at levels 0 and 2 if not told."""
    return study(folder, rewind_step="4it", branch=NAME, **({"branch_levels": [0, 2]} | asked))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with three children of its dense and of its last level, and the lines between."""
    made = grown(requested(tmp_path_factory.mktemp("study")))
    measured_instability(made, INSTABILITY_ASKED, [0, 2])
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
    (file,) = LineRecords(folder).files
    assert file.name == "k1_1ep1it_k2_1ep2it.json"
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
    assert results.is_complete(tree, plan) and instability.is_measured(
        INSTABILITY_ASKED, tree, plan
    )
    monkeypatch.setattr(LineEnds, "evaluate", None)
    measured_instability(made, INSTABILITY_ASKED, [0, 2])
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
    asked, before = INSTABILITY_ASKED | changes, made.num_steps
    plan = requested(made.tree.folder, branch_levels=levels).plan
    done = results.is_complete(made.tree, plan) and instability.is_measured(asked, made.tree, plan)
    assert not done
    measured_instability(made, asked, levels)
    assert results.is_complete(made.tree, plan) and instability.is_measured(asked, made.tree, plan)
    assert made.num_steps == before + num_steps
    assert instability.is_measured(INSTABILITY_ASKED, made.tree, made.plan)  # nothing is lost


def test_a_branch_killed_before_its_tables_were_written_is_not_done(made):
    folder = made.tree.branch(0, NAME).folder
    before = (folder / "barriers.csv").read_bytes()
    (folder / "intervals.csv").unlink()
    (folder / "barriers.csv").write_text("cut off")
    assert not instability.is_measured(INSTABILITY_ASKED, made.tree, made.plan)
    measured_instability(made, INSTABILITY_ASKED, [0])
    assert (folder / "barriers.csv").read_bytes() == before
    assert instability.is_measured(INSTABILITY_ASKED, made.tree, made.plan)
