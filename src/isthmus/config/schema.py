"""Tables of the options of all scripts: groups, versions of results, requests, defaults.

`config.validation` checks every value against its annotation; a value that equals its default is
left out of a run's name, so a new option with a default renames no older run.
"""

import functools

from isthmus.config import signatures
from isthmus.config.signatures import Argument

# Where the options of each script are declared: a dataclass that Hydra checks.
SCRIPTS = {
    "train": "isthmus.training.options.TrainScript",
    "eval": "isthmus.averaging.options.Eval",
    "average": "isthmus.averaging.options.Average",
    "spawn": "isthmus.branching.options.Spawn",
    "interpolate": "isthmus.connectivity.options.Interpolate",
    "prune": "isthmus.pruning.options.Prune",
    "extract": "isthmus.extraction.options.Extract",
    "plots": "isthmus.plots.options.Plots",
    "tune": "isthmus.training.options.Tune",
}
# Functions of all values of a schema, of the right types: what is wrong across options.
RULES = {
    "Tune": "isthmus.training.options.tune_errors",
    "Spawn": "isthmus.branching.options.errors",
    "InterpolateBranches": "isthmus.connectivity.options.errors",
    "InterpolateLine": "isthmus.connectivity.options.errors",
    "InterpolatePlane": "isthmus.connectivity.options.errors",
    "Prune": "isthmus.pruning.options.errors",
    "Extract": "isthmus.extraction.options.errors",
    "Plots": "isthmus.plots.options.errors",
}
FOLDER_NAME = "isthmus.plots.options.folder_name"  # how a figure begins the name of a folder

# Groups of a `_target_`: the arguments that the script supplies, which come first and by position.
SUPPLIED = {
    "dataset": 0,
    "model": 2,
    "optimizer": 1,
    "scheduler": 2,
    "averaged": 0,
    "parametrization": 0,
    "pruning": 0,
}

# The package that the own parts of a group are in.
PACKAGES = {
    "dataset": "data",
    "model": "models",
    "optimizer": "training",
    "scheduler": "training",
    "averaged": "averaging",
    "parametrization": "widths",
    "pruning": "pruning",
}

DERIVED = {"contents", "dataset_typed"}  # from other values, not typed

# Versions of the results of scripts, in the names of their runs: counted up by a change that makes
# other numbers of the same values.
RESULTS = {
    "TrainScript": 1,
    "Tune": 1,
    "Eval": 1,
    "Average": 1,
    "Extract": 1,
    "Plots": 1,
    "Spawn": 2,  # children are trained each by itself
    "InterpolateBranches": 2,  # likewise; all points of a line are treated alike
    "InterpolateLine": 2,
    "InterpolatePlane": 2,
    "Prune": 2,  # one_shot, controls from dense weights, lines of instability
}

# Values that do not change what is computed, or ask for more of it: not in a run's name.
UNNAMED = {"runtime", "global_seed", "snapshots", "output_dir"}
REQUESTS = {
    "Prune": {
        "levels",
        "branch",
        "branch_levels",
        "randomly_prune",
        "randomly_reinitialize",
        "retrain",
        "instability",
        "compare",
    },
    "Spawn": {
        "spawn_steps",
        "spawn_step",
        "only",
        "child_seeds",
        "child_steps",
        "child_length",
        "averages",
        "num_children",
        "models",
        "bn",
        "splits",
        "save_averages",
        "split_merge",
    },
    "InterpolateBranches": {
        "k1",
        "k2",
        "child_seeds",
        "alphas",
        "refine",
        "align",
        "bn",
        "splits",
    },
    "InterpolateLine": {"start", "end", "alphas", "refine", "align", "bn", "splits"},
    "InterpolatePlane": {"plane", "project", "points", "splits"},
    "Extract": {"teacher"},  # its content is in the name
}
# A script that does one of several things: the options that say which, by its schema. Without any
# of them it is the first.
MODES = {
    "Interpolate": {
        "InterpolateBranches": ("k1", "k2"),
        "InterpolateLine": ("start", "end"),
        "InterpolatePlane": ("plane",),
    }
}
# Of `extraction`: what becomes of trained students has a name of its own.
CLUSTERING = {
    "gamma",
    "beta",
    "mask",
    "affine",
    "refit_epochs",
    "finetune_epochs",
    "finetune_lr",
}
SETS = {"vary"}  # lists whose order says nothing
UNNAMED_IN_PARTS = {
    "dataset": {"root", "cache_dir"},
    "pretrain": {"weights"},
    "extraction": CLUSTERING | {"file"},
    "instability": {"seeds", "alphas", "bn", "splits"},  # requests, which add to its folder
}


@functools.cache
def dotpath(name: str) -> str | None:
    """Where the schema of a name is declared; None if it is no schema."""
    for module in dict.fromkeys(path.rpartition(".")[0] for path in SCRIPTS.values()):
        if signatures.is_defined(f"{module}.{name}"):
            return f"{module}.{name}"
    return None


def fields(schema: str) -> dict[str, Argument]:
    """The values that a schema has, by name.

    Raises:
        LookupError: there is no such schema.
    """
    return signatures.arguments(dotpath(schema) or f"isthmus.{schema}")
