"""Requests of `interpolate.py`, and the folders and files of its results. Imports no torch."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from isthmus import steps
from isthmus.connectivity import chance_level
from isthmus.connectivity.options import Line, LineOptions, PlaneOptions
from isthmus.store import fingerprints, locks, reading
from isthmus.store.files import Run, write_json
from isthmus.vocabulary import ALIGNMENTS, LINE_BATCH_NORM_MODES

# Of the child at the end; between two children: "1-2", those of both; None between saved networks.
ChildSeed: TypeAlias = int | str | None

LineKey: TypeAlias = tuple["BranchPair | None", ChildSeed]  # which line it is

SEED = "seed_"  # begins the name of the folder of a main branch
LOCKS = ".locks"  # folder with the locks of single lines
RESET, AS_TRAINED = "reset", "as_trained"  # what the batch-norm statistics of the ends are


@dataclass(frozen=True)
class BranchPair:
    """A main branch and others that left it after `k1`, compared `k2` later; in iterations."""

    k1: int
    k2: int
    iterations_per_epoch: int

    @property
    def total(self) -> int:
        """The iteration at which they are compared, from the beginning of training."""
        return self.k1 + self.k2

    def text(self, iteration: int) -> steps.Step:
        """An iteration as text in names of files."""
        return steps.to_text(iteration, self.iterations_per_epoch)

    @property
    def name(self) -> str:
        """Name of the pair, such as "k1_1ep_k2_5ep"."""
        return f"k1_{self.text(self.k1)}_k2_{self.text(self.k2)}"

    def moments(self) -> dict[str, float | int]:
        """k1, k2 and their sum, in epochs and in iterations."""
        iterations = {"k1": self.k1, "k2": self.k2, "total": self.total}
        per_epoch = self.iterations_per_epoch
        in_epochs = {name: round(i / per_epoch, 6) for name, i in iterations.items()}
        return {**in_epochs, **{f"{name}_step": i for name, i in iterations.items()}}


@dataclass(frozen=True)
class LineRecords:
    """The folder with the records of lines, one file per pair of moments."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """The files of all pairs that there are."""
        return sorted([*self.folder.glob("k1_*_k2_*.json"), *self.folder.glob("line.json")])

    @property
    def seed(self) -> int | None:
        """The global seed of the main branch; None where the folder is not that of one."""
        name = self.folder.absolute().name
        digits = name.removeprefix(SEED)
        return int(digits) if name.startswith(SEED) and digits.isdecimal() else None

    @property
    def study(self) -> "LineStudy | None":
        """All main branches of the study, of which this folder is that of one."""
        return None if self.seed is None else LineStudy(self.folder.absolute().parent)

    @property
    def are_in_tables(self) -> bool:
        """Whether the tables are up to date, those of the whole study too."""
        return has_tables(self.folder, self.files) and (
            self.study is None or has_tables(self.study.folder, self.study.files)
        )

    def file(self, pair: BranchPair | None) -> Path:
        """The file of a pair of moments; None: of two saved networks."""
        return self.folder / f"{pair.name if pair else 'line'}.json"

    def read(self, pair: BranchPair | None) -> dict[str, Any]:
        """The record of a pair: `lines`, and what else was written; {} if there is none."""
        path = self.file(pair)
        return reading.read_json(path) if path.exists() else {}

    def has(self, lines: Sequence[LineKey], request: LineOptions) -> bool:
        """Whether lines have all that is requested, and the tables are up to date."""
        known = (self.line(pair, child_seed, request) for pair, child_seed in lines)
        return all(map(request.is_met, known)) and self.are_in_tables

    def line(
        self, pair: BranchPair | None, child_seed: ChildSeed, request: LineOptions
    ) -> Line | None:
        """The line of one child, aligned and treated as requested; None if not measured."""
        key = (child_seed, request.align, request.bn)
        lines = self.read(pair).get("lines", [])
        return next((line for line in lines if _key(line) == key), None)

    def lock_line(
        self, pair: BranchPair | None, child_seed: ChildSeed, request: LineOptions
    ) -> AbstractContextManager[None]:
        """Hold one line: another job that needs it waits, then finds it measured."""
        name = f"{self.file(pair).stem}_{child_seed}_{request.align}_{request.bn}"
        return locks.exclusive(self.folder / LOCKS / name, [])

    def write(self, pair: BranchPair | None, line: Line, about: Mapping[str, Any]) -> None:
        """Write a line into its pair's file, in place of its earlier record.

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


@dataclass(frozen=True)
class LineStudy:
    """The folder above those of several main branches, which differ in their global seed."""

    folder: Path

    @property
    def branches(self) -> list[LineRecords]:
        """Main branches with measured lines, in order of their seeds."""
        branches = [LineRecords(path) for path in self.folder.glob(f"{SEED}*")]
        with_lines = [records for records in branches if records.seed is not None and records.files]
        return sorted(with_lines, key=lambda records: records.seed or 0)

    @property
    def files(self) -> list[Path]:
        """The files of the lines of all main branches."""
        return [file for records in self.branches for file in records.files]

    def lock(self) -> AbstractContextManager[None]:
        """Hold the tables of the study, to write them."""
        return locks.exclusive(self.folder, [self.folder])


def has_tables(folder: Path, files: Sequence[Path]) -> bool:
    """Whether the tables, of which `intervals.csv` is written last, are as new as some files."""
    table = folder / "intervals.csv"
    if not table.exists():
        return False
    return all(file.stat().st_mtime_ns <= table.stat().st_mtime_ns for file in files)


def all_pairs(
    k1: Sequence[steps.Step], k2: Sequence[steps.Step], iterations_per_epoch: int, end: int
) -> list[BranchPair]:
    """All pairs of shared and further training.

    Args:
        k1: shared, from the beginning.
        k2: further.
        iterations_per_epoch: optimizer steps in one epoch.
        end: of the main branch, in iterations.

    Raises:
        ValueError: a pair reaches beyond the end of the main branch.
    """
    pairs = []
    for one in k1:
        for other in k2:
            shared, further = (steps.to_iteration(s, iterations_per_epoch) for s in (one, other))
            pair = BranchPair(shared, further, iterations_per_epoch)
            if pair.total > end:
                raise ValueError(
                    f"k1={one} k2={other}: {pair.text(pair.total)} is after the end of the main "
                    f"branch, {pair.text(end)}; hparams.epochs or hparams.steps says how long it is"
                )
            pairs.append(pair)
    return pairs


def seed_pairs(seeds: Sequence[int]) -> dict[str, tuple[int, int]]:
    """All pairs of children, by the `child_seed` of the line between them.

    Args:
        seeds: of the children, each once.
    """
    return {f"{start}-{end}": (start, end) for start, end in combinations(sorted(seeds), 2)}


def _key(line: Line) -> tuple[ChildSeed, str, str]:
    return line["child_seed"], line["align"], line["bn"]


def _order(line: Line) -> tuple[list[int], tuple[int, int]]:
    seed = line["child_seed"]
    return ([] if seed is None else [int(part) for part in str(seed).split("-")]), line_place(line)


def line_place(line: Mapping[str, Any]) -> tuple[int, int]:
    """Sort key of a line in tables, by alignment and treatment."""
    return ALIGNMENTS.index(line["align"]), LINE_BATCH_NORM_MODES.index(line["bn"])


@dataclass(frozen=True)
class PlaneFiles:
    """The files of the results of a plane."""

    folder: Path

    @property
    def grid(self) -> Path:
        return self.folder / "plane.csv"

    @property
    def networks(self) -> Path:
        return self.folder / "plane_networks.csv"

    @property
    def run(self) -> Run:
        return Run(self.folder)

    def is_done(self, request: PlaneOptions, projected: Sequence[Path]) -> bool:
        """Whether the grid is filled on all splits, and these networks are projected."""
        result = self.run.read_result()
        if result is None or not (self.grid.exists() and self.networks.exists()):
            return False
        same = result["projected"] == file_digests(projected)
        filled = result.get("grids", {}).get(str(request.points), [])  # not in older versions
        return same and set(request.splits) <= set(filled)

    def at_chance(self) -> str | None:
        """One line that names the networks at chance level, if any."""
        result, networks = self.run.read_result() or {}, dict[str, list[float]]()
        with self.networks.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["bn"] != AS_TRAINED:
                    networks.setdefault(row["name"], []).append(float(row["loss"]))
        return chance_level.chance_warning(networks, result.get("num_classes"))


def file_digests(files: Sequence[Path]) -> dict[str, str | None]:
    """Fingerprints of the contents of files, by name."""
    return {str(file): fingerprints.file_digest(str(file)) for file in files}
