"""Where the legs of splitting and merging lie, and their table. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import steps
from isthmus.branching import cells
from isthmus.branching.tree import Tree, text
from isthmus.runs import Run
from isthmus.steps import Step

COLUMNS = ("leg", "role", "seeds", "batch_size", "bn", "split", "loss", "accuracy")


@dataclass(frozen=True)
class Legs:
    """A request for legs: parent, children from its end, their average as the next parent.

    Args:
        tree: whose parent is that of leg 0.
        num_legs: at least 1; asking for more later trains only those.
        strategy: what changes from leg to leg, or None.
        child_seeds: one child each.
        child_length: from the end of the parent on; None for the length of the parent.
        bn: what becomes of batch-norm statistics of the averages.
    """

    tree: Tree
    num_legs: int
    strategy: str | None
    child_seeds: list[int]
    child_length: Step | None
    bn: str

    @property
    def folder(self) -> Path:
        length = self.child_length or "full"
        seeds = text(self.child_seeds)
        return self.tree.legs(f"{self.strategy or 'plain'}_{length}_{self.bn}_seeds_{seeds}")

    @property
    def table(self) -> Path:
        return self.folder / "legs.csv"

    def parent(self, leg: int) -> Run:
        """The parent of a leg."""
        return self.tree.parent if leg == 0 else Run(self.folder / f"leg_{leg}" / "parent")

    def child(self, leg: int, seed: int) -> Run:
        """A child of a leg."""
        return Run(self.folder / f"leg_{leg}" / "children" / f"seed_{seed}")

    def average(self, leg: int) -> Run:
        """The average of a leg's children, with its optimizer state, kept as a snapshot."""
        return Run(self.folder / f"leg_{leg}" / "average")

    def length(self, iterations_per_epoch: int, parent_length: int) -> int:
        """Iterations of a child."""
        if self.child_length is None:
            return parent_length
        return steps.to_iteration(self.child_length, iterations_per_epoch)

    def done(self) -> set[int]:
        """Legs that the table has."""
        return {int(row["leg"]) for row in cells.read_rows(self.table)}

    def are_done(self) -> bool:
        """Whether the table has all legs."""
        return set(range(self.num_legs)) <= self.done()


def rows_of(
    leg: int,
    member: tuple[str, str],
    batch_size: int | str,
    bn: str,
    table: Mapping[str, Mapping[str, float]],
) -> list[list[Any]]:
    """The rows of one network of a leg.

    Args:
        leg: counted from 0.
        member: its role, which is parent, child or average, and its seeds as text.
        batch_size: that it was trained with; empty for an average.
        bn: what became of batch-norm statistics; keep: as they were trained.
        table: loss and accuracy by split.
    """
    numbers = {split: (repr(cell["loss"]), repr(cell["accuracy"])) for split, cell in table.items()}
    return [[leg, *member, batch_size, bn, split, *pair] for split, pair in numbers.items()]
