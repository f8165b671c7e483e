"""`interpolate.py` as a user starts it: in processes of its own."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src import runs, state_dicts
from src.training import rebuilt
from tests import toys
from tests.scripts import QUIET, REPOSITORY, files, only, refused, run, steps_made

TINY = [
    *QUIET, "dataset=digits", "model=mlp", "model.width=8", "scheduler=constant", "averaged=none",
    "hparams.epochs=3", "hparams.batch_size=256", "runtime.num_threads=1",
]  # fmt: skip
BRANCHES = [*TINY, "child_seeds=[2,3]", "alphas=5"]
GRID = ["--multirun", *BRANCHES, "k1=0,1", "k2=1,2"]
SAVED = ["runtime.device=cpu", "runtime.num_threads=1"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A folder with a grid of k1 and k2, and what was said while it was filled."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, run("interpolate.py", *GRID, cwd=folder).stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Files of three networks of different initializations, and of one of another width."""
    folder = tmp_path_factory.mktemp("trained")
    sweep = ["--multirun", *TINY, "optimizer.lr=0.5", "global_seed=1,2,3"]
    run("train.py", *sweep, cwd=folder)
    three = sorted(folder.glob("outputs/train_*/seed_*/weights/step_18.safetensors"))
    assert len(three) == 3
    weights, metadata = runs.load_weights(three[0])
    metadata["config"]["model"]["width"] = 7
    narrow = {name: t[:7, :7] if t.dim() > 1 else t[:7] for name, t in weights.items()}
    runs.save_weights(folder / "narrow.safetensors", narrow, metadata)
    return [*three, folder / "narrow.safetensors"]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file but those that Hydra writes anew."""
    return {p: p.read_bytes() for p in files(folder) if not {".hydra", "sweeps"} & set(p.parts)}


def test_a_sweep_fills_the_grid_and_its_tables(grid):
    folder, output = grid
    assert "4 jobs: 4 done, 0 failed" in output
    study = only(folder, "outputs/interpolate_*/seed_1")
    pairs = [(k1, k2) for k1 in (0, 1) for k2 in (1, 2)]
    found = sorted(path.name for path in study.glob("*.json"))
    assert found == [f"k1_{k1}ep_k2_{k2}ep.json" for k1, k2 in pairs]
    lines, barriers = (read(study / f"{name}.csv") for name in ("lines", "barriers"))
    assert len(lines) == 4 * 2 * 2 * 5
    assert len(barriers) == 4 * 2 * 2 * 2
    rows = {(row["k1"], row["k2"], row["total"], row["child_seed"]) for row in lines}
    assert rows == {
        (f"{k1}.0", f"{k2}.0", f"{k1 + k2}.0", seed) for k1, k2 in pairs for seed in "23"
    }
    assert len(read(study / "intervals.csv")) == 4 * 2 * 2 * 5
    assert (study / "figures" / "drawn_from.json").exists()


def test_every_line_says_between_which_networks_it_is_and_has_their_values(grid):
    folder, _ = grid
    study = only(folder, "outputs/interpolate_*/seed_1")
    content = json.loads((study / "k1_1ep_k2_2ep.json").read_text())
    assert content["precision"] == "fp32"
    assert content["num_examples"] == {"train": 1293, "test": 360}
    tree = only(folder, "outputs/spawn_*/seed_1").relative_to(folder)
    for line, seed in zip(content["lines"], (2, 3), strict=True):
        ends = [f"{tree}/{run}/weights/step_18" for run in ("parent", f"children/1ep/seed_{seed}")]
        assert line["networks"] == [f"{end}.safetensors" for end in ends]
        two = {str(n): runs.load_weights(folder / n)[0] for n in line["networks"]}
        metadata = runs.load_weights(folder / line["networks"][0])[1]
        table = rebuilt.evaluator(metadata, {"root": None}, "", toys.RUNTIME, None).table(two)
        for split, curve in line["curves"].items():
            for place, network in ((0, two), (-1, list(two)[1:])):
                own = table[next(iter(network))][split]
                assert curve["loss"][place] == pytest.approx(own["loss"], rel=1e-6)
                assert curve["accuracy"][place] == own["accuracy"]


def test_a_grid_that_is_there_is_done_at_once(grid):
    folder, _ = grid
    before = contents(folder)
    again = run("interpolate.py", *GRID, cwd=folder).stdout
    assert again.count("done before: nothing to compute") == 4
    assert "optimizer steps" not in again
    assert contents(folder) == before


def test_branches_are_the_same_alone_and_trained_side_by_side(grid, tmp_path):
    folder, _ = grid
    asked = [*BRANCHES, "k1=[0,1]", "k2=[1,2]"]
    run("interpolate.py", *asked, "runtime.num_jobs=2", "output_dir=two", cwd=tmp_path)
    run("interpolate.py", *asked, "child_seeds=[3]", "output_dir=alone", cwd=tmp_path)
    one = only(folder, "outputs/interpolate_*/seed_1")
    two, alone = (only(tmp_path, f"{name}/interpolate_*/seed_1") for name in ("two", "alone"))
    for name in ("lines.csv", "barriers.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
        assert [row for row in read(one / name) if row["child_seed"] == "3"] == read(alone / name)


def test_the_legs_lie_where_spawn_looks_for_them(grid):
    folder, _ = grid
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        asked = [*TINY, "spawn_steps=[0ep,1ep]", "child_seeds=[2,3]"]
        cfg = compose("spawn", overrides=asked, return_hydra_config=True)
    tree = only(folder, "outputs/spawn_*/seed_1")
    assert tree == folder / cfg.hydra.run.dir
    for step in ("0ep", "1ep"):
        for seed in (2, 3):
            assert (tree / f"children/{step}/seed_{seed}/result.json").exists()


def test_tables_that_a_killed_job_had_not_written_are_written_by_the_next(grid):
    folder, _ = grid
    study = only(folder, "outputs/interpolate_*/seed_1")
    before = contents(study)
    (study / "intervals.csv").unlink()
    (study / "lines.csv").write_text("cut off")
    output = run("interpolate.py", *BRANCHES, "k1=1", "k2=2", cwd=folder).stdout
    assert steps_made(output) == 0
    assert "means of 2 branches" in output
    assert contents(study) == before


def line_between(*files, cwd, **options):
    typed = [f"{name}={value}" for name, value in options.items()]
    ends = [f"{name}={file}" for name, file in zip(("start", "end"), files, strict=True)]
    return run("interpolate.py", *SAVED, *ends, *typed, cwd=cwd).stdout


def test_two_trained_networks_are_aligned_and_come_closer(trained, tmp_path):
    first, second, *_ = trained
    asked = {"align": "weights", "refine": 3}
    output = line_between(first, second, cwd=tmp_path, **asked)
    assert "barriers (align=weights, bn=reset)" in output
    study = only(tmp_path, "outputs/interpolate_*")
    start, end = (runs.load_weights(file)[0] for file in (first, second))
    for row in read(study / "barriers.csv"):
        assert row["align"] == "weights"
        assert float(row["distance"]) < state_dicts.distance(start, end, start)
        assert float(row["cosine"]) > state_dicts.cosine(start, end, start)
    assert len(read(study / "lines.csv")) == 2 * (25 + 3)
    assert "done before" in line_between(first, second, cwd=tmp_path, **asked)


def plane(files, *arguments):
    return [*SAVED, f"plane=[{','.join(map(str, files))}]", "points=21", *arguments]


def test_a_plane_that_was_killed_goes_on_and_ends_as_an_uninterrupted_one(trained, tmp_path):
    three = trained[:3]
    run("interpolate.py", *plane(three, "output_dir=whole"), cwd=tmp_path)
    arguments = plane(three, "output_dir=parts")
    command = [sys.executable, str(REPOSITORY / "interpolate.py"), *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("parts/interpolate_*/plane.csv")):
            assert process.poll() is None, "done before the table was seen"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    whole, table = only(tmp_path, "whole/*/plane.csv"), only(tmp_path, "parts/*/plane.csv")
    assert not list(tmp_path.glob("parts/*/result.json")), "killed too late to prove anything"
    known = read(table)
    assert 0 < len(known) < len(read(whole)) == 21 * 21 * 2
    # A number that no evaluation would give tells whether what is known is kept.
    table.write_text(table.read_text().replace(known[0]["loss"], "123.0", 1))
    run("interpolate.py", *arguments, cwd=tmp_path)
    assert table.read_text().replace("123.0", known[0]["loss"], 1) == whole.read_text()
    assert read(table)[0]["loss"] == "123.0"
    assert "done before" in run("interpolate.py", *arguments, cwd=tmp_path).stdout
    networks = read(only(tmp_path, "parts/*/plane_networks.csv"))
    names = [row["name"] for row in networks if row["split"] == "test"]
    assert names == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ([], ["k1=... and k2=..., or start=... and end=..., or plane=... says what to do"]),
        (["start={a}", "k1=1"], ["k1: not with start and end, which takes ", "end: needs a value"]),
        (
            [*TINY, "k1=1", "k2=0", "alphas=1", "refine=0"],
            ["k2=0: must be positive", "alphas=1: must be at least 2", "refine=0: must be positi"],
        ),
        (
            ["plane=[{a},{b}]", "points=1", "margin=-1"],
            ["]: must be three files", "points=1: must be at least 2", "margin=-1: must not be n"],
        ),
        (["start={a}", "end={b}", "runtime.num_jobs=2"], ["runtime.num_jobs=2: no such option"]),
        ([*TINY, "k1=1", "k2=1", "vary=[dropout]"], ["vary=[dropout]: "]),
        (
            [*TINY, "k1=1", "k2=1", "vary=[dropout,data_order]", "seeds.data_order=2"],
            ["child_seeds=[2]: with seed 2 the branch is the main one again"],
        ),
        ([*TINY, "k1=1", "k2=1", "vary=[augmentation]"], ["vary=[augmentation]: "]),
        (["start={a}", "end={a}x"], ["end: no checkpoint {a}x; that folder has best, step_18"]),
        (["plane=[{a},{b},nowhere/c]"], ["plane: no checkpoint nowhere/c: there is no folder"]),
        (
            ["start={a}", "end={narrow}"],
            ["{narrow} is not of the architecture of {a}: model.width"],
        ),
        (["plane=[{a},{b},{a}]"], ["plane: the three networks lie on one line, which spans no"]),
        ([*TINY, "k1=2", "k2=1,2"], ["k1=2ep k2=2ep: 4ep lies after the end of the main branch"]),
        (
            [*TINY, "k1=1", "k2=1", "splits=[val]", "dataset.val_fraction=0"],
            ["splits=val: this data set has train, test"],
        ),
    ],
)
def test_bad_input_gets_one_message_and_leaves_nothing(arguments, messages, trained, tmp_path):
    names = dict(zip(("a", "b", "c", "narrow"), trained, strict=True))
    typed = [argument.format(**names).replace("k2=1,2", "k2=[1,2]") for argument in arguments]
    error = refused("interpolate.py", *typed, cwd=tmp_path)
    for message in messages:
        assert error.count(message.format(**names)) == 1
    assert not list(tmp_path.glob("outputs/*"))
