"""Lines between saved networks, measured where they are not known and kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from isthmus import config
from isthmus.connectivity import line_tables
from isthmus.connectivity.measuring import Ends, measured
from isthmus.connectivity.points import PointEvaluator
from isthmus.connectivity.records import ChildSeed, Pair, Records, Request, has_tables
from isthmus.runs import Run
from isthmus.training.evaluator import Evaluator

# Moments, whose line it is, and the files of its start and of its end.
Saved: TypeAlias = tuple[Pair | None, ChildSeed, Sequence[Path]]


def measure(run: Run, evaluator: Evaluator, request: Request, lines: Sequence[Saved]) -> None:
    """Evaluate what is missing of lines, each kept as soon as it is done.

    A line is held meanwhile: another job that needs it waits, then finds it measured.

    Args:
        run: whose folder they are kept in.
        evaluator: of the networks by themselves.
        request: what is asked of each line.
        lines: between which networks.

    Raises:
        ValueError: as in `PointEvaluator` and in `measured`.
    """
    store = Records(run.folder)
    points = PointEvaluator(evaluator, request.splits, request.num_alphas * len(lines))
    for pair, child_seed, files in lines:
        if request.is_met(store.line(pair, child_seed, request)):
            continue
        with store.line_locked(pair, child_seed, request):
            known = store.line(pair, child_seed, request)
            if request.is_met(known):  # another job has measured it meanwhile
                continue
            start, end = (evaluator.load(file) for file in files)
            ends = Ends(points, start, end, request.align)
            line = measured(ends, known, request, child_seed)
            line["networks"] = [config.shown(file.absolute()) for file in files]
            with run.locked():
                store.write(pair, line, _about(evaluator, request.splits))
                line_tables.write(run.folder)
    _complete_tables(run, store)


def _complete_tables(run: Run, store: Records) -> None:
    """Write the tables that do not hold all that is known: of this folder, of the whole study."""
    with run.locked():
        if not has_tables(run.folder, store.files):  # a job was killed before it had written them
            line_tables.write(run.folder)
    if store.study is not None:
        with store.study.locked():
            if not has_tables(store.study.folder, store.study.files):
                line_tables.write_study(store.study)


def _about(evaluator: Evaluator, splits: Sequence[str]) -> dict[str, Any]:
    """What is written down besides the numbers."""
    return {
        "precision": "bf16" if evaluator.autocast else "fp32",
        "num_classes": len(evaluator.data.class_names),
        "num_examples": {split: len(evaluator.data.splits[split]) for split in splits},
    }
