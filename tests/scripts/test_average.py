"""`average.py` as a user starts it."""

import csv
import json

import pytest
from safetensors.torch import load_file

from tests.scripts import QUIET, SMALL, averaged, files, only, refused, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three runs of train.py that differ in their seed, and one of another architecture."""
    folder = tmp_path_factory.mktemp("trained")
    sweep = ["--multirun", *SMALL, *QUIET, "averaged=none", "snapshots=[1ep]"]
    run("train.py", *sweep, "global_seed=1,2,3", "dataset.val_fraction=0.2", cwd=folder)
    run("train.py", *sweep, "model.width=8", "output_dir=wide", cwd=folder)
    return folder


def test_three_runs_are_averaged_from_another_folder_and_again_and_evaluated(trained, tmp_path):
    pattern = f"checkpoints=[{trained}/outputs/train_*/seed_*/weights/step_18.safetensors]"
    done = averaged(pattern, cwd=tmp_path)
    folder = only(tmp_path, "outputs/average_*")
    sources = sorted(trained.glob("outputs/train_*/seed_*/weights/step_18.safetensors"))
    result = json.loads((folder / "result.json").read_text())
    assert [part["checkpoint"] for part in result["ingredients"]] == list(map(str, sources))
    assert list(result["evaluation"]) == [*map(str, sources), "average"]
    states = [load_file(source) for source in sources]
    for name, tensor in load_file(folder / "weights.safetensors").items():
        mean = sum(state[name].double() for state in states) / 3
        assert tensor.equal(mean.to(tensor.dtype))
    with (folder / "averages.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3 * 2
    for row in rows:
        number = result["evaluation"][row["model"]][row["split"]][row["metric"]]
        assert float(row["value"]) == number

    kept = [path for path in files(folder) if not {".hydra", "index.csv"} & set(path.parts)]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = averaged(pattern, cwd=tmp_path)
    assert "results are complete" in again.stdout
    assert again.stdout.endswith(done.stdout)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    checkpoint = folder / "weights.safetensors"
    run("eval.py", f"checkpoint={checkpoint}", "output_dir=evals", cwd=tmp_path)
    found = json.loads(only(tmp_path, "evals/*/result.json").read_text())["evaluation"]
    for split, numbers in result["evaluation"]["average"].items():
        assert found["average"][split] == pytest.approx(numbers, abs=1e-6)
    both = f"checkpoints=[{sources[0]},{checkpoint}]"
    assert "average" in averaged(both, "method=greedy_soup", "splits=[test]", cwd=tmp_path).stdout


def test_an_average_of_files_that_have_changed_is_made_anew(trained, tmp_path):
    first, second, *_ = trained.glob("outputs/train_*/seed_*/weights/step_18.safetensors")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(first.read_bytes())
    averaged("checkpoints=[copy.safetensors]", cwd=tmp_path)
    copy.write_bytes(second.read_bytes())
    assert (
        "results are complete"
        not in averaged("checkpoints=[copy.safetensors]", cwd=tmp_path).stdout
    )
    found = load_file(only(tmp_path, "outputs/average_*/weights.safetensors"))
    assert all(tensor.equal(load_file(second)[name]) for name, tensor in found.items())


def test_a_run_is_averaged_over_its_steps(trained, tmp_path):
    parent = only(trained, "outputs/train_*/seed_1")
    averaged(f"run={parent}", "method=ema", "decay=0.25", cwd=tmp_path)
    averaged(f"run={parent}", "steps=[1ep,18it]", "method=ema", "decay=0.25", cwd=tmp_path)
    first, second = (load_file(parent / "weights" / f"step_{i}.safetensors") for i in (9, 18))
    found = list(tmp_path.glob("outputs/average_*/weights.safetensors"))
    assert len(found) == 2
    for path in found:
        for name, tensor in load_file(path).items():
            expected = 0.25 * first[name].double() + 0.75 * second[name].double()
            assert tensor.equal(expected.to(tensor.dtype))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoints=[...] or run=DIR says what to average, got neither"),
        (["checkpoints=[{a}]", "run={run}"], "got both"),
        (["checkpoints=[{a}]", "steps=[1ep]"], "steps=[1ep]: only run=DIR takes them"),
        (["checkpoints=[]"], "checkpoints=[]: nothing to average"),
        (["checkpoints=[nothing_*.safetensors]"], "checkpoints=nothing_*.safetensors: no file"),
        (["checkpoints=[{run}/weights/step_7.safetensors]"], "that folder has best, step_9"),
        (["run={run}", "steps=[7it]"], "that folder has best, step_9, step_18"),
        (["run=nowhere"], "run=nowhere: no checkpoint nowhere/weights/step_0.safetensors"),
        (["checkpoints=[{a},{other}]"], "{other} is not of the architecture of {a}: model.width"),
        (["checkpoints=[{a}]", "method=weighted"], "weights: method=weighted needs a value"),
        (["checkpoints=[{a}]", "method=weighted", "weights=[1,2]"], "got 2 for 1"),
        (["checkpoints=[{a}]", "method=weighted", "weights=[0]"], "their sum must be positive"),
        (["checkpoints=[{a}]", "decay=0.5"], "decay=0.5: only method=ema uses it, not uniform"),
        (["checkpoints=[{a}]", "method=ema", "decay=1.0"], "decay=1.0: must be in [0, 1)"),
        (["checkpoints=[{a}]", "method=latest", "num=2"], "num=2: must be from 1 to 1"),
        (
            ["checkpoints=[{other}]", "method=greedy_soup", "dataset.val_fraction=0"],
            "needs a validation split; this data set has train, test",
        ),
        (["checkpoints=[{a}]", "method=soup"], "method=soup: must be one of uniform, weighted"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_any_work(arguments, message, trained, tmp_path):
    parent = only(trained, "outputs/train_*/seed_1")
    names = {
        "run": parent,
        "a": parent / "weights" / "step_18.safetensors",
        "other": only(trained, "wide/train_*/seed_1/weights/step_22.safetensors"),
    }
    typed = [argument.format(**names) for argument in arguments]
    error = refused("average.py", *typed, "runtime.device=cpu", cwd=tmp_path)
    assert message.format(**names) in error
    assert not list(tmp_path.glob("outputs/average_*"))
