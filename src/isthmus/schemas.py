"""The values that scripts and groups take besides what a `_target_` takes, with their defaults.

Read by `config`, which checks every value against its annotation here; a value that equals its
default here is left out of a run's name, so a new option with a default renames no older run.
"""

from isthmus import signatures
from isthmus.schemas_of_extraction import (  # noqa: F401
    Extract,
    Extraction,
    ExtractRuntime,
    Synthetic,
)
from isthmus.schemas_of_plots import Compare, Labels, Plots, Style  # noqa: F401
from isthmus.schemas_of_studies import (  # noqa: F401
    Instability,
    Interpolate,
    InterpolateBranches,
    InterpolateLine,
    InterpolatePlane,
    LineOptions,
    Prune,
    RandomlyPrune,
    RandomlyReinitialize,
    Retrain,
    Spawn,
    SplitMerge,
)
from isthmus.schemas_of_training import (  # noqa: F401
    Average,
    Diagnostics,
    Eval,
    Family,
    FamilyRuntime,
    Hparams,
    ModelOptions,
    Pretrain,
    Runtime,
    SavedOptions,
    Seeds,
    Train,
    TrainScript,
    Tune,
)
from isthmus.signatures import Argument

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


def fields(schema: str) -> dict[str, Argument]:
    """The values that a schema has, by name."""
    return signatures.arguments(f"{globals()[schema].__module__}.{schema}")
