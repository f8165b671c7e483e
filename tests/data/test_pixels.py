import pytest
import torch

from isthmus.data.augmentation import as_inputs, lay_out, normalization_factors, normalize
from isthmus.data.splits import Normalization
from tests.data import made


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalizing_subtracts_the_mean_and_divides_by_the_std_of_each_channel(channels_last):
    images = made.split(5, height=4, width=6).inputs
    factor, offset = normalization_factors(made.NORMALIZATION, (3, 4, 6), channels_last)
    values = normalize(lay_out(images, channels_last), factor, offset)
    mean = torch.tensor(made.NORMALIZATION.mean).view(3, 1, 1)
    std = torch.tensor(made.NORMALIZATION.std).view(3, 1, 1)
    expected = (images.float() / 255 - mean) / std
    torch.testing.assert_close(as_inputs(values, channels_last), expected)
    assert values.dtype == torch.float32 and values.is_contiguous()


def test_the_scale_stands_for_one():
    factor, offset = normalization_factors(
        Normalization((0.5,), (0.25,), scale=16.0), (1, 2, 2), False
    )
    values = normalize(torch.full((1, 1, 2, 2), 16, dtype=torch.uint8), factor, offset)
    torch.testing.assert_close(values, torch.full((1, 1, 2, 2), 2.0))


def test_one_mean_serves_all_features():
    inputs = made.features(4, 5).inputs
    factor, offset = normalization_factors(Normalization((1.0,), (2.0,), scale=1.0), (5,), False)
    torch.testing.assert_close(normalize(inputs, factor, offset), (inputs - 1) / 2)


def test_normalizing_leaves_what_is_stored():
    inputs = made.features(4, 5).inputs
    before = inputs.clone()
    normalize(inputs, torch.full((5,), 2.0), torch.ones(5))
    assert torch.equal(inputs, before)


def test_a_normalization_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="normalization: 3 means and 3 stds for 1 channels"):
        normalization_factors(made.NORMALIZATION, (1, 4, 4), False)
    with pytest.raises(ValueError, match="normalization: 1 means and 3 stds for 3 channels"):
        normalization_factors(Normalization((0.0,), (1.0, 1.0, 1.0)), (3, 4, 4), False)
