"""`extract.py` as a user starts it."""

import csv
import json
import time

import pytest
from safetensors.torch import load_file

from isthmus.store import files as store_files
from tests.scripts import QUIET, SMALL, files, only, refused, run, started

ONE_CPU = ["runtime.device=cpu", "runtime.num_threads=1"]
LITTLE = [
    "extraction.num_samples=200", "extraction.batch_size=50", "extraction.num_students=4",
    "extraction.lr=0.01", "extraction.patience=20", "extraction.cooldown=5",
    "extraction.finetune_lr=0.01", "extraction.finetune_epochs=400",
]  # fmt: skip
SYNTHETIC = ["teacher=synthetic", "synthetic.num_inputs=3", "synthetic.width=2", "synthetic.seed=1"]
SYNTHETIC += [*LITTLE, *ONE_CPU, "extraction.epochs=400"]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A tanh teacher of two units that is found from four students."""
    folder = tmp_path_factory.mktemp("extracted")
    done = run("extract.py", *SYNTHETIC, cwd=folder, rendered=True)
    return folder, done.stdout


def test_a_small_teacher_is_found(extracted):
    folder, output = extracted
    clustering = only(folder, "outputs/extract_*/seed_1/clustering_*")
    result = json.loads((clustering / "result.json").read_text())
    assert (result["num_teacher"], result["num_found"], result["num_missing"]) == (2, 2, 0)
    assert max(result["max_distance_in"], result["max_distance_out"]) < 1e-3
    assert result["mse"] < 1e-4 and result["barrier_mse"] < 1e-3 and result["barrier_loss"] is None
    assert "of the teacher's 2: 2 found, 0 missing" in output
    rows = table(clustering / "comparison.csv")
    assert [(row["layer"], row["unit"]) for row in rows] == [("1", "0"), ("1", "1")]
    assert max(float(row["distance_in"]) for row in rows) == pytest.approx(
        result["max_distance_in"]
    )
    students = table(clustering.parent / "students.csv")
    assert [float(row["loss"]) for row in students] == result["students"]["losses"]
    names = {path.name for path in (clustering / "figures").iterdir()}
    for figure in ("dendrogram", "cluster_counts", "distances", "angles", "teacher", "losses"):
        assert {f"{figure}.{kind}" for kind in ("png", "pdf", "csv")} <= names
    for name in ("aligned_reconstruction", "aligned_teacher", "../teacher"):
        weights = load_file(clustering / f"{name}.safetensors")
        assert weights["hidden.0.weight"].shape == (2, 3)
    synthetic = {"num_inputs": 3, "width": 2, "num_outputs": 1, "activation": "tanh", "seed": 1}
    assert result["synthetic"] == synthetic
    assert (result["activation"], result["global_seed"]) == ("tanh", 1)
    assert set(load_file(clustering / "reconstruction.safetensors")) == {
        "hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias",
    }  # fmt: skip


def test_again_is_done_and_another_gamma_uses_the_same_students(extracted):
    folder, output = extracted
    kept = [path for path in files(folder) if not {".hydra", "index.csv"} & set(path.parts)]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = run("extract.py", *SYNTHETIC, cwd=folder)
    assert "results are complete" in again.stdout
    assert again.stdout.splitlines()[1:] == output.splitlines()[-7:]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run("extract.py", *SYNTHETIC, "extraction.gamma=1.0", cwd=folder)
    study = only(folder, "outputs/extract_*/seed_1")
    assert len(list(study.glob("clustering_*/result.json"))) == 2
    assert (study / "state.pt").stat().st_mtime_ns == before[study / "state.pt"]


def test_more_epochs_and_students_go_on_from_the_students_that_are_there(tmp_path):
    few = [*SYNTHETIC, "extraction.epochs=30", "extraction.finetune_epochs=5"]
    done = run("extract.py", *few, "extraction.beta=1.5", cwd=tmp_path)
    assert "4 of 4 students did not learn" in done.stdout + done.stderr
    study = only(tmp_path, "outputs/extract_*/seed_1")
    result = json.loads(only(study, "clustering_*/result.json").read_text())
    assert not result["solved"] and result["num_converged"] == result["num_solved"] == 0
    assert [row["epochs"] for row in table(study / "students.csv")] == ["30"] * 4
    more = [*SYNTHETIC, "extraction.num_students=5", "extraction.finetune_epochs=5"]
    done = run("extract.py", *more, "extraction.beta=1.5", cwd=tmp_path)
    assert "students 0 to 3: resuming from epoch 30" in done.stdout
    assert only(tmp_path, "outputs/extract_*/seed_1") == study
    names = {path.parent.name for path in study.glob("clustering_*/result.json")}
    assert len(names) == 2
    results = [json.loads(path.read_text()) for path in study.glob("clustering_*/result.json")]
    last = max(results, key=lambda each: each["num_students"])
    assert last["num_students"] == len(last["students"]["losses"]) == 5
    students = table(study / "students.csv")
    assert [row["solved"] for row in students] == [str(each) for each in last["students"]["solved"]]
    assert [row["converged"] for row in students].count("True") == last["num_converged"]
    assert max(last["students"]["losses"]) < min(result["students"]["losses"])


def test_an_extraction_that_was_killed_goes_on_bit_for_bit(extracted, tmp_path):
    with started("extract.py", *SYNTHETIC, "runtime.save_every=0.02", cwd=tmp_path) as process:
        deadline, seen = time.monotonic() + 120, set()
        while len(seen) < 3 and time.monotonic() < deadline:  # states written so far
            seen |= {path.stat().st_mtime_ns for path in tmp_path.glob("outputs/*/*/state.pt")}
            time.sleep(0.001)
        process.kill()
    assert not list(tmp_path.rglob("students.csv")), "killed too late to prove anything"
    done = run("extract.py", *SYNTHETIC, cwd=tmp_path)
    assert "4 students: resuming from epoch" in done.stdout
    whole, parted = (only(folder, "outputs/*/*") for folder in (extracted[0], tmp_path))
    assert (whole / "losses.csv").read_bytes() == (parted / "losses.csv").read_bytes()
    (clustering,) = (path.name for path in parted.glob("clustering_*"))
    for name in ("reconstruction.safetensors", "comparison.csv", "units.csv", "result.json"):
        one, other = (study / clustering / name for study in (whole, parted))
        assert one.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The weights of an MLP of train.py."""
    folder = tmp_path_factory.mktemp("trained")
    short = [*SMALL, *QUIET, "averaged=none", "hparams.epochs=1"]
    run("train.py", *short, "model.activation=gelu", cwd=folder)
    return only(folder, "outputs/*/seed_1/weights/best.safetensors")


def test_a_trained_teacher_is_compared_on_its_own_data(trained, tmp_path):
    arguments = [f"teacher={trained}", "extraction.datagen=digits", *LITTLE, *ONE_CPU]
    arguments += ["extraction.epochs=30", "extraction.beta=1.5", "extraction.mask=variance"]
    arguments += ["extraction.expansion=2", "extraction.affine=skip"]
    arguments += ["extraction.finetune_epochs=5", "extraction.refit_epochs=5"]
    run("extract.py", *arguments, cwd=tmp_path)
    clustering = only(tmp_path, "outputs/extract_*/seed_1/clustering_*")
    result = json.loads((clustering / "result.json").read_text())
    assert result["num_teacher"] == 32 and len(result["layers"]) == 2
    assert result["num_found"] + result["num_missing"] == 32
    assert result["barrier_loss"] >= 0
    assert 0 < result["num_inputs_compared"] < 64
    assert len(result["students"]["losses"]) == 4
    weights = clustering / "reconstruction.safetensors"
    done = run("eval.py", f"checkpoint={weights}", "runtime.device=cpu", cwd=tmp_path)
    assert "reconstruction" in done.stdout


def test_a_teacher_that_cannot_be_asked_and_students_that_agree_on_nothing(trained, tmp_path):
    weights, metadata = store_files.load_weights(trained)
    metadata["config"]["model"] = {"_target_": "isthmus.models.lenet.LeNet5", "_partial_": True}
    metadata["input_shape"] = [1, 28, 28]
    store_files.save_weights(tmp_path / "lenet5.safetensors", weights, metadata)
    for arguments, message in (
        (["teacher=lenet5.safetensors"], "teacher=lenet5.safetensors: is a LeNet5; only an MLP"),
        (
            ["teacher=synthetic", "extraction.epochs=1", "extraction.gamma=1.0"],
            "extraction.gamma=1: in hidden layer 1 no cluster has units of 4 of 4 students within "
            "extraction.beta=0.001",
        ),
    ):
        typed = [*LITTLE, *ONE_CPU, "extraction.beta=0.001", *arguments]
        assert message in refused("extract.py", *typed, cwd=tmp_path)
    assert not list(tmp_path.glob("outputs/extract_*/seed_*/clustering_*"))


def test_a_refused_value_leaves_nothing(tmp_path):
    message = refused("extract.py", "teacher=synthetic", "extraction.gamma=0.1", cwd=tmp_path)
    assert "extraction.gamma=0.1: gamma * num_students must be at least 2" in message
    assert not list(tmp_path.rglob("seed_*"))
