"""Evaluating several networks of one architecture: one after the other, against side by side.

python -m bench.evaluation
"""

from collections.abc import Callable

import torch

from bench import measure
from isthmus import state_dicts
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training.evaluation import logits_apart, logits_together


def compare(
    title: str, make: Callable[[], torch.nn.Module], inputs: torch.Tensor, num: int
) -> None:
    """Print both ways for `num` networks on one batch."""
    model = make().eval()
    weights = [make().state_dict() for _ in range(num)]
    stacked = state_dicts.stack(weights)
    with torch.no_grad():
        ways = {
            "one after the other": lambda: logits_apart(model, weights, inputs),
            "side by side": lambda: logits_together(model, stacked, inputs),
        }
        seconds = measure.medians(ways, rounds=15)
    print(measure.table(f"{num} networks, {title}", seconds, 1, "batch"))


def main() -> None:
    digits, photographs = torch.randn(1000, 1, 28, 28), torch.randn(100, 3, 32, 32)
    for width, num in (([64], 3), ([64], 25), ([300, 100], 3), ([300, 100], 25)):
        compare(f"MLP {width}", lambda width=width: MLP((1, 28, 28), 10, width), digits, num)
    compare("ResNet-20", lambda: ResNetCifar((3, 32, 32), 10), photographs, 3)


if __name__ == "__main__":
    main()
