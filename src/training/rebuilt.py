"""The evaluator that saved weights say how to make."""

from typing import Any

from src import saved
from src.training.evaluator import Evaluator
from src.training.recipe import Runtime, resolve_device


def evaluator(
    metadata: dict[str, Any],
    dataset: dict[str, Any],
    cache_dir: str,
    runtime: Runtime,
    precision: str | None,
) -> Evaluator:
    """Evaluates weights of a saved architecture on the data that they were trained on.

    Args:
        metadata: of the weights.
        dataset: another data set, or values that take the place of the saved ones.
        cache_dir: folder for decoded images.
        runtime: with the device.
        precision: "fp32", "bf16", or None for that of the training.

    Raises:
        ValueError: the model or the data cannot be made again, or there is no such device.
    """
    data = saved.data(dataset, metadata, cache_dir)
    model = saved.model(metadata)
    device = resolve_device(runtime.device)
    precision = precision or metadata["config"]["precision"]
    return Evaluator(model.to(device), data, device, runtime, precision)
