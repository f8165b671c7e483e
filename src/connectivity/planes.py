"""The plane through three saved networks: its files, and whether they are all there.

Imports no torch, so that a finished plane ends at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import fingerprints
from src.runs import Run


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

    def is_done(self, splits: Sequence[str], projected: Sequence[Path]) -> bool:
        """Whether the grid is filled on these splits, and these networks are projected."""
        result = self.run.read_result()
        if result is None or not (self.grid.exists() and self.networks.exists()):
            return False
        same = result["projected"] == digests(projected)
        return same and set(splits) <= set(result["splits"])


def digests(files: Sequence[Path]) -> dict[str, str | None]:
    """What files hold, by name."""
    return {str(file): fingerprints.file(str(file)) for file in files}
