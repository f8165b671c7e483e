"""`interpolate.py` as a user starts it: in processes of its own."""

import csv
import json
import shutil
import time

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from isthmus import state_dicts
from isthmus.store import files as store_files
from isthmus.training import evaluator
from isthmus.training.options import SavedOptions
from tests import toys
from tests.scripts import QUIET, REPOSITORY, files, only, refused, run, started, steps_made

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
    weights, metadata = store_files.load_weights(three[0])
    metadata["config"]["model"]["width"] = 7
    narrow = {name: t[:7, :7] if t.dim() > 1 else t[:7] for name, t in weights.items()}
    store_files.save_weights(folder / "narrow.safetensors", narrow, metadata)
    return [*three, folder / "narrow.safetensors"]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file but those that Hydra writes anew, what was printed and the stamps of tables."""
    others = {".hydra", "sweeps", ".tables", ".summaries", "summary.txt"}
    return {p: p.read_bytes() for p in files(folder) if not others & set(p.parts)}


def test_a_sweep_fills_the_grid_and_its_tables(grid):
    folder, output = grid
    assert "4 jobs: 4 done, 0 failed" in output
    study = only(folder, "outputs/interpolate_*/seed_1")
    pairs = [(k1, k2) for k1 in (0, 1) for k2 in (1, 2)]
    found = sorted(path.name for path in study.glob("records/*.json"))
    assert found == [
        f"k1_{k1}ep_k2_{k2}ep_child_{seed}_none_reset.json" for k1, k2 in pairs for seed in (2, 3)
    ]
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
    tree = only(folder, "outputs/spawn_*/seed_1").relative_to(folder)
    for seed in (2, 3):
        file = study / "records" / f"k1_1ep_k2_2ep_child_{seed}_none_reset.json"
        line = json.loads(file.read_text())
        assert line["precision"] == "fp32"
        assert line["num_examples"] == {"train": 1293, "test": 360}
        ends = [f"{tree}/{run}/weights/step_18" for run in ("parent", f"children/1ep/seed_{seed}")]
        assert line["networks"] == [f"{end}.safetensors" for end in ends]
        two = {str(n): store_files.load_weights(folder / n)[0] for n in line["networks"]}
        metadata = store_files.load_weights(folder / line["networks"][0])[1]
        options = SavedOptions(runtime=toys.RUNTIME)
        table = evaluator.saved_evaluator(metadata, options).table(two)
        for split, curve in line["curves"].items():
            for place, network in ((0, two), (-1, list(two)[1:])):
                own = table[next(iter(network))][split]
                assert curve["loss"][place] == pytest.approx(own["loss"], rel=1e-6)
                assert curve["accuracy"][place] == own["accuracy"]


def test_a_grid_that_is_there_is_done_at_once(grid):
    folder, _ = grid
    before = contents(folder)
    index = folder / "outputs" / "index.csv"  # has the date of the last command
    again = run("interpolate.py", *GRID, cwd=folder).stdout
    assert again.count("results are complete; nothing to compute") == 4
    assert "optimizer steps" not in again
    assert contents(folder) | {index: b""} == before | {index: b""}


@pytest.mark.slow
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
    assert "optimizer steps" not in output
    assert "means of 2 branches" in output
    assert contents(study) == before


@pytest.fixture(scope="module")
def two_seeds(grid, tmp_path_factory):
    """A folder with the first k2 of the grid for a second main branch, and what was said."""
    folder = tmp_path_factory.mktemp("seeds") / "grid"
    shutil.copytree(grid[0], folder)
    sweep = ["--multirun", *BRANCHES, "k1=0,1", "k2=1", "global_seed=2", "child_seeds=[3]"]
    return folder, run("interpolate.py", *sweep, cwd=folder).stdout


def test_intervals_are_over_main_branches_in_the_folder_above_their_own(two_seeds):
    folder, output = two_seeds
    assert "means of 2 main branches +- half the 95 % interval" in output
    study = only(folder, "outputs/interpolate_*")
    barriers, intervals = (read(study / f"{name}.csv") for name in ("barriers", "intervals"))
    assert {row["global_seed"] for row in barriers} == {"1", "2"}
    assert (study / "figures" / "drawn_from.json").exists()
    for row in intervals:
        same = ("k1_step", "k2_step", "split", "metric")
        of_pair = [each for each in barriers if all(each[name] == row[name] for name in same)]
        numbers = [
            [float(each[row["measure"]]) for each in of_pair if each["global_seed"] == seed]
            for seed in "12"
        ]
        assert [len(each) for each in numbers] == [2, 1 if row["k2"] == "1.0" else 0]
        assert row["num_main_branches"] == ("2" if row["k2"] == "1.0" else "1")
        if row["k2"] != "1.0":
            assert (row["low"], row["high"]) == ("", "")
            continue
        first, second = (sum(each) / len(each) for each in numbers)
        half = 12.706204736 * abs(first - second) / 2  # t of one degree of freedom
        assert float(row["high"]) - float(row["mean"]) == pytest.approx(half, abs=1e-9)
        assert float(row["mean"]) == pytest.approx((first + second) / 2)
    for row in read(study / "seed_1" / "intervals.csv"):
        assert (row["num_main_branches"], row["low"], row["high"]) == ("1", "", "")


def test_another_grid_adds_rows_and_changes_none(two_seeds):
    folder, _ = two_seeds
    study = only(folder, "outputs/interpolate_*/seed_1")
    tables = {name: read(study / f"{name}.csv") for name in ("lines", "barriers", "intervals")}
    asked = [*BRANCHES, "k1=1", "k2=1", "alphas=[0,0.3,1]", "refine=2", "child_seeds=[3]"]
    output = run("interpolate.py", *asked, cwd=folder).stdout
    assert steps_made(output) == 0
    assert "means of" not in output  # one child of this grid, whatever others have
    for name, before in tables.items():
        after = read(study / f"{name}.csv")
        assert len(after) > len(before)
        assert [row for row in after if row in before] == before
    new = [row for row in read(study / "barriers.csv") if row not in tables["barriers"]]
    assert {(row["alphas"], row["refine"], row["num_alphas"]) for row in new} == {
        ("0 0.3 1", "2", "5")
    }


def line_between(*files, cwd, rendered=False, **options):
    typed = [f"{name}={value}" for name, value in options.items()]
    ends = [f"{name}={file}" for name, file in zip(("start", "end"), files, strict=True)]
    return run("interpolate.py", *SAVED, *ends, *typed, cwd=cwd, rendered=rendered).stdout


def test_two_trained_networks_are_aligned_and_come_closer(trained, tmp_path):
    first, second, *_ = trained
    asked = {"align": "weights", "refine": 3}
    output = line_between(first, second, cwd=tmp_path, rendered=True, **asked)
    assert "barriers (align=weights, bn=reset)" in output
    study = only(tmp_path, "outputs/interpolate_*")
    figures = list((study / "figures").glob("*.png"))
    assert figures and all(path.stat().st_size > 1000 for path in figures)
    start, end = (store_files.load_weights(file)[0] for file in (first, second))
    for row in read(study / "barriers.csv"):
        assert row["align"] == "weights"
        assert float(row["distance"]) < state_dicts.distance(start, end, start)
        assert float(row["cosine"]) > state_dicts.cosine(start, end, start)
    assert len(read(study / "lines.csv")) == 2 * (25 + 3)
    assert "results are complete" in line_between(first, second, cwd=tmp_path, **asked)


def test_a_line_along_which_nothing_changes_is_flat_and_says_what_its_ends_are(tmp_path):
    network = ["model=resnet20", "model.width=4", "hparams.epochs=1", "dataset.augment=false"]
    values = [option for option in TINY if not option.startswith(("model", "hparams.epochs"))]
    run("train.py", *values, *network, cwd=tmp_path)
    start = only(tmp_path, "outputs/train_*/seed_1/weights/step_6.safetensors")
    weights, metadata = store_files.load_weights(start)
    shaken = {
        name: tensor * (1 + 1e-6)
        if tensor.is_floating_point() and "running" not in name
        else tensor
        for name, tensor in weights.items()
    }
    store_files.save_weights(tmp_path / "shaken.safetensors", shaken, metadata)
    for bn in ("reset", "repair", "keep"):
        line_between(start, "shaken.safetensors", cwd=tmp_path, bn=bn, alphas=5, splits="[test]")
    study = only(tmp_path, "outputs/interpolate_*")
    ends = {row["bn"]: row["ends"] for row in read(study / "barriers.csv")}
    assert ends == {"reset": "reset", "repair": "reset", "keep": "as_trained"}
    losses = {}
    for row in read(study / "lines.csv"):
        losses.setdefault(row["bn"], []).append(float(row["loss"]))
    assert {bn: len(some) for bn, some in losses.items()} == {
        "reset": 5, "repair": 5, "keep": 5, "as_trained": 2
    }  # fmt: skip
    assert all(max(some) - min(some) < 1e-3 for some in losses.values())
    assert losses["as_trained"] == [losses["keep"][0], losses["keep"][-1]]
    assert abs(losses["as_trained"][0] - losses["reset"][0]) > 0.01
    assert losses["repair"] == pytest.approx(losses["reset"], abs=1e-4)


def test_a_network_at_chance_is_told_in_one_line(trained, tmp_path):
    weights, metadata = store_files.load_weights(trained[0])
    nothing = {name: 0 * tensor for name, tensor in weights.items()}
    store_files.save_weights(tmp_path / "nothing.safetensors", nothing, metadata)
    message = "at chance, with the loss of a uniform guess, log(10) = 2.3026, or more: {}\n"
    for _ in range(2):  # measured, and found again
        output = line_between(trained[0], "nothing.safetensors", cwd=tmp_path, alphas=2)
        assert output.count(message.format("nothing.safetensors")) == 1
    assert "at chance" not in line_between(*trained[:2], cwd=tmp_path, alphas=2)
    output = run(
        "interpolate.py", *plane([*trained[:2], "nothing.safetensors"], "points=2"), cwd=tmp_path
    ).stdout
    assert output.count(message.format("C")) == 1


def test_a_plane_with_more_points_takes_over_those_that_it_has(trained, tmp_path):
    def table(points):
        run("interpolate.py", *plane(trained[:3], f"points={points}"), cwd=tmp_path)
        return only(tmp_path, "outputs/interpolate_*/plane.csv")

    path = table(5)
    coarse = read(path)
    marked = {**coarse[12], "loss": "123.0"}  # a number that no evaluation would give
    path.write_text(path.read_text().replace(coarse[12]["loss"], "123.0", 1))
    both = read(table(9))
    assert len(coarse) == 5 * 5 * 2 and len(both) == (5 * 5 + 9 * 9) * 2
    assert [row for row in both if row["points"] == "5"] == [*coarse[:12], marked, *coarse[13:]]
    place = ("x", "y", "split", "loss")
    fine = [row for row in both if row["points"] == "9" and row["loss"] == "123.0"]
    assert [[row[name] for name in place] for row in fine] == [[marked[name] for name in place]]


def plane(files, *arguments):
    points = [] if any("points=" in argument for argument in arguments) else ["points=21"]
    return [*SAVED, f"plane=[{','.join(map(str, files))}]", *points, *arguments]


def test_a_plane_that_was_killed_goes_on_and_ends_as_an_uninterrupted_one(trained, tmp_path):
    three = trained[:3]
    run("interpolate.py", *plane(three, "output_dir=whole"), cwd=tmp_path)
    arguments = plane(three, "output_dir=parts")
    with started("interpolate.py", *arguments, cwd=tmp_path) as process:
        while not list(tmp_path.glob("parts/interpolate_*/plane.csv")):
            assert process.is_alive(), "done before the table was seen"
            time.sleep(0.001)
        process.kill()
    whole, table = only(tmp_path, "whole/*/plane.csv"), only(tmp_path, "parts/*/plane.csv")
    assert not list(tmp_path.glob("parts/*/result.json")), "killed too late to prove anything"
    known = read(table)
    assert 0 < len(known) < len(read(whole)) == 21 * 21 * 2
    # A number that no evaluation would give tells whether what is known is kept.
    table.write_text(table.read_text().replace(known[0]["loss"], "123.0", 1))
    run("interpolate.py", *arguments, cwd=tmp_path)
    assert table.read_text().replace("123.0", known[0]["loss"], 1) == whole.read_text()
    assert read(table)[0]["loss"] == "123.0"
    assert "results are complete" in run("interpolate.py", *arguments, cwd=tmp_path).stdout
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
        (["plane=[{a},{b},{a}]"], ["plane: the three networks are on one line, which spans no"]),
        ([*TINY, "k1=2", "k2=1,2"], ["k1=2ep k2=2ep: 4ep is after the end of the main branch"]),
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
