"""Integrable parametrizations with large initial learning rates (Hajjar et al., 2021)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from isthmus.models.norms import NORMS
from isthmus.training.groups import Group, Rule
from isthmus.training.protocols import Batch
from isthmus.widths import calibration, gaussians, layers, rates
from isthmus.widths.exponents import Exponents
from isthmus.widths.layers import Layer
from isthmus.widths.parametrization import check_positive, draw_
from isthmus.widths.rates import Parameter


@dataclass(frozen=True, kw_only=True)
class IPLLR:
    """Integrable, with first steps so large that every layer learns from the first one on.

    With L hidden layers, the input layer among them, exponents are a = (0, 1, 1), b = 0 and
    c = (-1, -2, -1); in the first steps c is -(L+1)/2, -(L+2)/2, -(L+1)/2, and -(L-l+2)/2 for the
    bias of hidden layer l. Biases that are random keep signals from vanishing on their way up, and
    in the first steps c is then -(L-l+4)/2 for the weights of hidden layer l and -1 for those of
    the output.

    Args:
        warmup_steps: optimizer steps with the large learning rates, at least 1.
        calibrate_lrs: whether a learning rate measured on two batches takes the place of the
            optimizer's in these steps, in each layer: one by which its outputs change by 1.
        cap: the largest of these.
        output_change: that of the network, in place of 1.
        random_biases: whether all biases begin as Gaussians, of deviation `std`, and 1 in the
            output layer; else as in `Parametrization`.
        std: as in `Parametrization`.

    Raises:
        ValueError: a value is not positive.
    """

    warmup_steps: int = 1
    calibrate_lrs: bool = True
    cap: float = 500.0
    output_change: float = 0.1
    random_biases: bool = False
    std: float | None = None

    def __post_init__(self) -> None:
        if self.warmup_steps < 1:
            raise ValueError(f"warmup_steps: must be at least 1, got {self.warmup_steps}")
        for name in ("cap", "output_change", "std"):
            check_positive(name, getattr(self, name))

    def exponents(self, model: nn.Module, rule: Rule) -> list[Exponents]:
        """The exponents of every layer after the first steps.

        Raises:
            ValueError: see `_check`.
        """
        found = layers.of(model)
        self._check(model, rule, found)
        return [_standard(layer) for layer in found]

    def first_exponents(self, model: nn.Module) -> list[Exponents]:
        """The exponents of every layer in the first steps."""
        found = layers.of(model)
        depth = len(found) - 1
        return [replace(_standard(each), c=self._first_c(each, depth)) for each in found]

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Set weights and biases in place."""
        draw_(model, seed, self.exponents(model, "sgd"), self.std)
        if self.random_biases:
            self._draw_biases_(model, seed)

    def groups(self, model: nn.Module, rule: Rule) -> list[Group]:
        """All parameters, with factors for the first steps too; each layer apart."""
        exponents = self.exponents(model, rule)
        first = self.first_exponents(model)
        each = [
            self._group(parameter, exponents, first, rule) for parameter in rates.parameters(model)
        ]
        return rates.merged(each, apart=True)

    def calibrate(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        loss: Callable[[Tensor, Tensor], Tensor],
        batches: Sequence[Batch],
    ) -> dict[str, float]:
        """By layer, the learning rate of the first steps before its factor; see `first_lrs`."""
        if not self.calibrate_lrs:
            return {}
        is_output = {layer.name: layer.kind == "output" for layer in layers.of(model)}
        targets = {name: self.output_change if last else 1.0 for name, last in is_output.items()}
        return calibration.first_lrs(model, groups, loss, batches, targets, self.cap)

    def _group(
        self,
        parameter: Parameter,
        exponents: list[Exponents],
        first: list[Exponents],
        rule: Rule,
    ) -> Group:
        place, depth = parameter.layer.place, len(exponents) - 1
        own = rates.group(parameter, exponents[place - 1], exponents[0], rule)
        of_bias = Exponents(0, 0, -(depth - place + 2) / 2)
        large = rates.group(parameter, first[place - 1], of_bias, rule).lr
        return replace(own, first_lr=large, first_steps=self.warmup_steps)

    def _first_c(self, layer: Layer, depth: int) -> float:
        """Of the weights of a layer."""
        if not self.random_biases or layer.kind == "input":
            return -(depth + (2 if layer.kind == "hidden" else 1)) / 2
        return -1 if layer.kind == "output" else -(depth - layer.place + 4) / 2

    def _check(self, model: nn.Module, rule: Rule, found: list[Layer]) -> None:
        """Refuse what large first steps are not for."""
        if rule != "sgd":
            raise ValueError(
                "parametrization=ipllr needs gradient descent (optimizer=sgd, momentum, nesterov, "
                "lookahead): the steps of Adam do not vanish with gradients, see naive_ip"
            )
        if any(isinstance(module, NORMS) for module in model.modules()):
            raise ValueError(
                f"parametrization=ipllr is for layers one after the other, and "
                f"{type(model).__name__} normalizes in between, so that nothing vanishes: take "
                f"naive_ip there"
            )
        if self.random_biases and not all(layer.has_bias for layer in found):
            raise ValueError(
                "random_biases: needs biases in all layers (model.bias=true), or must be false"
            )

    @torch.no_grad()
    def _draw_biases_(self, model: nn.Module, seed: int) -> None:
        std = gaussians.deviation(model) if self.std is None else self.std
        for layer in layers.of(model):
            bias = model.get_parameter(f"{layer.name}.bias")
            drawn = gaussians.draw(f"{layer.name}.bias", bias.shape, seed)
            bias.copy_(drawn if layer.kind == "output" else std * drawn)


def _standard(layer: Layer) -> Exponents:
    return {
        "input": Exponents(0, 0, -1),
        "hidden": Exponents(1, 0, -2),
        "output": Exponents(1, 0, -1),
    }[layer.kind]
