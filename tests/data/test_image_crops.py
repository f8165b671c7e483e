import numpy as np
import pytest
import torch
from torchvision import transforms  # noqa: E402

from isthmus import rng
from isthmus.data.streams import AREA, RATIO, central_crop, random_box, resize_box
from isthmus.data.torchvision_import import datasets
from tests.data import made

datasets()  # so that torchvision can be imported


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (16, 16), (17, 90), (9, 7)])
def test_a_central_crop_is_that_of_torchvision(tmp_path, size):
    image = made.write_image(tmp_path / "a.png", size)
    expected = transforms.CenterCrop(12)(transforms.Resize(16)(image))
    assert np.array_equal(np.asarray(central_crop(image, 16, 12)), np.asarray(expected))


@pytest.mark.parametrize("size", [(40, 30), (500, 375), (5, 400), (400, 5), (1, 1)])
def test_random_boxes_are_those_of_torchvision(tmp_path, size):
    image = made.write_image(tmp_path / "a.png", size)
    for seed in range(50):
        torch.manual_seed(rng.derive(seed, "box"))
        top, left, height, width = transforms.RandomResizedCrop.get_params(
            image, list(AREA), list(RATIO)
        )
        found = random_box(*size, rng.generator(seed, "box"))
        assert found == (left, top, width, height)


def test_random_boxes_lie_in_the_image_and_vary():
    generator = torch.Generator().manual_seed(0)
    boxes = {random_box(30, 20, generator) for _ in range(200)}
    assert len(boxes) > 150
    for left, top, width, height in boxes:
        assert 0 <= left and 0 <= top and left + width <= 30 and top + height <= 20


def test_a_box_is_resized_as_by_torchvision(tmp_path):
    image = made.write_image(tmp_path / "a.png", (30, 20))
    expected = transforms.functional.resized_crop(image, 3, 5, 11, 13, [8, 8])
    assert np.array_equal(np.asarray(resize_box(image, (5, 3, 13, 11), 8)), np.asarray(expected))
