"""Requests of `interpolate.py`, and the folders and files of its results. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from isthmus import steps, tables
from isthmus.connectivity import chance_level
from isthmus.connectivity.options import Line, LineOptions, PlaneOptions
from isthmus.store import fingerprints, locks, reading
from isthmus.store.files import Run, write_json
from isthmus.vocabulary import ALIGNMENTS, LINE_BATCH_NORM_MODES

# Of the child at the end; between two children: "1-2", those of both; None between saved networks.
ChildSeed: TypeAlias = int | str | None

LineKey: TypeAlias = tuple["BranchPair | None", ChildSeed]  # which line it is

SEED = "seed_"  # begins the name of the folder of a main branch
RECORDS = "records"  # folder with a file per line
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
    """The folder with the records of lines, one file per line.

    Files of an older version, one per pair of moments with all of its lines, are read, too.
    """

    folder: Path

    @property
    def files(self) -> list[Path]:
        """The files of all lines that there are."""
        older = [*self.folder.glob("k1_*_k2_*.json"), *self.folder.glob("line.json")]
        return sorted([*self.folder.glob(f"{RECORDS}/*.json"), *older])

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

    def file(self, pair: BranchPair | None, line: Mapping[str, Any]) -> Path:
        """The file of a line.

        Args:
            pair: of moments; None: of two saved networks.
            line: with its `child_seed`, `align` and `bn`.
        """
        child = "" if line["child_seed"] is None else f"_child_{line['child_seed']}"
        how = f"{line['align']}_{line['bn']}"
        return self.folder / RECORDS / f"{pair.name if pair else 'line'}{child}_{how}.json"

    def read(self) -> list[Line]:
        """All lines, in order of their moments, children, alignment and treatment."""
        lines = dict[tuple[Any, ...], Line]()
        for file in reversed(self.files):  # a file of its own counts more than that of the pair
            for line in _lines_of_file(file):
                lines.setdefault((line.get("k1_step"), line.get("k2_step"), *_key(line)), line)
        return sorted(lines.values(), key=_order)

    def line(
        self, pair: BranchPair | None, child_seed: ChildSeed, request: LineOptions
    ) -> Line | None:
        """The line of one child, aligned and treated as requested; None if not measured."""
        key = {"child_seed": child_seed, "align": request.align, "bn": request.bn}
        older = self.folder / f"{pair.name if pair else 'line'}.json"
        for file in (self.file(pair, key), older):
            if file.exists():
                for line in _lines_of_file(file):
                    if _key(line) == tuple(key.values()):
                        return line
        return None

    def lack(self, lines: Sequence[LineKey], request: LineOptions) -> bool:
        """Whether some line lacks something that is requested."""
        known = (self.line(pair, child_seed, request) for pair, child_seed in lines)
        return not all(map(request.is_met, known))

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder, to write its tables: no line is written meanwhile."""
        return locks.exclusive(self.folder, [self.folder, self.folder / RECORDS])

    def lock_line(
        self, pair: BranchPair | None, child_seed: ChildSeed, request: LineOptions
    ) -> AbstractContextManager[None]:
        """Hold one line: another job that needs it waits, then finds it measured."""
        how = {"child_seed": child_seed, "align": request.align, "bn": request.bn}
        return locks.exclusive(self.folder / LOCKS / self.file(pair, how).stem, [])

    def write(
        self,
        pair: BranchPair | None,
        line: Line,
        about: Mapping[str, Any],
        known: Line | None = None,
    ) -> None:
        """Write a line in place of its earlier record; the caller holds the line.

        Args:
            pair: of moments, or None.
            line: one.
            about: what else to write down of it.
            known: its earlier record.
        """
        moments = {**asdict(pair), **pair.moments()} if pair else {}
        merged = {**moments, **about, **line}
        for name, value in about.items():
            if isinstance(value, dict):
                merged[name] = {**(known or {}).get(name, {}), **value}
        write_json(self.file(pair, line), merged)


def _lines_of_file(file: Path) -> Iterator[Line]:
    """The lines in a file, with the moments and all else that was written of them."""
    content = reading.read_json(file)
    if "lines" not in content:
        yield content
        return
    about = {name: value for name, value in content.items() if name != "lines"}
    for line in content["lines"]:  # of an older version
        yield {**about, **line}


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


def _order(line: Line) -> tuple[Any, ...]:
    seed = line["child_seed"]
    moment = [line.get(name, 0) for name in ("k1_step", "k2_step")]
    children = [] if seed is None else [int(part) for part in str(seed).split("-")]
    return moment, children, line_place(line)


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
        for name, bn, loss in tables.read_keys(self.networks, ("name", "bn", "loss")):
            if bn != AS_TRAINED:
                networks.setdefault(name, []).append(float(loss))
        return chance_level.chance_warning(networks, result.get("num_classes"))


def file_digests(files: Sequence[Path]) -> dict[str, str | None]:
    """Fingerprints of the contents of files, by name."""
    return {str(file): fingerprints.file_digest(str(file)) for file in files}
