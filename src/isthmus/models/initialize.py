"""Initialization of weights, each parameter from its own stream of random numbers."""

from typing import Literal, get_args

import torch
from torch import Generator, Tensor, nn

from isthmus import rng
from isthmus.models import layers
from isthmus.models.layers import NORMS

INITS = Literal[
    "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal", "binary"
]
BN_INITS = Literal["ones", "uniform"]
WITH_RELU_GAIN = ("kaiming_normal", "kaiming_uniform", "binary")


@torch.no_grad()
def initialize(model: nn.Module, init: INITS | None, bn_init: BN_INITS, seed: int) -> list[str]:
    """Initialize the parameters of `model` in place, and reset running statistics to 0 and 1.

    A parameter's values depend only on the seed and on its own name and shape: not on other
    layers, the device, or earlier draws.

    Args:
        model: any; its convolutions and linear layers get weights by `init` and biases of 0, its
            normalization layers weights by `bn_init` and biases of 0.
        init: "kaiming_..." (He et al., 2015) with fan in and the gain of ReLU: variance
            2 / fan in; "binary", the signs of "kaiming_normal" times its standard deviation. For
            these three the last linear layer, which no ReLU follows, has the variance of torch's
            own layers, 1 / (3 fan in). "xavier_..." (Glorot & Bengio, 2010) and "orthogonal"
            (Saxe et al., 2014), gain 1. None: convolutions and linear layers are not changed.
        bn_init: "ones", or "uniform" in [0, 1).
        seed: of the stream "initialization".

    Returns:
        Names of the parameters of other layers, which keep the values of their constructors.

    Raises:
        ValueError: `init` or `bn_init` is not one of the allowed names.
    """
    if init is not None:
        layers.check_one_of("init", init, get_args(INITS))
    layers.check_one_of("bn_init", bn_init, get_args(BN_INITS))
    untouched: list[str] = []
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for prefix, module in model.named_modules():
        if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *NORMS)) or (
            init is None and not isinstance(module, NORMS)
        ):
            untouched += [name for name, _ in module.named_parameters(prefix, recurse=False)]
            continue
        reset = getattr(module, "reset_running_stats", None)  # of batch and instance norm only
        if reset is not None:
            reset()
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
            else:
                rule = bn_init if isinstance(module, NORMS) or init is None else init
                stream = rng.generator(seed, "initialization", name)
                weight = _draw(rule, parameter.shape, stream)
                if [prefix] == linear[-1:] and rule in WITH_RELU_GAIN:
                    weight /= 6**0.5  # larger first logits cost ResNet-20 half of its first epoch
                parameter.copy_(weight)
    return untouched


def _draw(rule: INITS | BN_INITS, shape: torch.Size, stream: Generator) -> Tensor:
    # On the CPU and in float32 for every parameter, so that every device gets the same numbers.
    weight = torch.empty(shape, dtype=torch.float32, device="cpu")
    match rule:
        case "kaiming_normal":
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=stream)
        case "kaiming_uniform":
            nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=stream)
        case "xavier_normal":
            nn.init.xavier_normal_(weight, generator=stream)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight, generator=stream)
        case "orthogonal":
            nn.init.orthogonal_(weight, generator=stream)
        case "binary":
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=stream)
            fan_in = weight[0].numel()
            weight = weight.sign() * (2 / fan_in) ** 0.5
        case "ones":
            weight.fill_(1)
        case "uniform":
            weight.uniform_(generator=stream)
    return weight
