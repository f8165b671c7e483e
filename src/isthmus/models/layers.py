"""Layers that several architectures share, and checks of their arguments."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import functional

from isthmus.vocabulary import ACTIVATIONS, Activation


class SigmoidPlusSoftplus(nn.Module):
    """sigmoid(4 x) + softplus(x), without any symmetry (g of Martinelli et al., 2024)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.sigmoid(4 * inputs) + F.softplus(inputs)


_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope .01 below 0
    "elu": nn.ELU,  # alpha 1
    "gelu": nn.GELU,  # by the error function, not by tanh
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
    "g": SigmoidPlusSoftplus,
}


def build_activation(activation: Activation) -> nn.Module:
    """A module that applies `activation` elementwise, not in place.

    Raises:
        ValueError: `activation` is not one of `Activation`.
    """
    check_one_of("activation", activation, ACTIVATIONS)
    return _MODULES[activation]()


NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels, separately at each position of each image.

    Unlike batch normalization it has no running statistics, so that averaged weights need no
    re-estimation (Ba et al., 2016; over channels as in Liu et al., 2022).

    Args:
        num_channels: channels of the images; each has a weight and a bias.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalized images, (batch, channels, height, width)."""
        last = inputs.movedim(1, -1)  # (batch, height, width, channels)
        normalized = functional.layer_norm(
            last, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normalized.movedim(-1, 1)  # (batch, channels, height, width)


def build_norm(norm: Literal["batch", "layer"], num_channels: int) -> nn.Module:
    """A new normalization layer for images with `num_channels` channels."""
    return nn.BatchNorm2d(num_channels) if norm == "batch" else ChannelNorm(num_channels)


def check_one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value that is not allowed.

    Raises:
        ValueError: `value` is not in `allowed`.
    """
    if value not in allowed:
        raise ValueError(f"{name}: must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_at_least(name: str, value: int, smallest: int) -> None:
    """Refuse a number below `smallest`.

    Raises:
        ValueError: `value` is below `smallest`.
    """
    if value < smallest:
        raise ValueError(f"{name}: must be at least {smallest}, got {value}")


def check_probability(name: str, value: float) -> None:
    """Refuse a probability outside [0, 1); dropout with 1 would zero everything.

    Raises:
        ValueError: `value` is outside [0, 1).
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name}: must be in [0, 1), got {value}")


def num_features(input_shape: Sequence[int]) -> int:
    """Number of values in one input of any rank.

    Raises:
        ValueError: `input_shape` is empty or holds a size below 1.
    """
    if len(input_shape) == 0 or min(input_shape) < 1:
        raise ValueError(f"input_shape: must be sizes of at least 1, got {tuple(input_shape)}")
    return math.prod(input_shape)


def image_sizes(input_shape: Sequence[int], smallest: int = 1) -> tuple[int, int, int]:
    """Channels, height and width of one image.

    Args:
        input_shape: (channels, height, width).
        smallest: the least height and width for which a pixel is left after the last pooling.

    Raises:
        ValueError: `input_shape` has another rank, or is too small.
    """
    expected = "input_shape: must be (channels, height, width)"
    if len(input_shape) != 3:
        raise ValueError(f"{expected}, got {tuple(input_shape)}")
    channels, height, width = input_shape
    if channels < 1 or min(height, width) < smallest:
        raise ValueError(
            f"{expected} with height and width of at least {smallest}, got {tuple(input_shape)}"
        )
    return channels, height, width


class PadShortcut(nn.Module):
    """Every `stride`-th pixel, followed by channels of zeros: option A, without parameters.

    Args:
        num_zeros: channels to add.
        stride: distance of the pixels kept, in both directions.
    """

    def __init__(self, num_zeros: int, stride: int) -> None:
        super().__init__()
        self.num_zeros = num_zeros
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Images, (batch, channels + num_zeros, height / stride, width / stride)."""
        pixels = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(pixels, (0, 0, 0, 0, 0, self.num_zeros))


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions (He et al., 2016, figure 5 left).

    Args:
        in_channels: channels of the inputs.
        channels: channels of either convolution.
        stride: of the first convolution.
        shortcut: how the inputs get the shape of the outputs: zeros or a 1x1 convolution.
        norm: what follows each convolution.
    """

    expansion = 1  # channels of the outputs / channels

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        shortcut: Literal["pad", "projection"] = "projection",
        norm: Literal["batch", "layer"] = "batch",
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, 3, stride)
        self.norm1 = build_norm(norm, channels)
        self.conv2 = _convolution(channels, channels, 3)
        self.norm2 = build_norm(norm, channels)
        self.shortcut = _shortcut(in_channels, channels, stride, shortcut, norm)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images, (batch, channels, height / stride, width / stride)."""
        features = functional.relu(self.norm1(self.conv1(inputs)))
        features = self.norm2(self.conv2(features))
        return functional.relu(features + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions (He et al., 2016, figure 5 right).

    The 3x3 convolution has the stride, as in Goyal et al. (2017); in the paper the first 1x1
    convolution has it.

    Args:
        in_channels: channels of the inputs.
        channels: channels of the 3x3 convolution, a quarter of those of the outputs.
        stride: of the 3x3 convolution.
    """

    expansion = 4  # channels of the outputs / channels

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = _convolution(in_channels, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3, stride)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride, "projection", "batch")

    def forward(self, inputs: Tensor) -> Tensor:
        """Images, (batch, 4 channels, height / stride, width / stride)."""
        features = functional.relu(self.norm1(self.conv1(inputs)))
        features = functional.relu(self.norm2(self.conv2(features)))
        features = self.norm3(self.conv3(features))
        return functional.relu(features + self.shortcut(inputs))


def _convolution(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    # No bias: the normalization that follows has one.
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, channels, kernel_size, stride, padding, bias=False)


def _shortcut(
    in_channels: int,
    channels: int,
    stride: int,
    shortcut: Literal["pad", "projection"],
    norm: Literal["batch", "layer"],
) -> nn.Module:
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    if shortcut == "pad":
        return PadShortcut(channels - in_channels, stride)
    return nn.Sequential(_convolution(in_channels, channels, 1, stride), build_norm(norm, channels))
