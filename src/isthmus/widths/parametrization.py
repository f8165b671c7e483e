"""abc-parametrizations (Yang and Hu, 2021): initial weights and learning rates by width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus import rng
from isthmus.training.loop import Batch
from isthmus.training.param_groups import ParamGroup, Rule
from isthmus.vocabulary import Positive
from isthmus.widths import layers
from isthmus.widths.layers import Exponents, list_exponents

# Variance that keeps activations of one size from layer to layer (Hajjar et al., 2021).
VARIANCES: dict[type[nn.Module], float] = {nn.ReLU: 2.0, nn.GELU: 4.0, nn.ELU: 1.0, nn.Tanh: 1.0}
OTHER = 2.0


def draw_gaussians(
    name: str, shape: torch.Size, seed: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Independent standard Gaussians for a parameter, on the CPU, of float32 precision.

    They depend only on the seed and on the name and shape of the parameter, not on other layers or
    on scaling.
    """
    stream = rng.generator(seed, "initialization", name)
    return torch.empty(shape, dtype=torch.float32).normal_(generator=stream).to(dtype)


def activation_std(model: nn.Module) -> float:
    """Standard deviation of weights for a network's activation; a functional one counts as ReLU."""
    variances = (VARIANCES.get(type(module)) for module in model.modules())
    return next((variance for variance in variances if variance is not None), OTHER) ** 0.5


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """An abc-parametrization: exponents for input, hidden and output layers, or for every layer.

    Hidden biases, and weights and biases of normalization layers, are per-unit vectors: they use
    the input layer's learning-rate exponent, with the number of units in their own layer as m. They
    are initialized to 0 (normalization weights by `model.bn_init`), the bias of the input layer as
    the weight of one more input that is always 1. The bias of the output layer is initialized to 0
    and has no factor.

    Args:
        a: of the forward pass.
        b: of the initial weights.
        c: of the learning rates under gradient descent.
        c_adam: under Adam; None for those of gradient descent.
        std: standard deviation of the Gaussians of all layers except the output, where it is 1; for
            the input layer divided by the root of one more than its inputs; None: by the
            activation, root of 2 (relu and others), 4 (gelu), 1 (elu, tanh).
        mean: of the Gaussians of hidden and output layers.

    Raises:
        ValueError: `std` is not positive.
    """

    a: list[float]
    b: list[float]
    c: list[float]
    c_adam: list[float] | None = None
    std: Positive | None = None
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_positive("std", self.std)

    def exponents(self, model: nn.Module, rule: Rule) -> list[Exponents]:
        """The exponents of every layer of a network, see `layers.list_exponents`.

        Raises:
            ValueError: there are neither three nor as many as layers.
        """
        scaled = layers.scaled_layers(model)
        name, c = ("c", self.c) if rule == "sgd" else ("c_adam", self.c_adam)
        if c is None:
            name, c = "c", self.c
        lists = [
            list_exponents("a", self.a, scaled),
            list_exponents("b", self.b, scaled),
            list_exponents(name, c, scaled),
        ]
        return [Exponents(*each) for each in zip(*lists, strict=True)]

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Initialize weights and biases in place; see `Parametrization`."""
        draw_(model, seed, self.exponents(model, "sgd"), self.std, self.mean)

    def groups(self, model: nn.Module, rule: Rule) -> list[ParamGroup]:
        """All parameters, those with equal factors together."""
        exponents = self.exponents(model, rule)
        each = (
            layers.parameter_factors(
                parameter, exponents[parameter.layer.place - 1], exponents[0], rule
            )
            for parameter in layers.parameters(model)
        )
        return layers.merge_groups(each)

    def calibrate(
        self,
        model: nn.Module,
        groups: Sequence[ParamGroup],
        loss: Callable[[Tensor, Tensor], Tensor],
        batches: Sequence[Batch],
    ) -> dict[str, float]:
        """Empty: all steps have the same learning rate."""
        return {}


@torch.no_grad()
def draw_(
    model: nn.Module,
    seed: int,
    exponents: Sequence[Exponents],
    std: float | None,
    mean: float = 0.0,
) -> None:
    """Initialize weights and biases in place, see `Parametrization`.

    Args:
        model: any with layers.
        seed: of the stream "initialization".
        exponents: one per layer.
        std: see `Parametrization`.
        mean: see `Parametrization`.
    """
    std = activation_std(model) if std is None else std
    for layer, layer_exponents in zip(layers.scaled_layers(model), exponents, strict=True):
        scale, spread, shift = layer.width**-layer_exponents.initial, std, mean
        if layer.kind == "input":
            spread, shift = std / (layer.fan_in + 1) ** 0.5, 0.0
        elif layer.kind == "output":
            spread = 1.0
        weight = model.get_parameter(f"{layer.name}.weight")
        drawn = draw_gaussians(f"{layer.name}.weight", weight.shape, seed, weight.dtype)
        weight.copy_(drawn.mul_(spread * scale).add_(shift * scale))
        if not layer.has_bias:
            continue
        bias = model.get_parameter(f"{layer.name}.bias").zero_()
        if layer.kind == "input":
            drawn = draw_gaussians(f"{layer.name}.bias", bias.shape, seed)
            bias.copy_(spread * drawn * scale)


def check_positive(name: str, value: float | None) -> None:
    """Refuse a number that is set and not positive.

    Raises:
        ValueError: naming it.
    """
    if value is not None and not value > 0:
        raise ValueError(f"{name}: must be positive, got {value}")
