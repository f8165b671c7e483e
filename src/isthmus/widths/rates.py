"""What every parameter of a network is to a parametrization, and its factors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from isthmus.models.norms import NORMS
from isthmus.training.groups import Group, Rule
from isthmus.widths import layers
from isthmus.widths.exponents import Exponents
from isthmus.widths.layers import Layer


@dataclass(frozen=True)
class Parameter:
    """A parameter of a network.

    Args:
        name: as in `model.named_parameters()`.
        layer: its own, or for normalization the last one defined before.
        is_weight: of a layer; else it is one number a unit.
        num_units: how many these are.
    """

    name: str
    layer: Layer
    is_weight: bool
    num_units: int

    def width(self) -> int:
        """The m that it is scaled with."""
        return self.layer.width if self.is_weight else self.num_units

    def is_of_output(self) -> bool:
        """Whether it is the bias of the output layer, which does not grow."""
        return self.layer.kind == "output" and not self.is_weight


def parameters(model: nn.Module) -> Iterator[Parameter]:
    """Every parameter of a network, in its order.

    Raises:
        ValueError: one belongs to no layer and to no normalization.
    """
    by_name, latest = {layer.name: layer for layer in layers.of(model)}, None
    norms = {name for name, module in model.named_modules() if isinstance(module, NORMS)}
    for name, tensor in model.named_parameters():
        owner, _, own = name.rpartition(".")
        latest = by_name.get(owner, latest)
        if owner not in by_name and owner not in norms or latest is None:
            raise ValueError(
                f"a parametrization has no rule for {name} of {type(model).__name__}, which is of "
                f"no convolution, linear or normalization layer"
            )
        yield Parameter(name, latest, owner in by_name and own == "weight", len(tensor))


def group(parameter: Parameter, own: Exponents, first: Exponents, rule: Rule) -> Group:
    """The factors of one parameter.

    Args:
        parameter: of a network.
        own: exponents of its layer.
        first: those of the input layer, which what is one number a unit has.
        rule: of the optimizer.
    """
    if parameter.is_of_output():
        return Group(parameter.layer.name, (parameter.name,), lr=1.0)
    chosen, width = (own if parameter.is_weight else first), parameter.width()
    return Group(
        parameter.layer.name,
        (parameter.name,),
        lr=width ** -chosen.rate(rule),
        eps=width**chosen.a if rule == "adam" else 1.0,
    )


def merged(groups: Iterable[Group], apart: bool = False) -> list[Group]:
    """Groups of equal factors as one, named by its first layer.

    Args:
        groups: of one parameter each.
        apart: whether those of different layers stay apart.
    """
    found: dict[tuple[object, ...], Group] = {}
    for each in groups:
        key = (each.lr, each.eps, each.first_lr, each.first_steps, each.name if apart else "")
        before = found.get(key)
        names = (*before.parameters, *each.parameters) if before else each.parameters
        found[key] = replace(before or each, parameters=names)
    return list(found.values())
