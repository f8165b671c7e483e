"""Small networks, data for them, and the exponents of the options of the group."""

from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from isthmus.models.mlp import MLP
from isthmus.widths.ipllr import IPLLR
from isthmus.widths.mean_field import MeanField
from isthmus.widths.parametrization import Parametrization

CLASSES = {each.__name__: each for each in (Parametrization, IPLLR, MeanField)}
GROUP = Path(__file__).resolve().parents[2] / "conf" / "parametrization"
GIVEN = ["standard", "ntk", "mup", "ip", "naive_ip", "ip_non_centered"]

INPUTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def option(name: str, **changes):
    """The parametrization of a file of the group."""
    values = yaml.safe_load((GROUP / f"{name}.yaml").read_text())
    return CLASSES[values.pop("_target_").rpartition(".")[2]](**(values | changes))


def mlp(width=8, depth=2, bias: bool | str = True, activation="relu") -> nn.Module:
    """Of five features and three classes."""
    return MLP((5,), 3, width=width, depth=depth, bias=bias, activation=activation)


class Chain(nn.Module):
    """Convolutions and linear layers without normalization."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.output = nn.Linear(2 * channels * 16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = torch.relu(self.second(torch.relu(self.first(inputs))))
        return self.output(torch.flatten(features, 1))
