"""Options of a training, of what comes before it, and of `tune.py`. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.steps import Step

MISSING: Any = "???"


@dataclass
class Hparams:
    """Length, batch size, gradient clipping and early stopping of a training."""

    epochs: int = 180
    steps: Step | None = None  # the length of training; takes the place of `epochs`
    batch_size: int = 128
    grad_clip_max_norm: float | None = None  # of the whole gradient, L2
    patience: int | None = None  # epochs without a lower validation loss before stopping


@dataclass
class Seeds:
    """Seeds of the random streams; null means `global_seed`."""

    initialization: int | None = None
    data_order: int | None = None
    augmentation: int | None = None
    dropout: int | None = None
    label_noise: int | None = None


@dataclass(frozen=True)
class Runtime:
    """How a job runs, not what it computes: not part of a run's name."""

    device: str = "auto"  # cpu, cuda, cuda:1, mps
    compile: Literal["auto", True, False] = "auto"
    channels_last: bool = True
    num_workers: int = 4  # processes that decode streamed images
    num_threads: int | None = None  # null: OMP_NUM_THREADS, else this job's share of the cores
    progress: bool = True
    tensorboard: bool = True
    save_every: float = 60.0  # seconds between two writes of state.pt


@dataclass
class ModelOptions:
    """Options that every model has besides its own."""

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
    """Options of every training."""

    dataset: Any = MISSING
    model: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    averaged: Any = None
    parametrization: Any = None
    hparams: Hparams = field(default_factory=Hparams)
    seeds: Seeds = field(default_factory=Seeds)
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] = "fp32"
    global_seed: int = 1
    snapshots: str | list[Step] | None = None
    save_predictions: bool = True
    output_dir: str = "outputs"


@dataclass
class Tune(Train):
    """Options of `tune.py`."""

    maximize_averaged: bool = True  # the averaged model's validation accuracy, else the plain one's


@dataclass
class Diagnostics:
    """Diagnostics of wide networks during training, and when."""

    steps: str | list[Step] | None = None  # pre-activations, outputs and margins
    ranks: str | list[Step] | None = None  # effective ranks of weights and activations
    examples: int = 256  # of the training set, to measure on


@dataclass
class TrainScript(Train):
    """Options of `train.py`."""

    save_weights: bool = True
    diagnostics: Diagnostics = field(default_factory=Diagnostics)


@dataclass
class Pretrain:
    """A pretraining, or weights to begin from; unset options are those of the training."""

    weights: str | None = None  # a file, instead of a training
    fingerprint: str | None = None  # of that file, by which a run is named
    dataset: Any = None
    optimizer: Any = None
    scheduler: Any = None
    hparams: Any = None


@dataclass(frozen=True)
class FamilyRuntime(Runtime):
    """Runtime options of a study of children."""

    num_threads: int | None = None  # of each training; null: OMP_NUM_THREADS, else one
    num_jobs: int = 1  # children that are trained at a time, each in a process of its own


@dataclass
class Family(Train):
    """Options of a parent and its children: all that names the folder of branches."""

    runtime: FamilyRuntime = field(default_factory=FamilyRuntime)
    pretrain: Pretrain = field(default_factory=Pretrain)
    vary: list[Literal["data_order", "augmentation", "dropout"]] = field(
        default_factory=lambda: ["data_order", "augmentation", "dropout"]
    )


NOT_AVERAGED = ("plain", "best")


def tune_errors(values: dict[str, Any]) -> list[str]:
    """Errors of a search, one line each.

    Args:
        values: of `tune.py`, each of the right type.
    """
    errors = []
    if values["maximize_averaged"] and "_target_" not in (values["averaged"] or {}):
        errors.append(
            "maximize_averaged=true: there is no averaged model with averaged=none; "
            "maximize_averaged=false takes the plain one"
        )
    if values["dataset"].get("val_fraction") == 0:
        errors.append("dataset.val_fraction=0: must be positive, trials are compared on that part")
    return errors


def objective(evaluation: dict[str, Any], maximize_averaged: bool) -> float:
    """Validation accuracy of a finished trial, a fraction.

    Args:
        evaluation: of a run, by model and split.
        maximize_averaged: of the averaged model, the best of several; else of the plain one.
    """
    averaged = [name for name in evaluation if name not in NOT_AVERAGED]
    chosen = averaged if maximize_averaged else ["plain"]
    return max(float(evaluation[name]["val"]["accuracy"]) for name in chosen)
