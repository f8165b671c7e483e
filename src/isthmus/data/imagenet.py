"""ImageNet, streamed from its files during training."""

from dataclasses import dataclass, field

import torch

from isthmus.data.image_folder import (
    Listing,
    check_images,
    check_same_classes,
    list_images,
    locate_folder,
    report_ignored,
)
from isthmus.data.recipe import ImageRecipe, check_option
from isthmus.data.splits import (
    Augmentation,
    DataSet,
    Normalization,
    StreamedSplit,
    without_examples,
)
from isthmus.vocabulary import Share


@dataclass(frozen=True, kw_only=True)
class ImageNet(ImageRecipe):
    """1,281,167 + 50,000 photographs in 1,000 classes (Russakovsky et al., 2015).

    A folder with `train/<wnid>/` and `val/<wnid>/`; `val` is the test split. Any other folder with
    this layout that is too large for memory can be read in the same way; one without `train/` can
    be evaluated, but not trained on. `decoding.open_image` says how a file is decoded. `augment`
    takes a crop of random area (8 % to 100 %) and aspect ratio (3/4 to 4/3) and flips it;
    evaluation, and training without `augment`, takes the central square.

    Args:
        folder: name of the folder below `root`; empty if `root` is the folder itself.
        image_size: side in pixels of the network's inputs.
        resize: pixels of the shorter side before the central square is cut out.
        mean: of each channel, for values in [0, 1].
        std: of each channel, for values in [0, 1].
        fingerprint: of the files in the folder, for a run's name. Changes nothing else.
    """

    val_fraction: Share = 0.01
    augment: bool = True
    folder: str = "imagenet"
    image_size: int = 224
    resize: int = 256
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.image_size, self.mean, self.std)
        allowed = f"at least image_size, {self.image_size}"
        check_option("resize", self.resize, self.resize >= self.image_size, allowed)

    def read(self) -> DataSet:
        choices = (("train", "val"), ("val",)) if self.test else (("train",),)
        base = locate_folder(self.root, self.folder, *choices)
        train = list_images(base, "train") if (base / "train").is_dir() else None
        test = list_images(base, "val") if self.test else None
        if test is not None:
            check_same_classes(train, test, "val")
        report_ignored(base, train, test)

        def split(listing: Listing) -> StreamedSplit:
            return StreamedSplit(
                folder=str(base),
                files=listing.files,
                labels=listing.labels,
                indices=torch.arange(len(listing.labels)),
                resize=self.resize,
                size=self.image_size,
            )

        parts = {"train": train, "test": test}
        splits = {name: split(part) for name, part in parts.items() if part is not None}
        return DataSet(
            train=splits["train"] if train else without_examples(splits["test"]),
            val=None,
            test=splits.get("test"),
            class_names=next(part for part in parts.values() if part is not None).class_names,
            normalization=Normalization(tuple(self.mean), tuple(self.std)),
            augmentation=Augmentation(resized_crop=True, flip=True),
        )
