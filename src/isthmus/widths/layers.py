"""Layers with their widths, exponents of the width, and the learning rates that follow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from isthmus.models.freeze import output_layer
from isthmus.models.layers import NORMS
from isthmus.training.param_groups import ParamGroup, Rule

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

Kind = Literal["input", "hidden", "output"]


@dataclass(frozen=True)
class ScaledLayer:
    """A layer of a network.

    Args:
        name: as in `model.named_modules()`.
        kind: input, hidden or output.
        place: 1 for the input layer, L + 1 for the output layer of a network with L hidden ones,
            of which the input layer is the first.
        width: the m that its weights are scaled with.
        fan_in: inputs of one unit.
        fan_out: units.
        has_bias: whether it adds one.
    """

    name: str
    kind: Kind
    place: int
    width: int
    fan_in: int
    fan_out: int
    has_bias: bool


def scaled_layers(model: nn.Module) -> list[ScaledLayer]:
    """The layers of a network, in the order of their definition, the output layer last.

    Raises:
        ValueError: there is no linear layer to be the output, or no layer before it.
    """
    modules = {name: m for name, m in model.named_modules() if isinstance(m, WEIGHTED)}
    last = output_layer(model)
    names = [name for name in modules if name != last] + [last]
    if len(names) < 2:
        raise ValueError(
            f"{type(model).__name__} has no hidden layer, whose width a parametrization is about"
        )
    return [_layer(name, modules[name], place, names) for place, name in enumerate(names, 1)]


def _layer(name: str, module: nn.Module, place: int, names: list[str]) -> ScaledLayer:
    weight = module.weight
    fan_out, fan_in = len(weight), weight[0].numel()  # type: ignore[arg-type, index]
    kind: Kind = "input" if place == 1 else "output" if place == len(names) else "hidden"
    return ScaledLayer(
        name=name,
        kind=kind,
        place=place,
        width=fan_out if kind == "input" else fan_in,
        fan_in=fan_in,
        fan_out=fan_out,
        has_bias=module.bias is not None,
    )


@dataclass(frozen=True)
class Exponents:
    """Exponents of a layer of width m in an abc-parametrization (Yang and Hu, 2021).

    Args:
        a: the outputs of the layer are multiplied by m^-a.
        b: its initial weights are Gaussians times m^-b.
        c: their learning rate is m^-c times that of the optimizer.
    """

    a: float
    b: float
    c: float

    @property
    def initial(self) -> float:
        """Exponent of the initial weights, with the factor of the forward pass in them: a + b."""
        return self.a + self.b

    def rate(self, rule: Rule) -> float:
        """Exponent of the learning rate of weights that contain the factor of the forward pass.

        A gradient for them is m^a times one for the weights themselves, and a change of them m^-a
        times as large; the size of Adam's steps does not depend on the scale of the gradient.
        """
        return self.c + (2 * self.a if rule == "sgd" else self.a)


def list_exponents(
    name: str, values: Sequence[float], layers: Sequence[ScaledLayer]
) -> list[float]:
    """One exponent per layer, from one for each kind or one for each layer.

    Args:
        name: as typed.
        values: for the input, hidden and output layers, or for every layer.
        layers: of the network.

    Raises:
        ValueError: there are neither three nor as many as layers.
    """
    if len(values) == len(layers):
        return list(values)
    if len(values) != 3:
        raise ValueError(
            f"{name}: must be 3 exponents, of the input, the hidden and the output layers, or one "
            f"for each of the {len(layers)} layers, got {len(values)}"
        )
    by_kind = dict(zip(("input", "hidden", "output"), values, strict=True))
    return [by_kind[layer.kind] for layer in layers]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a network.

    Args:
        name: as in `model.named_parameters()`.
        layer: its own, or for normalization the last one defined before.
        is_weight: whether it is the weight of a layer; else it has one number per unit.
        num_units: number of these units.
    """

    name: str
    layer: ScaledLayer
    is_weight: bool
    num_units: int

    def width(self) -> int:
        """The width m that it is scaled with."""
        return self.layer.width if self.is_weight else self.num_units

    def is_of_output(self) -> bool:
        """Whether it is the bias of the output layer, whose size is fixed."""
        return self.layer.kind == "output" and not self.is_weight


def parameters(model: nn.Module) -> Iterator[Parameter]:
    """Every parameter of a network, in its order.

    Raises:
        ValueError: one belongs to no layer and to no normalization.
    """
    layer_of, latest = {layer.name: layer for layer in scaled_layers(model)}, None
    norms = {name for name, module in model.named_modules() if isinstance(module, NORMS)}
    for name, tensor in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        latest = layer_of.get(owner, latest)
        if owner not in layer_of and owner not in norms or latest is None:
            raise ValueError(
                f"a parametrization has no rule for {name} of {type(model).__name__}, which is of "
                f"no convolution, linear or normalization layer"
            )
        yield Parameter(name, latest, owner in layer_of and kind == "weight", len(tensor))


def parameter_factors(
    parameter: Parameter, exponents: Exponents, first: Exponents, rule: Rule
) -> ParamGroup:
    """Learning-rate and eps factors of one parameter.

    Args:
        parameter: of a network.
        exponents: of its layer.
        first: those of the input layer, which per-unit parameters (biases, norms) use.
        rule: of the optimizer.
    """
    if parameter.is_of_output():
        return ParamGroup(parameter.layer.name, (parameter.name,), lr=1.0)
    chosen, width = (exponents if parameter.is_weight else first), parameter.width()
    return ParamGroup(
        parameter.layer.name,
        (parameter.name,),
        lr=width ** -chosen.rate(rule),
        eps=width**chosen.a if rule == "adam" else 1.0,
    )


def merge_groups(groups: Iterable[ParamGroup], apart: bool = False) -> list[ParamGroup]:
    """Merge groups with equal factors; each is named by its first layer.

    Args:
        groups: of one parameter each.
        apart: whether to keep different layers apart.
    """
    merged: dict[tuple[object, ...], ParamGroup] = {}
    for each in groups:
        key = (each.lr, each.eps, each.first_lr, each.first_steps, each.name if apart else "")
        before = merged.get(key)
        names = (*before.parameters, *each.parameters) if before else each.parameters
        merged[key] = replace(before or each, parameters=names)
    return list(merged.values())
