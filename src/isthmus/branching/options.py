"""Options of `spawn.py` and their rules. Imports no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from isthmus import steps
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.steps import Step, Steps
from isthmus.training.options import Family
from isthmus.vocabulary import STREAMS, BatchNormMode, Split


@dataclass(frozen=True, kw_only=True)
class SplitMerge(Section):
    """Legs of parent, children and their average, which is the next leg's parent."""

    num_legs: int | None = option(None, above=0)  # null: no legs
    strategy: (
        Literal[
            "restart_optimizer",
            "decrease_lr",
            "repeat_increase_batch_size",
            "decrease_child_batch_size",
        ]
        | None
    ) = None

    def errors(self) -> list[str]:
        """See `Section`."""
        if self.num_legs is None and self.strategy is not None:
            return [f"strategy={self.strategy}: needs split_merge.num_legs"]
        return []


@dataclass(frozen=True, kw_only=True)
class Spawn(Family):
    """Options of `spawn.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 2  # each child is trained by itself

    spawn_steps: Steps | None = option(None, in_name=None, nonempty=True, distinct=True)
    spawn_step: Step | None = option(None, in_name=None)  # only this one
    only: int | None = option(None, in_name=None)  # only this one of `spawn_steps`, from 0
    child_seeds: list[int] = option(in_name=None, nonempty=True, distinct=True, at_least=0)
    child_steps: Steps = option("log", in_name=None, nonempty=True)
    child_length: Step | None = option(None, in_name=None)  # null: that of the parent
    averages: list[Literal["across", "back", "back_plus_one", "back_plus_three", "back_all"]] = (
        option(["across", "back"], in_name=None, distinct=True)
    )
    # In an `across` average; null: 2 and more, up to all.
    num_children: list[int] | None = option(None, in_name=None, nonempty=True, distinct=True)
    models: list[Literal["plain", "averaged"]] = option(
        ["plain", "averaged"], in_name=None, nonempty=True, distinct=True
    )
    bn: BatchNormMode = option("reset", in_name=None)
    splits: list[Split] = option(["train", "test"], in_name=None, nonempty=True)
    save_averages: bool = option(False, in_name=None)
    split_merge: SplitMerge = option(SplitMerge, in_name=None)

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        unused, merging = super().without_effect(values), values.get("split_merge")
        has_legs = isinstance(merging, dict) and merging.get("num_legs") is not None
        if has_legs and values.get("spawn_steps") is None and values.get("spawn_step") is None:
            names = ("child_steps", "averages", "num_children", "models", "save_averages")
            unused |= dict.fromkeys(names, "split_merge.num_legs has none; spawn_steps=... has")
        return unused

    def errors(self) -> list[str]:
        """See `Section`."""
        return super().errors() + self._children_errors() + self._steps_errors()

    def _children_errors(self) -> list[str]:
        errors, count = [], len(self.child_seeds)
        if not self.vary and count > 1:
            errors.append(
                "vary=[]: nothing varies, all children would be one network; name one of "
                f"{', '.join(STREAMS)}"
            )
        for num in self.num_children or []:
            if not 2 <= num <= count:
                errors.append(
                    f"num_children={format_value(self.num_children)}: must be from 2 to the number "
                    f"of child_seeds, {count}, got {num}"
                )
        if self.num_children is not None and "across" not in self.averages:
            errors.append(
                f"num_children={format_value(self.num_children)}: needs averages=[across]"
            )
        if self.models == ["averaged"] and self.averaged is None:
            errors.append("models=[averaged]: there are none with averaged=none")
        return errors

    def _steps_errors(self) -> list[str]:
        errors, given, only = [], self.spawn_steps, self.only
        if only is not None and self.spawn_step is not None:
            errors.append("only and spawn_step both choose one spawn step: give one of them")
        if (given, self.spawn_step, self.split_merge.num_legs) == (None, None, None):
            errors.append("spawn_steps: needs a value, spawn_steps=...")
        if only is not None and given is None:
            errors.append(f"only={only}: chooses one of spawn_steps, which needs a value")
        if only is not None and isinstance(given, list) and not 0 <= only < len(given):
            errors.append(f"only={only}: must be from 0 to {len(given) - 1}")
        if self.child_length is not None and steps.parse(self.child_length) == (0, 0):
            errors.append(f"child_length={self.child_length}: must be positive")
        if self.split_merge.num_legs is not None and self.hparams.patience is not None:
            errors.append(
                "split_merge.num_legs: legs have to be of equal length, without hparams.patience"
            )
        return errors
