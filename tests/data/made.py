"""Small data sets made for tests."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from isthmus.data.splits import Augmentation, DataSet, Normalization, Split

NORMALIZATION = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def split(num_examples: int, channels: int = 3, height: int = 8, width: int = 8) -> Split:
    """Random images, whose indices are three times their positions."""
    generator = torch.Generator().manual_seed(num_examples)
    shape = (num_examples, channels, height, width)
    return Split(
        torch.randint(256, shape, dtype=torch.uint8, generator=generator),
        torch.randint(10, (num_examples,), generator=generator),
        3 * torch.arange(num_examples),
    )


def features(num_examples: int, num_features: int = 5) -> Split:
    """Random numbers that are no images."""
    generator = torch.Generator().manual_seed(num_examples)
    return Split(
        torch.randn(num_examples, num_features, generator=generator),
        torch.randint(10, (num_examples,), generator=generator),
        torch.arange(num_examples),
    )


def data_set(train: Split, augmentation: Augmentation | None = None) -> DataSet:
    """A data set of ten classes whose test split is its training split."""
    shared = Normalization((0.5,), (0.2,))
    normalization = NORMALIZATION if train.input_shape[0] == 3 else shared
    names = tuple("abcdefghij")
    return DataSet(train, None, train, names, normalization, augmentation)


def write_image(path: Path, size: tuple[int, int] = (8, 8), seed: int = 0, mode: str = "RGB"):
    """One random image in the format of its extension; `size` is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(path)
    return image


def write_folder(root: Path, parts: tuple[str, ...] = ("train", "test"), size=(8, 8), each=3):
    """A folder of PNG images of two classes, cat and dog, `each` of them in each part."""
    for part in parts:
        for name in ("cat", "dog"):
            for number in range(each):
                seed = hash((part == "train", name == "cat", number)) % 1000
                write_image(root / part / name / f"{number}.png", size, seed)
    return root
