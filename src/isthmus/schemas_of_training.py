"""The values of a training, and of scripts that take saved weights, with their defaults."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.steps import Step

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
    num_threads: int | None = None  # null: OMP_NUM_THREADS, else this job's share of the cores
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
    """What every training takes."""

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
    """`tune.py`."""

    maximize_averaged: bool = True  # the averaged model's validation accuracy, else the plain one's


@dataclass
class Diagnostics:
    """What is measured on the way, and when."""

    steps: str | list[Step] | None = None  # pre-activations, outputs and margins
    ranks: str | list[Step] | None = None  # effective ranks of weights and activations
    examples: int = 256  # of the training set, to measure on


@dataclass
class TrainScript(Train):
    """`train.py`."""

    save_weights: bool = True
    diagnostics: Diagnostics = field(default_factory=Diagnostics)


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
class FamilyRuntime(Runtime):
    """How a study of children runs."""

    num_threads: int | None = None  # of each training; null: OMP_NUM_THREADS, else one
    num_jobs: int = 1  # children that are trained at a time, each in a process of its own


@dataclass
class Family(Train):
    """A parent and what its children have of it: all that names the store of branches."""

    runtime: FamilyRuntime = field(default_factory=FamilyRuntime)
    pretrain: Pretrain = field(default_factory=Pretrain)
    vary: list[Literal["data_order", "augmentation", "dropout"]] = field(
        default_factory=lambda: ["data_order", "augmentation", "dropout"]
    )


@dataclass
class SavedOptions:
    """How saved weights are evaluated."""

    dataset: Any = None  # null: the data set that the first weights were trained on
    dataset_typed: list[str] = field(default_factory=list)  # its options that were typed
    contents: list[str] = field(default_factory=list)  # fingerprints of the weights, made of them
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"


@dataclass
class Eval:
    """`eval.py`."""

    checkpoint: str = MISSING
    splits: list[Literal["train", "val", "test"]] | None = None  # null: all that there are
    dataset: Any = None  # null: the data set that the weights were trained on
    dataset_typed: list[str] = field(default_factory=list)  # its options that were typed
    bn: Literal["keep", "reset"] = "keep"
    allow_nonfinite: bool = False  # weights that are infinite or not a number
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
    dataset_typed: list[str] = field(default_factory=list)  # its options that were typed
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"
