"""Everything that is told of an extraction: tables, weights, a summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from isthmus import runs
from isthmus.extraction import comparison, measures, shown
from isthmus.extraction.comparison import Aligned
from isthmus.extraction.stacks import Stack
from isthmus.extraction.study import Recovered, Students, Task
from isthmus.extraction.symmetries import SYMMETRIES

TOTALS = ("num_teacher", "num_found", "num_missing", "num_excess")
LARGEST = ("max_distance_in", "max_distance_out")


def write_layers(task: Task, found: Recovered, beta: float, folder: Path) -> None:
    """Write the tables of what became of the students' units."""
    symmetry = SYMMETRIES[task.activation]
    tables: dict[str, tuple[Sequence[str], list]] = {
        "clusters": (shown.CLUSTERS, []),
        "units": (shown.UNITS, []),
        "counts": (shown.COUNTS, []),
        "merges": (shown.MERGES, []),
        "matrix": (shown.MATRIX, []),
    }
    for number, level in enumerate(found.levels, start=1):
        tables["clusters"][1].extend(shown.clusters(number, level, beta))
        tables["units"][1].extend(shown.units(number, level))
        tables["counts"][1].extend(shown.counts(number, level))
        tables["merges"][1].extend(shown.merges(number, level, symmetry))
        tables["matrix"][1].extend(shown.matrix(number, level, symmetry))
    for name, (columns, rows) in tables.items():
        runs.write_csv(folder / f"{name}.csv", columns, rows)


def write_comparison(task: Task, found: Recovered, beta: float, folder: Path) -> Aligned | None:
    """Write how the units compare with the teacher's, if there is one.

    Returns:
        Both networks in one order.
    """
    if task.teacher is None:
        return None
    aligned = align(task, found, found.network, beta)
    rows = measures.units(aligned, task.inputs, found.kept)
    runs.write_csv(folder / "comparison.csv", measures.UNITS, rows)
    excess = measures.excess(aligned, task.inputs, found.kept)
    runs.write_csv(folder / "excess.csv", measures.EXCESS, excess)
    return aligned


def align(task: Task, found: Recovered, network: Stack, beta: float) -> Aligned:
    """A reconstruction and the teacher in one order of units."""
    assert task.teacher is not None
    return comparison.align(network, task.teacher.network, beta, task.inputs, found.kept)


def summary(task: Task, students: Students, found: Recovered, beta: float) -> dict[str, Any]:
    """What was found, layer by layer and in all, as numbers."""
    levels = [
        {"layer": number} | shown.summary(level, left)
        for number, (level, left) in enumerate(zip(found.levels, found.left, strict=True), 1)
    ]
    whole = _compared(task, found, found.network, beta)
    for level, more in zip(levels, whole.pop("layers", []), strict=False):
        level.update(more)
    before = _compared(task, found, found.before, beta)
    before.pop("layers", None)
    return {
        **whole,
        "num_units": [level.clustering.num_kept for level in found.levels],
        "num_inputs_compared": None if found.kept is None else int(found.kept.sum()),
        "before_finetuning": before,
        "layers": levels,
        "students": {"losses": students.losses, "epochs": students.epochs},
    }


def _compared(task: Task, found: Recovered, network: Stack, beta: float) -> dict[str, Any]:
    """Functional error of a network and, if there is a teacher, how its units compare."""
    errors = comparison.differences(network, task.held_out, task.held_out_targets)
    spread = task.held_out_targets.double().var(dim=0, unbiased=False).mean()
    function = {
        "mse": float(errors.square().mean()),
        "mse_over_variance": float(errors.square().mean() / spread),
        "max_difference": float(errors.abs().max()),
    }
    if task.teacher is None:
        return function
    with torch.no_grad():
        aligned = align(task, found, network, beta)
        rows = measures.units(aligned, task.inputs, found.kept)
        layers = measures.layers(aligned, rows, task.held_out)
    totals = {name: sum(layer[name] for layer in layers) for name in TOTALS}
    largest = {name: measures.largest([layer[name] for layer in layers]) for name in LARGEST}
    return {**totals, **largest, **function, "layers": layers}
