import itertools

import pytest
import torch
import torch.nn.functional as F

from isthmus.data.augmentation import (
    Crops,
    as_inputs,
    cut_out_,
    draw_augmentation,
    flip,
    lay_out,
    normalization_factors,
    normalize,
)
from isthmus.data.splits import Normalization
from tests.data import made


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (1, 1, 6, 4), (2, 3, 1, 2), (3, 1, 8, 1)])
def test_every_crop_is_a_slice_of_the_padded_image(shape, padding, channels_last):
    images = torch.randint(256, shape, dtype=torch.uint8)
    crops = Crops(images, padding, channels_last)
    padded = F.pad(images, (padding,) * 4)
    shifts = range(2 * padding + 1)
    places = torch.tensor(list(itertools.product(range(shape[0]), shifts, shifts)))
    gathered = as_inputs(crops.gather(crops.starts(*places.T)), channels_last)
    for (position, row, column), crop in zip(places.tolist(), gathered, strict=True):
        expected = padded[position, :, row : row + shape[2], column : column + shape[3]]
        assert torch.equal(crop, expected)


def test_gathered_crops_do_not_share_memory_with_the_images():
    images = made.split(3).inputs
    before = images.clone()
    crops = Crops(images, 0, False)
    crops.gather(torch.tensor([0, 3 * 64])).zero_()
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels_last", [False, True])
def test_flip_mirrors_the_chosen_images(channels_last):
    images = made.split(6, height=4, width=7).inputs
    chosen = torch.tensor([255, 0, 0, 255, 255, 0], dtype=torch.uint8)
    stored = lay_out(images, channels_last)
    before = stored.clone()
    flipped = as_inputs(flip(stored, chosen, 2 if channels_last else 3), channels_last)
    for image, result, one in zip(images, flipped, chosen, strict=True):
        assert torch.equal(result, image.flip(2) if one else image)
    assert torch.equal(stored, before)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_cutout_sets_a_clipped_square_around_its_centre_to_zero(side, channels_last):
    height, width = 5, 7
    centres = torch.cartesian_prod(torch.arange(height), torch.arange(width)).T
    values = torch.randn(height * width, 3, height, width)
    stored = lay_out(values, channels_last).clone()
    cut_out_(stored, centres, side, channels_last)
    expected = values.clone()
    for image, (row, column) in zip(expected, centres.T.tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        image[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 0
    assert torch.equal(as_inputs(stored, channels_last), expected)


def test_drawn_numbers_of_an_index_do_not_depend_on_how_many_are_drawn():
    many = draw_augmentation(1, 2, 1000)
    assert torch.equal(draw_augmentation(1, 2, 10), many[:10]) and torch.equal(
        draw_augmentation(1, 2, 1), many[:1]
    )
    assert not torch.equal(draw_augmentation(1, 3, 10), many[:10])
    assert not torch.equal(draw_augmentation(2, 2, 10), many[:10])


def test_drawn_numbers_are_uniform():
    shifts = draw_augmentation(0, 0, 9000)[:, 0] % 9
    counts = shifts.bincount(minlength=9)  # expected 1000, standard deviation 30
    assert counts.min() > 850 and counts.max() < 1150
    assert abs((draw_augmentation(0, 0, 9000) % 2).float().mean() - 0.5) < 0.02


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
