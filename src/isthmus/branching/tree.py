"""Where a parent, its children and what is made of them lie."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from isthmus import locks
from isthmus.runs import Run
from isthmus.steps import Step


@dataclass(frozen=True)
class Tree:
    """The folder of one study of branches.

    A spawn step is the text of a moment of the parent, such as "1ep", by which folders are named.
    """

    folder: Path

    @property
    def pretrain(self) -> Run:
        return Run(self.folder / "pretrain")

    @property
    def parent(self) -> Run:
        return Run(self.folder / "parent")

    @property
    def averages(self) -> Path:
        return self.folder / "averages.csv"

    @property
    def distances(self) -> Path:
        return self.folder / "distance" / "distance.csv"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def tables_locked(self) -> AbstractContextManager[None]:
        """Hold the tables of the whole tree, and their figures, to put them together."""
        folder = self.distances.parent
        return locks.exclusive(folder, [folder, self.folder, self.figures])

    def child(self, spawn_step: Step, seed: int) -> Run:
        """One child, of which each moment is counted from the beginning of its parent."""
        return Run(self.folder / "children" / spawn_step / f"seed_{seed}")

    def back(self, spawn_step: Step, seed: int) -> Run:
        """Averages of one child with earlier states of itself."""
        return Run(self.folder / "avg_back" / spawn_step / f"seed_{seed}")

    def across(self, spawn_step: Step, seeds: Sequence[int]) -> Run:
        """Averages of several children of one spawn step."""
        return Run(self.folder / "avg_across" / spawn_step / f"seeds_{text(seeds)}")

    def distance(self, spawn_step: Step) -> Path:
        """Table of the distances of the children of one spawn step."""
        return self.folder / "distance" / spawn_step / "pairs.csv"

    def legs(self, name: str) -> Path:
        """Folder of one repetition of splitting and merging."""
        return self.folder / "legs" / name


def text(seeds: Sequence[int]) -> str:
    """Seeds as they stand in names and tables: "1-2-3"."""
    return "-".join(map(str, seeds))
