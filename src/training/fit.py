"""Train a run to its end, from wherever it stands."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from src import steps
from src.data.splits import DataSet
from src.runs import Run, load_state, save_state, save_weights, write_json
from src.training import loop
from src.training.loop import Callback, Training
from src.training.metrics import Metrics, Number
from src.training.progress import Progress
from src.training.recipe import Recipe, Runtime, Seeds
from src.training.report import Report
from src.training.session import Session

log = logging.getLogger(__name__)

Request = str | list[steps.Step] | None  # of several moments, see steps.to_iterations


def fit(
    run: Run,
    data: DataSet,
    recipe: Recipe,
    seeds: Seeds,
    runtime: Runtime,
    snapshots: Request = None,
    save_predictions: bool = True,
) -> None:
    """Train until the run has its result and every snapshot asked for.

    Goes on from the run's last state, if there is one; makes a snapshot that a finished run did
    not keep by replaying from the nearest earlier one.

    Raises:
        FloatingPointError: a loss is not finite; the run stays at its last state.
        ValueError: a snapshot lies after the end of training, or a part refuses its values.
    """
    if run.read_result() is None:
        _train(run, Session(recipe, data, seeds, runtime), snapshots, save_predictions)
    missing = run.missing_snapshots(snapshots)
    if missing:
        _replay(run, Session(recipe, data, seeds, runtime), missing)


def _train(run: Run, session: Session, snapshots: Request, save_predictions: bool) -> None:
    per_epoch, training = session.iterations_per_epoch, session.training
    wanted = steps.to_iterations(snapshots, per_epoch, session.end)
    tensorboard = run.tensorboard if session.runtime.tensorboard else None
    metrics = Metrics(run.metrics, tensorboard, per_epoch)
    report = Report(session, metrics, save_predictions)
    _check_validation(session)
    if run.state.exists():
        _resume(run, session, report, metrics)
    else:
        shutil.rmtree(run.tensorboard, ignore_errors=True)  # of a job killed before its first state
    progress = Progress(training, session.end, report, session.runtime.progress)

    def state() -> dict[str, Any]:
        reported = {"report": report.state_dict(), "metrics": metrics.state_dict()}
        return _going_on(session) | reported

    saver = _Saver(run.state, session.runtime.save_every, state)
    callbacks = [
        *_update_averages(session),
        Callback(loop.every(per_epoch, session.end), report),
        Callback(loop.at(wanted), lambda _: session.save_snapshot(run)),
        Callback(loop.after_every_step, saver),
        Callback(loop.after_every_step, progress.advance),
        Callback(loop.every(per_epoch, session.end), progress.tell),
    ]
    loop.train(training, session.batches, session.end, callbacks)
    progress.close()
    saver.save()
    _finish(run, session, report, metrics)
    metrics.close()


def _replay(run: Run, session: Session, missing: list[int]) -> None:
    """Make snapshots that were not kept, bit for bit, each from the nearest earlier one."""
    callbacks = _update_averages(session)
    report = Report(session, None, save_predictions=False)
    if session.training.scheduler.state_dict():  # its learning rate depends on the validation loss
        callbacks.append(Callback(loop.every(session.iterations_per_epoch, session.end), report))
    saver = _Saver(run.replay, session.runtime.save_every, lambda: _going_on(session))
    callbacks.append(Callback(loop.after_every_step, saver))
    for iteration in missing:
        _go_back(run, session, iteration)
        start, end = (
            steps.to_text(moment, session.iterations_per_epoch)
            for moment in (session.training.iteration, iteration)
        )
        log.info("replaying %s to %s for a snapshot that was not kept", start, end)
        loop.train(session.training, session.batches, iteration, callbacks)
        session.save_snapshot(run)
    run.replay.unlink(missing_ok=True)


def _go_back(run: Run, session: Session, iteration: int) -> None:
    """Load the latest of what is kept before an iteration, if it is later than the session."""
    earlier = [kept for kept in run.snapshots() if kept < iteration]
    replayed = load_state(run.replay) if run.replay.exists() else None
    reached = replayed["training"]["iteration"] if replayed else -1
    if replayed and max([session.training.iteration, *earlier]) < reached < iteration:
        session.load_state_dict(replayed["model"], replayed)
    elif earlier and earlier[-1] > session.training.iteration:
        session.load_snapshot(run, earlier[-1])


def _update_averages(session: Session) -> list[Callback]:
    averages = session.averages
    if averages is None:
        return []
    return [Callback(loop.after_every_step, lambda t: averages.update(t.iteration))]


def _check_validation(session: Session) -> None:
    if session.data.val is not None:
        return
    if session.recipe.patience is not None:
        raise ValueError("hparams.patience needs a validation split: dataset.val_fraction=0.1")
    if session.training.scheduler.state_dict():
        raise ValueError("scheduler=plateau needs a validation split: dataset.val_fraction=0.1")


class _Saver:
    """Writes a state when the last one is old enough."""

    def __init__(self, path: Path, every: float, state: Callable[[], dict[str, Any]]) -> None:
        self.path, self.every, self.state = path, every, state
        self.saved = time.monotonic()

    def __call__(self, training: Training) -> None:
        if time.monotonic() - self.saved >= self.every:
            self.save()

    def save(self) -> None:
        save_state(self.path, self.state())
        self.saved = time.monotonic()


def _going_on(session: Session) -> dict[str, Any]:
    """Weights, and all that is needed to go on from them."""
    return session.state_dict() | {"model": session.model.state_dict()}


def _resume(run: Run, session: Session, report: Report, metrics: Metrics) -> None:
    state = load_state(run.state)
    session.load_state_dict(state["model"], state)
    report.load_state_dict(state["report"])
    iteration = session.training.iteration
    metrics.load_state_dict(state["metrics"], iteration)
    log.info("going on from %s", steps.to_text(iteration, session.iterations_per_epoch))


def _finish(run: Run, session: Session, report: Report, metrics: Metrics) -> None:
    """Evaluate and save the final, averaged and best models; the summary comes last."""
    models, iteration = session.models(), session.training.iteration
    for name, weights in models.items():
        save_weights(run.weights(iteration, name), weights, session.metadata(name))
    table = session.evaluator.table(models)
    if report.best:
        metadata = session.metadata("best", report.best_iteration)
        save_weights(run.weights("best"), report.best, metadata)
        if report.best_iteration == iteration:
            table["best"] = table["plain"]
        else:
            table |= session.evaluator.table({"best": report.best})
    for split, cell in table["plain"].items():
        session.training.require_finite(cell["loss"], f"final {split} loss", iteration)
    numbers = [
        Number(f"final_{metric}", value, split, name)
        for name, row in table.items()
        for split, cell in row.items()
        for metric, value in cell.items()
    ]
    metrics.write(iteration, numbers)
    metrics.write_hparams(_flat(session.recipe.metadata.get("config", {})), numbers)
    report.write_predictions()
    write_json(run.result, _summary(session, report, table))


def _summary(session: Session, report: Report, table: dict[str, Any]) -> dict[str, Any]:
    return {
        "evaluation": table,
        "iteration": session.training.iteration,
        "end": session.end,  # as planned
        "iterations_per_epoch": session.iterations_per_epoch,
        "stopped_early": session.training.iteration < session.end,
        "best_iteration": report.best_iteration if report.best else None,
        "num_parameters": sum(p.numel() for p in session.model.parameters()),
        "num_examples": {name: len(split) for name, split in session.data.splits.items()},
        "train_seconds": round(report.seconds, 3),
        "device": str(session.device),
        "torch": torch.__version__,
    }


def _flat(metadata: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names, for TensorBoard."""
    flat: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, bool | int | float) else str(value)
    return flat
