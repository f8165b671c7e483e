"""Mean-field parametrization of one hidden layer: units on a sphere, output weights +-1."""

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
        mean: must be 0; every parametrization has this option.
    """

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Initialize weights and biases in place.

        Raises:
            ValueError: the network has more than one hidden layer, or `mean` is not 0.
        """
        scaled = layers.scaled_layers(model)
        if len(scaled) != 2:
            raise ValueError(
                f"parametrization=mean_field is for one hidden layer (model.depth=1), and "
                f"{type(model).__name__} has {len(scaled) - 1}"
            )
        if self.mean != 0:
            raise ValueError(f"mean: must be 0, units are on a sphere around it, got {self.mean}")
        first, last = self.exponents(model, "sgd")
        names = [f"{scaled[0].name}.weight", f"{scaled[0].name}.bias"][: 1 + scaled[0].has_bias]
        units = [model.get_parameter(name) for name in names]
        drawn = [
            parametrization.draw_gaussians(n, p.shape, seed)
            for n, p in zip(names, units, strict=True)
        ]
        norms = torch.cat([each.reshape(len(each), -1) for each in drawn], dim=1).norm(dim=1)
        radius = (self.std or 1.0) * scaled[0].width ** -first.initial / norms  # (units,)
        with torch.no_grad():
            for parameter, each in zip(units, drawn, strict=True):
                parameter.copy_(each * radius.view(-1, *[1] * (each.ndim - 1)))
            weight = model.get_parameter(f"{scaled[1].name}.weight")
            signs = parametrization.draw_gaussians(
                f"{scaled[1].name}.weight", weight.shape, seed
            ).sign()
            weight.copy_(signs * scaled[1].width ** -last.initial)
            if scaled[1].has_bias:
                model.get_parameter(f"{scaled[1].name}.bias").zero_()
