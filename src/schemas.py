"""The values that scripts and groups take besides what a `_target_` takes, with their defaults.

Read by `config`, which checks every value against its annotation here; a value that equals its
default here is left out of a run's name, so a new option with a default renames no older run.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from src.steps import Step

MISSING: Any = "???"


@dataclass
class Hparams:
    """How long and on how much data at a time."""

    epochs: int = 180
    steps: Step | None = None  # the length of training; takes the place of `epochs`
    batch_size: int = 128
    grad_clip_max_norm: float | None = None  # of the whole gradient, L2
    patience: int | None = None  # epochs without a lower validation loss before stopping


@dataclass
class Seeds:
    """Seeds of the streams of chance; null takes `global_seed`."""

    initialization: int | None = None
    data_order: int | None = None
    augmentation: int | None = None
    dropout: int | None = None
    label_noise: int | None = None


@dataclass
class Runtime:
    """How a job runs, not what it computes: none of it is in a run's name."""

    device: str = "auto"  # cpu, cuda, cuda:1, mps
    compile: Literal["auto", True, False] = "auto"
    channels_last: bool = True
    num_workers: int = 4  # processes that decode streamed images
    num_threads: int | None = None  # null: the cores divided by the jobs that share them
    progress: bool = True
    tensorboard: bool = True
    save_every: float = 60.0  # seconds between two writes of state.pt


@dataclass
class ModelOptions:
    """What every option of the group `model` takes besides its own."""

    init: Literal[
        "kaiming_normal",
        "kaiming_uniform",
        "xavier_normal",
        "xavier_uniform",
        "orthogonal",
        "binary",
    ] = "kaiming_normal"
    bn_init: Literal["ones", "uniform"] = "ones"
    freeze: list[Literal["batch_norm", "output", "others"]] = field(default_factory=list)
    freeze_exceptions: list[str] = field(default_factory=list)


@dataclass
class Train:
    """`train.py`."""

    dataset: Any = MISSING
    model: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    averaged: Any = None
    hparams: Hparams = field(default_factory=Hparams)
    seeds: Seeds = field(default_factory=Seeds)
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] = "fp32"
    global_seed: int = 1
    snapshots: str | list[Step] | None = None
    save_predictions: bool = True
    output_dir: str = "outputs"


@dataclass
class Pretrain:
    """What comes before a training; a value that is not given is that of the training itself."""

    weights: str | None = None  # a file, instead of a training
    fingerprint: str | None = None  # of that file, by which a run is named
    dataset: Any = None
    optimizer: Any = None
    scheduler: Any = None
    hparams: Any = None


@dataclass
class SplitMerge:
    """Legs of parent, children and their average, which is the next leg's parent."""

    num_legs: int | None = None  # null: no legs
    strategy: (
        Literal[
            "restart_optimizer",
            "decrease_lr",
            "repeat_increase_batch_size",
            "decrease_child_batch_size",
        ]
        | None
    ) = None


@dataclass
class SpawnOptions:
    """How children are trained, not what they become."""

    together: Literal["auto", True, False] = "auto"


@dataclass
class Family(Train):
    """A parent and what its children have of it: all that names the store of branches."""

    pretrain: Pretrain = field(default_factory=Pretrain)
    vary: list[Literal["data_order", "augmentation", "dropout"]] = field(
        default_factory=lambda: ["data_order", "augmentation", "dropout"]
    )


@dataclass
class Spawn(Family):
    """`spawn.py`."""

    spawn_steps: str | list[Step] | None = None
    spawn_step: Step | None = None  # only this one
    only: int | None = None  # only this one of `spawn_steps`, counted from 0
    child_seeds: list[int] = MISSING
    child_steps: str | list[Step] = "log"
    child_length: Step | None = None  # null: that of the parent
    averages: list[Literal["across", "back", "back_plus_one", "back_plus_three", "back_all"]] = (
        field(default_factory=lambda: ["across", "back"])
    )
    num_children: list[int] | None = None  # in an `across` average; null: 2 and more, up to all
    models: list[Literal["plain", "averaged"]] = field(
        default_factory=lambda: ["plain", "averaged"]
    )
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])
    save_averages: bool = False
    split_merge: SplitMerge = field(default_factory=SplitMerge)
    spawn: SpawnOptions = field(default_factory=SpawnOptions)


@dataclass
class LineOptions:
    """Where on a line to look, and what becomes of the networks before."""

    alphas: int | list[float] = 25
    refine: int | None = None  # further alphas around the largest excess of the loss
    align: Literal["none", "weights", "activations"] = "none"
    bn: Literal["reset", "average", "keep", "repair"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class SavedOptions:
    """How saved weights are evaluated."""

    dataset: Any = None  # null: the data set that the first weights were trained on
    contents: list[str] = field(default_factory=list)  # fingerprints of the weights, made of them
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"


@dataclass
class InterpolateBranches(LineOptions, Family):
    """`interpolate.py` between a main branch and others that leave it after k1."""

    k1: Step | int | list[Step | int] = MISSING  # a whole number: epochs
    k2: Step | int | list[Step | int] = MISSING
    child_seeds: list[int] | None = None  # null: one more than the global seed


@dataclass
class InterpolateLine(LineOptions, SavedOptions):
    """`interpolate.py` between two saved networks."""

    start: str = MISSING
    end: str = MISSING


@dataclass
class InterpolatePlane(SavedOptions):
    """`interpolate.py` in the plane of three saved networks."""

    plane: list[str] = MISSING
    project: list[str] = field(default_factory=list)
    points: int = 21  # each way
    margin: float = 0.2  # of the extent of the three, on all four sides
    align: Literal["none", "weights", "activations"] = "none"
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class Interpolate(InterpolateBranches):
    """`interpolate.py`: all that can be typed."""

    start: str | None = None
    end: str | None = None
    plane: list[str] | None = None
    project: list[str] = field(default_factory=list)
    points: int = 21
    margin: float = 0.2


@dataclass
class RandomlyPrune:
    """A branch of a level that keeps as many weights in other places."""

    strategy: Literal["layerwise", "global", "even", "identity"] = "layerwise"
    start_at: Literal["rewind", "init", "end"] = "rewind"
    seed: int = 1


@dataclass
class RandomlyReinitialize:
    """A branch of a level that has its mask and a fresh initialization."""

    start_at: Literal["rewind", "init"] = "rewind"
    seed: int = 1


@dataclass
class Retrain:
    """A branch of a level that is trained with other values than the level itself."""

    start_at: Literal["rewind", "init"] = "rewind"
    dataset: Any = None
    optimizer: Any = None
    scheduler: Any = None
    hparams: Any = None


@dataclass
class Prune(Train):
    """`prune.py`."""

    pruning: Any = MISSING
    pretrain: Pretrain = field(default_factory=Pretrain)
    levels: int | None = None
    one_shot: float | None = None  # sparsity of the only level
    rewind: Literal["weights", "lr", "none"] | None = None  # null: as the strategy does
    rewind_step: Step = 0  # type: ignore[assignment] # where level 0 begins
    branch: Literal["randomly_prune", "randomly_reinitialize", "retrain"] | None = None
    branch_levels: list[int] | None = None  # null: all but the dense one
    randomly_prune: RandomlyPrune = field(default_factory=RandomlyPrune)
    randomly_reinitialize: RandomlyReinitialize = field(default_factory=RandomlyReinitialize)
    retrain: Retrain = field(default_factory=Retrain)
    compare: list[str] = field(default_factory=list)  # folders of other studies, or globs


@dataclass
class Eval:
    """`eval.py`."""

    checkpoint: str = MISSING
    splits: list[Literal["train", "val", "test"]] | None = None  # null: all that there are
    dataset: Any = None  # null: the data set that the weights were trained on
    bn: Literal["keep", "reset"] = "keep"
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"


@dataclass
class Average:
    """`average.py`."""

    checkpoints: list[str] | None = None  # files or globs
    run: str | None = None  # folder of a training, instead of `checkpoints`
    steps: list[Step] | None = None  # of `run`; null: all that were kept
    method: Literal["uniform", "weighted", "ema", "latest", "greedy_soup", "uniform_soup"] = (
        "uniform"
    )
    weights: list[float] | None = None  # weighted: one a checkpoint
    decay: float | None = None  # ema
    num: int | None = None  # latest
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] | None = None  # null: all that there are
    dataset: Any = None  # null: the data set that the first checkpoint was trained on
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"


# Groups of a `_target_`: the arguments that the script supplies, which come first and by position.
SUPPLIED = {"dataset": 0, "model": 2, "optimizer": 1, "scheduler": 2, "averaged": 0, "pruning": 0}

DERIVED = {"contents"}  # from other values, not typed

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
        "spawn",
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
    "InterpolatePlane": {"plane", "project", "splits"},
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
SETS = {"vary"}  # lists whose order says nothing
UNNAMED_IN_PARTS = {"dataset": {"root", "cache_dir"}, "pretrain": {"weights"}}
