"""Which layers a network has, and what becomes wide in each of them.

A layer is a convolution or a linear layer. The *input* layer is the first one: what it takes does
not grow, so its width m is the number of its units. The *output* layer is the last linear one, and
all others are *hidden*: their width is what each of their units takes in, the fan-in, which for a
convolution is channels times the area of the kernel. Convolutions of shortcuts are hidden layers.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from isthmus.models.freeze import output_layer

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

Kind = Literal["input", "hidden", "output"]


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Args:
        name: as in `model.named_modules()`.
        kind: see above.
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


def of(model: nn.Module) -> list[Layer]:
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


def _layer(name: str, module: nn.Module, place: int, names: list[str]) -> Layer:
    weight = module.weight
    fan_out, fan_in = len(weight), weight[0].numel()  # type: ignore[arg-type, index]
    kind: Kind = "input" if place == 1 else "output" if place == len(names) else "hidden"
    return Layer(
        name=name,
        kind=kind,
        place=place,
        width=fan_out if kind == "input" else fan_in,
        fan_in=fan_in,
        fan_out=fan_out,
        has_bias=module.bias is not None,
    )
