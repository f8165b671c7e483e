"""The plane through three networks: its coordinates, the grid evaluated on it, and its tables."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from isthmus import tables as core_tables
from isthmus.config import schema
from isthmus.connectivity import interpolation, matching, plan
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.options import PlaneOptions
from isthmus.connectivity.plan import AS_TRAINED, RESET
from isthmus.state_dicts import StateDict
from isthmus.store.files import write_json
from isthmus.training.evaluator import Evaluator
from isthmus.training.metrics import METRIC_NAMES
from isthmus.vocabulary import SPLITS


@dataclass(frozen=True)
class Projection:
    """Projection of a network onto a plane, in L2 distances of weights."""

    x: float
    y: float
    distance: float  # from the plane, never negative


class Plane:
    """Coordinates of the plane through networks A, B and C.

    The origin is A; the first axis points to B; the second, by Gram-Schmidt in float64, at a right
    angle to it to the side of C. Memory: three vectors of all parameters in float64, on the CPU.

    Args:
        networks: A, B and C, of one architecture.
        names: of the parameters, without running statistics.

    Raises:
        ValueError: the three are on one line, to the rounding of their weights, or differ in
            architecture.
    """

    def __init__(self, networks: Sequence[StateDict], names: Sequence[str]) -> None:
        if len(networks) != 3:
            raise ValueError(f"plane: needs three networks, got {len(networks)}")
        interpolation.check_alike(networks)
        self.names = list(names)
        self._origin, b, c = (_vector(network, self.names) for network in networks)
        rounding = torch.finfo(networks[0][self.names[0]].dtype).eps
        negligible = 8 * rounding * max(v.norm().item() for v in (self._origin, b, c))
        b, c = b - self._origin, c - self._origin
        bx, cx, cy, length = b.norm().item(), 0.0, 0.0, c.norm().item()
        if bx > negligible:
            self._first = b / bx
            for _ in range(2):  # the second time takes away what rounding left of the first
                along = (c @ self._first).item()
                c -= along * self._first
                cx += along
            cy = c.norm().item()
        if not (bx > negligible and cy > negligible):
            raise ValueError(
                f"plane: the three networks are on one line, which spans no plane (B is {bx:.3g} "
                f"from A, C is {length:.3g} from A and {cy:.3g} from the line through A and B)"
            )
        self._second = c / cy
        # (networks, 2), x and y of A, B and C
        self.coordinates = torch.tensor([[0, 0], [bx, 0], [cx, cy]], dtype=torch.float64)

    def shares(self, coordinates: Tensor) -> Tensor:
        """How much of A, B and C is in points of the plane, adding up to 1.

        Args:
            coordinates: (points, 2) float64, x and y.

        Returns:
            (points, 3) float64; exactly 1 and twice 0 at `self.coordinates`.
        """
        (_, _), (bx, _), (cx, cy) = self.coordinates.tolist()
        of_c = coordinates[:, 1] / cy
        of_b = (coordinates[:, 0] - of_c * cx) / bx
        return torch.stack([1 - of_b - of_c, of_b, of_c], dim=1)

    def grid(self, points: int, margin: float = 0.2) -> tuple[Tensor, Tensor]:
        """Evenly spaced coordinates of a grid that covers A, B and C, whatever their signs.

        Args:
            points: each way, at least 2.
            margin: how far the grid reaches beyond the three on all four sides, as a fraction of
                their extent that way; not negative.

        Returns:
            x and y, (points,) float64 each.

        Raises:
            ValueError: `points` or `margin` is too small.
        """
        if points < 2:
            raise ValueError(f"points: must be at least 2, got {points}")
        if not margin >= 0:
            raise ValueError(f"margin: must not be negative, got {margin}")
        low, high = self.coordinates.amin(dim=0), self.coordinates.amax(dim=0)
        beyond = margin * (high - low)
        ends = zip((low - beyond).tolist(), (high + beyond).tolist(), strict=True)
        x, y = (torch.linspace(*each, points, dtype=torch.float64) for each in ends)
        return x, y

    def project(self, network: StateDict) -> Projection:
        """The point of the plane nearest to a network, and how far that is.

        Raises:
            ValueError: the network's architecture is another.
        """
        vector = _vector(network, self.names)
        if vector.shape != self._origin.shape:
            raise ValueError(
                f"network: must have the {len(self._origin)} parameters of those that span the "
                f"plane, got {len(vector)}"
            )
        vector -= self._origin
        x, y = (vector @ self._first).item(), (vector @ self._second).item()
        rest = vector.sub_(self._first, alpha=x).sub_(self._second, alpha=y)
        return Projection(x, y, rest.norm().item())


def _vector(network: StateDict, names: Sequence[str]) -> Tensor:
    """(parameters,) float64 on the CPU, in memory of its own."""
    return torch.cat([network[name].detach().flatten().cpu().double() for name in names])


PLANE_COLUMNS = ("points", "x", "y", "split", *METRIC_NAMES)
NETWORK_COLUMNS = ("name", "x", "y", "distance", "bn", "split", *METRIC_NAMES)

ROUNDING = 1e-6  # of a coordinate, as a fraction of the grid's extent

Numbers = tuple[float | None, ...]  # by metric; None where an older version had none
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
        y: (rows,) float64, increasing, as `Plane.grid` returns them.
    """

    points: InterpolationEvaluator
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
        """Evaluate what a table lacks of this grid, and write it after every point.

        Points that other grids of the table have in common with this one are not evaluated again.
        Where the first layer is computed for many points at once (see `InterpolationEvaluator`) the
        table is written after every row of the grid, which is faster than a point of other
        networks.

        Args:
            table: of grids of this plane, with batch-norm statistics of this sort.
            bn: as in `InterpolationEvaluator.evaluate`.
            splits: on which to evaluate.
            progress: whether to show a bar where there is a terminal.
            older: points each way of the complete grid in a table without a column for it.

        Returns:
            How many points were evaluated.
        """
        rows = self._read(table, older)
        known, others = (
            self._numbers_on_grid(rows),
            [row for row in rows if self._is_of_another(row)],
        )
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
                    numbers = zip(*curve.lists().values(), strict=True)
                    known |= {(p, split): each for p, each in zip(part, numbers, strict=True)}
                self._write(table, known, others)
                bar.update(len(part))
        self._write(table, known, others)
        return num_missing

    def _parts(self) -> Iterator[list[Place]]:
        """Places that are evaluated together, from the lowest row on."""
        for y in self.y.tolist():
            row = [(x, y) for x in self.x.tolist()]
            yield from [row] if self.points.method == "first layer" else [[place] for place in row]

    def _read(self, table: Path, older: int | None) -> list[Row]:
        """The rows of a table; of one of an older version, those with the treatment of today.

        There the three networks kept their own batch-norm statistics. Without their points a
        grid is not complete.
        """
        rows = read_surface(table)
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

    def _numbers_on_grid(self, rows: Sequence[Row]) -> dict[tuple[Place, str], Numbers]:
        """Known numbers of this grid, by its own places: another machine may round differently."""
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
        split_order = SPLITS.index
        rows.sort(key=lambda row: (row[0], row[2], row[1], split_order(row[3])))
        core_tables.write(table, PLANE_COLUMNS, rows)


def read_surface(table: Path) -> list[Row]:
    """The rows of a table of grids; none if there is no table."""
    rows = core_tables.read_keys(table, PLANE_COLUMNS)
    return [
        (
            int(points) if points else None,
            (float(x), float(y)),
            split,
            tuple(float(number) if number else None for number in numbers),
        )
        for points, x, y, split, *numbers in rows
    ]


def networks_table(
    plane: Plane,
    networks: Sequence[tuple[str, Callable[[], StateDict]]],
    points: InterpolationEvaluator,
    splits: Sequence[str],
    bn: str,
) -> list[tuple[str | float, ...]]:
    """Projections of networks onto a plane, with the loss and accuracy of each network.

    They are treated as the points of the plane are. Where that changes what they were trained to,
    there are rows of the networks as trained, too.

    Args:
        plane: through the first three.
        networks: names, and functions that load them, called one after the other.
        points: with the data.
        splits: on which to evaluate.
        bn: as in `InterpolationEvaluator.evaluate`.

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
            projection = plane.project(network)
            place = (projection.x, projection.y, projection.distance)
        alone = torch.ones(1, 1, dtype=torch.float64)
        treatments = {bn: bn}
        if bn == RESET and points.has_batch_norm:
            treatments[AS_TRAINED] = "keep"
        for treatment, mode in treatments.items():
            for split, curve in points.evaluate([network], alone, mode, splits).items():
                numbers = [value for (value,) in curve.lists().values()]
                rows.append((name, *place, treatment, split, *numbers))
    return rows


def short_names(files: Sequence[Path]) -> list[str]:
    """Short names of files, with as few folders as distinguish them, at least one.

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


def measure_plane(
    files: plan.PlaneFiles,
    evaluator: Evaluator,
    three: Sequence[Path],
    others: Sequence[Path],
    request: PlaneOptions,
) -> None:
    """Evaluate what the tables of a plane lack; `result.json` is written last.

    A finer grid takes over the points that it has in common with one that is there.

    Args:
        files: of the tables; the caller holds their lock.
        evaluator: of the architecture of all networks.
        three: A, B and C.
        others: to be projected.
        request: which points to evaluate, and how.

    Raises:
        ValueError: A, B and C are on one line, or `points` or `margin` is too small.
    """
    networks = _Networks(evaluator, three[0], request.align)
    corners = [networks.load(file) for file in three]
    plane = Plane(corners, [name for name, _ in evaluator.model.named_parameters()])
    grids = _filled_splits(files)
    splits = _sort_splits({*grids.get(str(request.points), []), *request.splits})
    of_networks = _sort_splits({*splits, *(split for filled in grids.values() for split in filled)})
    points = InterpolationEvaluator(evaluator, of_networks, request.points**2)
    x, y = plane.grid(request.points, request.margin)
    grid = Surface(points, plane, corners, x, y)
    older = (files.run.read_result() or {}).get("points")
    grid.measure(files.grid, request.bn, splits, evaluator.runtime.progress, older)
    names = [*"ABC", *short_names(others)]
    named = [
        (name, partial(networks.load, file))
        for name, file in zip(names, [*three, *others], strict=True)
    ]
    rows = networks_table(plane, named, points, of_networks, request.bn)
    core_tables.write(files.networks, NETWORK_COLUMNS, rows)
    result = {
        **schema.to_values(request, PlaneOptions),
        "splits": of_networks,
        "grids": {**grids, str(request.points): splits},
        "precision": "bf16" if evaluator.autocast else "fp32",
        "num_threads": torch.get_num_threads(),
        "num_classes": len(evaluator.data.class_names),
        "num_examples": {split: len(evaluator.data.splits[split]) for split in of_networks},
        "plane": plan.file_digests(three),
        "projected": plan.file_digests(others),
    }
    write_json(files.run.result, result)


def _filled_splits(files: plan.PlaneFiles) -> dict[str, list[str]]:
    """By the number of points each way, the splits on which a grid is filled."""
    result = files.run.read_result() or {}
    return dict(result.get("grids", {}))


def _sort_splits(splits: Collection[str]) -> list[str]:
    return [split for split in SPLITS if split in splits]


class _Networks:
    """Saved networks, aligned with the first one."""

    def __init__(self, evaluator: Evaluator, first: Path, align: str) -> None:
        self.evaluator, self.align = evaluator, align
        self.first = evaluator.load(first)

    def load(self, file: Path) -> StateDict:
        evaluator = self.evaluator
        weights = evaluator.load(file)
        inputs = evaluator.calibration
        return matching.align_network(evaluator.model, self.first, weights, self.align, inputs)
