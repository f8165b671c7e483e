"""The line between two networks, each point of which is repaired (Jordan et al., 2023)."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from isthmus.connectivity import combinations, line, pre_activations
from isthmus.connectivity.points import Curve, PointEvaluator
from isthmus.connectivity.pre_activations import Statistics
from isthmus.connectivity.repair import repaired
from isthmus.state_dicts import StateDict


class RepairedLine:
    """Points whose hidden channels vary as much as those of the two ends do, in proportion.

    They are measured where batch-norm statistics are, on `Evaluator.calibration`. All points are
    treated alike: the ends are those networks with batch-norm statistics estimated anew, and it is
    to what their channels have then that the points between them are repaired. (An end that is
    repaired to what it has itself computes what it did.)

    Args:
        points: evaluates networks, and has the data.
        start: the network at alpha 0.
        end: the network at alpha 1.
    """

    def __init__(self, points: PointEvaluator, start: StateDict, end: StateDict) -> None:
        self.points, self.start, self.end = points, start, end

    def evaluate(self, alphas: Tensor, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy; without batch norm, those at the ends are exactly the networks' own.

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
        place = 0 if alpha <= 0.5 else 1
        nearest = (self.start, self.end)[place]
        if all(torch.equal(combined[name], nearest[name]) for name in self._parameters):
            return self._ends[place]
        targets = pre_activations.lerp(*self._targets, alpha)
        weights = repaired(evaluator.model, combined, targets, evaluator.calibration)
        return {name: tensor.to(evaluator.device) for name, tensor in weights.items()}

    @cached_property
    def _parameters(self) -> list[str]:
        return [name for name, _ in self.points.evaluator.model.named_parameters()]

    @cached_property
    def _ends(self) -> tuple[StateDict, StateDict]:
        """Both ends as all points are treated, on the device."""
        start, end = (self.points.evaluator.combined(n, n, "reset") for n in (self.start, self.end))
        return start, end

    @cached_property
    def _targets(self) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
        """What the channels of both ends have."""
        model, inputs = self.points.evaluator.model, self.points.evaluator.calibration
        start, end = (pre_activations.statistics(model, network, inputs) for network in self._ends)
        return start, end
