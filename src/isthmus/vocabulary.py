"""Values and ranges that many options and columns have in common, each said once.

A type says what an option can be; the tuple beside it has the same values in the order of tables.
`config.signatures` knows these types by name, so that options and arguments are annotated with
them, and refuses other values before torch is imported. Imports no torch.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args


@dataclass(frozen=True)
class Range:
    """The numbers between two bounds.

    Args:
        low, high: the bounds.
        has_low, has_high: whether each of them is one of the numbers.
    """

    low: float
    high: float = math.inf
    has_low: bool = True
    has_high: bool = False

    def contains(self, number: float) -> bool:
        """Whether a number is one of them; nan is not."""
        if number == self.high:
            return self.has_high or number == math.inf
        return self.low < number < self.high or (self.has_low and number == self.low)

    @property
    def text(self) -> str:
        """Such as "in [0, 1)", "above 0" or "of at least 1"."""
        if self.high == math.inf:
            return f"of at least {self.low:g}" if self.has_low else f"above {self.low:g}"
        ends = "[" if self.has_low else "(", "]" if self.has_high else ")"
        return f"in {ends[0]}{self.low:g}, {self.high:g}{ends[1]}"


Positive: TypeAlias = Annotated[float, Range(0, has_low=False)]
NotNegative: TypeAlias = Annotated[float, Range(0)]
Share: TypeAlias = Annotated[float, Range(0, 1)]  # less than all
PositiveShare: TypeAlias = Annotated[float, Range(0, 1, has_low=False)]
Ratio: TypeAlias = Annotated[float, Range(0, 1, has_high=True)]  # none, some or all
PositiveRatio: TypeAlias = Annotated[float, Range(0, 1, has_low=False, has_high=True)]
Count: TypeAlias = Annotated[int, Range(1)]
CountFromZero: TypeAlias = Annotated[int, Range(0)]

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Batch-norm statistics of combined weights: estimated again, combined like weights, those of one.
BatchNormMode: TypeAlias = Literal["reset", "average", "keep"]
BATCH_NORM_MODES: tuple[BatchNormMode, ...] = get_args(BatchNormMode)
# Of the points of a line, which can be repaired, too (Jordan et al., 2023).
LineBatchNormMode: TypeAlias = Literal["reset", "average", "keep", "repair"]
LINE_BATCH_NORM_MODES: tuple[LineBatchNormMode, ...] = get_args(LineBatchNormMode)
# Of models that are averaged during training, and of saved weights.
AveragedBatchNormMode: TypeAlias = Literal["average", "reset"]
AVERAGED_BATCH_NORM_MODES: tuple[AveragedBatchNormMode, ...] = get_args(AveragedBatchNormMode)
SavedBatchNormMode: TypeAlias = Literal["keep", "reset"]

# How the units of one network are permuted before it is combined with another one.
Alignment: TypeAlias = Literal["none", "weights", "activations"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)

# Random streams of a training, besides that of the initialization, that children can vary.
Stream: TypeAlias = Literal["data_order", "augmentation", "dropout"]
STREAMS: tuple[Stream, ...] = get_args(Stream)

Activation: TypeAlias = Literal[
    "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "identity", "g"
]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

Precision: TypeAlias = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


# Networks of lowest validation loss, as trained and averaged, beside those at the end of training.
BESTS = BEST, BEST_AVERAGED = "best", "best_averaged"
NOT_AVERAGED = ("plain", *BESTS)  # the other models of an evaluation are averages


def split_to_show(splits: Iterable[str]) -> Split:
    """The split that a summary or a figure shows: test, else val, else train.

    Args:
        splits: a list, column or set of those that there are.

    Raises:
        ValueError: none of them is a split.
    """
    present = set(splits)
    known = [split for split in SPLITS if split in present]
    if not known:
        raise ValueError(f"splits: one of {', '.join(SPLITS)} is needed, got {sorted(present)}")
    return known[-1]
