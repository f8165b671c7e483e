"""Dropout by masks that are drawn before the forward pass, exactly those it would draw itself."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src import chance


class GivenDropout(nn.Module):
    """Stands in for an `nn.Dropout`: multiplies by the next of the masks that lie ready.

    Args:
        masks: shared by all dropout of a network, each taken from the front when it is used.
        inplace: as in `nn.Dropout`.
    """

    def __init__(self, masks: list[Tensor], inplace: bool) -> None:
        super().__init__()
        self.masks, self.inplace = masks, inplace

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of any shape, times a mask of that shape."""
        mask = self.masks.pop(0)
        return inputs.mul_(mask) if self.inplace else inputs * mask


def give_masks_(model: nn.Module) -> list[Tensor]:
    """Replace each `nn.Dropout` in `model`; return the list its masks will be taken from."""
    masks: list[Tensor] = []
    for module in model.modules():
        for name, child in list(module._modules.items()):
            if type(child) is nn.Dropout:
                setattr(module, name, GivenDropout(masks, child.inplace))
    return masks


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What a forward and backward pass on batches of one shape makes use of."""

    dropouts: list[tuple[float, Tensor]]  # probability, and ones like the inputs, in order of use
    used: frozenset[str]  # names of the parameters that the logits depend on


def rehearse(model: nn.Module, inputs: Tensor, autocast: torch.dtype | None) -> Rehearsal:
    """Note what a pass in training mode uses, on a copy of `model`.

    Args:
        model: with dropout of its own.
        inputs: (batch, *input_shape), in the memory format of training: a mask is drawn in the
            order of memory of what it is applied to.
        autocast: type of the matrix products, or None.
    """
    model = copy.deepcopy(model).train()
    dropouts: list[tuple[float, Tensor]] = []

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Dropout)
        dropouts.append((module.p, torch.ones_like(arguments[0], requires_grad=False)))

    for module in model.modules():
        if type(module) is nn.Dropout:
            module.register_forward_pre_hook(note)
    with torch.autocast(inputs.device.type, dtype=autocast, enabled=autocast is not None):
        logits = model(inputs)
    named = dict(model.named_parameters())
    trained = [name for name, parameter in named.items() if parameter.requires_grad]
    gradients = torch.autograd.grad(
        logits.float().sum(), [named[name] for name in trained], allow_unused=True
    )
    pairs = zip(trained, gradients, strict=True)
    return Rehearsal(dropouts, frozenset(name for name, value in pairs if value is not None))


def draw(
    dropouts: Sequence[tuple[float, Tensor]],
    seeds: Sequence[int],
    iteration: int,
    device: torch.device,
) -> list[Tensor]:
    """The masks that networks trained apart would draw in one iteration.

    Args:
        dropouts: of a rehearsal.
        seeds: (models), of each one's dropout.
        iteration: optimizer steps made before.
        device: whose generator dropout draws from.

    Returns:
        Masks in order of use, each (models, *shape), 0 or 1 / (1 - probability).
    """
    if not dropouts:
        return []
    each = []
    for seed in seeds:
        chance.start_stream(device, seed, "dropout", iteration)
        each.append([F.dropout(ones, p) for p, ones in dropouts])
    return [torch.stack(masks) for masks in zip(*each, strict=True)]
