"""Where the levels of one study of pruning lie. Imports no torch."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from isthmus import locks
from isthmus.runs import Run

MASK = "mask.safetensors"
SPARSITY = "sparsity.csv"
INSTABILITY = "instability_"  # begins the names of branches with children


@dataclass(frozen=True)
class Tree:
    """The folder of one study of pruning, of one seed."""

    folder: Path

    @property
    def pretrain(self) -> Run:
        return Run(self.folder / "level_pretrain")

    @property
    def table(self) -> Path:
        return self.folder / "levels.csv"

    @property
    def instability_table(self) -> Path:
        return instability_beside(self.table)

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def level(self, level: int) -> Run:
        """The training of one level; 0 is the dense network."""
        return Run(self.folder / f"level_{level}")

    def branch(self, level: int, name: str) -> Run:
        """What was made of one level otherwise."""
        return Run(self.level(level).folder / name)

    def levels(self) -> list[int]:
        """Levels that are done, in order."""
        found = self.folder.glob("level_*/result.json")
        names = (path.parent.name.removeprefix("level_") for path in found)
        return sorted(int(name) for name in names if name.isdecimal())

    def branches(self, level: int) -> list[str]:
        """Branches of a level that are trainings and done, in order."""
        return [name for name in self._results(level) if not name.startswith(INSTABILITY)]

    def instabilities(self, level: int) -> list[str]:
        """Branches of a level with lines between its children, in order."""
        return [name for name in self._results(level) if name.startswith(INSTABILITY)]

    def child(self, level: int, branch: str, seed: int) -> Run:
        """One of the children in a branch of a level."""
        return Run(self.branch(level, branch).folder / f"seed_{seed}")

    def _results(self, level: int) -> list[str]:
        found = self.level(level).folder.glob("*_*/result.json")
        return sorted(path.parent.name for path in found)

    def tables_locked(self) -> AbstractContextManager[None]:
        """Hold the table and the figures, to write them."""
        return locks.exclusive(self.figures, [self.figures, self.folder])


def instability_beside(table: Path) -> Path:
    """The table of barriers between children of a study, beside that of its levels."""
    return table.with_name("instability.csv")


def mask_of(run: Run) -> Path:
    """File of the mask that a run was trained under."""
    return run.folder / MASK


def final_weights(run: Run) -> Path:
    """File of the weights that a run, which is done, ended with."""
    result = run.read_result()
    assert result is not None  # it was trained before
    return run.weights(result["iteration"])


def sparsity_of(run: Run) -> Path:
    """File of the table of what the mask of a run keeps of each layer."""
    return run.folder / SPARSITY
