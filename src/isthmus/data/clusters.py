"""Random clusters of two classes, on which mean-field networks of one hidden layer were studied."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isthmus import rng
from isthmus.data.recipe import DataRecipe, check_option
from isthmus.data.splits import DataSet, Normalization, Split
from isthmus.vocabulary import Positive, Share

TRIES = 100  # at labels of clusters that are about balanced
BALANCE = (0.4, 0.6)  # of the clusters are of class 1


@dataclass(frozen=True, kw_only=True)
class Clusters(DataRecipe):
    """Data set of k^2 balls in [-r, r]^features, each of one class (Chizat and Bach, 2020).

    With B = 2r / (3k - 1) the coordinates of their centres are among -r + B + 3lB, l = 0, ..., k-1;
    points are uniform in balls of radius B around them, which do not touch. The classes are -1 and
    +1, and networks have one output, trained by the logistic loss.

    Args:
        k: root of the number of clusters, at least 2.
        r: half of the side of the cube, positive.
        num_features: dimensions, at least 2.
        num_train: training examples.
        num_test: test examples.
        seed: of centres, labels and points.

    Raises:
        ValueError: a value is outside its range, or labels did not come out balanced.
    """

    val_fraction: Share = 0.0
    k: int = 3
    r: Positive = 1.0
    num_features: int = 20
    num_train: int = 256
    num_test: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("r", self.r, self.r > 0, "positive")
        for name, least in (("k", 2), ("num_features", 2), ("num_train", 1), ("num_test", 1)):
            value = getattr(self, name)
            check_option(name, value, value >= least, f"at least {least}")

    @property
    def radius(self) -> float:
        """Radius of every ball."""
        return 2 * self.r / (3 * self.k - 1)

    def read(self) -> DataSet:
        generator = rng.generator(self.seed, "clusters")
        centres, labels = self.centres(generator), self.labels(generator)
        train, test = (
            self._split(centres, labels, count, generator)
            for count in (self.num_train, self.num_test)
        )
        return DataSet(
            train=train,
            val=None,
            test=test if self.test else None,
            class_names=("-1", "1"),
            normalization=Normalization((0.0,), (1.0,), scale=1.0),
            loss="logistic",
        )

    def centres(self, generator: Generator) -> Tensor:
        """Centres of the clusters, (clusters, features), all different."""
        rows: dict[tuple[int, ...], None] = {}
        while len(rows) < self.k**2:
            row = torch.randint(self.k, (self.num_features,), generator=generator)
            rows[tuple(row.tolist())] = None
        return -self.r + self.radius * (1 + 3 * torch.tensor(list(rows)))

    def labels(self, generator: Generator) -> Tensor:
        """Labels of the clusters, (clusters,) of 0 and 1, about as many of each."""
        for _ in range(TRIES):
            labels = torch.randint(2, (self.k**2,), generator=generator)
            if BALANCE[0] <= labels.float().mean() <= BALANCE[1]:
                return labels
        raise ValueError(f"seed: no balanced labels in {TRIES} tries, try another one")

    def _split(self, centres: Tensor, labels: Tensor, count: int, generator: Generator) -> Split:
        chosen = torch.randint(len(centres), (count,), generator=generator)
        directions = torch.randn(count, self.num_features, generator=generator)
        directions /= directions.norm(dim=1, keepdim=True)
        share = torch.rand(count, 1, generator=generator) ** (1 / self.num_features)
        points = centres[chosen] + self.radius * share * directions
        return Split(points, labels[chosen], torch.arange(count))
