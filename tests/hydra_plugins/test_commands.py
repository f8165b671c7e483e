import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from hydra_plugins.isthmus import _commands
from isthmus.config import launch, naming
from isthmus.training.options import Train

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(autouse=True)
def hydra():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=tune_quickstart", "optimizer.lr=0.0123"],
        ["experiment=quickstart", "averaged.decay=[0.9,0.99]", "scheduler=cosine"],
        ["dataset=imagefolder", "dataset.root=/some where", "model=vgg11", "averaged=swa"],
        ["averaged=none", "maximize_averaged=false", "hparams=default_cutout", "precision=bf16"],
        ["optimizer=adamw", "scheduler=multistep", "scheduler.milestones=[3ep,5ep]"],
        ["model.freeze=[batch_norm]", "seeds.data_order=7", "hparams.patience=3", "global_seed=9"],
    ],
)
def test_the_command_gives_the_run_of_the_trial_but_for_the_test_set(overrides):
    cfg = compose("tune", overrides=overrides, return_hydra_config=True)
    command = _commands.train_command(GlobalHydra.instance().config_loader(), cfg)
    program, script, *words = shlex.split(command)
    assert (program, script) == ("python", "train.py")
    train = launch.option_values(compose("train", overrides=words), Train)
    trial = launch.option_values(
        OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]), Train
    )
    assert train["dataset"]["test"] and not trial["dataset"]["test"]
    trial["dataset"]["test"] = True
    assert naming.run_name(train, Train) == naming.run_name(trial, Train)
    assert train["global_seed"] == trial["global_seed"]


def test_what_is_the_default_is_not_in_the_command():
    cfg = compose("tune", overrides=["dataset.val_fraction=0.1"], return_hydra_config=True)
    command = _commands.train_command(GlobalHydra.instance().config_loader(), cfg)
    assert command == "python train.py"


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (1e-05, "1e-05"),
        (True, "true"),
        (None, "null"),
        ("30ep", "30ep"),
        ([1, "2ep", False], "[1,2ep,false]"),
        ('a "b" c', '"a \\"b\\" c"'),
        ("", '""'),
    ],
)
def test_a_value_is_written_as_one_types_it(value, typed):
    assert _commands.option_text(value) == typed
