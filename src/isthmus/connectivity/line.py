"""Evaluates, repairs and records lines between two networks, so that each is measured once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from isthmus import state_dicts
from isthmus.connectivity import barriers, interpolation, matching, repair, results
from isthmus.connectivity.barriers import Array
from isthmus.connectivity.interpolation import Curve, InterpolationEvaluator
from isthmus.connectivity.options import Line, LineOptions
from isthmus.connectivity.plan import (
    AS_TRAINED,
    RESET,
    BranchPair,
    ChildSeed,
    LineRecords,
)
from isthmus.connectivity.repair import PreActivationStats, repair_network
from isthmus.paths import display_path
from isthmus.state_dicts import StateDict
from isthmus.store.files import Run
from isthmus.training.evaluator import Evaluator
from isthmus.training.metrics import METRIC_NAMES


def end_shares(alphas: Tensor) -> Tensor:
    """(alphas, 2), how much of the start and of the end is in each point of the line."""
    return torch.stack([1 - alphas, alphas], dim=1)


def evaluate_line(
    points: InterpolationEvaluator,
    start: StateDict,
    end: StateDict,
    alphas: Tensor,
    bn: str,
    splits: Sequence[str] | None = None,
) -> dict[str, Curve]:
    """Loss and accuracy along the line from `start` to `end`.

    All points are treated alike, the ends too: "reset" estimates their batch-norm statistics again;
    otherwise they have their own, and exactly the values that the evaluator gives them.

    Args:
        points: evaluates combinations of networks.
        start: the network at alpha 0.
        end: the network at alpha 1.
        alphas: (alphas,) in [0, 1], in any order; those of `barriers.refine_alphas` need no ends.
        bn: as in `InterpolationEvaluator.evaluate`; "keep" takes the statistics of the
            nearer end, at alpha 1/2 those of `start`.
        splits: some of those of `points`; None for all.

    Returns:
        By split, loss and accuracy of shape (alphas,).

    Raises:
        ValueError: the networks differ in architecture, or `bn` is not one of the three.
    """
    return points.evaluate([start, end], end_shares(alphas), bn, splits)


class RepairedLine:
    """A line whose points are repaired: their hidden channels vary as those of the two ends do.

    They are measured where batch-norm statistics are, on `Evaluator.calibration`. All points are
    treated alike: the ends are those networks with batch-norm statistics estimated again, and the
    points between them are repaired to the statistics of these ends. (An end that is repaired to
    its own statistics computes what it did.)

    Args:
        points: evaluates networks, and has the data.
        start: the network at alpha 0.
        end: the network at alpha 1.
    """

    def __init__(self, points: InterpolationEvaluator, start: StateDict, end: StateDict) -> None:
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
        shape = len(splits), len(METRIC_NAMES), len(alphas)
        numbers = torch.zeros(shape, dtype=torch.float64)
        for place, alpha in enumerate(alphas.tolist()):
            network = {"": self._network_at(alpha)}
            for split, of_split in zip(splits, numbers, strict=True):
                evaluation = evaluator.evaluate(network, split)
                of_split[:, place] = interpolation.evaluation_numbers(evaluation)[:, 0]
        return {s: Curve.from_numbers(each) for s, each in zip(splits, numbers, strict=True)}

    def _network_at(self, alpha: float) -> StateDict:
        """The network at one point, on the device."""
        shares = end_shares(torch.tensor([alpha], dtype=torch.float64))[0]
        combined = interpolation.combine([self.start, self.end], shares)
        evaluator = self.points.evaluator
        place = 0 if alpha <= 0.5 else 1
        nearest = (self.start, self.end)[place]
        if all(torch.equal(combined[name], nearest[name]) for name in self._parameters):
            return self._ends[place]
        targets = repair.lerp_stats(*self._targets, alpha)
        weights = repair_network(evaluator.model, combined, targets, evaluator.calibration)
        return {name: tensor.to(evaluator.device) for name, tensor in weights.items()}

    @cached_property
    def _parameters(self) -> list[str]:
        return [name for name, _ in self.points.evaluator.model.named_parameters()]

    @cached_property
    def _ends(self) -> tuple[StateDict, StateDict]:
        """Both ends as all points are treated, on the device."""
        start, end = (
            self.points.evaluator.with_bn_statistics(n, n, "reset") for n in (self.start, self.end)
        )
        return start, end

    @cached_property
    def _targets(self) -> tuple[dict[str, PreActivationStats], dict[str, PreActivationStats]]:
        """Pre-activation statistics of both ends."""
        model, inputs = self.points.evaluator.model, self.points.evaluator.calibration
        start, end = (repair.pre_activation_stats(model, network, inputs) for network in self._ends)
        return start, end


@dataclass(frozen=True)
class LineEnds:
    """Two networks, the second one aligned with the first.

    Args:
        points: evaluates combinations of them.
        start: the network at alpha 0.
        saved_end: the network at alpha 1, as it was saved.
        align: see `matching.align_network`.
    """

    points: InterpolationEvaluator
    start: StateDict
    saved_end: StateDict
    align: str

    @cached_property
    def end(self) -> StateDict:
        """The network at alpha 1."""
        interpolation.check_alike([self.start, self.saved_end])
        if self.align == "none":
            return self.saved_end
        evaluator = self.points.evaluator
        inputs = evaluator.calibration
        return matching.align_network(
            evaluator.model, self.start, self.saved_end, self.align, inputs
        )

    @cached_property
    def separation(self) -> dict[str, float]:
        """L2 distance and cosine of the two, over all parameters."""
        names = [name for name, _ in self.points.evaluator.model.named_parameters()]
        return {
            "distance": float(state_dicts.distance(self.start, self.end, names)),
            "cosine": float(state_dicts.cosine(self.start, self.end, names)),
        }

    def evaluate(self, alphas: Tensor, bn: str, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy along the line, by split."""
        if bn == "repair":
            return self._repaired_line.evaluate(alphas, splits)
        return evaluate_line(self.points, self.start, self.end, alphas, bn, splits)

    def treatment(self, bn: str) -> str:
        """Which batch-norm statistics both networks have on a line with this `bn`.

        As those of all other points: "reset", estimated again, under reset and repair; "as_trained"
        under average and keep, and always for networks without batch norm.
        """
        is_reset = bn in ("reset", "repair") and self.points.has_batch_norm
        return RESET if is_reset else AS_TRAINED

    def evaluate_as_trained(self, splits: Sequence[str]) -> dict[str, Curve]:
        """Loss and accuracy, (2,), of both networks with the statistics of their training."""
        both = torch.tensor([0.0, 1.0], dtype=torch.float64)
        return evaluate_line(self.points, self.start, self.end, both, "keep", splits)

    @cached_property
    def _repaired_line(self) -> RepairedLine:
        return RepairedLine(self.points, self.start, self.end)


def measure_line(
    ends: LineEnds, known: Line | None, request: LineOptions, child_seed: ChildSeed
) -> Line:
    """Measure what a line lacks of a request; returns the line.

    Known points are kept: a line has the points of all requests that were ever made of it. Only a
    line from an older version, whose ends were treated differently, is measured from scratch.

    Args:
        ends: of the line, aligned as requested.
        known: what has been measured of this line; None if nothing.
        request: alphas, splits, alignment and treatment.
        child_seed: see `plan.ChildSeed`.

    Raises:
        ValueError: `alphas` or `refine` is out of range, or as in `evaluate_line`.
    """
    treatment = ends.treatment(request.bn)
    curves = _known_curves(known, treatment)
    how = {"child_seed": child_seed, "align": request.align, "bn": request.bn, "ends": treatment}
    result = {**how, **ends.separation, "curves": curves}
    grid = barriers.parse_alphas(request.alphas)
    _add(ends, curves, {split: grid for split in request.splits}, request.bn)
    if request.refine is not None:
        further = {
            split: barriers.refine_alphas(grid, _losses_at(curves[split], grid), request.refine)
            for split in request.splits
        }
        for split, alphas in further.items():
            _add(ends, curves, {split: alphas}, request.bn)
    for curve in (curves[split] for split in request.splits):
        curve["requests"] = list(dict.fromkeys([*curve.get("requests", []), request.grid.text]))
    lacking = [split for split in request.splits if "as_trained" not in curves[split]]
    if lacking and treatment != AS_TRAINED:
        for name, evaluated in ends.evaluate_as_trained(lacking).items():
            curves[name]["as_trained"] = evaluated.lists()
    return result


def _known_curves(known: Line | None, treatment: str) -> dict[str, dict[str, Any]]:
    """The known curves of a line, if its ends were treated in this way."""
    if known is None or known.get("ends", AS_TRAINED) != treatment:
        return {}
    of_older = "barriers"  # over the points of all requests together
    return {
        split: {name: values for name, values in curve.items() if name != of_older}
        for split, curve in known["curves"].items()
    }


def _add(ends: LineEnds, curves: dict[str, Any], wanted: dict[str, Array], bn: str) -> None:
    """Evaluate the missing ones of the wanted alphas; splits that lack the same ones together."""
    missing: dict[tuple[float, ...], list[str]] = {}
    for split, alphas in wanted.items():
        known = set(curves.get(split, {}).get("alphas", []))
        lacks = tuple(alpha for alpha in alphas.tolist() if alpha not in known)
        missing.setdefault(lacks, []).append(split)
    for lacks, splits in missing.items():
        if not lacks:
            continue
        measured = ends.evaluate(torch.tensor(lacks, dtype=torch.float64), bn, splits)
        for split, curve in measured.items():
            curves[split] = _merge_points(curves.get(split, {}), lacks, curve)


def _merge_points(known: dict[str, Any], alphas: Sequence[float], curve: Curve) -> dict[str, Any]:
    """A curve with further points, in order of alpha."""
    new = {"alphas": list(alphas), **curve.lists()}
    unknown = [None] * len(known.get("alphas", []))  # a metric that an older version did not have
    columns = [known.get(name, unknown) + values for name, values in new.items()]
    points = sorted(zip(*columns, strict=True), key=lambda point: point[0])
    return {**known, **dict(zip(new, map(list, zip(*points, strict=True)), strict=True))}


def _losses_at(curve: dict[str, Any], alphas: Array) -> Array:
    """(alphas,), the losses there."""
    losses = dict(zip(curve["alphas"], curve["loss"], strict=True))
    return np.array([losses[alpha] for alpha in alphas.tolist()])


TABLES_EVERY = 60.0  # seconds between two writes of the tables of lines

# The key of a line, and the files of its start and of its end.
LineFiles: TypeAlias = tuple[BranchPair | None, ChildSeed, Sequence[Path]]


def measure_missing_lines(
    run: Run, evaluator: Evaluator, request: LineOptions, lines: Sequence[LineFiles]
) -> None:
    """Evaluate what is missing of lines, and write each as soon as it is measured.

    Its line is locked meanwhile: another job that needs it waits, then finds it measured. Tables
    are written once a minute, so that the time per line does not grow with their number; the caller
    completes them, see `results.complete_tables`.

    Args:
        run: whose folder they are kept in.
        evaluator: of the networks by themselves.
        request: what to measure of each line.
        lines: between which networks.

    Raises:
        ValueError: as in `InterpolationEvaluator` and in `measure_line`.
    """
    store = LineRecords(run.folder)
    points = InterpolationEvaluator(evaluator, request.splits, request.num_alphas * len(lines))
    tables_due = time.monotonic() + TABLES_EVERY
    for pair, child_seed, files in lines:
        if request.is_met(store.line(pair, child_seed, request)):
            continue
        with store.lock_line(pair, child_seed, request):
            known = store.line(pair, child_seed, request)
            if request.is_met(known):  # another job has measured it meanwhile
                continue
            start, end = (evaluator.load(file) for file in files)
            ends = LineEnds(points, start, end, request.align)
            line = measure_line(ends, known, request, child_seed)
            line["networks"] = [display_path(file.absolute()) for file in files]
            with run.lock():
                store.write(pair, line, _measurement_info(evaluator, request.splits), known)
        if time.monotonic() > tables_due:
            results.complete_tables(run.folder)
            tables_due = time.monotonic() + TABLES_EVERY


def _measurement_info(evaluator: Evaluator, splits: Sequence[str]) -> dict[str, Any]:
    """What is recorded besides the numbers: precision, classes, sizes of the splits."""
    return {
        "precision": "bf16" if evaluator.autocast else "fp32",
        "num_classes": len(evaluator.data.class_names),
        "num_examples": {split: len(evaluator.data.splits[split]) for split in splits},
    }
