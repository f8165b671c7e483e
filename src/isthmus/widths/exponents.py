"""The exponents of one layer, and what they come to where the forward pass has no factors."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.training.groups import Rule
from isthmus.widths.layers import Layer


@dataclass(frozen=True)
class Exponents:
    """How a layer of width m is scaled (Yang and Hu, 2021).

    Args:
        a: the layer multiplies by m^-a what its weights give.
        b: its weights begin m^-b times as large as Gaussians.
        c: their learning rate is m^-c times that of the optimizer.
    """

    a: float
    b: float
    c: float

    @property
    def initial(self) -> float:
        """Of the initial weights, once they hold the factor of the forward pass: a + b."""
        return self.a + self.b

    def rate(self, rule: Rule) -> float:
        """Of the learning rate of weights that hold the factor of the forward pass.

        A gradient for them is m^a times one for the weights themselves, and a change of them m^-a
        times as large; the steps of Adam are as large as ever whatever the gradient is multiplied
        with.
        """
        return self.c + (2 * self.a if rule == "sgd" else self.a)


def listed(name: str, values: Sequence[float], layers: Sequence[Layer]) -> list[float]:
    """One exponent a layer, of one for each kind or one for each layer.

    Args:
        name: as typed.
        values: for input, hidden and output layers, or for every layer.
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
