import pytest
import torch

from isthmus.training import batch_norm

VALUES = 3 + torch.randn(7, 4, 5, 6, generator=torch.Generator().manual_seed(0)).double()


def test_moments_are_those_of_each_channel():
    variance, mean = torch.var_mean(VALUES, dim=(0, 2, 3), correction=0)
    measured = batch_norm.channel_stats(VALUES)
    torch.testing.assert_close(measured.mean, mean)
    torch.testing.assert_close(measured.variance, variance)
    assert measured.num_values == 7 * 5 * 6


def test_features_are_channels_without_space():
    measured = batch_norm.channel_stats(VALUES[:, :, 0, 0])
    torch.testing.assert_close(measured.mean, VALUES[:, :, 0, 0].mean(0))
    assert measured.num_values == 7


@pytest.mark.parametrize("sizes", [[7], [1, 6], [2, 2, 3], [1] * 7])
def test_moments_of_parts_are_those_of_the_whole(sizes):
    together = batch_norm.merge_stats(
        [batch_norm.channel_stats(part) for part in VALUES.split(sizes)]
    )
    for merged, whole in zip(together, batch_norm.channel_stats(VALUES), strict=True):
        torch.testing.assert_close(merged, whole)


def test_half_precision_is_measured_in_float32():
    values = VALUES.to(torch.bfloat16)
    assert torch.equal(
        batch_norm.channel_stats(values).mean, batch_norm.channel_stats(values.float()).mean
    )
