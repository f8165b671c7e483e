"""Averages several checkpoints, by each method of `average.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from isthmus import state_dicts
from isthmus.averaging.options import Average
from isthmus.state_dicts import Mean, StateDict
from isthmus.training.evaluator import Evaluator


def ema_weights(num_models: int, decay: float) -> list[float]:
    """Shares of networks in their exponential moving average, which starts from the first.

    Args:
        num_models: at least 1.
        decay: in [0, 1), the share that the average keeps at each further network.

    Returns:
        (models,), with a sum of 1.
    """
    later = [(1 - decay) * decay**age for age in reversed(range(num_models - 1))]
    return [decay ** (num_models - 1), *later]


def greedy_soup(
    load: Callable[[int], StateDict],
    score: Callable[[dict[str, Tensor], int], float],
    scores: Sequence[float],
) -> list[int]:
    """Ingredients of a greedy soup (Wortsman et al., 2022, recipe 1).

    In order of decreasing score, the earlier of two equal ones first, each ingredient is kept if
    the mean with it scores no worse than the one without, so the soup never ends below its best
    ingredient. Memory: the sum of the kept networks, and one network.

    Args:
        load: the network at a position, read again at each call.
        score: of a mean and the position of its last ingredient, the higher the better.
        scores: (models,), of each ingredient alone.

    Returns:
        Positions of those kept, in the order in which they were; the best ingredient first.

    Raises:
        ValueError: there are no ingredients.
    """
    if not scores:
        raise ValueError("scores: a soup needs at least one ingredient, got none")
    first, *others = sorted(range(len(scores)), key=lambda position: -scores[position])
    kept, best, sums = [first], scores[first], Mean()
    sums.add(load(first))
    for position in others:
        value = score(sums.state_dict_with(load(position)), position)
        if value >= best:
            kept.append(position)
            best = value
            sums.add(load(position))
    return kept


NAME = "average"  # of the averaged network, beside the names of its ingredients


@dataclass(frozen=True)
class EvaluatedAverage:
    """An average of checkpoints, with the evaluation of it and of its ingredients."""

    weights: StateDict
    shares: list[float]  # of each ingredient, in the order given; 0 for one that was not kept
    evaluation: dict[str, dict[str, dict[str, float]]]  # by file and NAME, split, metric

    def parts(self, files: Sequence[Path], digests: Sequence[str]) -> list[dict[str, Any]]:
        """What `result.json` holds of each ingredient."""
        return [
            {"checkpoint": str(file), "digest": digest, "share": share, "kept": share != 0}
            for file, digest, share in zip(files, digests, self.shares, strict=True)
        ]

    def rows(self) -> list[tuple[str, str, str, float]]:
        """(model, split, metric, value) of every number of the evaluation."""
        return [
            (model, split, metric, value)
            for model, splits in self.evaluation.items()
            for split, numbers in splits.items()
            for metric, value in numbers.items()
        ]


class Checkpoints:
    """Files of weights of one architecture, read when needed and not kept in memory.

    All are read once at first, to check that they fit the model.

    Args:
        files: that `check_architectures` accepts.
        evaluator: of their architecture.
        bn: batch-norm statistics of a mean: "reset", "average", or "keep", which takes those of
            its last ingredient.

    Raises:
        ValueError: a file does not fit the model, see `weight_files.fit`.
    """

    def __init__(self, files: Sequence[Path], evaluator: Evaluator, bn: str) -> None:
        self.files, self.evaluator, self.bn = files, evaluator, bn
        for file in dict.fromkeys(files):
            evaluator.load(file)

    def load(self, position: int) -> StateDict:
        """The weights at a position, on the CPU."""
        return self.evaluator.load(self.files[position])

    def average(self, options: Average) -> EvaluatedAverage:
        """The average by one method, evaluated.

        Args:
            options: with the method, and the splits to evaluate on, None for all; a greedy soup
                adds the validation split.

        Raises:
            ValueError: the data set lacks a split that is needed.
        """
        method = options.method
        splits: Sequence[str] | None = options.splits
        if method == "greedy_soup":
            self.evaluator.data.require_accuracy("method=greedy_soup")
            splits = self._with_validation(splits)
        evaluation: dict[str, Any] = {}
        for position, file in enumerate(map(str, self.files)):
            if file not in evaluation:
                ingredient = {file: self._on_device(self.load(position))}
                evaluation |= self.evaluator.table(ingredient, splits)
                ingredient.clear()
        if method == "greedy_soup":
            accuracies = [evaluation[str(file)]["val"]["accuracy"] for file in self.files]
            weights, shares = self._greedy(accuracies)
        else:
            factors = _weights(options, len(self.files))
            shares = [factor / sum(factors) for factor in factors]
            mean = state_dicts.mean(map(self.load, range(len(self.files))), factors)
            weights = self._finish(mean, len(self.files) - 1)
        return EvaluatedAverage(
            weights, shares, evaluation | self.evaluator.table({NAME: weights}, splits)
        )

    def _with_validation(self, splits: Sequence[str] | None) -> Sequence[str] | None:
        available = list(self.evaluator.data.splits)
        if "val" not in available:
            raise ValueError(
                f"method=greedy_soup: needs a validation split; this data set has "
                f"{', '.join(available)} (dataset.val_fraction holds one out)"
            )
        return splits if splits is None or "val" in splits else [*splits, "val"]

    def _greedy(self, accuracies: list[float]) -> tuple[StateDict, list[float]]:
        def accuracy(mean: dict[str, Tensor], last: int) -> float:
            weights = self._finish(mean, last)
            return self.evaluator.evaluate({NAME: weights}, "val").accuracy.item()

        kept = greedy_soup(self.load, accuracy, accuracies)
        shares = [1 / len(kept) if i in kept else 0.0 for i in range(len(accuracies))]
        if len(kept) == 1:  # with the statistics that it was chosen with: resetting may be worse
            return self._on_device(self.load(kept[0])), shares
        mean = state_dicts.mean(map(self.load, kept), [1.0] * len(kept))
        return self._finish(mean, kept[-1]), shares

    def _finish(self, mean: StateDict, last: int) -> StateDict:
        """A mean on the evaluator's device, with the batch-norm statistics that `bn` asks for."""
        network = self.load(last) if self.bn == "keep" else mean
        return self.evaluator.with_bn_statistics(mean, network, self.bn)

    def _on_device(self, weights: StateDict) -> StateDict:
        return {name: tensor.to(self.evaluator.device) for name, tensor in weights.items()}


def _weights(options: Average, num_models: int) -> list[float]:
    """Weights of the ingredients in their mean, (models,), not yet divided by their sum.

    Ones where all count alike: a sum of float32 values in float64 is then all but exact.
    """
    if options.decay is not None:
        return ema_weights(num_models, options.decay)
    return options.weights or [1.0] * num_models
