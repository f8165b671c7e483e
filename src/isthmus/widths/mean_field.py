"""The mean-field network of one hidden layer: units on a sphere, outputs of plus and minus one."""

from dataclasses import dataclass

import torch
from torch import nn

from isthmus.widths import layers, parametrization
from isthmus.widths.parametrization import Parametrization


@dataclass(frozen=True, kw_only=True)
class MeanField(Parametrization):
    """f(x) = 1/m sum_j a_j act(w_j x + b_j), a distribution of units as m grows.

    Each (w_j, b_j) begins on a sphere, where the Gaussians of other parametrizations point; a_j has
    the sign of its Gaussian (Chizat and Bach, 2020).

    Args:
        std: radius of the sphere; None for 1.
        mean: 0, and here because every parametrization has one.
    """

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Set weights and biases in place.

        Raises:
            ValueError: the network has more than one hidden layer, or `mean` is not 0.
        """
        found = layers.scaled_layers(model)
        if len(found) != 2:
            raise ValueError(
                f"parametrization=mean_field is for one hidden layer (model.depth=1), and "
                f"{type(model).__name__} has {len(found) - 1}"
            )
        if self.mean != 0:
            raise ValueError(f"mean: must be 0, units are on a sphere around it, got {self.mean}")
        first, last = self.exponents(model, "sgd")
        names = [f"{found[0].name}.weight", f"{found[0].name}.bias"][: 1 + found[0].has_bias]
        units = [model.get_parameter(name) for name in names]
        drawn = [
            parametrization.draw_gaussians(n, p.shape, seed)
            for n, p in zip(names, units, strict=True)
        ]
        norms = torch.cat([each.reshape(len(each), -1) for each in drawn], dim=1).norm(dim=1)
        radius = (self.std or 1.0) * found[0].width ** -first.initial / norms  # (units,)
        with torch.no_grad():
            for parameter, each in zip(units, drawn, strict=True):
                parameter.copy_(each * radius.view(-1, *[1] * (each.ndim - 1)))
            weight = model.get_parameter(f"{found[1].name}.weight")
            signs = parametrization.draw_gaussians(
                f"{found[1].name}.weight", weight.shape, seed
            ).sign()
            weight.copy_(signs * found[1].width ** -last.initial)
            if found[1].has_bias:
                model.get_parameter(f"{found[1].name}.bias").zero_()
