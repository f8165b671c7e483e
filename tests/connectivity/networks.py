"""A small network of each family, and random weights for it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus.models.alexnet import AlexNet
from isthmus.models.cnn import CNN
from isthmus.models.lenet import LeNet5
from isthmus.models.lottery_conv import LotteryConv
from isthmus.models.mlp import MLP
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG

SMALL = (3, 8, 8)


def resnet8(shortcut: str = "pad", norm: str = "batch") -> nn.Module:
    return ResNetCifar(SMALL, 5, depth=8, width=4, shortcut=shortcut, norm=norm)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: MLP((6,), 5, width=[8, 7, 9]), (6,)),
    "mlp_of_images": (lambda: MLP(SMALL, 5, width=8, depth=1, activation="gelu"), SMALL),
    "mlp_without_bias": (lambda: MLP((6,), 5, width=8, activation="tanh", bias=False), (6,)),
    "lenet5": (lambda: LeNet5((1, 16, 16), 5), (1, 16, 16)),
    "cnn": (lambda: CNN(SMALL, 5), SMALL),
    "conv2": (lambda: LotteryConv(SMALL, 5, depth=2), SMALL),
    "conv6": (lambda: LotteryConv(SMALL, 5, depth=6), SMALL),
    "vgg11": (lambda: VGG((3, 16, 16), 5, depth=11), (3, 16, 16)),
    "resnet8_pad": (lambda: resnet8("pad"), SMALL),
    "resnet8_pad_layer_norm": (lambda: resnet8("pad", "layer"), SMALL),
    "resnet8_projection": (lambda: resnet8("projection"), SMALL),
    "resnet8_projection_layer_norm": (lambda: resnet8("projection", "layer"), SMALL),
    "resnet20": (lambda: ResNetCifar(SMALL, 5, depth=20, width=4), SMALL),
    "resnet18": (lambda: ResNet((3, 32, 32), 5, depth=18, width=4), (3, 32, 32)),
    "resnet50": (lambda: ResNet(SMALL, 5, depth=50, width=4, stem="cifar"), SMALL),
    "alexnet": (lambda: AlexNet((3, 63, 63), 5), (3, 63, 63)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network in float64 with random weights and statistics, and four inputs."""
    make, input_shape = MODELS[name]
    model = make().double()
    model.load_state_dict(weights(model, seed=0))
    return model, inputs(4, input_shape)


def inputs(num: int, input_shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(num, *input_shape, generator=generator, dtype=torch.float64)


def weights(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Random weights without equal units; norms and variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, tensor in model.state_dict().items():
        values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.dim() > 1:
            values *= math.sqrt(2 / tensor[0].numel())
        elif name.endswith(("weight", "running_var")):
            values = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        else:
            values *= 0.3
        result[name] = values.to(tensor.dtype)
    return result


def noisy(state_dict: dict[str, Tensor], seed: int = 1) -> dict[str, Tensor]:
    """Every parameter changed by a hundredth."""
    generator = torch.Generator().manual_seed(seed)
    result = dict(state_dict)
    for name, tensor in state_dict.items():
        if tensor.is_floating_point() and "running" not in name:
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            result[name] = tensor + 0.01 * tensor.std() * noise.to(tensor.dtype)
    return result
