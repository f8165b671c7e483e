"""The tables of all lines that are known: their points, their barriers, and means over children."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from src.connectivity import barriers, records
from src.connectivity.records import Line, Records
from src.runs import write_csv

MOMENTS = ("k1", "k2", "total", "k1_step", "k2_step", "total_step")
HOW = ("align", "bn", "split")
BARRIERS = ("barrier", "barrier_frankle", "midpoint_gap")
MEASURES = (*BARRIERS, "distance", "cosine")
SPLITS = ("train", "val", "test")
COLUMNS = {
    "lines": (*MOMENTS, "child_seed", *HOW, "alpha", "loss", "accuracy"),
    "barriers": (*MOMENTS, "child_seed", *HOW, "metric", *MEASURES),
    "intervals": (*MOMENTS, *HOW, "metric", "num_children", "measure", "mean", "low", "high"),
}

Row = list[Any]


def write(folder: Path) -> None:
    """Put the tables of a folder together: `lines.csv`, `barriers.csv`, `intervals.csv`.

    Moments are in epochs, and with "_step" in iterations; they are empty for two saved networks.
    """
    contents = [json.loads(path.read_text()) for path in Records(folder).files]
    contents.sort(key=lambda content: [content.get(name, 0) for name in ("k1_step", "k2_step")])
    for name, rows in (("lines", _lines), ("barriers", _barriers), ("intervals", _intervals)):
        write_csv(path(folder, name), COLUMNS[name], (r for c in contents for r in rows(c)))


def path(folder: Path, name: str) -> Path:
    """Of a table: lines, barriers or intervals."""
    return folder / f"{name}.csv"


def _lines(content: dict[str, Any]) -> Iterator[Row]:
    for line, split, curve in _curves(content):
        points = zip(*(curve[name] for name in ("alphas", "loss", "accuracy")), strict=True)
        for point in points:
            yield [*_moments(content), line["child_seed"], line["align"], line["bn"], split, *point]


def _barriers(content: dict[str, Any]) -> Iterator[Row]:
    for line, split, curve in _curves(content):
        how = [line["child_seed"], line["align"], line["bn"], split]
        apart = [line["distance"], line["cosine"]]
        for metric, numbers in curve["barriers"].items():
            measured = [numbers[name] for name in BARRIERS]
            yield [*_moments(content), *how, metric, *measured, *apart]


def _intervals(content: dict[str, Any]) -> Iterator[Row]:
    """Means over children, with the 95 % interval of Student's t distribution.

    Lines between two children each have ends in common, from which no interval follows.
    """
    rows = [dict(zip(COLUMNS["barriers"], row, strict=True)) for row in _barriers(content)]
    for _, group in groupby(sorted(rows, key=_treatment), key=_treatment):
        same = list(group)
        how = [same[0][name] for name in (*HOW, "metric")]
        for measure in MEASURES:
            values = torch.tensor([row[measure] for row in same], dtype=torch.float64)
            apart = not isinstance(same[0]["child_seed"], str)
            yield [*_moments(content), *how, len(same), measure, *_interval(values, apart)]


def _interval(values: torch.Tensor, apart: bool) -> list[float | None]:
    """Mean, low and high; of one child, or of lines with common ends, the mean alone."""
    found = barriers.interval(values)
    ends = [found.low.item(), found.high.item()] if apart and len(values) > 1 else [None, None]
    return [found.mean.item(), *ends]


def _treatment(row: dict[str, Any]) -> tuple[Any, ...]:
    return *records.place(row), SPLITS.index(row["split"]), row["metric"] == "error"


def _curves(content: dict[str, Any]) -> Iterator[tuple[Line, str, dict[str, Any]]]:
    for line in content["lines"]:
        for split in SPLITS:
            if split in line["curves"]:
                yield line, split, line["curves"][split]


def _moments(content: dict[str, Any]) -> Sequence[Any]:
    return [content.get(name) for name in MOMENTS]
