"""IP-LLR: integrable parametrization with large, calibrated learning rates in the first steps."""

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.models.layers import NORMS
from isthmus.training.evaluation import evaluation_mode
from isthmus.training.loop import Batch
from isthmus.training.param_groups import ParamGroup, Rule
from isthmus.vocabulary import Count, Positive
from isthmus.widths import layers, parametrization
from isthmus.widths.layers import Exponents, Parameter, ScaledLayer
from isthmus.widths.parametrization import check_positive, draw_

log = logging.getLogger(__name__)


def first_lrs(
    model: nn.Module,
    groups: Sequence[ParamGroup],
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Sequence[Batch],
    targets: Mapping[str, float],
    cap: float,
) -> dict[str, float]:
    """Calibrated learning rates of the first steps, by layer, in place of the optimizer's.

    A step of plain gradient descent on the first batch, with learning rate 1 in all layers, gives
    the updates. Then, from the first layer on, each update is multiplied so that on the second
    batch it changes the layer's outputs by the target in the mean absolute value, and at most by
    the cap; the inputs of the layers above are computed with these updates.

    Args:
        model: in its initial state; unchanged.
        groups: one per layer, or several, named by it, each with its `first_lr`.
        loss: of the model, of inputs and labels.
        batches: two.
        targets: by layer, the mean absolute change of its outputs.
        cap: the largest learning rate.

    Raises:
        FloatingPointError: an update is 0 or not finite, naming the layer.
    """
    with evaluation_mode(model):
        updates = _updates(model, groups, loss(*batches[0]))
        moved, inputs, lrs = copy.deepcopy(model), batches[1][0], {}
        for layer in layers.scaled_layers(model):
            layer_updates = {n: updates[n] for n in _names(layer) if n in updates}
            if not layer_updates:  # it is frozen
                continue
            change = _change(moved, layer.name, layer_updates, inputs)
            _check(layer.name, change)
            lrs[layer.name] = min(targets[layer.name] / change, cap)
            with torch.no_grad():
                for name, update in layer_updates.items():
                    moved.get_parameter(name).add_(update, alpha=lrs[layer.name])
    listed = ", ".join(f"{name} {lr:.4g}" for name, lr in lrs.items())
    log.info("learning rates of the first steps: %s", listed)
    return lrs


def _names(layer: layers.ScaledLayer) -> list[str]:
    return [f"{layer.name}.weight", f"{layer.name}.bias"]


def _updates(model: nn.Module, groups: Sequence[ParamGroup], loss: Tensor) -> dict[str, Tensor]:
    """Updates of all trained parameters by a step with learning rate 1."""
    rates = {name: group.first_lr or group.lr for group in groups for name in group.parameters}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()))
    return {n: -rates[n] * g for n, g in zip(trained, gradients, strict=True)}


@torch.no_grad()
def _change(model: nn.Module, name: str, updates: dict[str, Tensor], inputs: Tensor) -> float:
    """Mean absolute change of a layer's outputs by an update of its parameters."""
    layer, seen = model.get_submodule(name), []
    hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    hook.remove()
    parameters = {
        key: updates.get(f"{name}.{key}", torch.zeros_like(parameter))
        for key, parameter in layer.named_parameters()
    }
    return float(functional_call(layer, parameters, (seen[0],)).abs().mean())


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


@dataclass(frozen=True, kw_only=True)
class IPLLR:
    """IP-LLR: integrable, with such large first steps that every layer learns from the start.

    With L hidden layers, the input layer among them, exponents are a = (0, 1, 1), b = 0 and
    c = (-1, -2, -1); in the first steps c is -(L+1)/2, -(L+2)/2, -(L+1)/2, and -(L-l+2)/2 for the
    bias of hidden layer l. Biases that are random keep signals from vanishing on their way up, and
    in the first steps c is then -(L-l+4)/2 for the weights of hidden layer l and -1 for those of
    the output.

    Args:
        warmup_steps: optimizer steps with the large learning rates, at least 1.
        calibrate_lrs: whether to replace the optimizer's learning rate in these steps, in each
            layer, by one measured on two batches, for which its outputs change by 1.
        cap: the largest of these.
        output_change: that of the network, in place of 1.
        random_biases: whether all biases begin as Gaussians, of deviation `std`, and 1 in the
            output layer; else as in `Parametrization`.
        std: as in `Parametrization`.

    Raises:
        ValueError: a value is not positive.
    """

    # Options that have no effect where others have these values.
    WITHOUT_EFFECT: ClassVar[dict[str, dict[str, bool]]] = {
        "cap": {"calibrate_lrs": False},
        "output_change": {"calibrate_lrs": False},
    }

    warmup_steps: Count = 1
    calibrate_lrs: bool = True
    cap: Positive = 500.0
    output_change: Positive = 0.1
    random_biases: bool = False
    std: Positive | None = None

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
        scaled = layers.scaled_layers(model)
        self._check(model, rule, scaled)
        return [_standard(layer) for layer in scaled]

    def first_exponents(self, model: nn.Module) -> list[Exponents]:
        """The exponents of every layer in the first steps."""
        scaled = layers.scaled_layers(model)
        depth = len(scaled) - 1
        return [replace(_standard(each), c=self._first_c(each, depth)) for each in scaled]

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Initialize weights and biases in place."""
        draw_(model, seed, self.exponents(model, "sgd"), self.std)
        if self.random_biases:
            self._draw_biases_(model, seed)

    def groups(self, model: nn.Module, rule: Rule) -> list[ParamGroup]:
        """All parameters in one group per layer, with factors of the first steps."""
        exponents = self.exponents(model, rule)
        first = self.first_exponents(model)
        each = [
            self._group(parameter, exponents, first, rule) for parameter in layers.parameters(model)
        ]
        return layers.merge_groups(each, apart=True)

    def calibrate(
        self,
        model: nn.Module,
        groups: Sequence[ParamGroup],
        loss: Callable[[Tensor, Tensor], Tensor],
        batches: Sequence[Batch],
    ) -> dict[str, float]:
        """By layer, the learning rate of the first steps before its factor; see `first_lrs`."""
        if not self.calibrate_lrs:
            return {}
        is_output = {layer.name: layer.kind == "output" for layer in layers.scaled_layers(model)}
        targets = {name: self.output_change if last else 1.0 for name, last in is_output.items()}
        return first_lrs(model, groups, loss, batches, targets, self.cap)

    def _group(
        self,
        parameter: Parameter,
        exponents: list[Exponents],
        first: list[Exponents],
        rule: Rule,
    ) -> ParamGroup:
        place, depth = parameter.layer.place, len(exponents) - 1
        group = layers.parameter_factors(parameter, exponents[place - 1], exponents[0], rule)
        of_bias = Exponents(0, 0, -(depth - place + 2) / 2)
        large = layers.parameter_factors(parameter, first[place - 1], of_bias, rule).lr
        return replace(group, first_lr=large, first_steps=self.warmup_steps)

    def _first_c(self, layer: ScaledLayer, depth: int) -> float:
        """Exponent c of the weights of a layer in the first steps."""
        if not self.random_biases or layer.kind == "input":
            return -(depth + (2 if layer.kind == "hidden" else 1)) / 2
        return -1 if layer.kind == "output" else -(depth - layer.place + 4) / 2

    def _check(self, model: nn.Module, rule: Rule, scaled: list[ScaledLayer]) -> None:
        """Refuse optimizers and networks for which large first steps are not meant."""
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
        if self.random_biases and not all(layer.has_bias for layer in scaled):
            raise ValueError(
                "random_biases: needs biases in all layers (model.bias=true), or must be false"
            )

    @torch.no_grad()
    def _draw_biases_(self, model: nn.Module, seed: int) -> None:
        std = parametrization.activation_std(model) if self.std is None else self.std
        for layer in layers.scaled_layers(model):
            bias = model.get_parameter(f"{layer.name}.bias")
            drawn = parametrization.draw_gaussians(f"{layer.name}.bias", bias.shape, seed)
            bias.copy_(drawn if layer.kind == "output" else std * drawn)


def _standard(layer: ScaledLayer) -> Exponents:
    return {
        "input": Exponents(0, 0, -1),
        "hidden": Exponents(1, 0, -2),
        "output": Exponents(1, 0, -1),
    }[layer.kind]
