"""Normalization layers."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

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
    """Layer normalization over the channels, at each position of each image on its own.

    Unlike batch normalization it has no running statistics, so that averaged weights need no
    re-estimation (Ba et al., 2016; over channels as in Liu et al., 2022).

    Args:
        num_channels: channels of the images, each with a weight and a bias.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images of the shape of inputs, (batch, channels, height, width)."""
        last = inputs.movedim(1, -1)  # (batch, height, width, channels)
        normalized = functional.layer_norm(
            last, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normalized.movedim(-1, 1)  # (batch, channels, height, width)


def build(norm: Literal["batch", "layer"], num_channels: int) -> nn.Module:
    """A fresh normalization of images with `num_channels` channels."""
    return nn.BatchNorm2d(num_channels) if norm == "batch" else ChannelNorm(num_channels)
