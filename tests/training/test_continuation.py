"""Runs that continue shorter ones, as a user starts them."""

import csv
import json

import pytest
from safetensors.torch import load_file

from tests.scripts import QUIET, SMALL, only, refused, run

TYPED = [*(word for word in SMALL if "epochs" not in word), *QUIET, "runtime.num_threads=1"]


def numbers(folder):
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.reader(file))
    return [row for row in rows if row[4] not in ("seconds", "images_per_second")]


def test_more_epochs_at_a_constant_rate_continue_a_finished_run_bit_for_bit(tmp_path):
    typed = [*TYPED, "dataset.augment=true", "averaged.decay=[0.9,0.99]"]
    run("train.py", *typed, "hparams.epochs=5", "output_dir=whole", cwd=tmp_path)
    for length in ("hparams.epochs=1", "hparams.steps=2ep3it"):
        run("train.py", *typed, length, "output_dir=parts", cwd=tmp_path)
    done = run("train.py", *typed, "hparams.epochs=5", "output_dir=parts", cwd=tmp_path)
    assert "resuming from 2ep3it" in done.stdout
    assert not done.stderr
    whole = only(tmp_path, "whole/train_*/seed_1")
    parts = tmp_path / "parts" / whole.relative_to(tmp_path / "whole")
    names = sorted(path.name for path in (whole / "weights").iterdir())
    assert names == sorted(path.name for path in (parts / "weights").iterdir())
    for name in names:
        assert (parts / "weights" / name).read_bytes() == (whole / "weights" / name).read_bytes()
    assert numbers(parts) == numbers(whole)
    results = [json.loads((each / "result.json").read_text()) for each in (whole, parts)]
    assert results[0]["evaluation"] == results[1]["evaluation"]


@pytest.mark.parametrize("changed", ["scheduler=cosine", "optimizer.lr=0.02"])
def test_another_training_is_no_beginning(changed, tmp_path):
    short = ["scheduler=cosine"] if "scheduler" in changed else []
    run("train.py", *TYPED, *short, "hparams.epochs=1", cwd=tmp_path)
    file = only(tmp_path, "outputs/train_*/seed_1/weights/step_11.safetensors")
    done = run("train.py", *TYPED, changed, "hparams.epochs=2", cwd=tmp_path)
    assert "resuming" not in done.stdout
    command = f"pretrain.weights={file.relative_to(tmp_path)}"
    assert (command in done.stdout) == ("scheduler" in changed)


def test_a_training_begins_from_the_weights_of_a_file(tmp_path):
    run("train.py", *TYPED, "hparams.epochs=1", cwd=tmp_path)
    file = only(tmp_path, "outputs/train_*/seed_1/weights/step_11.safetensors")
    typed = [*TYPED, f"pretrain.weights={file}", "hparams.epochs=1", "snapshots=[0ep]"]
    run("train.py", *typed, cwd=tmp_path)
    first = load_file(only(tmp_path, "outputs/train_*/seed_1/weights/step_0.safetensors"))
    assert all(tensor.equal(first[name]) for name, tensor in load_file(file).items())
    error = refused("train.py", *TYPED, "pretrain.weights=nowhere.safetensors", cwd=tmp_path)
    assert "nowhere.safetensors" in error
    error = refused("train.py", *TYPED, "pretrain.hparams.epochs=2", cwd=tmp_path)
    assert "pretrain.hparams" in error
