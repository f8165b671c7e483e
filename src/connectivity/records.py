"""What is known of lines between networks: one file a pair of moments.

Imports no torch, so that a finished study ends at once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from src import steps
from src.runs import write_json

# {child_seed, align, bn, distance, cosine, curves, networks}, where curves has, by split, {alphas,
# loss, accuracy, barriers, requests}
Line: TypeAlias = dict[str, Any]

# Of the child at the end; between two children: "1-2", those of both; None between saved networks.
ChildSeed: TypeAlias = int | str | None

ALIGNS = ("none", "weights", "activations")
TREATMENTS = ("reset", "average", "keep", "repair")  # of batch-norm statistics


@dataclass(frozen=True)
class Pair:
    """A main branch and others that left it after `k1`, compared `k2` later; in iterations."""

    k1: int
    k2: int
    iterations_per_epoch: int

    @property
    def total(self) -> int:
        """Where they are compared, counted from the beginning."""
        return self.k1 + self.k2

    def text(self, iteration: int) -> steps.Step:
        """A moment as it stands in names of files."""
        return steps.to_text(iteration, self.iterations_per_epoch)

    @property
    def name(self) -> str:
        """Of the pair, such as "k1_1ep_k2_5ep"."""
        return f"k1_{self.text(self.k1)}_k2_{self.text(self.k2)}"

    def moments(self) -> dict[str, float | int]:
        """All of them, in epochs and in iterations."""
        iterations = {"k1": self.k1, "k2": self.k2, "total": self.total}
        per_epoch = self.iterations_per_epoch
        in_epochs = {name: round(i / per_epoch, 6) for name, i in iterations.items()}
        return {**in_epochs, **{f"{name}_step": i for name, i in iterations.items()}}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a line; see `python interpolate.py --help`."""

    alphas: int | Sequence[float] = 25
    refine: int | None = None
    align: str = "none"
    bn: str = "reset"
    splits: Sequence[str] = ("train", "test")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Request":
        """Those of a configuration as plain Python."""
        return cls(**{name: values[name] for name in cls.__annotations__})

    @property
    def num_alphas(self) -> int:
        """How many points at most."""
        grid = self.alphas if isinstance(self.alphas, int) else len(self.alphas)
        return grid + (self.refine or 0)

    def is_met(self, line: Line | None) -> bool:
        """Whether a line has all of it."""
        return line is not None and all(self.is_met_on(line, split) for split in self.splits)

    def is_met_on(self, line: Line, split: str) -> bool:
        """Whether a line has all of it on one split."""
        return split in line["curves"] and self.alphas_text in line["curves"][split]["requests"]

    @property
    def alphas_text(self) -> str:
        """Where on a line to look, in one text."""
        return json.dumps({"alphas": self.alphas, "refine": self.refine})


@dataclass(frozen=True)
class Records:
    """The folder that lines are kept in."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """Those that are there."""
        return sorted([*self.folder.glob("k1_*_k2_*.json"), *self.folder.glob("line.json")])

    @property
    def are_in_tables(self) -> bool:
        """Whether the tables, of which `intervals.csv` is written last, hold all that is known."""
        table = self.folder / "intervals.csv"
        if not table.exists():
            return False
        return all(file.stat().st_mtime_ns <= table.stat().st_mtime_ns for file in self.files)

    def file(self, pair: Pair | None) -> Path:
        """Of a pair of moments; of two saved networks: None."""
        return self.folder / f"{pair.name if pair else 'line'}.json"

    def read(self, pair: Pair | None) -> dict[str, Any]:
        """What is known of a pair: `lines`, and what else was written down; {} if nothing is."""
        path = self.file(pair)
        return json.loads(path.read_text()) if path.exists() else {}

    def has(self, lines: Sequence[tuple[Pair | None, ChildSeed]], request: Request) -> bool:
        """Whether lines have all that is asked for, and the tables have it too."""
        known = (self.line(pair, child_seed, request) for pair, child_seed in lines)
        return all(map(request.is_met, known)) and self.are_in_tables

    def line(self, pair: Pair | None, child_seed: ChildSeed, request: Request) -> Line | None:
        """The line of one child, aligned and treated as is asked for."""
        key = (child_seed, request.align, request.bn)
        lines = self.read(pair).get("lines", [])
        return next((line for line in lines if _key(line) == key), None)

    def write(self, pair: Pair | None, line: Line, about: Mapping[str, Any]) -> None:
        """Put a line into its pair's file, in place of what was known of it.

        Args:
            pair: of moments, or None.
            line: one.
            about: what else to write down of the pair.
        """
        known = self.read(pair)
        others = [other for other in known.get("lines", []) if _key(other) != _key(line)]
        lines = sorted([*others, line], key=_order)
        moments = {**asdict(pair), **pair.moments()} if pair else {}
        merged = {**known, **moments, **about}
        for name in set(known) & set(about):
            if isinstance(about[name], dict):
                merged[name] = known[name] | about[name]
        write_json(self.file(pair), {**merged, "lines": lines})


def pairs(
    k1: Sequence[steps.Step], k2: Sequence[steps.Step], iterations_per_epoch: int, end: int
) -> list[Pair]:
    """All pairs of shared and further training.

    Args:
        k1: shared, from the beginning.
        k2: further.
        iterations_per_epoch: optimizer steps in one epoch.
        end: of the main branch, in iterations.

    Raises:
        ValueError: a pair reaches beyond the end of the main branch.
    """
    found = []
    for one in k1:
        for other in k2:
            shared, further = (steps.to_iteration(s, iterations_per_epoch) for s in (one, other))
            pair = Pair(shared, further, iterations_per_epoch)
            if pair.total > end:
                raise ValueError(
                    f"k1={one} k2={other}: {pair.text(pair.total)} lies after the end of the main "
                    f"branch, {pair.text(end)}; hparams.epochs or hparams.steps says how long it is"
                )
            found.append(pair)
    return found


def between(seeds: Sequence[int]) -> dict[str, tuple[int, int]]:
    """All pairs of children, by the `child_seed` of the line between them.

    Args:
        seeds: of the children, each once.
    """
    return {f"{start}-{end}": (start, end) for start, end in combinations(sorted(seeds), 2)}


def _key(line: Line) -> tuple[ChildSeed, str, str]:
    return line["child_seed"], line["align"], line["bn"]


def _order(line: Line) -> tuple[list[int], tuple[int, int]]:
    seed = line["child_seed"]
    return ([] if seed is None else [int(part) for part in str(seed).split("-")]), place(line)


def place(line: Mapping[str, Any]) -> tuple[int, int]:
    """Of a line in tables, by what was done to it."""
    return ALIGNS.index(line["align"]), TREATMENTS.index(line["bn"])
