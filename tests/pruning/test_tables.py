"""The table of a tree, what is drawn beside it, its summary, and what it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from isthmus import tables
from isthmus.pruning import results
from isthmus.pruning.options import Prune, Retrain
from isthmus.pruning.plan import PruningPlan, PruningTree, sparsity_file
from isthmus.store import files
from tests import toys

BRANCH = {"branch": "retrain", "retrain": Retrain(hparams={"epochs": 1})}
RETRAIN = str(toys.options(Prune, **BRANCH).branch_folder)


def cell(loss):
    return {"loss": loss, "accuracy": 1 - loss}


def done(run, level, branch=None, density=1.0, best=None):
    """A run as it ends, with evaluations that say where they come from."""
    loss = level / 10
    evaluation = {"plain": {"train": cell(loss), "test": cell(loss + 0.05)}}
    if best is not None:
        evaluation["best"] = {"train": cell(loss), "test": cell(loss + 0.01)}
    said = {"level": level, "strategy": "fc19", "rewind": "weights", "rewind_step": 0}
    said |= {"density": density} | ({"branch": branch} if branch else {})
    ended = {"iteration": 9, "end": 9, "iterations_per_epoch": 3, "stopped_early": False}
    told = {"evaluation": evaluation, "best_iteration": best, **said, **ended}
    files.write_json(run.result, told)
    columns = ("layer", "num_weights", "num_kept", "density", "sparsity")
    tables.write(sparsity_file(run), columns, [("total", 10, 10 * density, density, 1 - density)])


@pytest.fixture
def tree(tmp_path):
    tree = PruningTree(tmp_path / "prune_1" / "seed_4")
    for level in range(11):
        done(tree.level(level), level, density=0.5**level, best=6)
    done(tree.branch(2, RETRAIN), 2, "retrain epochs=1", density=0.25)
    done(tree.pretrain, 0)
    tables.write(tree.table, results.LEVELS, results.collect_levels(tree, seed=4))
    return tree


def test_the_table_has_every_number_once(tree):
    found = tables.read(tree.table).to_dict("records")
    assert len(found) == 11 * 2 * 2 + 2
    keys = [(r["level"], r["folder"], r["model"], r["split"]) for r in found]
    assert len(set(keys)) == len(keys)
    assert [int(row["level"]) for row in found] == sorted(int(row["level"]) for row in found)
    (row,) = (r for r in found if r["folder"] and r["split"] == "test")
    assert row == {
        "strategy": "fc19",
        "rewind": "weights",
        "rewind_step": "0",
        "seed": "4",
        "level": "2",
        "branch": "retrain epochs=1",
        "folder": RETRAIN,
        "density": "0.25",
        "model": "plain",
        "split": "test",
        "loss": "0.25",
        "accuracy": "0.75",
        "best_step": "",
    }


def test_levels_are_those_that_are_done_in_order(tree):
    assert tree.levels() == list(range(11))
    tree.level(3).result.unlink()
    assert tree.levels() == [0, 1, 2, *range(4, 11)]
    assert tree.branches(2) == [RETRAIN] and tree.branches(1) == []


def test_what_masks_keep_is_put_together(tree):
    found = results.collect_sparsity(tree)
    assert [row["level"] for row in found] == list(range(11))
    assert found[2] == {"level": 2, "layer": "total", "density": 0.25}


def test_the_summary_shows_levels_and_the_branch_that_was_asked_for(tree):
    lines = results.summarize_levels(tree).splitlines()
    assert lines[0].split("  ") == [
        "level", "weights left", "test accuracy", "at lowest val loss", "(iteration)", "branch",
    ]  # fmt: skip
    assert len(lines) == 12
    assert lines[3].split() == ["2", "0.2500", "0.7500", "0.7900", "6"]
    lines = results.summarize_levels(tree, RETRAIN).splitlines()
    assert len(lines) == 13
    assert lines[4].split() == ["2", "0.2500", "0.7500", "retrain", "epochs=1"]


def test_seeds_of_a_study_and_other_studies_are_drawn_beside_it(tree, tmp_path):
    other = PruningTree(tmp_path / "prune_2" / "seed_4")
    tables.write(other.table, results.LEVELS, [])
    second = PruningTree(tmp_path / "prune_1" / "seed_5")
    tables.write(second.table, results.LEVELS, [])
    assert results.compare_studies(tree, []) == [tree.table, second.table]
    for text in (f"{tmp_path}/prune_*", f"{tmp_path}/prune_2/seed_4"):
        found = results.compare_studies(tree, results.find_studies([text]))
        assert found == [tree.table, second.table, other.table]


def test_barriers_are_drawn_of_the_studies_that_have_any(tree, tmp_path):
    other = PruningTree(tmp_path / "prune_2" / "seed_4")
    tables.write(other.instability_table, ["level"], [])
    assert results.collect_instability([tree.table, other.table]) == [
        other.folder / "instability.csv"
    ]


def test_a_folder_without_a_study_is_named(tmp_path):
    message = f"^compare={tmp_path}/a*: no levels.csv there, nor in seed_"
    with pytest.raises(FileNotFoundError, match=message.replace("*", r"\*")):
        results.find_studies([f"{tmp_path}/a*"])
    with pytest.raises(FileNotFoundError, match=f"^compare={tmp_path}: no levels.csv"):
        results.find_studies([str(tmp_path)])


def plan(**changes):
    asked = {"levels": 10, "rewind": "weights"} | changes
    return PruningPlan(toys.options(Prune, **asked), 3, 9)


def test_a_tree_that_has_everything_lacks_nothing(tree):
    assert results.is_complete(tree, plan())
    assert results.is_complete(tree, plan(levels=3))
    assert results.is_complete(tree, plan(**BRANCH, branch_levels=[2]))


@pytest.mark.parametrize(
    "asked",
    [
        {"levels": 11},
        {"snapshots": ["1ep"]},
        BRANCH,
        {"branch": "retrain", "retrain": Retrain(hparams={"epochs": 2}), "branch_levels": [2]},
    ],
    ids=str,
)
def test_whoever_asks_for_more_is_given_more(tree, asked):
    assert not results.is_complete(tree, plan(**asked))


def test_what_a_finished_study_needs_imports_no_torch():
    code = (
        "import sys; from isthmus.pruning import options, plan, results; "
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_tables_are_written_where_a_level_is_new_and_the_summary_follows(tree):
    results.complete_tables(tree, 4)
    before, text = tree.table.read_bytes(), results.summarize(tree)
    stamp = tree.table.stat().st_mtime_ns
    results.complete_tables(tree, 4)
    assert tree.table.stat().st_mtime_ns == stamp
    done(tree.level(11), 11, density=0.5**11)
    results.complete_tables(tree, 4)
    assert tree.table.read_bytes().startswith(before) and tree.table.read_bytes() != before
    assert results.summarize(tree).startswith(text)
    assert len(results.summarize(tree).splitlines()) == len(text.splitlines()) + 1
    assert (tree.folder / "summary.txt").read_text() == f"{results.summarize(tree)}\n"
