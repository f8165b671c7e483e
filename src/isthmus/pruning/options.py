"""Options of `prune.py` and their rules. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from isthmus import steps
from isthmus.config import naming, schema, signatures
from isthmus.config.parts import Part
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.connectivity.options import LineOptions, alphas_errors
from isthmus.steps import Step
from isthmus.training.options import (
    Pretrained,
    Train,
    TrainingSection,
    lengths_without_effect,
)
from isthmus.vocabulary import STREAMS, LineBatchNormMode, Split, Stream

REWINDS = ("weights", "lr", "none")


@dataclass(frozen=True, kw_only=True)
class RandomlyPrune(Section):
    """A branch of a level that keeps as many weights in other places."""

    strategy: Literal["layerwise", "global", "even", "identity"] = "layerwise"
    start_at: Literal["rewind", "init", "end"] = "rewind"
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class RandomlyReinitialize(Section):
    """A branch of a level that has its mask and a fresh initialization."""

    start_at: Literal["rewind", "init"] = "rewind"
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Retrain(TrainingSection):
    """A branch of a level that is trained with other data or hyperparameters."""

    start_at: Literal["rewind", "init"] = "rewind"


@dataclass(frozen=True, kw_only=True)
class Instability(Section):
    """A branch of a level: its children of several seeds, and the barriers between them."""

    seeds: list[int] = option([1, 2], in_name=None, distinct=True, at_least=0)
    vary: list[Stream] = option(list(STREAMS), is_set=True, nonempty=True, distinct=True)
    alphas: int | list[float] = option(25, in_name=None)
    bn: LineBatchNormMode = option("reset", in_name=None)
    splits: list[Split] = option(["train", "test"], in_name=None, nonempty=True, distinct=True)

    @property
    def line(self) -> LineOptions:
        """What to measure of each line between two children."""
        return LineOptions(alphas=self.alphas, bn=self.bn, splits=self.splits)

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = alphas_errors(self.alphas)
        if len(self.seeds) < 2:
            errors.append(
                f"seeds={format_value(self.seeds)}: must hold at least two, to compare them"
            )
        return errors


# The section of each branch.
BRANCHES: dict[str, type[Section]] = {
    "randomly_prune": RandomlyPrune,
    "randomly_reinitialize": RandomlyReinitialize,
    "retrain": Retrain,
    "instability": Instability,
}


@dataclass(frozen=True, kw_only=True)
class Prune(Pretrained):
    """Options of `prune.py`."""

    # one_shot, controls from dense weights, lines of instability
    RESULTS_VERSION: ClassVar[int | None] = 2

    pruning: Part
    levels: int | None = option(None, in_name=None, at_least=0)
    one_shot: float | None = None  # share that the only level prunes, in place of `fraction`
    rewind: Literal["weights", "lr", "none"] | None = None  # null: as the strategy does
    rewind_step: Step = option(0)  # where level 0 begins; 0 as YAML reads it
    # Of levels that do not rewind; null: the last one of level 0.
    retrain_lr: float | None = option(None, above=0)
    branch: Literal["randomly_prune", "randomly_reinitialize", "retrain", "instability"] | None = (
        option(None, in_name=None)
    )
    # null: all, but the dense one only with instability
    branch_levels: list[int] | None = option(None, in_name=None, nonempty=True, distinct=True)
    randomly_prune: RandomlyPrune = option(RandomlyPrune, in_name=None)
    randomly_reinitialize: RandomlyReinitialize = option(RandomlyReinitialize, in_name=None)
    retrain: Retrain = option(Retrain, in_name=None)
    instability: Instability = option(Instability, in_name=None)
    compare: list[str] = option([], in_name=None)  # folders of other studies, or globs

    @property
    def num_levels(self) -> int:
        """The last requested level."""
        return 1 if self.one_shot is not None else self.levels or 0

    @property
    def levels_of_branch(self) -> list[int]:
        """The requested levels of the branch, in order; by default all but the dense one."""
        if self.branch is None:
            return []
        if self.branch_levels is not None:
            return sorted(self.branch_levels)
        return list(range(self.branch != "instability", self.num_levels + 1))

    @property
    def strategy(self) -> Part:
        """The strategy; with `one_shot` as its fraction, if it is set."""
        if self.one_shot is None:
            return self.pruning
        return self.pruning.changed_by(Part("pruning", None, {"fraction": self.one_shot}))

    @property
    def strategy_rewind(self) -> Any:
        """What the strategy does to the weights that are left: its class's `rewind`."""
        value = signatures.attribute(str(self.pruning.target), "rewind")
        return "weights" if value is signatures.REQUIRED else value

    @property
    def resolved_rewind(self) -> str:
        """How the weights that are left are rewound: as typed, or as the strategy says."""
        return self.rewind or self.strategy_rewind

    def check_strategy(self, strategy: Any) -> None:
        """Refuse a strategy whose object has another `rewind` than was read from its class.

        Args:
            strategy: made from these options.

        Raises:
            ValueError: naming both.
        """
        actual, read = getattr(strategy, "rewind", "weights"), self.strategy_rewind
        if self.rewind is None and actual != read:
            raise ValueError(
                f"pruning._target_={self.pruning.target}: its rewind is {actual}, which must "
                f"stand in the body of its class, as text; or rewind={actual}"
            )

    @property
    def branch_section(self) -> Section:
        """The options of the requested branch."""
        return getattr(self, str(self.branch))

    @property
    def branch_folder(self) -> str | None:
        """Name of the folder of the requested branch in that of each level; None without one."""
        if self.branch is None:
            return None
        values = schema.to_values(self.branch_section)
        if unused := lengths_without_effect(values):
            hparams = values["hparams"].items()
            values["hparams"] = {k: v for k, v in hparams if f"hparams.{k}" not in unused}
        return f"{self.branch}_{naming.section_name(values, BRANCHES[self.branch])}"

    @property
    def branch_text(self) -> str:
        """The branch and its options, as one would type them."""
        values = schema.to_values(self.branch_section)
        identity = naming.section_identity(values, schema.fields(type(self.branch_section)))
        words = " ".join(typed_arguments(identity))
        return f"{self.branch} {words}".rstrip()

    @property
    def retraining(self) -> Train:
        """All options of the training of the branch `retrain`."""
        return self.retrain.training(self)

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        of_retraining = lengths_without_effect(values.get("retrain"), "retrain.")
        return super().without_effect(values) | of_retraining

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        if self.levels is None and self.one_shot is None:
            errors.append("levels: needs a value, levels=...")
        if self.one_shot is not None:
            errors += self._errors_of_one_shot(self.one_shot)
        errors += self._errors_of_rewinding()
        if self.retrain.changed_parts:
            errors += self.retrain.training_errors(self, "retrain")
        return errors or self._errors_of_branches()

    def _errors_of_one_shot(self, one_shot: float) -> list[str]:
        target, arguments, errors = str(self.pruning.target), self.pruning.arguments, []
        fraction = signatures.arguments(target).get("fraction")
        if not 0 < one_shot < 1:
            errors.append(f"one_shot={one_shot}: must be in (0, 1), the share that is pruned")
        if self.levels not in (None, 1):
            errors.append(f"one_shot={one_shot}: prunes once, so not levels={self.levels}")
        if fraction is None:
            errors.append(f"one_shot={one_shot}: {target} takes no fraction to prune")
        elif fraction.default not in (
            signatures.REQUIRED,
            arguments.get("fraction", fraction.default),
        ):
            errors.append(
                f"pruning.fraction={arguments['fraction']}: one_shot={one_shot} says how much is "
                "pruned"
            )
        return errors

    def _errors_of_rewinding(self) -> list[str]:
        default, target, errors = self.strategy_rewind, str(self.pruning.target), []
        name = target.rpartition(".")[2]
        if default not in REWINDS:
            kinds = ", ".join(REWINDS)
            value = "no literal" if default is signatures.UNKNOWN else default
            return [f"pruning._target_={target}: {name}.rewind must be one of {kinds}, got {value}"]
        if default == "none" and self.rewind not in (None, "none"):
            errors.append(
                f"rewind={self.rewind}: pruning._target_={target} leaves weights where they are "
                f"({name}.rewind is none); pruning=sparse_global rewinds"
            )
        elif self.resolved_rewind == "none" and steps.parse(self.rewind_step) != (0, 0):
            errors.append(f"rewind_step={self.rewind_step}: nothing is rewound with rewind=none")
        if self.retrain_lr is not None and self.resolved_rewind != "none":
            errors.append(
                f"retrain_lr={self.retrain_lr}: needs rewind=none; with "
                f"rewind={self.resolved_rewind} levels have the learning rates that level 0 had"
            )
        return errors

    def _errors_of_branches(self) -> list[str]:
        levels, last, errors = self.branch_levels, self.num_levels, []
        if levels is not None and self.branch is None:
            errors.append(f"branch_levels={format_value(levels)}: needs branch=...")
        for level in levels or []:
            if not 0 <= level <= last:
                errors.append(
                    f"branch_levels={format_value(levels)}: must be from 0 to {last}, got {level}"
                )
        if self.branch == "retrain" and not self.retrain.changed_parts:
            errors.append(
                "branch=retrain: needs other data or hyperparameters, retrain.hparams.epochs=..."
            )
        drawn = self.randomly_prune
        if self.branch == "randomly_prune" and drawn.strategy == "identity" and drawn.seed != 1:
            errors.append(
                f"randomly_prune.seed={drawn.seed}: nothing is drawn with "
                "randomly_prune.strategy=identity"
            )
        for name, cls in BRANCHES.items():
            section, defaults = getattr(self, name), cls()
            changed = [key for key in vars(defaults) if vars(section)[key] != vars(defaults)[key]]
            if self.branch != name and changed:
                errors.append(f"{name}.{changed[0]}: needs branch={name}")
        return errors


def typed_arguments(content: Values, prefix: str = "") -> Iterator[str]:
    """The values of a section, as one would type them on a command line."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from typed_arguments(value, f"{prefix}{key}.")
        else:
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
            yield f"{prefix}{key}={text}"
