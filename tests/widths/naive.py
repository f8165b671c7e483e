"""The network that exponents speak of: factors in its forward pass, raw weights, raw rates."""

import torch
from torch import Tensor, nn

from isthmus.widths import parametrization

STD = 2**0.5  # of ReLU


class Naive(nn.Module):
    """An MLP whose layers of width m compute m^-a (W x), of weights that begin as m^-b Gaussians.

    A bias counts as one more weight of the input layer there, and has the factors of the input
    layer with the units of its own layer elsewhere; in the output layer it has none.

    Args:
        sizes: of inputs, hidden layers and outputs.
        a, b: (layers) exponents.
        bias: as an MLP takes it.
        seed: of the Gaussians, by the names that an MLP has for its parameters.
    """

    def __init__(self, sizes, a, b, bias, seed) -> None:
        super().__init__()
        self.last = len(sizes) - 2
        self.weights, self.biases = nn.ParameterList(), nn.ParameterDict()
        self.factors, self.bias_factors = [], {}
        for place, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            name = "output" if place == self.last else f"hidden.{place}"
            width = fan_out if place == 0 else fan_in
            spread = {0: STD / (fan_in + 1) ** 0.5, self.last: 1.0}.get(place, STD)
            raw = parametrization.draw_gaussians(f"{name}.weight", (fan_out, fan_in), seed).double()
            self.weights.append(spread * raw * width ** -b[place])
            self.factors.append(width ** -a[place])
            if bias is True or (bias == "input" and place == 0):
                raw_bias = torch.zeros(fan_out, dtype=torch.float64)
                if place == 0:
                    raw_bias = parametrization.draw_gaussians(
                        "hidden.0.bias", (fan_out,), seed
                    ).double()
                    raw_bias = spread * raw_bias * width ** -b[0]
                self.biases[str(place)] = raw_bias
                self.bias_factors[place] = 1.0 if place == self.last else fan_out ** -a[0]

    def forward(self, inputs: Tensor) -> Tensor:
        for place, weight in enumerate(self.weights):
            inputs = self.factors[place] * (inputs @ weight.T)
            if place in self.bias_factors:
                inputs = inputs + self.bias_factors[place] * self.biases[str(place)]
            if place < self.last:
                inputs = torch.relu(inputs)
        return inputs

    def groups(self, lr, weight_decay, c, is_in_adam):
        """Of an optimizer: raw learning rates, and decays of lr * weight_decay a step.

        In the gradient that Adam normalizes, decay is that of the weights with their factors, whose
        learning rate is the raw one times the factor.
        """
        groups = []
        for place, weight in enumerate(self.weights):
            width = len(weight) if place == 0 else weight.shape[1]
            rates = [(weight, width ** -c[place], self.factors[place])]
            if str(place) in self.biases:
                own, factor = self.biases[str(place)], self.bias_factors[place]
                rates.append((own, 1.0 if place == self.last else len(own) ** -c[0], factor))
            groups += [
                {
                    "params": [p],
                    "lr": lr * rate,
                    "weight_decay": weight_decay / rate * (factor if is_in_adam else 1),
                }
                for p, rate, factor in rates
            ]
        return groups
