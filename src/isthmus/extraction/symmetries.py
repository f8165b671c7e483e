"""What may be done to a hidden unit without changing what a network computes.

A unit adds a s(z) to what comes next, with z = w x + b. The rules for its sign and its length
follow from the even and the odd part of the activation s (Martinelli et al., 2024).
"""

from dataclasses import dataclass
from typing import Literal

NEGATIVE_SLOPE = 0.01  # of torch's leaky ReLU


@dataclass(frozen=True)
class Symmetry:
    """The symmetries of one activation.

    Args:
        sign: what a unit becomes when w and b change sign. "odd", s(z) = constant - s(-z): a
            changes sign too, and what comes next gains constant * a. "even_linear",
            s(z) = s(-z) + slope * z: a stays, and what comes next gains slope * a z, an affine
            function of the unit's own inputs. None: there is no such rule.
        constant: s(z) + s(-z) of an odd one.
        slope: (s(z) - s(-z)) / z of an even-linear one.
        scales: whether s(c z) = c s(z) for c > 0, so that the length of (w, b) can move into a.
    """

    sign: Literal["odd", "even_linear"] | None = None
    constant: float = 0.0
    slope: float = 0.0
    scales: bool = False


SYMMETRIES = {
    "relu": Symmetry("even_linear", slope=1.0, scales=True),
    "leaky_relu": Symmetry("even_linear", slope=1.0 + NEGATIVE_SLOPE, scales=True),
    "elu": Symmetry(),
    "gelu": Symmetry("even_linear", slope=1.0),
    "silu": Symmetry("even_linear", slope=1.0),
    "softplus": Symmetry("even_linear", slope=1.0),
    "sigmoid": Symmetry("odd", constant=1.0),
    "tanh": Symmetry("odd"),
    "identity": Symmetry("odd"),
    "g": Symmetry(),
}
