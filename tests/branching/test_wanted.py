import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.branching import results
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnRequest, SpawnTree
from isthmus.store import files as store_files

SPAWNED = 3  # 1ep
MODELS = ("plain", "ema_0.9")
BNS = ("reset", "average", "keep")


def plan(**asked):
    values = {"spawn_steps": ["1ep"], "child_seeds": [1, 2], "child_steps": ["0", "2it", "4it"]}
    return SpawnPlan(SpawnRequest(**(values | {"child_length": "4it"} | asked)), 3, 9)


def trained(run, *kept, models=MODELS, end=None, stopped=None):
    """A run that looks as if it had been trained."""
    for iteration in kept:
        for model in models:
            store_files.write_bytes(run.weights(iteration, model), b"")
        store_files.write_bytes(run.snapshot_state(iteration), b"")
    end = max(kept) if end is None else end
    reached = end if stopped is None else stopped
    summary = {"iteration": reached, "end": end, "iterations_per_epoch": 3}
    store_files.write_json(run.result, summary | {"stopped_early": stopped is not None})


def evaluated(tree, asked):
    """The tables of all that is asked for."""
    for run, some in results.cells_by_folder(tree, asked, SPAWNED).items():
        rows = []
        for average in some:
            for model in results.common_models(tree, asked, SPAWNED, average):
                for bn in results.bn_modes(average, asked.request.bn):
                    for split in asked.request.splits:
                        how = {"model": model, "bn": bn, "split": split}
                        cell = {"loss": 1.0, "accuracy": 0.5}
                        rows.append(results.average_row(asked, SPAWNED, average, how, cell))
        store_files.write_csv(
            run.folder / results.TABLE_NAME, results.AVERAGE_COLUMNS, results.sort_rows(rows)
        )


def measured(tree, asked):
    missing = results.missing_distances(tree, asked, SPAWNED)
    rows = [(SPAWNED, step, "1", "0", seed, other, "1.0", "") for step, seed, other in missing]
    store_files.write_csv(tree.distance("1ep"), results.PAIRS, rows)


@pytest.fixture
def tree(tmp_path):
    """A parent and two children, trained but neither evaluated nor measured."""
    tree = SpawnTree(tmp_path)
    trained(tree.parent, 0, SPAWNED, end=9)
    for seed in (1, 2):
        trained(tree.child("1ep", seed), 5, 7)
    return tree


@pytest.fixture
def done(tree):
    evaluated(tree, plan())
    measured(tree, plan())
    return tree


def test_a_tree_that_has_everything_lacks_nothing(done):
    assert results.is_complete(done, plan(), save=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"spawn_steps": ["1ep", "2ep"]},
        {"spawn_steps": ["1ep", "2ep"], "only": 0},  # the parent keeps them for the other jobs
        {"spawn_step": "4it"},
        {"child_seeds": [1, 2, 3]},
        {"child_steps": ["0", "2it", "3it", "4it"]},
        {"child_length": "5it"},
        {"averages": ["across", "back", "back_plus_one"]},
        {"bn": "average"},
        {"bn": "average", "averages": []},  # children are treated as averages would be
        {"bn": "keep"},
        {"splits": ["train", "val", "test"]},
    ],
    ids=str,
)
def test_whoever_asks_for_more_is_given_more(done, asked):
    assert not results.is_complete(done, plan(**asked), save=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"child_seeds": [1]},
        {"child_seeds": [2, 1]},
        {"child_steps": ["4it"]},
        {"child_length": "2it", "child_steps": ["2it"]},
        {"averages": ["back"]},
        {"averages": []},
        {"averages": [], "bn": "keep"},  # which every child has
        {"models": ["averaged"]},
        {"splits": ["test"]},
    ],
    ids=str,
)
def test_whoever_asks_for_less_has_it(done, asked):
    assert results.is_complete(done, plan(**asked), save=False)


def test_averages_as_weights_are_more(done):
    assert not results.is_complete(done, plan(), save=True)


@pytest.mark.parametrize(
    "lost",
    [
        "parent/result.json",
        "parent/weights/step_3.state.pt",
        "children/1ep/seed_2/result.json",
        "children/1ep/seed_2/weights/step_5.safetensors",
        "children/1ep/seed_1/averages.csv",
        "avg_back/1ep/seed_2/averages.csv",
        "avg_across/1ep/seeds_1-2/averages.csv",
        "distance/1ep/pairs.csv",
    ],
)
def test_a_file_that_is_lost_is_wanted(done, lost):
    (done.folder / lost).unlink()
    assert not results.is_complete(done, plan(), save=False)


def test_a_file_of_another_study_in_the_same_tree_is_not_wanted(done):
    trained(done.child("2ep", 1), 7)
    assert results.is_complete(done, plan(), save=False)


def test_an_average_has_the_models_that_all_of_its_members_have(tmp_path):
    tree = SpawnTree(tmp_path)  # with SWA there is no averaged model before it starts
    trained(tree.parent, 0, SPAWNED, models=["plain"])
    trained(tree.child("1ep", 1), 5, models=["plain", "swa"])
    back = PlannedAverage("back", 2, (1,), ((1, 0), (1, 2)))
    child = PlannedAverage("child", 2, (1,), ((1, 2),))
    assert results.common_models(tree, plan(), SPAWNED, back) == ["plain"]
    assert results.common_models(tree, plan(), SPAWNED, child) == ["plain", "swa"]
    averaged = plan(models=["averaged"])
    assert results.common_models(tree, averaged, SPAWNED, back) == []
    assert results.common_models(tree, averaged, SPAWNED, child) == ["swa"]


def test_a_child_that_stopped_early_has_nothing_later(tmp_path):
    tree, asked = SpawnTree(tmp_path), plan()
    trained(tree.parent, 0, SPAWNED, end=9)
    trained(tree.child("1ep", 1), 5, 7)
    trained(tree.child("1ep", 2), 5, end=7, stopped=6)
    cells_of = {
        run.folder.name: {
            (cell.average.kind, cell.average.child_step)
            for cell in results.missing_averages(tree, asked, SPAWNED, run, some, save=False)
        }
        for run, some in results.cells_by_folder(tree, asked, SPAWNED).items()
        if "avg_back" not in run.folder.parts
    }
    assert cells_of == {
        "seed_1": {("child", 0), ("child", 2), ("child", 4)},
        "seed_2": {("child", 0), ("child", 2)},
        "seeds_1-2": {("across", 2)},
    }
    evaluated(tree, asked)
    measured(tree, asked)
    assert results.is_complete(tree, asked, save=False)


def test_only_the_splits_that_are_missing_are_evaluated(tree):
    evaluated(tree, plan(splits=["test"]))
    asked = plan(splits=["train", "test"])
    for run, some in results.cells_by_folder(tree, asked, SPAWNED).items():
        left = results.missing_averages(tree, asked, SPAWNED, run, some, save=False)
        assert {tuple(cell.splits) for cell in left} == {("train",)}
        treatments = {"keep", "reset"} if "children" in run.folder.parts else {"reset"}
        assert {cell.bn for cell in left} == treatments


def lacking(tree, asked, seed):
    """What the table of a child lacks."""
    run = tree.child("1ep", seed)
    some = results.cells_by_folder(tree, asked, SPAWNED)[run]
    return results.missing_averages(tree, asked, SPAWNED, run, some, save=False)


def test_a_child_that_was_evaluated_as_trained_alone_lacks_the_treatment_of_averages(tree):
    expected = [(step, model) for step in (0, 2, 4) for model in MODELS]
    for bn in ("reset", "average"):
        left = lacking(tree, plan(bn=bn), 1)
        for treatment in ("keep", bn):
            of_it = [cell for cell in left if cell.bn == treatment]
            assert [(cell.average.child_step, cell.model) for cell in of_it] == expected
        assert len(left) == 2 * len(expected)
    evaluated(tree, plan(bn="keep"))
    for bn in ("reset", "average"):
        left = lacking(tree, plan(bn=bn), 1)
        assert [(cell.average.child_step, cell.model) for cell in left] == expected
        assert {cell.bn for cell in left} == {bn}
    assert lacking(tree, plan(bn="keep"), 1) == []


def test_weights_that_alone_are_missing_leave_nothing_to_evaluate(tree):
    evaluated(tree, plan())
    left = []
    for run, some in results.cells_by_folder(tree, plan(), SPAWNED).items():
        left += results.missing_averages(tree, plan(), SPAWNED, run, some, save=True)
    assert {cell.average.kind for cell in left} == {"across", "back"}
    assert not any(cell.splits for cell in left)


@pytest.mark.parametrize("bn", BNS)
def test_an_average_killed_between_its_weights_and_its_state_is_saved_again(tree, bn):
    asked = plan(bn=bn)
    evaluated(tree, asked)
    average = PlannedAverage("across", 2, (1, 2), ((1, 2), (2, 2)))
    run = tree.average_across("1ep", [1, 2])
    for model in MODELS:
        store_files.write_bytes(results.weights_file(run, average, 5, model, bn), b"")
    (cell,) = results.missing_averages(tree, asked, SPAWNED, run, [average], save=True)
    assert (cell.model, cell.bn, cell.splits) == ("plain", bn, [])
    store_files.write_bytes(results.state_file(run, average, 5, bn), b"")
    assert results.missing_averages(tree, asked, SPAWNED, run, [average], save=True) == []


@pytest.mark.parametrize("saved", BNS)
@pytest.mark.parametrize("bn", BNS)
def test_an_average_saved_under_one_treatment_is_not_saved_under_another(tree, saved, bn):
    evaluated(tree, plan(bn=bn))
    average = PlannedAverage("across", 2, (1, 2), ((1, 2), (2, 2)))
    run = tree.average_across("1ep", [1, 2])
    for model in MODELS:
        store_files.write_bytes(results.weights_file(run, average, 5, model, saved), b"")
    store_files.write_bytes(results.state_file(run, average, 5, saved), b"")
    left = results.missing_averages(tree, plan(bn=bn), SPAWNED, run, [average], save=True)
    assert [cell.model for cell in left] == ([] if saved == bn else list(MODELS))


def test_members_lie_with_their_child_and_at_the_spawn_step_with_the_parent(tmp_path):
    tree = SpawnTree(tmp_path)
    average = PlannedAverage("back", 4, (2,), ((2, 0), (2, 1), (2, 4)))
    child = tree.child("1ep", 2)
    places = [(tree.parent, 3), (child, 4), (child, 7)]
    assert results.member_snapshots(tree, plan(), SPAWNED, average) == places


def test_kinds_and_treatments_in_one_folder_have_files_of_their_own(tmp_path):
    run, member = SpawnTree(tmp_path).average_back("1ep", 1), (1, 2)
    kinds = [kind for kind in results.KINDS if kind.startswith("back")]
    some = [PlannedAverage(kind, 2, (1,), ((1, 0), member)) for kind in kinds]
    files = []
    for bn in BNS:
        for average in some:
            files += [results.weights_file(run, average, 5, model, bn) for model in MODELS]
            files.append(results.state_file(run, average, 5, bn))
    assert len(set(files)) == 3 * len(kinds) * len(BNS)
    assert run.weights(5) in files and run.snapshot_state(5) in files  # to train on from


@pytest.mark.parametrize(
    ("kind", "bn", "name"),
    [
        ("across", "reset", "step_12"),
        ("across", "keep", "keep_step_12"),
        ("back", "reset", "step_12"),
        ("back", "average", "average_step_12"),
        ("back_all", "reset", "back_all_step_12"),
        ("back_all", "keep", "back_all_keep_step_12"),
    ],
)
def test_a_file_says_the_treatment_unless_statistics_were_reset(tmp_path, kind, bn, name):
    run, average = store_files.Run(tmp_path), PlannedAverage(kind, 2, (1,), ((1, 1), (1, 2)))
    folder = tmp_path / "weights"
    assert results.weights_file(run, average, 12, "plain", bn) == folder / f"{name}.safetensors"
    ema = results.weights_file(run, average, 12, "ema_0.9", bn)
    assert ema == folder / f"{name}.ema_0.9.safetensors"
    assert results.state_file(run, average, 12, bn) == folder / f"{name}.state.pt"


def test_each_folder_is_gone_through_once(tmp_path):
    tree = SpawnTree(tmp_path)
    folders = results.cells_by_folder(tree, plan(averages=["across", "back", "back_all"]), SPAWNED)
    assert {run.folder.relative_to(tmp_path).as_posix() for run in folders} == {
        "children/1ep/seed_1",
        "children/1ep/seed_2",
        "avg_back/1ep/seed_1",
        "avg_back/1ep/seed_2",
        "avg_across/1ep/seeds_1-2",
    }
    kinds = [{average.kind for average in some} for some in folders.values()]
    assert sorted(map(sorted, kinds)) == [
        ["across"],
        *[["back", "back_all"]] * 2,
        *[["child"]] * 2,
    ]


def test_what_a_finished_study_needs_imports_no_torch():
    modules = "options plan results".split()
    code = f"import sys; from isthmus.branching import {', '.join(modules)}; "
    code += "print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n"
