"""Lines between two networks, measured where they are not known yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from isthmus import state_dicts
from isthmus.connectivity import alignment, barriers, combinations, line, repaired_line
from isthmus.connectivity.points import Curve, PointEvaluator
from isthmus.connectivity.records import AS_TRAINED, RESET, ChildSeed, Line, Request
from isthmus.state_dicts import StateDict


@dataclass(frozen=True)
class Ends:
    """Two networks, the second one aligned with the first.

    Args:
        points: evaluates combinations of them.
        start: the network at alpha 0.
        given: the network at alpha 1, as it was saved.
        align: see `alignment.aligned`.
    """

    points: PointEvaluator
    start: StateDict
    given: StateDict
    align: str

    @cached_property
    def end(self) -> StateDict:
        """The network at alpha 1."""
        combinations.check_alike([self.start, self.given])
        if self.align == "none":
            return self.given
        evaluator = self.points.evaluator
        inputs = evaluator.calibration
        return alignment.aligned(evaluator.model, self.start, self.given, self.align, inputs)

    @cached_property
    def apart(self) -> dict[str, float]:
        """L2 distance and cosine of the two, over all parameters."""
        names = [name for name, _ in self.points.evaluator.model.named_parameters()]
        return {
            "distance": float(state_dicts.distance(self.start, self.end, names)),
            "cosine": float(state_dicts.cosine(self.start, self.end, names)),
        }

    def evaluate(self, alphas: Tensor, bn: str, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy along the line, by split."""
        if bn == "repair":
            return self._repaired.evaluate(alphas, splits)
        return line.evaluate(self.points, self.start, self.end, alphas, bn, splits)

    def treatment(self, bn: str) -> str:
        """What the batch-norm statistics of both networks are on a line of this treatment.

        As those of all other points: "reset", estimated anew, under reset and repair; "as_trained"
        under average and keep, and of networks without batch norm, which nothing is done to.
        """
        is_reset = bn in ("reset", "repair") and self.points.has_batch_norm
        return RESET if is_reset else AS_TRAINED

    def evaluate_as_trained(self, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy, (2,), of both networks with the statistics of their training."""
        both = torch.tensor([0.0, 1.0], dtype=torch.float64)
        return line.evaluate(self.points, self.start, self.end, both, "keep", splits)

    @cached_property
    def _repaired(self) -> repaired_line.RepairedLine:
        return repaired_line.RepairedLine(self.points, self.start, self.end)


def measured(ends: Ends, known: Line | None, request: Request, child_seed: ChildSeed) -> Line:
    """A line with all that is asked for.

    What is known is kept: a line has the points of all requests that were ever made of it. Only one
    that an older version measured, whose ends were treated otherwise, is measured anew.

    Args:
        ends: of the line, aligned as is asked for.
        known: of this line.
        request: what is asked for.
        child_seed: see `records.ChildSeed`.

    Raises:
        ValueError: `alphas` or `refine` is out of range, or as in `line.evaluate`.
    """
    treatment = ends.treatment(request.bn)
    curves = _known_curves(known, treatment)
    how = {"child_seed": child_seed, "align": request.align, "bn": request.bn, "ends": treatment}
    result = {**how, **ends.apart, "curves": curves}
    grid = line.parse_alphas(request.alphas)
    _add(ends, curves, {split: grid for split in request.splits}, request.bn)
    if request.refine is not None:
        further = {
            split: barriers.refined(grid, _at(curves[split], grid), request.refine)
            for split in request.splits
        }
        for split, alphas in further.items():
            _add(ends, curves, {split: alphas}, request.bn)
    for split in request.splits:
        requests = [*curves[split].get("requests", []), request.grid.text]
        curves[split]["requests"] = list(dict.fromkeys(requests))
    lacking = [split for split in request.splits if "as_trained" not in curves[split]]
    if lacking and treatment != AS_TRAINED:
        for split, curve in ends.evaluate_as_trained(lacking).items():
            numbers = {"loss": curve.loss.tolist(), "accuracy": curve.accuracy.tolist()}
            curves[split]["as_trained"] = numbers
    return result


def _known_curves(known: Line | None, treatment: str) -> dict[str, dict[str, Any]]:
    """The curves that are known of a line, if its ends were treated so."""
    if known is None or known.get("ends", AS_TRAINED) != treatment:
        return {}
    of_older = "barriers"  # over the points of all requests together
    return {
        split: {name: values for name, values in curve.items() if name != of_older}
        for split, curve in known["curves"].items()
    }


def _add(ends: Ends, curves: dict[str, Any], wanted: dict[str, Tensor], bn: str) -> None:
    """Evaluate what is missing of the alphas wanted of each split, those of several together."""
    missing: dict[tuple[float, ...], list[str]] = {}
    for split, alphas in wanted.items():
        known = set(curves.get(split, {}).get("alphas", []))
        lacks = tuple(alpha for alpha in alphas.tolist() if alpha not in known)
        missing.setdefault(lacks, []).append(split)
    for lacks, splits in missing.items():
        if not lacks:
            continue
        made = ends.evaluate(torch.tensor(lacks, dtype=torch.float64), bn, splits)
        for split, curve in made.items():
            curves[split] = _merged(curves.get(split, {}), lacks, curve)


def _merged(known: dict[str, Any], alphas: Sequence[float], curve: Curve) -> dict[str, Any]:
    """A curve with further points, in order of alpha."""
    old = zip(*(known.get(name, []) for name in ("alphas", "loss", "accuracy")), strict=True)
    new = zip(alphas, curve.loss.tolist(), curve.accuracy.tolist(), strict=True)
    alphas, losses, accuracies = (list(each) for each in zip(*sorted([*old, *new]), strict=True))
    return {**known, "alphas": alphas, "loss": losses, "accuracy": accuracies}


def _at(curve: dict[str, Any], alphas: Tensor) -> Tensor:
    """(alphas,), the losses there."""
    losses = dict(zip(curve["alphas"], curve["loss"], strict=True))
    return torch.tensor([losses[alpha] for alpha in alphas.tolist()], dtype=torch.float64)
