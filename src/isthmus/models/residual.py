"""Residual blocks (He et al., 2016)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from isthmus.models import norms


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
        kept = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.num_zeros))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016, figure 5 left).

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
        self.norm1 = norms.build(norm, channels)
        self.conv2 = _convolution(channels, channels, 3)
        self.norm2 = norms.build(norm, channels)
        self.shortcut = _shortcut(in_channels, channels, stride, shortcut, norm)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images, (batch, channels, height / stride, width / stride)."""
        features = functional.relu(self.norm1(self.conv1(inputs)))
        features = self.norm2(self.conv2(features))
        return functional.relu(features + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al., 2016, figure 5 right).

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
    return nn.Sequential(
        _convolution(in_channels, channels, 1, stride), norms.build(norm, channels)
    )
