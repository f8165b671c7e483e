"""Tiny ImageNet, read from the folder in which it is distributed."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from isthmus.data.image_folder import (
    Listing,
    check_images,
    decode_images,
    list_images,
    listing_arrays,
    locate_folder,
    report_ignored,
)
from isthmus.data.recipe import ImageRecipe
from isthmus.data.splits import DataSet, Normalization
from isthmus.store.image_files import folder_contents, images_below


@dataclass(frozen=True, kw_only=True)
class TinyImageNet(ImageRecipe):
    """100,000 + 10,000 photographs of 64x64 pixels in 200 classes (Le and Yang, 2015).

    The folder as distributed: `train/<wnid>/images/` and `val/images/` with
    `val/val_annotations.txt`. The test images have no public labels, so `val` is the test split.
    `augment` crops from an eighth of the side of padding (8 pixels) and flips.

    Args:
        folder: name of the folder below `root`; empty if `root` is the folder itself.
        image_size: side in pixels that images are resized to; 64 leaves them as they are.
        mean: of each channel, for values in [0, 1].
        std: of each channel, for values in [0, 1].
        cache_dir: folder for decoded images.
        fingerprint: of the files in the folder, for a run's name. Changes nothing else.
    """

    augment: bool = True
    folder: str = "tiny-imagenet-200"
    image_size: int = 64
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    cache_dir: str = "outputs/cache"
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.image_size, self.mean, self.std)

    def read(self) -> DataSet:
        base = locate_folder(self.root, self.folder, ("train", "val") if self.test else ("train",))
        train = list_images(base, "train")
        test = read_annotations(base, train.class_names) if self.test else None
        report_ignored(base, train, test)
        normalization = Normalization(tuple(self.mean), tuple(self.std))
        return decode_images(base, train, test, self.image_size, normalization, self.cache_dir)


def read_annotations(base: Path, class_names: tuple[str, ...]) -> Listing:
    """List the images of `val/images`, with their classes from `val/val_annotations.txt`.

    Raises:
        FileNotFoundError: there is no such text, or no image.
        ValueError: an image has no class there, or one that is not in `train`.
    """
    text = base / "val" / "val_annotations.txt"
    if not text.is_file():
        raise FileNotFoundError(
            f"no {text}: {text.parent} {folder_contents(text.parent)}; "
            f"a copy that has val/<class>/ is read with dataset=imagefolder"
        )
    rows = (line.split("\t") for line in text.read_text().splitlines() if line)
    classes = {row[0]: row[1] for row in rows}
    ignored: Counter[str] = Counter()
    images = images_below(base, "val/images", ignored)
    if not images:
        raise FileNotFoundError(f"{base / 'val' / 'images'} has no image")
    label_of = {name: label for label, name in enumerate(class_names)}
    labels = []
    for image in images:
        name = classes.get(image.path.rpartition("/")[2])
        if name not in label_of:
            raise ValueError(
                f"{text} gives {image.path} the class {name}, which train/ does not have"
            )
        labels.append(label_of[name])
    return Listing(*listing_arrays(images), torch.tensor(labels), class_names, ignored)
