"""The values of `extract.py`."""

from dataclasses import dataclass, field
from typing import Any, Literal

MISSING: Any = "???"


@dataclass
class Synthetic:
    """A teacher made on the spot."""

    num_inputs: int = 4
    width: int | list[int] = 4  # units of the hidden layer, or of each
    num_outputs: int = 1
    activation: Literal[
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "softplus",
        "sigmoid",
        "tanh",
        "identity",
        "g",
    ] = "tanh"
    seed: int = 0


@dataclass
class Extraction:
    """Students, and what is made of them."""

    datagen: str = "gaussian"  # names joined by +
    num_samples: int | None = None  # null: all images, all of a file, 10,000 of what is drawn
    span: float = 3.0  # of uniform and grid: [-span, span]
    file: str | None = None  # of datagen=file
    fingerprint: str | None = None  # of that file, by which a run is named
    num_students: int = 10
    expansion: float = 4.0  # units of a student's layer over the teacher's
    width: int | list[int] | None = None  # takes the place of `expansion`
    activation: (
        Literal[
            "relu",
            "leaky_relu",
            "elu",
            "gelu",
            "silu",
            "softplus",
            "sigmoid",
            "tanh",
            "identity",
            "g",
        ]
        | None
    ) = None  # null: the teacher's
    lr: float = 1e-3
    batch_size: int = 512
    epochs: int = 25_000  # at most
    factor: float = 0.31622776601683794  # 1 / sqrt(10)
    patience: int = 100
    cooldown: int = 200
    min_lr: float = 1e-7
    gamma: float = 0.5
    beta: float = 0.5235987755982988  # pi / 6
    mask: Literal["boruta", "variance"] | None = None
    affine: Literal["fold", "skip"] = "fold"
    refit_epochs: int = 1000
    finetune_epochs: int = 5000
    finetune_lr: float = 1e-3


@dataclass
class ExtractRuntime:
    """How a job runs, not what it computes."""

    device: str = "auto"
    num_threads: int | None = None  # null: OMP_NUM_THREADS, else this job's share of the cores
    progress: bool = True
    save_every: float = 60.0  # seconds between two writes of a state


@dataclass
class Extract:
    """`extract.py`."""

    teacher: str | None = MISSING  # a weights file, or "synthetic"; null: datagen=file has outputs
    fingerprint: str | None = None  # of that file, by which a run is named
    synthetic: Synthetic = field(default_factory=Synthetic)
    extraction: Extraction = field(default_factory=Extraction)
    dataset: Any = None  # only its root
    runtime: ExtractRuntime = field(default_factory=ExtractRuntime)
    global_seed: int = 1
    output_dir: str = "outputs"
