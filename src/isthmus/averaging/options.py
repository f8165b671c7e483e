"""Options of `eval.py` and `average.py`. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.steps import Step
from isthmus.training.options import MISSING, Runtime


@dataclass
class SavedOptions:
    """Options of scripts that evaluate saved weights."""

    dataset: Any = None  # null: the data set that the first weights were trained on
    dataset_typed: list[str] = field(default_factory=list)  # its options that were typed
    contents: list[str] = field(default_factory=list)  # fingerprints of the weights, made of them
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"


@dataclass
class Eval:
    """Options of `eval.py`."""

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
    """Options of `average.py`."""

    checkpoints: list[str] | None = None  # files or globs
    run: str | None = None  # folder of a training, instead of `checkpoints`
    steps: list[Step] | None = None  # of `run`; null: all that were kept
    method: Literal["uniform", "weighted", "ema", "latest", "greedy_soup", "uniform_soup"] = (
        "uniform"
    )
    weights: list[float] | None = None  # weighted: one per checkpoint
    decay: float | None = None  # ema
    num: int | None = None  # latest
    bn: Literal["reset", "average", "keep"] = "reset"
    splits: list[Literal["train", "val", "test"]] | None = None  # null: all that there are
    dataset: Any = None  # null: the data set that the first checkpoint was trained on
    dataset_typed: list[str] = field(default_factory=list)  # its options that were typed
    runtime: Runtime = field(default_factory=Runtime)
    precision: Literal["fp32", "bf16"] | None = None  # null: that of the training
    output_dir: str = "outputs"
