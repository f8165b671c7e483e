"""What `prune.py` puts together: children of levels, and the lines between them."""

import pytest

from isthmus import tables
from isthmus.connectivity import results as connectivity_results
from isthmus.pruning import results
from isthmus.pruning.options import Instability
from isthmus.pruning.plan import PruningTree
from isthmus.store import files
from tests.pruning.test_tables import RETRAIN, done

ASKED = Instability(vary=["dropout", "data_order"], alphas=5)
BARRIERS = ("k1", "child_seed", "align", *results.HOW, *connectivity_results.measures())


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
    tables.write(run.folder / "barriers.csv", BARRIERS, found)


@pytest.fixture
def tree(tmp_path):
    tree = PruningTree(tmp_path / "prune_1" / "seed_4")
    for level in range(3):
        done(tree.level(level), level, density=0.5**level)
        measured(tree, level, "instability_0000000000")
    done(tree.branch(1, RETRAIN), 1, "retrain")
    measured(tree, 1, "instability_1111111111", vary=["dropout"], seeds=["1-2"])
    tables.write(
        tree.instability_table, results.barrier_columns(), results.collect_barriers(tree, 4)
    )
    return tree


def test_the_table_has_every_barrier_once(tree):
    found = tables.read(tree.instability_table).to_dict("records")
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
    assert folders == {"", RETRAIN}


def test_a_branch_that_is_not_done_is_not_in_the_table(tree):
    tree.branch(2, "instability_0000000000").result.unlink()
    levels = [
        row[results.barrier_columns().index("level")] for row in results.collect_barriers(tree, 4)
    ]
    assert set(levels) == {0, 1}


def test_the_summary_shows_means_of_the_pairs_that_were_asked_for(tree):
    head, *lines = results.summarize_instability(tree, ASKED, ["1-2", "1-3"]).splitlines()
    assert head == "instability (test, bn=reset, between children 1-2, 1-3)"
    assert lines[0].split("  ")[:3] == ["level", "weights left", "metric"]
    assert [line.split() for line in lines[3:5]] == [
        ["1", "0.5000", "error", "0.1125", "1.1125", "-0.2500", "7.0000"],
        ["1", "0.5000", "loss", "1.1250", "2.1250", "-0.2500", "7.0000"],
    ]
    assert len(lines) == 1 + 3 * 2


def test_a_table_of_an_older_version_is_read(tree):
    run = tree.branch(2, "instability_0000000000")
    found = tables.read(run.folder / "barriers.csv").to_dict("records")
    older = [name for name in BARRIERS if name not in ("ends", "alphas", "refine", "num_alphas")]
    tables.write(run.folder / "barriers.csv", older, [[row[n] for n in older] for row in found])
    table = [
        dict(zip(results.barrier_columns(), row, strict=True))
        for row in results.collect_barriers(tree, 4)
    ]
    assert {row["num_alphas"] for row in table if row["level"] == 2} == {""}
    assert {row["num_alphas"] for row in table if row["level"] == 1} == {"3", "5"}


def test_the_summary_leaves_out_levels_without_all_of_them(tree):
    other = Instability(vary=["dropout"], bn="keep", splits=["train"], alphas=5)
    head, *lines = results.summarize_instability(tree, other, ["1-2"]).splitlines()
    assert head == "instability (train, bn=keep, between children 1-2)"
    assert [line.split()[0] for line in lines] == ["level", "1", "1"]
    assert len(results.summarize_instability(tree, other, ["1-2", "1-3"]).splitlines()) == 1
