"""The line between two networks, each point of which is repaired (Jordan et al., 2023)."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from src.connectivity import combinations, line, pre_activations
from src.connectivity.points import Curve, PointEvaluator
from src.connectivity.pre_activations import Statistics
from src.connectivity.repair import repaired
from src.state_dicts import StateDict


class RepairedLine:
    """Points whose hidden channels vary as much as those of the two ends do, in proportion.

    They are measured where batch-norm statistics are, on `Evaluator.calibration`.

    Args:
        points: evaluates the ends, and has the data.
        start: the network at alpha 0.
        end: the network at alpha 1.
    """

    def __init__(self, points: PointEvaluator, start: StateDict, end: StateDict) -> None:
        self.points, self.start, self.end = points, start, end

    def evaluate(self, alphas: Tensor, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy; where a point is one of the ends, exactly those of this end.

        Args:
            alphas: (alphas,) in [0, 1], in any order.
            splits: of the data.

        Returns:
            By split, loss and accuracy of shape (alphas,).

        Raises:
            ValueError: the model has layers that cannot be repaired, or differs from the networks.
        """
        evaluator = self.points.evaluator
        numbers = torch.zeros(len(splits), 2, len(alphas), dtype=torch.float64)
        for place, alpha in enumerate(alphas.tolist()):
            network = {"": self._at(alpha)}
            for split, (losses, accuracies) in zip(splits, numbers, strict=True):
                evaluation = evaluator.evaluate(network, split)
                losses[place] = evaluation.loss.item()
                accuracies[place] = evaluation.accuracy.item()
        return {split: Curve(*two) for split, two in zip(splits, numbers, strict=True)}

    def _at(self, alpha: float) -> StateDict:
        """The network at one point, on the device."""
        shares = line.shares(torch.tensor([alpha], dtype=torch.float64))[0]
        combined = combinations.combination([self.start, self.end], shares)
        evaluator = self.points.evaluator
        nearest = self.start if alpha <= 0.5 else self.end
        if all(torch.equal(combined[name], nearest[name]) for name in self._parameters):
            weights = nearest
        else:
            targets = pre_activations.lerp(*self._targets, alpha)
            weights = repaired(evaluator.model, combined, targets, evaluator.calibration)
        return {name: tensor.to(evaluator.device) for name, tensor in weights.items()}

    @cached_property
    def _parameters(self) -> list[str]:
        return [name for name, _ in self.points.evaluator.model.named_parameters()]

    @cached_property
    def _targets(self) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
        """What the channels of both ends have."""
        model, inputs = self.points.evaluator.model, self.points.evaluator.calibration
        start, end = (
            pre_activations.statistics(model, ends, inputs) for ends in (self.start, self.end)
        )
        return start, end
