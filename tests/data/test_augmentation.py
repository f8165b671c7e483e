import itertools

import pytest
import torch
import torch.nn.functional as F

from isthmus.data.augmentation import Crops, as_inputs, cut_out_, draw_augmentation, flip, lay_out
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
