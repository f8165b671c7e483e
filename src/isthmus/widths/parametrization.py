"""Networks of every width by the same exponents: abc-parametrizations (Yang and Hu, 2021).

A layer of width m computes m^-a W x, its weights begin as m^-b times Gaussians, and their learning
rate is m^-c times that of the optimizer. What the weights of a file or of a model are here is
m^-a W: no forward pass has a factor, and averaging, interpolating or pruning weights means what it
always does. Such weights begin m^-(a+b) times as large as Gaussians, and have the learning rate
m^-(c+2a) under gradient descent, m^-(c+a) under Adam, whose `eps` is m^a times as large
(`Exponents.rate`): the network of the exponents, step by step. Gradients that are clipped are those
for the weights here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.training.groups import Group, Rule
from isthmus.training.protocols import Batch
from isthmus.widths import gaussians, layers, rates
from isthmus.widths.exponents import Exponents, listed


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """Exponents for the input, the hidden and the output layers, or for every layer of a network.

    Biases of hidden layers, and weights and biases of normalization layers, have the learning rate
    of the input layer, with their own layer's units as the width: like its weights each belongs to
    one unit. They begin at 0 (normalization weights as `model.bn_init` says), the bias of the input
    layer as the weight of one more input that is always 1. The bias of the output layer begins at 0
    and has no factor.

    Args:
        a: of the forward pass.
        b: of the initial weights.
        c: of the learning rates under gradient descent.
        c_adam: under Adam; None for those of gradient descent.
        std: standard deviation of the Gaussians of all layers but the output, where it is 1, and
            for the input layer over the root of one more than its inputs; None: that which goes
            with the activation, root of 2 (relu and others), 4 (gelu), 1 (elu, tanh).
        mean: of the Gaussians of hidden and output layers.

    Raises:
        ValueError: `std` is not positive.
    """

    a: list[float]
    b: list[float]
    c: list[float]
    c_adam: list[float] | None = None
    std: float | None = None
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_positive("std", self.std)

    def exponents(self, model: nn.Module, rule: Rule) -> list[Exponents]:
        """The exponents of every layer of a network, see `layers.of`.

        Raises:
            ValueError: there are neither three nor as many as layers.
        """
        found = layers.of(model)
        name, c = ("c", self.c) if rule == "sgd" else ("c_adam", self.c_adam)
        if c is None:
            name, c = "c", self.c
        lists = [listed("a", self.a, found), listed("b", self.b, found), listed(name, c, found)]
        return [Exponents(*each) for each in zip(*lists, strict=True)]

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Set weights and biases in place; see `Parametrization`."""
        draw_(model, seed, self.exponents(model, "sgd"), self.std, self.mean)

    def groups(self, model: nn.Module, rule: Rule) -> list[Group]:
        """All parameters, those with equal factors together."""
        exponents = self.exponents(model, rule)
        each = (
            rates.group(parameter, exponents[parameter.layer.place - 1], exponents[0], rule)
            for parameter in rates.parameters(model)
        )
        return rates.merged(each)

    def calibrate(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        loss: Callable[[Tensor, Tensor], Tensor],
        batches: Sequence[Batch],
    ) -> dict[str, float]:
        """Nothing: all steps have one learning rate."""
        return {}


@torch.no_grad()
def draw_(
    model: nn.Module,
    seed: int,
    exponents: Sequence[Exponents],
    std: float | None,
    mean: float = 0.0,
) -> None:
    """Set weights and biases in place, as `Parametrization` says.

    Args:
        model: any with layers.
        seed: of the stream "initialization".
        exponents: one a layer.
        std: see `Parametrization`.
        mean: likewise.
    """
    std = gaussians.deviation(model) if std is None else std
    for layer, own in zip(layers.of(model), exponents, strict=True):
        scale, spread, shift = layer.width**-own.initial, std, mean
        if layer.kind == "input":
            spread, shift = std / (layer.fan_in + 1) ** 0.5, 0.0
        elif layer.kind == "output":
            spread = 1.0
        weight = model.get_parameter(f"{layer.name}.weight")
        drawn = gaussians.draw(f"{layer.name}.weight", weight.shape, seed, weight.dtype)
        weight.copy_(drawn.mul_(spread * scale).add_(shift * scale))
        if not layer.has_bias:
            continue
        bias = model.get_parameter(f"{layer.name}.bias").zero_()
        if layer.kind == "input":
            drawn = gaussians.draw(f"{layer.name}.bias", bias.shape, seed)
            bias.copy_(spread * drawn * scale)


def check_positive(name: str, value: float | None) -> None:
    """Refuse a number that is there and not positive.

    Raises:
        ValueError: naming it.
    """
    if value is not None and not value > 0:
        raise ValueError(f"{name}: must be positive, got {value}")
