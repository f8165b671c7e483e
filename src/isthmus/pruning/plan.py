"""The plan of `prune.py` in iterations, and the folders and files of its results. No torch."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from isthmus import steps
from isthmus.pruning.options import Prune
from isthmus.steps import Step
from isthmus.store import locks
from isthmus.store.files import Run

MASK = "mask.safetensors"
SPARSITY = "sparsity.csv"
INSTABILITY = "instability_"  # begins the names of branches with children


@dataclass(frozen=True)
class PruningTree:
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
        return instability_table_of(self.table)

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def level(self, level: int) -> Run:
        """The training of one level; 0 is the dense network."""
        return Run(self.folder / f"level_{level}")

    def branch(self, level: int, name: str) -> Run:
        """A branch of one level, by the name of its folder."""
        return Run(self.level(level).folder / name)

    def levels(self) -> list[int]:
        """Levels that are done, in order."""
        results = self.folder.glob("level_*/result.json")
        names = (path.parent.name.removeprefix("level_") for path in results)
        return sorted(int(name) for name in names if name.isdecimal())

    def branches(self, level: int) -> list[str]:
        """Completed branches of a level, except those with children, in order."""
        return [name for name in self._results(level) if not name.startswith(INSTABILITY)]

    def instabilities(self, level: int) -> list[str]:
        """Branches of a level with lines between its children, in order."""
        return [name for name in self._results(level) if name.startswith(INSTABILITY)]

    def child(self, level: int, branch: str, seed: int) -> Run:
        """One of the children in a branch of a level."""
        return Run(self.branch(level, branch).folder / f"seed_{seed}")

    def _results(self, level: int) -> list[str]:
        results = self.level(level).folder.glob("*_*/result.json")
        return sorted(path.parent.name for path in results)

    def lock_tables(self) -> AbstractContextManager[None]:
        """Hold the table and the figures, to write them."""
        return locks.exclusive(self.figures, [self.figures, self.folder])


def instability_table_of(table: Path) -> Path:
    """The table of barriers between children of a study, in the folder of its table of levels."""
    return table.with_name("instability.csv")


def mask_file(run: Run) -> Path:
    """File of the mask that a run was trained under."""
    return run.folder / MASK


def final_weights_file(run: Run) -> Path:
    """File of the final weights of a completed run."""
    result = run.read_result()
    assert result is not None  # it was trained before
    return run.weights(result["iteration"])


def sparsity_file(run: Run) -> Path:
    """File of the table of what the mask of a run keeps of each layer."""
    return run.folder / SPARSITY


class PruningPlan:
    """The options of `prune.py` in iterations.

    Args:
        options: as typed.
        iterations_per_epoch: optimizer steps in one epoch.
        end: last iteration of every level, as planned.

    Raises:
        ValueError: there is nothing between the beginning and the end, or a step is outside.
    """

    def __init__(self, options: Prune, iterations_per_epoch: int, end: int) -> None:
        self.options, self.iterations_per_epoch, self.end = options, iterations_per_epoch, end
        start = options.pretraining_length
        self.start = steps.to_iteration(start, iterations_per_epoch)
        rewind = steps.to_iteration(str(options.rewind_step), iterations_per_epoch)
        self.rewind = rewind or self.start
        if self.start >= end:
            raise ValueError(
                f"pretrain: takes {start}, which is taken off the training, and that has "
                f"{self.text(end)}: nothing would be left; pretrain.hparams.epochs=... shortens it"
            )
        if not self.start <= self.rewind < end:
            begins = f"from {self.text(self.start)}, the end of pretraining, " * bool(self.start)
            raise ValueError(
                f"rewind_step={options.rewind_step}: must be {begins}before the end of training, "
                f"{self.text(end)} ({end} iterations)"
            )
        self.levels = list(range(options.num_levels + 1))

    @property
    def branch_levels(self) -> list[int]:
        """Levels that the branch is trained of, in order."""
        return self.options.levels_of_branch

    def begin(self, level: int) -> int:
        """The iteration at which the training of a level begins."""
        is_rewound = level > 0 and self.options.resolved_rewind != "none"
        return self.rewind if is_rewound else self.start

    def snapshots(self, level: int) -> list[int]:
        """Iterations to keep of a level: those requested, and the one to rewind to."""
        snapshots = self.options.snapshots
        wanted = set(steps.to_iterations(snapshots, self.iterations_per_epoch, self.end))
        if level == 0 and self.rewind > self.start:
            wanted.add(self.rewind)
        return [iteration for iteration in sorted(wanted) if iteration >= self.begin(level)]

    def text(self, iteration: int) -> Step:
        """A step as one would type it."""
        return steps.to_text(iteration, self.iterations_per_epoch)
