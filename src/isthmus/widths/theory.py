"""Predicted growth of outputs with the width m of a fully connected network, from exponents.

Sizes are powers of m; computed here is the power, for centred Gaussian weights, activations that
keep size (ReLU exactly), and one step of gradient descent on a few examples whose gradients point
in similar directions. Sums of m terms grow by m^(1/2) if their signs are independent and by m if
not: a weight and its own update are correlated, a weight and the rest of the network are not.
"""

from collections.abc import Sequence

from torch import nn

from isthmus.models.mlp import MLP
from isthmus.training.param_groups import Rule
from isthmus.widths.ipllr import IPLLR
from isthmus.widths.layers import Exponents
from isthmus.widths.parametrization import Parametrization


def predicted_slopes(
    parametrization: object, model: nn.Module, rule: Rule
) -> tuple[float, float] | None:
    """Slopes in log m of the outputs, and of their change by the first step; None: not known.

    Args:
        parametrization: of the model.
        model: only fully connected networks are known.
        rule: only gradient descent is known.
    """
    if not isinstance(model, MLP) or rule != "sgd":
        return None
    if isinstance(parametrization, Parametrization) and parametrization.mean == 0:
        return slopes(parametrization.exponents(model, rule))
    if isinstance(parametrization, IPLLR) and not parametrization.random_biases:
        return slopes(parametrization.first_exponents(model))
    return None


def slopes(exponents: Sequence[Exponents]) -> tuple[float, float]:
    """Slopes of the outputs at the beginning, and of their change by one step.

    Args:
        exponents: of the input layer, the hidden layers and the output layer in the first step.
    """
    last = len(exponents) - 1
    weights = [-each.initial for each in exponents]
    rates = [-each.rate("sgd") for each in exponents]
    units = [weights[0]]  # of pre-activations, and so of activations, from layer to layer
    for weight in weights[1:]:
        units.append(units[-1] + weight + 0.5)
    signals = [0.0] * (last + 1)  # of the derivatives of outputs for pre-activations
    for place in range(last - 1, -1, -1):
        width = 0.5 if place + 1 < last else 0.0  # of a sum over the layer above
        signals[place] = signals[place + 1] + weights[place + 1] + width
    # To first order each layer adds its learning rate times the squared norm of its gradient.
    inputs = [0.0] + [2 * size + 1 for size in units[:last]]  # squared norms
    above = [2 * signal + 1 for signal in signals[:last]] + [0.0]
    first_order = max(map(sum, zip(rates, inputs, above, strict=True)))
    # Beyond it, updates of one layer meet those of the layer below.
    moved = [rates[0] + signals[0]]
    for place in range(1, last + 1):
        updated = rates[place] + signals[place] + units[place - 1]
        updated += 1 + max(units[place - 1], moved[-1])
        passed_on = weights[place] + 0.5 + moved[-1]
        moved.append(max(updated, passed_on))
    return units[last], max(first_order, moved[last])
