"""Loss and accuracy on grids of the plane through three networks, kept point by point."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from isthmus.connectivity.plane import Plane
from isthmus.connectivity.points import PointEvaluator
from isthmus.connectivity.records import AS_TRAINED, RESET
from isthmus.runs import write_csv
from isthmus.state_dicts import StateDict

COLUMNS = ("points", "x", "y", "split", "loss", "accuracy")
NETWORK_COLUMNS = ("name", "x", "y", "distance", "bn", "split", "loss", "accuracy")

ROUNDING = 1e-6  # of a coordinate, as a fraction of the grid's extent

Numbers = tuple[float, float]  # loss and accuracy
Place = tuple[float, float]  # x and y
# A row of a table: points each way of its grid, None in a table of an older version, which has one
# grid; where on it; which split; what was measured.
Row = tuple[int | None, Place, str, Numbers]


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

    def measure(
        self,
        table: Path,
        bn: str,
        splits: Sequence[str],
        progress: bool = True,
        older: int | None = None,
    ) -> int:
        """Fill a table with what it lacks of this grid, and write it after every point.

        Points that this grid has in common with others of the table are taken from there. Where the
        first layer is computed for many points at once (see `PointEvaluator`) it is written after
        every row of the grid, which takes less than a point of other networks.

        Args:
            table: of grids of this plane, with batch-norm statistics of this sort.
            bn: as in `PointEvaluator.evaluate`.
            splits: on which to evaluate.
            progress: whether to show a bar where there is a terminal.
            older: points each way of the whole grid of a table that does not say it.

        Returns:
            How many points were evaluated.
        """
        rows = self._read(table, older)
        known, others = self._known(rows), [row for row in rows if self._is_of_another(row)]
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
                self._write(table, known, others)
                bar.update(len(part))
        self._write(table, known, others)
        return num_missing

    def _parts(self) -> Iterator[list[Place]]:
        """Places that are evaluated together, from the lowest row on."""
        for y in self.y.tolist():
            row = [(x, y) for x in self.x.tolist()]
            yield from [row] if self.points.way == "first layer" else [[place] for place in row]

    def _read(self, table: Path, older: int | None) -> list[Row]:
        """What a table holds; of one of an older version, what was treated as it is now.

        There the three networks kept their own batch-norm statistics. A grid without their places
        is not whole.
        """
        rows = read(table)
        treated = [row for row in rows if row[0] is not None or not self._is_corner(row[1])]
        named = older if len(treated) == len(rows) else None
        return [
            (named if points is None else points, place, split, numbers)
            for points, place, split, numbers in treated
        ]

    def _is_corner(self, place: Place) -> bool:
        within = ROUNDING * max(float(ticks[-1] - ticks[0]) for ticks in (self.x, self.y))
        apart = (self.plane.coordinates - torch.tensor(place, dtype=torch.float64)).abs()
        return bool((apart <= within).all(dim=1).any())

    def _is_of_another(self, row: Row) -> bool:
        return row[0] is not None and row[0] != len(self.x)

    def _known(self, rows: Sequence[Row]) -> dict[tuple[Place, str], Numbers]:
        """What there is of this grid, as places are here: another machine may round otherwise."""
        known = {}
        for _, (x, y), split, numbers in rows:
            column, row = _nearest(x, self.x), _nearest(y, self.y)
            if column is not None and row is not None:
                known[(column, row), split] = numbers
        return known

    def _write(
        self, table: Path, known: dict[tuple[Place, str], Numbers], others: Sequence[Row]
    ) -> None:
        here = [(len(self.x), place, split, each) for (place, split), each in known.items()]
        rows = [(points, *place, split, *each) for points, place, split, each in [*others, *here]]
        split_order = ("train", "val", "test").index
        rows.sort(key=lambda row: (row[0], row[2], row[1], split_order(row[3])))
        write_csv(table, COLUMNS, rows)


def read(table: Path) -> list[Row]:
    """What a table of grids holds; nothing if it is not there."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [
            (
                int(row["points"]) if "points" in row else None,
                (float(row["x"]), float(row["y"])),
                row["split"],
                (float(row["loss"]), float(row["accuracy"])),
            )
            for row in csv.DictReader(file)
        ]


def networks_table(
    plane: Plane,
    networks: Sequence[tuple[str, Callable[[], StateDict]]],
    points: PointEvaluator,
    splits: Sequence[str],
    bn: str,
) -> list[tuple[str | float, ...]]:
    """Where networks lie as seen from a plane, and how good they are by themselves.

    They are treated as the points of the plane are. Where that is otherwise than they were trained,
    there are rows of them as trained, too.

    Args:
        plane: through the first three.
        networks: by name; each is made, or read, when its turn comes.
        points: with the data.
        splits: on which to evaluate.
        bn: as in `PointEvaluator.evaluate`.

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
        alone = torch.ones(1, 1, dtype=torch.float64)
        treatments = {bn: bn}
        if bn == RESET and points.has_batch_norm:
            treatments[AS_TRAINED] = "keep"
        for treatment, own in treatments.items():
            for split, curve in points.evaluate([network], alone, own, splits).items():
                numbers = (curve.loss.item(), curve.accuracy.item())
                rows.append((name, *place, treatment, split, *numbers))
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


def _lacks(known: dict[tuple[Place, str], Numbers], place: Place, splits: Sequence[str]) -> bool:
    return any((place, split) not in known for split in splits)
