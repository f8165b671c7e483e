"""Values that many options and columns have in common, each list said once.

A type says what an option can be; the tuple beside it has the same values in the order of tables.
`config.signatures` knows these types by name, so that options and arguments are annotated with
them. Imports no torch.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

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
