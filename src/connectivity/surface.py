"""Loss and accuracy on a grid of the plane through three networks, kept point by point."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from src.connectivity.plane import Plane
from src.connectivity.points import PointEvaluator
from src.runs import write_csv
from src.state_dicts import StateDict

COLUMNS = ("x", "y", "split", "loss", "accuracy")
NETWORK_COLUMNS = ("name", "x", "y", "distance", "split", "loss", "accuracy")

ROUNDING = 1e-6  # of a coordinate, as a fraction of the grid's extent

Numbers = tuple[float, float]  # loss and accuracy
Place = tuple[float, float]  # x and y


@dataclass(frozen=True)
class Surface:
    """A grid of the plane through three networks.

    Args:
        points: evaluates combinations of the three.
        plane: through them.
        networks: the three, A, B and C.
        x: (columns,) float64, increasing, as `Plane.grid` returns them.
        y: (rows,) float64, likewise.
    """

    points: PointEvaluator
    plane: Plane
    networks: Sequence[StateDict]
    x: Tensor
    y: Tensor

    def measure(self, table: Path, bn: str, splits: Sequence[str], progress: bool = True) -> int:
        """Fill a table with what it lacks, and write it after every point.

        Where the first layer is computed for many points at once (see `PointEvaluator`) it is
        written after every row of the grid, which takes less than a point of other networks.

        Args:
            table: of this grid, of networks with batch-norm statistics of this sort.
            bn: as in `PointEvaluator.evaluate`.
            splits: on which to evaluate.
            progress: whether to show a bar where there is a terminal.

        Returns:
            How many points were evaluated.
        """
        known = self._known(table)
        parts = [[p for p in part if _lacks(known, p, splits)] for part in self._parts()]
        num_missing = sum(map(len, parts))
        hidden = None if progress else True
        bar = tqdm(total=num_missing, desc="plane", unit="point", disable=hidden, leave=False)
        with bar:
            for part in filter(None, parts):
                lacking = [s for s in splits if any(_lacks(known, place, [s]) for place in part)]
                shares = self.plane.shares(torch.tensor(part, dtype=torch.float64))
                curves = self.points.evaluate(self.networks, shares, bn, lacking)
                for split, curve in curves.items():
                    numbers = zip(curve.loss.tolist(), curve.accuracy.tolist(), strict=True)
                    known |= {(p, split): each for p, each in zip(part, numbers, strict=True)}
                self._write(table, known)
                bar.update(len(part))
        return num_missing

    def _parts(self) -> Iterator[list[Place]]:
        """Places that are evaluated together, from the lowest row on."""
        for y in self.y.tolist():
            row = [(x, y) for x in self.x.tolist()]
            yield from [row] if self.points.way == "first layer" else [[place] for place in row]

    def _known(self, table: Path) -> dict[tuple[Place, str], Numbers]:
        """What a table holds, its places as they are here: another machine may round otherwise."""
        known = {}
        for ((x, y), split), numbers in read(table).items():
            column, row = _nearest(x, self.x), _nearest(y, self.y)
            if column is None or row is None:
                raise ValueError(
                    f"{table}: has a point at ({x}, {y}), which this grid has not; remove it to "
                    "start over"
                )
            known[(column, row), split] = numbers
        return known

    def _write(self, table: Path, known: dict[tuple[Place, str], Numbers]) -> None:
        order = {place: number for number, place in enumerate(_places(self.x, self.y))}
        rows = [(*place, split, *numbers) for (place, split), numbers in known.items()]
        rows.sort(key=lambda row: (order[row[:2]], ("train", "val", "test").index(row[2])))
        write_csv(table, COLUMNS, rows)


def read(table: Path) -> dict[tuple[Place, str], Numbers]:
    """What a table of a grid holds, by place and split; nothing if it is not there."""
    if not table.exists():
        return {}
    with table.open(newline="") as file:
        return {
            ((float(row["x"]), float(row["y"])), row["split"]): (
                float(row["loss"]),
                float(row["accuracy"]),
            )
            for row in csv.DictReader(file)
        }


def networks_table(
    plane: Plane,
    networks: Sequence[tuple[str, Callable[[], StateDict]]],
    points: PointEvaluator,
    splits: Sequence[str],
) -> list[tuple[str | float, ...]]:
    """Where networks lie as seen from a plane, and how good they are by themselves.

    Args:
        plane: through the first three.
        networks: by name; each is made, or read, when its turn comes.
        points: with the data.
        splits: on which to evaluate.

    Returns:
        Rows of `NETWORK_COLUMNS`; the three have a distance of 0 from the plane, exactly.

    Raises:
        ValueError: one of them is of another architecture.
    """
    rows: list[tuple[str | float, ...]] = []
    for number, (name, make) in enumerate(networks):
        network = make()
        if number < len(plane.coordinates):
            place = (*plane.coordinates[number].tolist(), 0.0)
        else:
            seen = plane.project(network)
            place = (seen.x, seen.y, seen.distance)
        curves = points.evaluate([network], torch.ones(1, 1, dtype=torch.float64), "keep", splits)
        for split, curve in curves.items():
            rows.append((name, *place, split, curve.loss.item(), curve.accuracy.item()))
    return rows


def short_names(files: Sequence[Path]) -> list[str]:
    """Names of files, with as many folders as they can be told apart by, at least one.

    Such as "seed_1/step_100" and "seed_2/step_100". A file that is given twice has one name.
    """
    paths = [path.with_suffix("").resolve().parts for path in files]
    names: list[str] = []
    for length in range(2, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def _nearest(value: float, ticks: Tensor) -> float | None:
    """The tick that a value is, to rounding."""
    tick = float(ticks[(ticks - value).abs().argmin()])
    return tick if abs(tick - value) <= ROUNDING * float(ticks[-1] - ticks[0]) else None


def _places(x: Tensor, y: Tensor) -> Iterator[Place]:
    return ((each, row) for row in y.tolist() for each in x.tolist())


def _lacks(known: dict[tuple[Place, str], Numbers], place: Place, splits: Sequence[str]) -> bool:
    return any((place, split) not in known for split in splits)
