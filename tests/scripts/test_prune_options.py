"""Every option of `prune.py`, as it is typed, changes what it is for."""

import csv
import os
import re

import pytest
from safetensors.torch import load_file

from isthmus.config import naming, schema
from isthmus.pruning.options import Prune
from tests.scripts import QUIET, run

TINY = [
    *("dataset=digits", "model=mlp", "model.width=16", "hparams.epochs=1"),
    *("scheduler=constant", "averaged=none", "runtime.num_threads=1", *QUIET),
    *("levels=1", "rewind_step=3it"),
]
HELD = ["rewind=none", "rewind_step=0"]
PRUNED, FRESH = ["branch=randomly_prune"], ["branch=randomly_reinitialize"]
BEFORE = ["pretrain.hparams.steps=2it"]
RETRAIN = ["branch=retrain", "retrain.hparams.steps=5it"]
CHILDREN = ["branch=instability", "instability.alphas=2", "dataset.augment=true"]
LEVELS, MASKS, BRANCH = "level_*/weights/*", "level_1/mask.*", "level_1/*_*/weights/step_*"

# By option: what is typed for it, what is typed beside it, and files that are others then.
OPTIONS = {
    "dataset": ("dataset.val_fraction=0.3", [], LEVELS),
    "model": ("model.activation=tanh", [], LEVELS),
    "optimizer": ("optimizer.lr=0.02", [], LEVELS),
    "scheduler": ("scheduler=cosine", [], LEVELS),
    "averaged": ("averaged=ema", [], LEVELS),
    "parametrization": ("parametrization=ntk", [], LEVELS),
    "hparams": ("hparams.batch_size=64", [], LEVELS),
    "seeds": ("seeds.data_order=2", [], LEVELS),
    "precision": ("precision=bf16", [], LEVELS),
    "global_seed": ("global_seed=2", [], LEVELS),
    "snapshots": ("snapshots=[5it]", [], LEVELS),
    "save_predictions": ("save_predictions=false", [], "level_0/*[nz]"),
    "output_dir": ("output_dir=elsewhere", [], "../../../elsewhere/prune_*/seed_1/levels.csv"),
    "pruning": ("pruning=fc19", [], MASKS),
    "pruning.fraction": ("pruning.fraction=0.5", [], MASKS),
    "pruning.ignore": ("pruning.ignore=[output,hidden.0]", [], MASKS),
    "pruning.seed": ("pruning.seed=2", ["pruning=random"], MASKS),
    "pretrain.weights": ("pretrain.weights=WEIGHTS", [], LEVELS),
    "pretrain.dataset": ("pretrain.dataset.subsample_fraction=0.5", BEFORE, LEVELS),
    "pretrain.optimizer": ("pretrain.optimizer.lr=0.5", BEFORE, LEVELS),
    "pretrain.scheduler": ("scheduler@pretrain.scheduler=cosine", BEFORE, LEVELS),
    "pretrain.hparams": (BEFORE[0], [], LEVELS),
    "levels": ("levels=2", [], LEVELS),
    "one_shot": ("one_shot=0.9", ["levels=null", "one_shot=0.5"], MASKS),
    "rewind": ("rewind=lr", [], LEVELS),
    "rewind_step": ("rewind_step=5it", [], LEVELS),
    "retrain_lr": ("retrain_lr=0.01", HELD, LEVELS),
    "branch": (FRESH[0], [], BRANCH),
    "branch_levels": ("branch_levels=[2]", ["levels=2", *FRESH], "level_*/*_*/weights/step_*"),
    "randomly_prune.strategy": ("randomly_prune.strategy=global", PRUNED, "level_1/*_*/mask.*"),
    "randomly_prune.start_at": ("randomly_prune.start_at=init", PRUNED, BRANCH),
    "randomly_prune.seed": ("randomly_prune.seed=2", PRUNED, "level_1/*_*/mask.*"),
    "randomly_reinitialize.start_at": ("randomly_reinitialize.start_at=init", FRESH, BRANCH),
    "randomly_reinitialize.seed": ("randomly_reinitialize.seed=2", FRESH, BRANCH),
    "retrain.start_at": ("retrain.start_at=init", RETRAIN, BRANCH),
    "retrain.dataset": ("retrain.dataset.subsample_fraction=0.5", RETRAIN, BRANCH),
    "retrain.optimizer": ("retrain.optimizer.lr=0.5", RETRAIN, BRANCH),
    "retrain.scheduler": ("scheduler@retrain.scheduler=cosine", RETRAIN, BRANCH),
    "retrain.hparams": ("retrain.hparams.batch_size=64", RETRAIN, BRANCH),
    "instability.seeds": ("instability.seeds=[1,3]", CHILDREN, "level_1/*_*/seed_*/weights/step_*"),
    "instability.vary": ("instability.vary=[augmentation]", CHILDREN, "instability.csv"),
    "instability.alphas": ("instability.alphas=3", CHILDREN, "level_1/*_*/lines.csv"),
    "instability.bn": (
        "instability.bn=average",
        ["model=resnet20", "branch_levels=[1]", *CHILDREN, "instability.alphas=3"],
        "i*.csv",
    ),
    "instability.splits": ("instability.splits=[test]", CHILDREN, "instability.csv"),
    "compare": ("compare=[BASE]", [], "figures/accuracy_plain.csv"),
}
OWN = ("pretrain", "randomly_prune", "randomly_reinitialize", "retrain", "instability")
NUMBER = re.compile(r"[-+.e\d]+")
UNTYPED = {"runtime", "pretrain.fingerprint"}  # changes no result; follows from pretrain.weights


def test_there_is_a_row_for_every_option():
    known = schema.fields(Prune)
    names = set(naming.typed_fields(Prune)) - set(OWN) | {
        f"{name}.{key}" for name in OWN for key in schema.fields(known[name].annotation)
    }
    names |= {f"pruning.{key}" for key in ("fraction", "ignore", "seed")}
    assert set(OPTIONS) == names - UNTYPED


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A function that runs `prune.py` with words, each time elsewhere, and once for equal words."""
    trees = {}

    def make(*words):
        if words not in trees:
            cwd = tmp_path_factory.mktemp("pruned")
            said = run("prune.py", *TINY, *words, cwd=cwd).stdout
            trees[words] = cwd / re.search(r"results in (\S+)", said)[1]
        return trees[words]

    return make


def numbers(path):
    """The numbers of a table, without words that may say what was typed."""
    with path.open(newline="") as file:
        return [[cell for cell in row if NUMBER.fullmatch(cell)] for row in csv.reader(file)]


def contents(tree, pattern):
    """What files hold, by their place in the tree, without what hashes say of their options."""
    found = {}
    for path in sorted(path for path in tree.glob(pattern) if path.is_file()):
        name = re.sub(r"_[0-9a-f]{10}(?=/)", "", os.path.relpath(path, tree))
        if path.suffix == ".safetensors":
            found |= {(name, key): value.tolist() for key, value in load_file(path).items()}
        else:
            found[name] = numbers(path) if path.suffix == ".csv" else None
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_what_it_is_for(name, pruned):
    word, beside, pattern = OPTIONS[name]
    places = {"WEIGHTS": "level_0/weights/step_11.safetensors", "BASE": ""}
    for key, place in places.items():
        word = word.replace(key, str(pruned("pruning.fraction=0.5") / place))
    before = contents(pruned(*beside), pattern)
    after = contents(pruned(*beside, word), pattern)
    assert before or name in ("branch", "output_dir")
    assert after and after != before
