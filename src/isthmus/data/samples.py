"""Images of a split, each read from its file and augmented when it is asked for."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from isthmus import chance
from isthmus.data.decoding import open_image
from isthmus.data.image_crops import central_crop, random_box, resized
from isthmus.data.options import blur
from isthmus.data.splits import Augmentation, StreamedSplit

if TYPE_CHECKING:
    from PIL.Image import Image

NO_CENTRE = torch.zeros(2, dtype=torch.int64)  # of the cutout of an image that has none


class Samples(Dataset):
    """Decoded images of a split, with the centre of each one's cutout.

    Args:
        split: the images.
        augmentation: what training does to them, None for evaluation.
        seed: of the augmentation.
        epoch: whose augmentation it is.
    """

    def __init__(
        self, split: StreamedSplit, augmentation: Augmentation | None, seed: int, epoch: int
    ) -> None:
        self.split, self.augmentation = split, augmentation
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """(3, size, size) uint8, and (2,) int64, row and column of the centre."""
        split = self.split
        image = open_image(split.path(position))
        if self.augmentation is None:
            pixels, centre = to_pixels(central_crop(image, split.resize, split.size)), NO_CENTRE
        else:
            index = int(split.indices[position])
            generator = chance.generator(self.seed, "augmentation", self.epoch, index)
            pixels, centre = augmented(image, split, self.augmentation, generator)
        if split.blur_factor > 1:
            pixels = blur(pixels.unsqueeze(0), split.blur_factor).squeeze(0)
        if split.quarter_turns is not None:
            pixels = torch.rot90(pixels, int(split.quarter_turns[position]), dims=(1, 2))
        return pixels.contiguous(), centre


def to_pixels(image: "Image") -> Tensor:
    """(3, height, width) uint8 of an RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def augmented(
    image: "Image",
    split: StreamedSplit,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A crop of an image, mirrored or not, and the centre of its cutout.

    Every number is drawn whether it is used or not, so that the crops do not depend on the rest.
    """
    box = random_box(image.width, image.height, generator)
    if augmentation.resized_crop:
        crop = resized(image, box, split.size)
    else:
        crop = central_crop(image, split.resize, split.size)
    mirrored = torch.randint(2, (), generator=generator).item() == 1
    centre = torch.randint(split.size, (2,), generator=generator)
    pixels = to_pixels(crop)
    return pixels.flip(2) if augmentation.flip and mirrored else pixels, centre
