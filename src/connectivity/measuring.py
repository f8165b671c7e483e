"""Lines between two networks, measured where they are not known yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from src import state_dicts
from src.connectivity import alignment, barriers, combinations, line, repaired_line
from src.connectivity.points import Curve, PointEvaluator
from src.connectivity.records import ChildSeed, Line, Request
from src.state_dicts import StateDict


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

    @cached_property
    def _repaired(self) -> repaired_line.RepairedLine:
        return repaired_line.RepairedLine(self.points, self.start, self.end)


def measured(ends: Ends, known: Line | None, request: Request, child_seed: ChildSeed) -> Line:
    """A line with all that is asked for.

    What is known is kept: a line has the points of all requests that were ever made of it.

    Args:
        ends: of the line, aligned as is asked for.
        known: of this line.
        request: what is asked for.
        child_seed: see `records.ChildSeed`.

    Raises:
        ValueError: `alphas` or `refine` is out of range, or as in `line.evaluate`.
    """
    how = {"child_seed": child_seed, "align": request.align, "bn": request.bn}
    curves = {split: dict(curve) for split, curve in (known or {"curves": {}})["curves"].items()}
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
        curve = curves[split]
        requests = [*curve.get("requests", []), request.alphas_text]
        curve["requests"] = list(dict.fromkeys(requests))
        curve["barriers"] = _barriers(curve)
    return result


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


def _barriers(curve: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By metric, both barriers and the gap in the middle."""
    alphas, losses, accuracies = (
        torch.tensor(curve[name], dtype=torch.float64) for name in ("alphas", "loss", "accuracy")
    )
    return {
        metric: {
            "barrier": float(barriers.barrier(values, alphas)),
            "barrier_frankle": float(barriers.barrier_frankle(values)),
            "midpoint_gap": float(barriers.midpoint_gap(values, alphas)),
        }
        for metric, values in (("loss", losses), ("error", 1 - accuracies))
    }
