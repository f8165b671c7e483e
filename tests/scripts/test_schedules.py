"""Schedules that ask for something after the end of training, in every script that trains."""

import json
import re

import pytest

from tests.scripts import QUIET, only, refused, run

TINY = [
    "dataset=digits",
    "model=mlp",
    "model.width=16",
    "hparams.epochs=2",
    "averaged=none",
    *QUIET,
]
SCRIPTS = {
    "train.py": [],
    "spawn.py": ["spawn_steps=[1ep]", "child_seeds=[2]", "child_length=1ep"],
    "interpolate.py": ["k1=1", "k2=1", "alphas=2"],
    "prune.py": ["levels=0"],
    "tune.py": ["hydra.sweeper.n_trials=1", "maximize_averaged=false", "optimizer.lr=0.1,0.2"],
}
ONE_TRIAL = ["hydra/sweeper/sampler=random", "optimizer.weight_decay=0", "scheduler=multistep_he"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_default_schedule_of_a_short_training_is_told_once(script, tmp_path):
    words = [*TINY, *SCRIPTS[script], *(ONE_TRIAL if script == "tune.py" else [])]
    text = run(script, *words, cwd=tmp_path).stdout
    if script == "tune.py":  # whose console has a line for each trial
        text = only(tmp_path, "outputs/train_*/seed_1/train.log").read_text()
    said = re.findall(r"^.*scheduler: .*$", text, re.MULTILINE)
    assert len(said) == 1
    assert "constant" in said[0] and "90ep, 135ep" in said[0] and said[0].endswith(" 2ep")


TYPED = [
    ("train.py", ["scheduler=multistep", "scheduler.milestones=[1ep,2ep]"], "milestones=[1ep,2ep]"),
    ("train.py", ["scheduler=step_effnet", "scheduler.period=2ep"], "period=2ep"),
    ("train.py", ["scheduler=plateau", "scheduler.patience=3"], "patience=3"),
    ("spawn.py", ["scheduler.milestones=[9ep]"], "milestones=[9ep]"),
    ("interpolate.py", ["scheduler.milestones=[22it]"], "milestones=[22it]"),
    ("prune.py", ["scheduler.milestones=[2ep]"], "milestones=[2ep]"),
    (
        "prune.py",
        ["scheduler=constant", "branch=retrain", "retrain.hparams.epochs=1", "levels=1"]
        + ["scheduler@retrain.scheduler=multistep", "retrain.scheduler.milestones=[1ep]"],
        "milestones=[1ep]",
    ),
    (
        "spawn.py",
        ["scheduler=constant", "pretrain.hparams.epochs=1"]
        + ["scheduler@pretrain.scheduler=multistep", "pretrain.scheduler.milestones=[3ep]"],
        "milestones=[3ep]",
    ),
]


@pytest.mark.parametrize(("script", "words", "named"), TYPED)
def test_a_typed_moment_past_the_end_is_refused(script, words, named, tmp_path):
    message = refused(script, *TINY, *SCRIPTS[script], *words, cwd=tmp_path)
    assert f"scheduler.{named}: " in message
    assert not list(tmp_path.glob("outputs/**/*.safetensors"))


def test_a_milestone_that_only_children_come_to_is_one(tmp_path):
    words = ["spawn_steps=[2ep]", "child_seeds=[2]", "child_length=2ep", "averages=[]"]
    done = run("spawn.py", *TINY, *words, "scheduler.milestones=[3ep]", cwd=tmp_path)
    assert "scheduler: " not in done.stdout
    message = refused("spawn.py", *TINY, *words, "scheduler.milestones=[4ep]", cwd=tmp_path)
    assert "scheduler.milestones=[4ep]: " in message


def test_milestones_typed_for_levels_are_told_of_a_shorter_pretraining(tmp_path):
    words = ["levels=0", "pretrain.hparams.epochs=1", "scheduler.milestones=[1ep]"]
    done = run("prune.py", *TINY, *words, cwd=tmp_path)
    said = [line for line in done.stdout.splitlines() if "scheduler: " in line]
    assert len(said) == 1 and said[0].startswith("pretrain.scheduler: constant")


WIDE = [
    *(word for word in TINY if not word.startswith("hparams.epochs")),
    *("parametrization=ipllr", "model.bias=input", "optimizer=sgd", "hparams.steps=3it"),
]


def test_a_warmup_leaves_the_calibrated_first_step_as_it_is(tmp_path):
    rates = []
    for name, schedule in (("a", "scheduler=constant"), ("b", "scheduler.warmup=3it")):
        words = ["scheduler=constant", schedule, "snapshots=[1it]", f"output_dir={name}"]
        run("train.py", *WIDE, *words, cwd=tmp_path)
        rates.append(only(tmp_path, f"{name}/train_*/seed_1/weights/step_1.safetensors"))
        result = only(tmp_path, f"{name}/train_*/seed_1/result.json")
        assert json.loads(result.read_text())["iteration"] == 3
    from safetensors.torch import load_file

    first, warm = map(load_file, rates)
    assert all(first[name].equal(warm[name]) for name in first)


def test_first_steps_are_not_clipped(tmp_path):
    message = refused("train.py", *WIDE, "hparams.grad_clip_max_norm=1.0", cwd=tmp_path)
    assert "hparams.grad_clip_max_norm=1.0: " in message
    assert not list(tmp_path.glob("outputs/*"))


def test_a_loss_that_is_not_finite_gets_advice_that_ipllr_can_follow(tmp_path):
    words = ["scheduler=constant", "optimizer.lr=1e30"]
    message = refused("train.py", *WIDE, *words, cwd=tmp_path)
    assert "parametrization.cap" in message and "optimizer.lr" in message
    assert "warm-up" not in message and "grad_clip" not in message
