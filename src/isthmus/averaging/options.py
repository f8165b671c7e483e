"""Options of `eval.py` and `average.py`. Imports no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from isthmus.config.schema import option
from isthmus.steps import Step
from isthmus.training.options import SavedOptions
from isthmus.vocabulary import BatchNormMode, SavedBatchNormMode, Split


@dataclass(frozen=True, kw_only=True)
class Eval(SavedOptions):
    """Options of `eval.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    checkpoint: str
    splits: list[Split] | None = option(None, nonempty=True)  # null: all that there are
    bn: SavedBatchNormMode = "keep"
    allow_nonfinite: bool = False  # weights that are infinite or not a number


@dataclass(frozen=True, kw_only=True)
class Average(SavedOptions):
    """Options of `average.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    checkpoints: list[str] | None = None  # files or globs
    run: str | None = None  # folder of a training, instead of `checkpoints`
    steps: list[Step] | None = None  # of `run`; null: all that were kept
    # Of a glob or run, the kind of weights that is taken: plain, ema_0.999, swa, best; null: all of
    # a glob, plain of a run.
    kind: str | None = None
    method: Literal["uniform", "weighted", "ema", "latest", "greedy_soup", "uniform_soup"] = (
        "uniform"
    )
    weights: list[float] | None = None  # weighted: one per checkpoint
    decay: float | None = None  # ema
    num: int | None = None  # latest
    bn: BatchNormMode = "reset"
    splits: list[Split] | None = option(None, nonempty=True)  # null: all that there are
