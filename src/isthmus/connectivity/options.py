"""Options of `interpolate.py` and their rules. Imports no torch."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from isthmus import steps
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.steps import Step
from isthmus.store import fingerprints
from isthmus.training.options import Family, SavedOptions
from isthmus.vocabulary import Alignment, BatchNormMode, LineBatchNormMode, Split

# {child_seed, align, bn, ends, distance, cosine, curves, networks}, where curves has, by split,
# {alphas, loss, accuracy, requests} of all requests together, and {as_trained: {loss, accuracy}} of
# both ends where they are treated differently. Without `ends`, of an older version: as_trained.
Line: TypeAlias = dict[str, Any]

RESULTS_VERSION = 2  # as of Spawn; all points of a line are treated in the same way


@dataclass(frozen=True)
class LineGrid:
    """The points at which a line is evaluated: equal grids are equal however they were typed."""

    alphas: int | tuple[float, ...]  # their number, if evenly spaced; or the alphas
    refine: int | None  # number of further alphas around the largest excess of each line

    @classmethod
    def from_alphas(cls, alphas: int | Sequence[float], refine: int | None) -> "LineGrid":
        """The grid of a request."""
        if isinstance(alphas, int):
            return cls(alphas, refine)
        values = tuple(map(float, alphas))
        is_even = len(values) > 1 and values == tuple(
            number / (len(values) - 1) for number in range(len(values))
        )
        return cls(len(values) if is_even else values, refine)

    @classmethod
    def parse(cls, text: str) -> "LineGrid":
        """The grid that `text` describes, in the record of a line."""
        return cls.from_alphas(**json.loads(text))

    @property
    def text(self) -> str:
        """The grid as written in the record of a line."""
        return json.dumps({"alphas": self.alphas, "refine": self.refine})

    @property
    def cells(self) -> tuple[str, str]:
        """The grid as written in tables: columns `alphas` and `refine`."""
        alphas = [self.alphas] if isinstance(self.alphas, int) else self.alphas
        return " ".join(f"{each:.12g}" for each in alphas), str(self.refine or "")

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key: coarse grids come before fine ones."""
        alphas = (self.alphas,) if isinstance(self.alphas, int) else self.alphas
        return (
            self.alphas if isinstance(self.alphas, int) else len(alphas),
            alphas,
            self.refine or 0,
        )


@dataclass(frozen=True, kw_only=True)
class LineOptions(Section):
    """Which points of a line are evaluated, and how its networks are aligned and normalized."""

    alphas: int | list[float] = option(25, in_name=None)
    # Further alphas around the largest excess of the loss.
    refine: int | None = option(None, in_name=None, above=0)
    align: Alignment = option("none", in_name=None)
    bn: LineBatchNormMode = option("reset", in_name=None)
    splits: list[Split] = option(["train", "test"], in_name=None, nonempty=True)

    def errors(self) -> list[str]:
        """See `Section`."""
        return super().errors() + alphas_errors(self.alphas)

    @property
    def num_alphas(self) -> int:
        """The largest number of points."""
        grid = self.alphas if isinstance(self.alphas, int) else len(self.alphas)
        return grid + (self.refine or 0)

    @property
    def grid(self) -> LineGrid:
        """The points at which a line is evaluated."""
        return LineGrid.from_alphas(self.alphas, self.refine)

    def is_met(self, line: Line | None) -> bool:
        """Whether a line has all that is requested."""
        return line is not None and all(self.is_met_on(line, split) for split in self.splits)

    def is_met_on(self, line: Line, split: str) -> bool:
        """The same on one split, with the ends treated as the other points."""
        if split not in line["curves"] or "ends" not in line:
            return False
        return self.grid in map(LineGrid.parse, line["curves"][split]["requests"])


@dataclass(frozen=True, kw_only=True)
class PlaneOptions(Section):
    """Which points of a plane are evaluated, and how its networks are aligned and normalized."""

    points: int = option(21, in_name=None, at_least=2)  # each way
    margin: float = option(0.2, at_least=0, below=math.inf)  # of the extent of the three
    align: Alignment = "none"
    bn: BatchNormMode = "reset"
    splits: list[Split] = option(["train", "test"], in_name=None, nonempty=True)


@dataclass(frozen=True, kw_only=True)
class InterpolateBranches(LineOptions, Family):
    """`interpolate.py` between a main branch and others that leave it after k1."""

    RESULTS_VERSION: ClassVar[int | None] = RESULTS_VERSION

    # A whole number counts epochs.
    k1: Step | int | list[Step | int] = option(
        in_name=None, nonempty=True, distinct=True, at_least=0
    )
    k2: Step | int | list[Step | int] = option(
        in_name=None, nonempty=True, distinct=True, at_least=0
    )
    # null: one more than the global seed
    child_seeds: list[int] | None = option(
        None, in_name=None, nonempty=True, distinct=True, at_least=0
    )

    @property
    def seeds_of_children(self) -> list[int]:
        """The seeds of the children; by default one more than the global seed."""
        return [self.global_seed + 1] if self.child_seeds is None else self.child_seeds

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        for typed in self.k2 if isinstance(self.k2, list) else [self.k2]:
            if str(typed)[:1] != "-" and steps.parse(list_steps(typed)[0]) == (0, 0):
                errors.append(f"k2={typed}: must be positive; at k1 all branches are one network")
        varied = {name: getattr(self.seeds, name) for name in self.vary}
        main = {self.global_seed if seed is None else seed for seed in varied.values()}
        seeds = self.seeds_of_children
        for seed in seeds:
            if not varied or main == {seed}:
                errors.append(
                    f"child_seeds={format_value(seeds)}: with seed {seed} and "
                    f"vary={format_value(self.vary)} the branch is the main one again"
                )
        return errors


@dataclass(frozen=True, kw_only=True)
class SavedNetworks(SavedOptions):
    """Options of `interpolate.py` between saved networks, which are of no training of its own.

    Data set and precision are those in the weights' metadata, unless they were typed.
    """

    FILES: ClassVar[tuple[str, ...]] = ()  # the options that name the networks
    OF_TRAININGS: ClassVar[tuple[str, ...]] = ("tensorboard", "save_every")
    RESULTS_VERSION: ClassVar[int | None] = RESULTS_VERSION

    contents: list[str] = option([], is_derived=True)  # fingerprints of the networks

    @classmethod
    def complete_values(cls, values: Values, typed: Sequence[str]) -> Values:
        """See `Section`."""
        values = super().complete_values(values, typed)
        if "runtime" in values and "runtime.num_jobs" not in typed:  # of branches; else refused
            values["runtime"] = {k: v for k, v in values["runtime"].items() if k != "num_jobs"}
        if "dataset" not in typed:
            node = values.get("dataset") or {}
            named = [name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")]
            values["dataset"] = {key: node[key] for key in ("root", *named) if key in node}
        if "precision" not in typed:
            values["precision"] = None
        typed_files = (values.get(name) for name in cls.FILES)
        files = [
            each
            for value in typed_files
            for each in (value if isinstance(value, list) else [value])
        ]
        digests = [fingerprints.file_digest(file) for file in files if isinstance(file, str)]
        return values | {"contents": [str(digest) for digest in digests]}


@dataclass(frozen=True, kw_only=True)
class InterpolateLine(LineOptions, SavedNetworks):
    """`interpolate.py` between two saved networks."""

    FILES: ClassVar[tuple[str, ...]] = ("start", "end")

    start: str = option(in_name=None)
    end: str = option(in_name=None)


@dataclass(frozen=True, kw_only=True)
class InterpolatePlane(PlaneOptions, SavedNetworks):
    """`interpolate.py` in the plane of three saved networks."""

    FILES: ClassVar[tuple[str, ...]] = ("plane",)

    plane: list[str] = option(in_name=None)
    project: list[str] = option([], in_name=None)

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        if len(self.plane) != 3:
            errors.append(
                f"plane={format_value(self.plane)}: must be three files of weights, got "
                f"{len(self.plane)}"
            )
        return errors


@dataclass(frozen=True, kw_only=True)
class Interpolate(InterpolateBranches):
    """All options of `interpolate.py`, in any of its modes."""

    MODES: ClassVar = {
        InterpolateBranches: ("k1", "k2"),
        InterpolateLine: ("start", "end"),
        InterpolatePlane: ("plane",),
    }

    start: str | None = None
    end: str | None = None
    plane: list[str] | None = None
    project: list[str] = option([])
    points: int = 21
    margin: float = 0.2


def alphas_errors(alphas: int | list[float]) -> list[str]:
    """Errors of the option `alphas`."""
    if isinstance(alphas, int):
        return [f"alphas={alphas}: must be at least 2, both ends"] if alphas < 2 else []
    rising = all(left < right for left, right in zip(alphas, alphas[1:], strict=False))
    if len(alphas) >= 2 and rising and alphas[0] == 0 and alphas[-1] == 1:
        return []
    return [f"alphas={format_value(alphas)}: must increase from 0 to 1, the two ends"]


def list_steps(typed: Step | int | list[Step | int]) -> list[Step]:
    """A list of steps from one or several, where a whole number counts epochs.

    Args:
        typed: a step, a whole number, or a list of these.
    """
    several = typed if isinstance(typed, list) else [typed]
    return [f"{step}ep" if isinstance(step, int) else step for step in several]
