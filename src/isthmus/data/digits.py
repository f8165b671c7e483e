"""Scikit-learn's handwritten digits, which come with the package and need no download."""

from dataclasses import dataclass

import torch

from isthmus import rng
from isthmus.data.recipe import ImageRecipe
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split

NUM_TEST = 360  # a fifth of 1,797, rounded up


@dataclass(frozen=True, kw_only=True)
class Digits(ImageRecipe):
    """1,797 images of 8x8 pixels in ten classes (Alpaydin and Kaynak, 1998).

    Values 0 to 16 are kept as stored. The data set has no test part of its own: the first 360
    examples of one fixed permutation are used, not stratified. The indices of both splits are
    positions among all 1,797. `augment` crops from one pixel of padding and never flips.

    Args:
        root: unused; every data set has it.
    """

    def read(self) -> DataSet:
        from sklearn.datasets import load_digits

        digits = load_digits()
        all_examples = Split(
            torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1),  # (examples, 1, 8, 8)
            torch.from_numpy(digits.target).long(),
            torch.arange(len(digits.target)),
        )
        order = torch.randperm(len(all_examples), generator=rng.generator(0, "digits", "test"))
        return DataSet(
            train=all_examples.take(order[NUM_TEST:].sort().values),
            val=None,
            test=all_examples.take(order[:NUM_TEST].sort().values) if self.test else None,
            class_names=tuple(str(name) for name in digits.target_names),
            normalization=Normalization((0.3054,), (0.3761,), scale=16.0),
            augmentation=Augmentation(padding=1),
        )
