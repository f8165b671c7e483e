"""Learning rates of the first steps, so large that every layer moves by as much as is wanted."""

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.training.evaluation import evaluating
from isthmus.training.groups import Group
from isthmus.training.protocols import Batch
from isthmus.widths import layers

log = logging.getLogger(__name__)


def first_lrs(
    model: nn.Module,
    groups: Sequence[Group],
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Sequence[Batch],
    targets: Mapping[str, float],
    cap: float,
) -> dict[str, float]:
    """By layer, what takes the place of the optimizer's learning rate in the first steps.

    A step of plain gradient descent on the first batch, with learning rate 1 in all layers, gives
    the updates. Then, from the first layer on, each update is multiplied so that on the second
    batch it changes the layer's outputs by the target in the mean absolute value, and at most by
    the cap; the layers above see what the network with these updates gives.

    Args:
        model: in its initial state, and left so.
        groups: one a layer or several, named by it, each with its `first_lr`.
        loss: of the model, of inputs and labels.
        batches: two.
        targets: by layer, the mean absolute change of its outputs.
        cap: the largest learning rate.

    Raises:
        FloatingPointError: an update is 0 or not finite, naming the layer.
    """
    with evaluating(model):
        updates = _updates(model, groups, loss(*batches[0]))
        moved, inputs, found = copy.deepcopy(model), batches[1][0], {}
        for layer in layers.of(model):
            own = {name: updates[name] for name in _names(layer) if name in updates}
            if not own:  # it is frozen
                continue
            change = _change(moved, layer.name, own, inputs)
            _check(layer.name, change)
            found[layer.name] = min(targets[layer.name] / change, cap)
            with torch.no_grad():
                for name, update in own.items():
                    moved.get_parameter(name).add_(update, alpha=found[layer.name])
    shown = ", ".join(f"{name} {lr:.4g}" for name, lr in found.items())
    log.info("learning rates of the first steps: %s", shown)
    return found


def _names(layer: layers.Layer) -> list[str]:
    return [f"{layer.name}.weight", f"{layer.name}.bias"]


def _updates(model: nn.Module, groups: Sequence[Group], loss: Tensor) -> dict[str, Tensor]:
    """What a step with learning rate 1 adds to every parameter that is trained."""
    rates = {name: group.first_lr or group.lr for group in groups for name in group.parameters}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()))
    return {n: -rates[n] * g for n, g in zip(trained, gradients, strict=True)}


@torch.no_grad()
def _change(model: nn.Module, name: str, updates: dict[str, Tensor], inputs: Tensor) -> float:
    """Mean absolute change of a layer's outputs by an update of its own."""
    layer, seen = model.get_submodule(name), []
    hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    hook.remove()
    own = {
        key: updates.get(f"{name}.{key}", torch.zeros_like(parameter))
        for key, parameter in layer.named_parameters()
    }
    return float(functional_call(layer, own, (seen[0],)).abs().mean())


def _check(name: str, change: float) -> None:
    if not math.isfinite(change):
        raise FloatingPointError(
            f"the first update of {name} changes its outputs by {change}; a lower "
            f"parametrization.cap may help, the largest learning rate of the first steps"
        )
    if change == 0:
        raise FloatingPointError(
            f"the first update of {name} is 0, and no learning rate makes it larger: "
            f"parametrization.calibrate_lrs=false leaves optimizer.lr as it is, and a larger "
            f"parametrization.std or a lower model.depth keeps gradients from vanishing"
        )
