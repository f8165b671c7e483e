"""Tables of the options of all scripts: groups, versions of results, requests, defaults.

`config.validation` checks every value against its annotation; a value that equals its default is
left out of a run's name, so a new option with a default renames no older run.
"""

import functools
import re

from isthmus.config import signatures
from isthmus.config.signatures import Argument
from isthmus.paths import SOURCES

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
# Functions that check rules across the options of a schema, whose types are right.
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
FOLDER_NAME = "isthmus.plots.options.folder_name"  # prefix of the folder of a figure

# Groups with a `_target_`: number of arguments that the script supplies, first and by position.
SUPPLIED = {
    "dataset": 0,
    "model": 2,
    "optimizer": 1,
    "scheduler": 2,
    "averaged": 0,
    "parametrization": 0,
    "pruning": 0,
}

# The package of `isthmus` that a group's parts are in.
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

# Versions of the results of scripts, in the names of their runs: raised by a change that makes
# other numbers from the same options.
RESULTS = {
    "TrainScript": 1,
    "Tune": 1,
    "Eval": 1,
    "Average": 1,
    "Extract": 2,  # the median angle of an even number; weights from missing units left out
    "Plots": 1,
    "Spawn": 2,  # each child is trained by itself
    "InterpolateBranches": 2,  # as Spawn; all points of a line are treated in the same way
    "InterpolateLine": 2,
    "InterpolatePlane": 2,
    "Prune": 2,  # one_shot, controls from dense weights, lines of instability
}

# Options that do not change results, or that request more of them: not in a run's name.
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
# Scripts with several modes: the schema of each mode, and the options that select it. Without any
# of these options it is the first.
MODES = {
    "Interpolate": {
        "InterpolateBranches": ("k1", "k2"),
        "InterpolateLine": ("start", "end"),
        "InterpolatePlane": ("plane",),
    }
}
# Options of `extraction` that apply after students are trained; they have a name of their own.
CLUSTERING = {
    "gamma",
    "beta",
    "mask",
    "affine",
    "refit_epochs",
    "finetune_epochs",
    "finetune_lr",
}
SETS = {"vary"}  # lists whose order has no meaning
UNNAMED_IN_PARTS = {
    "dataset": {"root", "cache_dir"},
    "pretrain": {"weights"},
    "extraction": CLUSTERING | {"file"},
    "instability": {"seeds", "alphas", "bn", "splits"},  # requests, which add to its folder
}


def dotpath(name: str) -> str | None:
    """Where the schema of a name is declared; None if it is no schema."""
    return _schemas().get(name)


@functools.cache
def _schemas() -> dict[str, str]:
    """The dotpath of every class in a module that declares the options of a script."""
    modules = dict.fromkeys(path.rpartition(".")[0] for path in SCRIPTS.values())
    return {
        name: f"{module}.{name}"
        for module in modules
        for name in re.findall(
            r"^class (\w+)",
            SOURCES.joinpath(*module.split(".")).with_suffix(".py").read_text(),
            re.MULTILINE,
        )
    }


def fields(schema: str) -> dict[str, Argument]:
    """The fields of a schema, by name.

    Raises:
        LookupError: there is no such schema.
    """
    return signatures.arguments(dotpath(schema) or f"isthmus.{schema}")
