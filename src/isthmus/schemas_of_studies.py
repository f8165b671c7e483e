"""The values of the scripts that study what becomes of a training, with their defaults."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.schemas_of_training import MISSING, Family, Pretrain, SavedOptions, Train
from isthmus.steps import Step


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


@dataclass
class LineOptions:
    """Where on a line to look, and what becomes of the networks before."""

    alphas: int | list[float] = 25
    refine: int | None = None  # further alphas around the largest excess of the loss
    align: Literal["none", "weights", "activations"] = "none"
    bn: Literal["reset", "average", "keep", "repair"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


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
class Instability:
    """A branch of a level: its children of several seeds, and the barriers between them."""

    seeds: list[int] = field(default_factory=lambda: [1, 2])
    vary: list[Literal["data_order", "augmentation", "dropout"]] = field(
        default_factory=lambda: ["data_order", "augmentation", "dropout"]
    )
    alphas: int | list[float] = 25
    bn: Literal["reset", "average", "keep", "repair"] = "reset"
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["train", "test"])


@dataclass
class Prune(Train):
    """`prune.py`."""

    pruning: Any = MISSING
    pretrain: Pretrain = field(default_factory=Pretrain)
    levels: int | None = None
    one_shot: float | None = None  # share that the only level prunes, in place of `fraction`
    rewind: Literal["weights", "lr", "none"] | None = None  # null: as the strategy does
    rewind_step: Step = 0  # type: ignore[assignment] # where level 0 begins
    retrain_lr: float | None = None  # of levels that do not rewind; null: the last one of level 0
    branch: Literal["randomly_prune", "randomly_reinitialize", "retrain", "instability"] | None = (
        None
    )
    branch_levels: list[int] | None = None  # null: all, but the dense one only with instability
    randomly_prune: RandomlyPrune = field(default_factory=RandomlyPrune)
    randomly_reinitialize: RandomlyReinitialize = field(default_factory=RandomlyReinitialize)
    retrain: Retrain = field(default_factory=Retrain)
    instability: Instability = field(default_factory=Instability)
    compare: list[str] = field(default_factory=list)  # folders of other studies, or globs
