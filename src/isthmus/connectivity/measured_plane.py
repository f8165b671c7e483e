"""The plane through three saved networks, measured where it is not known yet."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from isthmus.connectivity import alignment, planes, surface
from isthmus.connectivity.plane import Plane
from isthmus.connectivity.points import PointEvaluator
from isthmus.connectivity.surface import Surface
from isthmus.runs import write_csv, write_json
from isthmus.state_dicts import StateDict
from isthmus.training.evaluator import Evaluator


def measure(
    files: planes.Files,
    evaluator: Evaluator,
    three: Sequence[Path],
    others: Sequence[Path],
    request: planes.Request,
) -> None:
    """Fill the tables of a plane with what they lack; `result.json` is written last.

    A finer grid than one that is there takes over the points that both have.

    Args:
        files: where they lie; held.
        evaluator: of the architecture of all networks.
        three: A, B and C.
        others: to be projected.
        request: which points to evaluate, and how.

    Raises:
        ValueError: A, B and C lie on one line, or `points` or `margin` is too small.
    """
    networks = _Networks(evaluator, three[0], request.align)
    corners = [networks.load(file) for file in three]
    plane = Plane(corners, [name for name, _ in evaluator.model.named_parameters()])
    grids = _filled(files)
    splits = _ordered({*grids.get(str(request.points), []), *request.splits})
    of_networks = _ordered({*splits, *(split for filled in grids.values() for split in filled)})
    points = PointEvaluator(evaluator, of_networks, request.points**2)
    x, y = plane.grid(request.points, request.margin)
    grid = Surface(points, plane, corners, x, y)
    older = (files.run.read_result() or {}).get("points")
    grid.measure(files.grid, request.bn, splits, evaluator.runtime.progress, older)
    names = [*"ABC", *surface.short_names(others)]
    named = [
        (name, partial(networks.load, file))
        for name, file in zip(names, [*three, *others], strict=True)
    ]
    rows = surface.networks_table(plane, named, points, of_networks, request.bn)
    write_csv(files.networks, surface.NETWORK_COLUMNS, rows)
    result = {
        **asdict(request),
        "splits": of_networks,
        "grids": {**grids, str(request.points): splits},
        "precision": "bf16" if evaluator.autocast else "fp32",
        "num_threads": torch.get_num_threads(),
        "num_classes": len(evaluator.data.class_names),
        "num_examples": {split: len(evaluator.data.splits[split]) for split in of_networks},
        "plane": planes.digests(three),
        "projected": planes.digests(others),
    }
    write_json(files.run.result, result)


def _filled(files: planes.Files) -> dict[str, list[str]]:
    """By the number of points each way, the splits on which a grid is filled."""
    result = files.run.read_result() or {}
    return dict(result.get("grids", {}))


def _ordered(splits: Collection[str]) -> list[str]:
    return [split for split in ("train", "val", "test") if split in splits]


class _Networks:
    """Saved networks, aligned with the first one."""

    def __init__(self, evaluator: Evaluator, first: Path, align: str) -> None:
        self.evaluator, self.align = evaluator, align
        self.first = evaluator.load(first)

    def load(self, file: Path) -> StateDict:
        evaluator = self.evaluator
        weights = evaluator.load(file)
        inputs = evaluator.calibration
        return alignment.aligned(evaluator.model, self.first, weights, self.align, inputs)
