"""The evaluator that saved weights say how to make."""

from collections.abc import Sequence
from typing import Any

import torch

from isthmus import saved
from isthmus.data import trained_on
from isthmus.data.splits import DataSet
from isthmus.models import structure
from isthmus.training.evaluator import Evaluator
from isthmus.training.recipe import Runtime, resolve_device


def evaluator(
    metadata: dict[str, Any],
    dataset: dict[str, Any],
    typed: Sequence[str],
    cache_dir: str,
    runtime: Runtime,
    precision: str | None,
) -> Evaluator:
    """Evaluates weights of a saved architecture on the data that they were trained on.

    Args:
        metadata: of the weights.
        dataset: another data set, or values that take the place of the saved ones.
        typed: names of the values that were typed of another data set.
        cache_dir: folder for decoded images.
        runtime: with the device.
        precision: "fp32", "bf16", or None for that of the training.

    Raises:
        ValueError: the model or the data cannot be made again, the data does not fit the model, or
            there is no such device.
    """
    data = _as_trained(saved.data(dataset, typed, metadata, cache_dir), typed, metadata)
    device = resolve_device(runtime.device)
    model = saved.model(metadata)
    structure.check_initialized(model)
    model = model.to(device)
    example = torch.zeros(1, *data.input_shape, device=device)
    structure.check_outputs(model, example, data.num_classes)
    precision = precision or metadata["config"]["precision"]
    return Evaluator(model, data, device, runtime, precision)


def _as_trained(data: DataSet, typed: Sequence[str], metadata: dict[str, Any]) -> DataSet:
    """A data set with the classes and the normalization of the training."""
    shape, expected = list(data.input_shape), list(metadata["input_shape"])
    classes, normalization = metadata.get("classes"), metadata.get("normalization")
    if shape == expected and classes is not None and data.has_accuracy:
        data = trained_on.with_classes(data, classes)
    if shape != expected or data.num_classes != metadata["num_classes"]:
        raise ValueError(
            f"dataset: inputs of shape {shape} in {data.num_classes} classes do not fit this "
            f"model, which takes inputs of shape {expected} in {metadata['num_classes']} classes"
        )
    if normalization is None or {"mean", "std"} & set(typed):
        return data
    if normalization["scale"] != data.normalization.scale:
        return data  # other numbers than those of the training, not to be read alike
    return trained_on.with_normalization(data, normalization["mean"], normalization["std"])
