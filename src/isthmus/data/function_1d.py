"""Regression data set: a function of one variable, known at a few points."""

from dataclasses import dataclass

import numpy as np
import torch

from isthmus import rng
from isthmus.data.recipe import DataRecipe, check_option
from isthmus.data.splits import DataSet, Normalization, Split
from isthmus.vocabulary import Share

NUM_TEST = 201  # points of a grid on [-1, 1]


@dataclass(frozen=True, kw_only=True)
class Function1D(DataRecipe):
    """Points at equal distances on [-1, 1] with values uniform in [-1, 1], to be fitted.

    Labels are numbers: networks have one output, trained by the squared error, and no accuracy. The
    test set is a grid of 201 points on the straight lines between the training points: its loss
    measures how far a network is from linear interpolation.

    Args:
        num_points: to be fitted, at least 2.
        seed: of the values.

    Raises:
        ValueError: a value is outside its range.
    """

    val_fraction: Share = 0.0
    num_points: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("num_points", self.num_points, self.num_points >= 2, "at least 2")
        random = self.random_labels_fraction
        check_option("random_labels_fraction", random, random == 0, "0, labels are numbers")

    def read(self) -> DataSet:
        generator = rng.generator(self.seed, "function_1d")
        inputs = torch.linspace(-1, 1, self.num_points)
        labels = 2 * torch.rand(self.num_points, generator=generator) - 1
        grid = np.linspace(-1, 1, NUM_TEST)
        interpolated = np.interp(grid, inputs.numpy(), labels.numpy())
        on_lines = Split(
            torch.from_numpy(grid).float()[:, None],
            torch.from_numpy(interpolated).float(),
            torch.arange(NUM_TEST),
        )
        return DataSet(
            train=Split(inputs[:, None], labels, torch.arange(self.num_points)),
            val=None,
            test=on_lines if self.test else None,
            class_names=("value",),
            normalization=Normalization((0.0,), (1.0,), scale=1.0),
            loss="squared",
        )
