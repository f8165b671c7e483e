"""The part of a decoded image that evaluation looks at, and those that training draws."""

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL.Image import Image

AREA = (0.08, 1.0)  # part of the image that a random crop covers
RATIO = (3 / 4, 4 / 3)  # width of that crop over its height
ATTEMPTS = 10  # at a random crop that fits in the image


def central_crop(image: "Image", resize: int, size: int) -> "Image":
    """The central square of `size` pixels, after the shorter side was made `resize` pixels."""
    from PIL.Image import Resampling

    width, height = image.size
    short = min(width, height)
    scaled = (resize * width // short, resize * height // short)
    if scaled != image.size:
        image = image.resize(scaled, Resampling.BILINEAR)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def resized(image: "Image", box: tuple[int, int, int, int], size: int) -> "Image":
    """The part of an image in a box, (left, top, width, height), resized to a square."""
    from PIL.Image import Resampling

    left, top, width, height = box
    crop = image.crop((left, top, left + width, top + height))
    return crop.resize((size, size), Resampling.BILINEAR)


def random_box(width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Where a random crop lies (Szegedy et al., 2015).

    Area and the logarithm of the aspect ratio are uniform. If none of the attempts fits in the
    image, the largest central box of an allowed ratio is taken, as torchvision does.

    Returns:
        left, top, width, height.
    """
    for _ in range(ATTEMPTS):
        area = width * height * uniform(*AREA, generator)
        ratio = math.exp(uniform(math.log(RATIO[0]), math.log(RATIO[1]), generator))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = torch.randint(height - box_height + 1, (), generator=generator).item()
            left = torch.randint(width - box_width + 1, (), generator=generator).item()
            return int(left), int(top), box_width, box_height
    box_width = min(width, round(height * RATIO[1]))
    box_height = min(height, round(width / RATIO[0]))
    return (width - box_width) // 2, (height - box_height) // 2, box_width, box_height


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number in [low, high)."""
    return torch.empty(1).uniform_(low, high, generator=generator).item()
