"""Continues a finished training for longer: a shorter run of the same options is its beginning."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isthmus import steps
from isthmus.config import naming, schema
from isthmus.paths import display_path
from isthmus.store.files import Run, load_metadata, write_bytes
from isthmus.training import recipe as training_recipe
from isthmus.training.options import Hparams, TrainScript
from isthmus.training.recipe import Recipe

log = logging.getLogger(__name__)

LENGTH = ("epochs", "steps")  # of `hparams`


@dataclass(frozen=True)
class ShorterRun:
    """A finished run of the same options, but for its length.

    Args:
        run: with its state at its end.
        end: its last iteration.
        iterations_per_epoch: optimizer steps in one epoch.
        metadata: of its weights.
    """

    run: Run
    end: int
    iterations_per_epoch: int
    metadata: dict[str, Any]

    @property
    def weights(self) -> Path:
        """Its weights at its end."""
        return self.run.weights(self.end)


def continue_shorter_run(run: Run, options: TrainScript, recipe: Recipe) -> None:
    """Let a run that has not begun resume from the end of a shorter one that is its beginning.

    It is, bit for bit, if the learning rates up to there are the same, as those of a constant
    schedule are. If they are not, the command that begins from its weights is logged.

    Args:
        run: whose folder is locked.
        options: of the training.
        recipe: of it.
    """
    if run.state.exists() or run.result.exists():
        return
    shorter = list(find_shorter_runs(run, options, recipe))
    if not shorter:
        return
    equal = [each for each in shorter if has_same_beginning(each, options, recipe)]
    if equal:
        longest = max(equal, key=lambda each: each.end)
        if longest.run.metrics.exists():
            write_bytes(run.metrics, longest.run.metrics.read_bytes())
        write_bytes(run.state, longest.run.state.read_bytes())
        log.info("this is %s, trained for longer", display_path(longest.run.folder))
        return
    longest = max(shorter, key=lambda each: each.end)
    log.info(
        "%s is this training with an end at %s, and other learning rates before; to begin from its "
        "weights: python train.py ... pretrain.weights=%s",
        display_path(longest.run.folder),
        steps.to_text(longest.end, longest.iterations_per_epoch),
        display_path(longest.weights),
    )


def find_shorter_runs(run: Run, options: TrainScript, recipe: Recipe) -> Iterator[ShorterRun]:
    """Finished runs beside this one whose options differ in their length alone, which is less."""
    seed, outputs = run.folder.name, run.folder.parent.parent
    names: dict[tuple[Any, ...], str] = {}  # of this training with another length
    for result_file in sorted(outputs.glob(f"train_*/{seed}/result.json")):
        other = Run(result_file.parent)
        try:
            result = other.read_result()
            metadata = load_metadata(other.weights(result["iteration"])) if result else {}
        except (ValueError, OSError):  # damaged, or without weights
            continue
        hparams = metadata.get("config", {}).get("hparams", {})
        if not result or not other.state.exists() or not _is_whole(result, hparams):
            continue
        length = tuple(hparams[name] for name in LENGTH)
        if length not in names:
            same = replace(options.hparams, **dict(zip(LENGTH, length, strict=True)))
            values = schema.to_values(replace(options, hparams=same))
            names[length] = f"train_{naming.run_name(values, TrainScript)}"
        per_epoch = result["iterations_per_epoch"]
        is_shorter = result["iteration"] < recipe.length(per_epoch)
        if names[length] == other.folder.parent.name and is_shorter:
            yield ShorterRun(other, result["iteration"], per_epoch, metadata)


def has_same_beginning(shorter: ShorterRun, options: TrainScript, recipe: Recipe) -> bool:
    """Whether a training has the learning rates of a shorter one up to the end of that.

    And whether both are compiled or neither is, which decides on the rounding.
    """
    per_epoch, end = shorter.iterations_per_epoch, recipe.length(shorter.iterations_per_epoch)
    first, second = (recipe.scheduler(length, per_epoch) for length in (shorter.end, end))
    if any(first.factor(step) != second.factor(step) for step in range(shorter.end)):
        return False
    shape, num_classes = shorter.metadata["input_shape"], shorter.metadata["num_classes"]
    model = recipe.model(tuple(shape), num_classes)
    request = options.runtime.compile
    compiled = [training_recipe.should_compile(request, model, each) for each in (shorter.end, end)]
    return compiled[0] == compiled[1]


def _is_whole(result: dict[str, Any], hparams: Any) -> bool:
    """Whether a run reached its planned end, and says how it was given."""
    has_length = (
        isinstance(hparams, dict) and set(LENGTH) <= schema.fields(Hparams).keys() & hparams.keys()
    )
    return has_length and result["iteration"] == result["end"] and not result["stopped_early"]
