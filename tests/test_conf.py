"""Every option of every group of every script can run."""

import copy
import functools
import re
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from isthmus.config import launch, naming, validation
from isthmus.connectivity.options import InterpolateBranches, InterpolateLine, InterpolatePlane

CONF = Path(__file__).resolve().parent.parent / "conf"
SCRIPTS = [path.stem for path in sorted(CONF.glob("*.yaml"))]
NO_PARTS = ("experiment", "hydra")
GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name not in NO_PARTS)
SCRIPT_OF = {"pruning": "prune", "style": "plots"}  # groups that train.py does not take
PLOTS = ["figure=compare", "compare.x=scheduler", "runs=[a,b]"]
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def hydra():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(script, *overrides):
    """Values of a script and their schema, composed once for equal words."""
    return copy.deepcopy(_composed(script, *overrides))


@functools.cache
def _composed(script, *overrides):
    cfg = compose(script, overrides=list(overrides))
    schema = naming.choose_mode(launch.script_options(script), cfg)
    return launch.option_values(cfg, schema), schema


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_composes(script):
    needs = {
        "eval": ["checkpoint=a.safetensors"],
        "average": ["checkpoints=[a.safetensors]"],
        "spawn": ["spawn_steps=[0ep]", "child_seeds=[1]"],
        "prune": ["levels=1"],
        "interpolate": ["k1=1", "k2=5ep"],
        "extract": ["teacher=synthetic"],
        "plots": PLOTS,
    }
    assert validation.validation_errors(*composed(script, *needs.get(script, []))) == []


@pytest.mark.parametrize(
    ("mode", "needs"),
    [
        (InterpolateBranches, ["k1=[0,500it]", "k2=[1,2]", "child_seeds=[2,3]", "refine=5"]),
        (InterpolateLine, ["start=a", "end=b", "alphas=[0,0.5,1]", "align=weights", "bn=repair"]),
        (InterpolatePlane, ["plane=[a,b,c]", "project=[d]", "points=5", "margin=0"]),
    ],
)
def test_interpolation_composes_for_each_thing_that_it_does(mode, needs):
    cfg = compose("interpolate", overrides=needs)
    assert naming.choose_mode(launch.script_options("interpolate"), cfg) == mode
    assert validation.validation_errors(launch.option_values(cfg, mode), mode) == []


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_fits_what_will_take_it(group, option):
    script = SCRIPT_OF.get(group, "train")
    needs = {"prune": ["levels=1"], "plots": PLOTS}.get(script, [])
    assert validation.validation_errors(*composed(script, f"{group}={option}", *needs)) == []


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_fits_what_will_take_it(path):
    scripts = re.findall(rf"python (\w+)\.py experiment={path.stem}$", path.read_text(), re.M)
    assert len(scripts) == 1
    assert validation.validation_errors(*composed(scripts[0], f"experiment={path.stem}")) == []


@pytest.mark.parametrize("option", [o for group, o in OPTIONS if group == "dataset"])
def test_evaluation_takes_every_data_set(option):
    assert (
        validation.validation_errors(*composed("eval", "checkpoint=a", f"dataset={option}")) == []
    )


def test_options_have_different_names_of_runs():
    names = {
        (group, option): naming.run_name(*composed("train", f"{group}={option}"))
        for group, option in OPTIONS
        if (group, option) != ("hparams", "default_he") and group not in SCRIPT_OF
    }
    defaults = {
        ("dataset", "cifar10"),
        ("model", "resnet20"),
        ("optimizer", "momentum"),
        ("scheduler", "multistep_he"),
        ("averaged", "ema"),
        ("parametrization", "none"),
    }
    assert len({names[default] for default in defaults}) == 1
    others = [name for option, name in names.items() if option not in defaults]
    assert len(set(others)) == len(others)


def test_the_launcher_for_slurm_is_that_of_submitit_with_values_of_its_own():
    node, plain = (
        compose("train", [f"hydra/launcher={name}"], return_hydra_config=True).hydra.launcher
        for name in ("slurm", "submitit_slurm")
    )
    assert set(node) == set(plain)  # none is misspelled
    assert node["_target_"] == plain["_target_"]
    text = (CONF / "hydra" / "launcher" / "slurm.yaml").read_text()
    assert all(key in text for key in node if node[key] != plain[key])
    assert node.max_num_timeout > 0  # a job that ran out of time goes on


def test_every_script_keeps_a_ledger_of_its_sweeps():
    for script in SCRIPTS:
        sweeper = compose(script, return_hydra_config=True).hydra.sweeper
        name = "OptunaStudy" if script == "tune" else "Grid"
        assert sweeper["_target_"] == f"hydra_plugins.isthmus.sweepers.{name}"


def test_an_experiment_is_overridden_by_what_is_typed():
    values, _ = composed("train", "experiment=quickstart", "hparams.epochs=2", "averaged=none")
    assert values["hparams"]["epochs"] == 2
    assert "_target_" not in (values["averaged"] or {})


def test_an_experiment_is_named_by_what_it_says():
    bundle = naming.run_name(*composed("train", "experiment=quickstart"))
    content = yaml.safe_load((CONF / "experiment" / "quickstart.yaml").read_text())
    typed = [
        f"{list(item)[0].split('/')[1]}={list(item.values())[0]}"
        for item in content.pop("defaults")
    ]
    for group, values in content.items():
        typed += [f"{group}.{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    assert naming.run_name(*composed("train", *typed)) == bundle


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_says_what_it_is_and_how_to_run_it(group, option):
    head = (CONF / group / f"{option}.yaml").read_text().split("_target_")[0]
    assert f"python {SCRIPT_OF.get(group, 'train')}.py" in head


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_names_every_value(script):
    text = (CONF / f"{script}.yaml").read_text().split("template:")[1]
    for name in naming.typed_fields(launch.script_options(script)):
        assert name in text


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_names_every_option(group):
    script = SCRIPT_OF.get(group, "train")
    text = (CONF / f"{script}.yaml").read_text().split("template:")[1]
    numbered = text
    for family in (
        "conv2/4/6",
        "resnet20/32/44/56/110",
        "vgg11/13/16/19",
        "resnet18/34/50/101/152",
    ):
        stem = family.rstrip("0123456789/")
        numbered += " ".join(f"{stem}{n}" for n in family[len(stem) :].split("/")) + " "
    for path in (CONF / group).glob("*.yaml"):
        assert path.stem in numbered
