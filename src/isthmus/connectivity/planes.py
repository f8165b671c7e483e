"""The plane through three saved networks: its files, and whether they are all there.

Imports no torch, so that a finished plane ends at once.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import fingerprints
from isthmus.connectivity import uniform_guess
from isthmus.connectivity.records import AS_TRAINED
from isthmus.runs import Run


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a plane; see `python interpolate.py --help`."""

    points: int = 21
    margin: float = 0.2
    align: str = "none"
    bn: str = "reset"
    splits: Sequence[str] = ("train", "test")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Request":
        """Those of a configuration as plain Python."""
        return cls(**{name: values[name] for name in cls.__annotations__})


@dataclass(frozen=True)
class Files:
    """Where the results of a plane lie."""

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

    def is_done(self, request: Request, projected: Sequence[Path]) -> bool:
        """Whether the grid is filled on all splits, and these networks are projected."""
        result = self.run.read_result()
        if result is None or not (self.grid.exists() and self.networks.exists()):
            return False
        same = result["projected"] == digests(projected)
        filled = result.get("grids", {}).get(str(request.points), [])  # not in older versions
        return same and set(request.splits) <= set(filled)

    def at_chance(self) -> str | None:
        """One line that names the networks that know no more than a uniform guess, if any."""
        result, networks = self.run.read_result() or {}, dict[str, list[float]]()
        with self.networks.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["bn"] != AS_TRAINED:
                    networks.setdefault(row["name"], []).append(float(row["loss"]))
        return uniform_guess.warning(networks, result.get("num_classes"))


def digests(files: Sequence[Path]) -> dict[str, str | None]:
    """What files hold, by name."""
    return {str(file): fingerprints.file(str(file)) for file in files}
