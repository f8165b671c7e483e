"""A data set as a network takes it that was trained on another one: its classes, its numbers."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from isthmus.data.splits import DataSet, Normalization, Split, StreamedSplit

log = logging.getLogger(__name__)

AnySplit = TypeVar("AnySplit", Split, StreamedSplit, Split | StreamedSplit)


def description(data: DataSet) -> dict[str, Any]:
    """What weights trained on a data set have to say of it, in numbers and texts.

    Returns:
        `normalization` {mean, std, scale}, and `classes`, names in label order, where labels are
        classes.
    """
    mean, std, scale = data.normalization.mean, data.normalization.std, data.normalization.scale
    normalization = {"mean": list(mean), "std": list(std), "scale": scale}
    classes = {"classes": list(data.class_names)} if data.has_accuracy else {}
    return {"normalization": normalization, **classes}


def with_classes(data: DataSet, names: Sequence[str]) -> DataSet:
    """A data set whose labels are places in `names`, the classes that a network tells apart.

    Args:
        data: whose classes are some of these, in any order.
        names: in the order of the network's outputs.

    Raises:
        ValueError: it has another class.
    """
    unknown = [name for name in data.class_names if name not in names]
    if unknown:
        raise ValueError(
            f"dataset: has {_first(unknown)}, which {'is' if len(unknown) == 1 else 'are'} not "
            f"among the classes that these weights were trained on: {_first(names)}"
        )
    if list(data.class_names) == list(names):
        return data
    log.info(
        "dataset: its classes (%s) are mapped by name to those of the training (%s)",
        *(_first(data.class_names), _first(names)),
    )
    places = torch.tensor([list(names).index(name) for name in data.class_names])

    def relabelled(split: AnySplit) -> AnySplit:
        return replace(split, labels=places[split.labels])

    return replace(
        data,
        train=relabelled(data.train),
        val=None if data.val is None else relabelled(data.val),
        test=None if data.test is None else relabelled(data.test),
        class_names=tuple(names),
    )


def with_normalization(data: DataSet, mean: Sequence[float], std: Sequence[float]) -> DataSet:
    """A data set normalized as the training of a network was.

    Args:
        data: of values that are stored on the same scale.
        mean: of each channel, or one for all.
        std: likewise.
    """
    normalization = Normalization(tuple(mean), tuple(std), data.normalization.scale)
    if normalization == data.normalization:
        return data
    log.info("dataset: normalized as in training, by mean %s and std %s", list(mean), list(std))
    return replace(data, normalization=normalization)


def _first(names: Sequence[str], count: int = 10) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
