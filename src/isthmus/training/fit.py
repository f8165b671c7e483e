"""Trains one run to its end, from its start or resumed, with all of its files."""

import logging
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isthmus import steps, tables
from isthmus.state_dicts import StateDict
from isthmus.store.files import Run, load_state, save_state, save_weights, write_json
from isthmus.training import code_digests, loop
from isthmus.training import recipe as training_recipe
from isthmus.training.loop import Callback
from isthmus.training.reporting import Best, EpochReport, Metrics, Number, Progress
from isthmus.training.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainHooks:
    """Optional hooks of a training.

    Args:
        measures: builds extra callbacks from the session (after resuming) and the metrics table.
        save_weights: whether weights, and states to resume from, are saved.
        run: whose files are written.
    """

    measures: Callable[[Session, Metrics], list[Callback]] | None = None
    save_weights: bool = True


class TrainingRun:
    """A training from where its session stands to the end of it, with all of its files.

    Args:
        run: whose files are written.
        run: whose files are written.
        session: in its first state.
        snapshots: steps at which to keep weights and state.
        save_predictions: whether to keep correctness per validation example.
        label: of this training in log lines; "" where there is only one.
        extras: optional hooks.

    Raises:
        ValueError: a snapshot is after the end, or a validation split is needed and missing.
    """

    def __init__(
        self,
        run: Run,
        session: Session,
        snapshots: steps.Snapshots = None,
        save_predictions: bool = True,
        label: str = "",
        extras: TrainHooks | None = None,
    ) -> None:
        self.run, self.session, self.label = run, session, label
        self.extras = extras or TrainHooks()
        per_epoch, runtime = session.iterations_per_epoch, session.runtime
        self.snapshots = steps.to_iterations(snapshots, per_epoch, session.end)
        recipe = session.recipe
        title = training_recipe.title(recipe.metadata.get("config", {}), recipe.typed)
        self.tensorboard = run.tensorboard(title)
        events = self.tensorboard if runtime.tensorboard else None
        self.metrics = Metrics(run.metrics, events, per_epoch)
        self.report = EpochReport(session, self.metrics, save_predictions)
        self.sources = code_digests.code_digests(session)  # as imported, even if edited meanwhile
        _check_validation(session)

    def begin(self, state: dict[str, Any] | None) -> None:
        """Resume from what `state` returned, or begin with the session as it is.

        Args:
            state: None for a training without a saved state.

        Raises:
            ValueError: the state lacks something, or is not of this network.
        """
        session = self.session
        if state is None:
            shutil.rmtree(self.tensorboard, ignore_errors=True)  # of a job killed early on
            if not self.run.result.exists():
                shutil.rmtree(self.run.folder / "weights", ignore_errors=True)  # of that job, too
            return
        changed = code_digests.changed_modules(state.get("sources", {}), self.sources)
        with name_state_in_errors(self.run.state, changed):
            session.load_state_dict(state["model"], state)
            self.report.load_state_dict(state["report"])
            iteration = session.training.iteration
            self.metrics.load_state_dict(state["metrics"], iteration)
        if changed:
            log.warning(
                "%s: saved by other code than there is now: %s", self.run.state, ", ".join(changed)
            )
        _keep_threads(state.get("num_threads"), session.runtime.num_threads)
        step = steps.to_text(iteration, session.iterations_per_epoch)
        log.info("%sresuming from %s", f"{self.label}: " if self.label else "", step)

    def state(self) -> dict[str, Any]:
        """Weights, and all that is needed to resume from them."""
        return resume_state(self.session) | {
            "report": self.report.state_dict(),
            "metrics": self.metrics.state_dict(),
            "num_threads": torch.get_num_threads(),
            "sources": self.sources,
        }

    def progress(self) -> Progress:
        """The progress bar, or progress lines, of this training."""
        session, bar = self.session, self.session.runtime.progress
        return Progress(session.training, session.end, self.report, bar, self.label)

    def callbacks(self) -> list[Callback]:
        """Callbacks of report, hooks and snapshots; called after averages are updated."""
        session, measures = self.session, self.extras.measures
        return [
            Callback(loop.every_iterations(session.iterations_per_epoch), self.report),
            *(measures(session, self.metrics) if measures else []),
            Callback(loop.at_iterations(self.snapshots), lambda _: session.save_snapshot(self.run)),
        ]

    def finish(self) -> None:
        """Evaluate and save the final, averaged and best models; the summary is written last.

        An end within an epoch is reported here, after the last state was saved, so that a run
        that is trained further later continues as if it had not been evaluated there.
        """
        session, report = self.session, self.report
        if session.training.iteration % session.iterations_per_epoch:
            report(session.training)
        models, iteration = session.models(), session.training.iteration
        for name, weights in models.items():
            self._save(self.run.weights(iteration, name), weights, session.metadata(name))
        table = session.evaluator.table(models)
        for name, best in report.bests().items():
            metadata = session.metadata(name, best.iteration)
            self._save(self.run.weights(name), best.weights, metadata)
            if best.iteration == iteration:
                table[name] = table[best.model]
            else:
                table |= session.evaluator.table({name: best.weights})
        for split, cell in table["plain"].items():
            session.training.require_finite(cell["loss"], f"final {split} loss", iteration)
        numbers = [
            Number(f"final_{metric}", value, split, name)
            for name, row in table.items()
            for split, cell in row.items()
            for metric, value in cell.items()
        ]
        self.metrics.write(iteration, numbers)
        hparams = _flat(session.recipe.metadata.get("config", {}))
        self.metrics.write_hparams(hparams, numbers, iteration, tables.averaged_model(table))
        report.write_predictions()
        saved = {"save_weights": self.extras.save_weights}
        write_json(self.run.result, _summary(session, report, table) | saved)
        self.metrics.close()

    def _save(self, path: Path, weights: StateDict, metadata: dict[str, Any]) -> None:
        if self.extras.save_weights:
            save_weights(path, weights, metadata)


def update_averages(session: Session) -> list[Callback]:
    """Callbacks that update the averaged models after every step, before anything reads them."""
    averages = session.averages
    if averages is None:
        return []
    return [Callback(loop.after_every_step, lambda t: averages.update(t.iteration))]


def resume_state(session: Session) -> dict[str, Any]:
    """Weights, and all that is needed to resume training from them."""
    return session.state_dict() | {"model": session.model.state_dict()}


@contextmanager
def name_state_in_errors(path: Path, changed: Sequence[str] = ()) -> Iterator[None]:
    """Add the file name to errors of a state that lacks something, or is of another network.

    Args:
        path: of the file.
        changed: modules whose code has changed since it was saved.

    Raises:
        ValueError: in place of the errors that such a state leads to.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, RuntimeError, zlib.error) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        code = f"; code has changed since: {', '.join(changed)}" if changed else ""
        raise ValueError(
            f"{path} does not fit this training ({what[:300]}{code}); remove it to start over"
        ) from error


def _keep_threads(before: int | None, typed: int | None) -> None:
    """Keep the number of threads that a training began with, or warn that it changed.

    Args:
        before: threads of the job that wrote the state; None if unknown.
        typed: `runtime.num_threads`.
    """
    if before is None or before == torch.get_num_threads():
        return
    if typed is None:
        torch.set_num_threads(before)
        log.info("%d threads, as before; runtime.num_threads=... sets another number", before)
    else:
        log.warning(
            "runtime.num_threads=%d: this training began with %d; its numbers may differ in "
            "rounding from those of either number alone",
            typed,
            before,
        )


def _check_validation(session: Session) -> None:
    if session.data.val is not None:
        return
    if session.recipe.hparams.patience is not None:  # of either model
        raise ValueError("hparams.patience needs a validation split: dataset.val_fraction=0.1")
    if session.training.scheduler.state_dict():
        raise ValueError("scheduler=plateau needs a validation split: dataset.val_fraction=0.1")


def _summary(session: Session, report: EpochReport, table: dict[str, Any]) -> dict[str, Any]:
    return {
        "evaluation": table,
        **session.origin,
        "iteration": session.training.iteration,
        "end": session.end,  # as planned
        "iterations_per_epoch": session.iterations_per_epoch,
        "stopped_early": session.training.iteration < session.end,
        "best_iteration": report.best.iteration if report.best.weights else None,
        **_best_averaged(report.best_averaged),
        "num_parameters": sum(p.numel() for p in session.model.parameters()),
        "num_examples": {name: len(split) for name, split in session.data.splits.items()},
        "train_seconds": round(report.seconds, 3),
        "device": str(session.device),
        "num_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _best_averaged(best: Best) -> dict[str, Any]:
    """Which averaged model had the lowest validation loss, and when; nothing without averages."""
    if not best.weights:
        return {}
    return {"best_averaged_model": best.model, "best_averaged_iteration": best.iteration}


def _flat(metadata: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names, for TensorBoard; a part by its own name."""
    flat: dict[str, Any] = {}
    for key, value in metadata.items():
        if key == "_target_":
            flat[prefix.rstrip(".")] = str(value).rpartition(".")[2]
        elif key == "_partial_":
            continue
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, bool | int | float) else str(value)
    return flat


def fit(
    run: Run,
    make: Callable[[], Session],
    snapshots: steps.Snapshots = None,
    save_predictions: bool = True,
    end: int | None = None,
    label: str = "",
    extras: TrainHooks | None = None,
) -> int:
    """Train until the run has its result and every requested snapshot.

    Resumes from the run's last state, if there is one; makes a snapshot that a finished run did
    not keep by replaying from the nearest earlier one, and writes lost files again.

    Args:
        run: whose folder is locked.
        make: makes the session in its first state; called only if there is something to train.
        snapshots: steps at which to keep weights and state.
        save_predictions: whether to keep correctness per validation example.
        end: an iteration to which a run that was finished before is trained further.
        label: of this training in log lines and errors.
        extras: optional hooks; a run without weights starts from scratch after a kill.

    Returns:
        How many optimizer steps were made.

    Raises:
        FloatingPointError: a loss is not finite; the run stays at its last state.
        ValueError: a snapshot is after the end of training, or a part refuses its values.
    """
    num_steps = 0
    try:
        missing_files = run.missing_files()
        if missing_files:
            log.info("%s", lost_files_message(run, missing_files))
        if missing_files or not run.has_reached(end):
            num_steps += _train(
                TrainingRun(run, make(), snapshots, save_predictions, label, extras)
            )
        missing = run.missing_snapshots(snapshots, end)
        if missing:
            num_steps += _replay(run, make(), missing, label)
    except FloatingPointError as error:
        raise FloatingPointError(f"{label}: {error}" if label else str(error)) from error
    return num_steps


def _train(leg: TrainingRun) -> int:
    run, session = leg.run, leg.session
    leg.begin(load_state(run.state) if run.state.exists() else None)
    start = session.training.iteration
    progress = leg.progress()
    saver = Saver(run.state, session.runtime.save_every, leg.state)
    saves = [Callback(loop.after_every_step, lambda _: saver.save_in_time())]
    callbacks = [
        *update_averages(session),
        *leg.callbacks(),
        *(saves if leg.extras.save_weights else []),
        *progress.callbacks(),
    ]
    loop.train(session.training, session.batches, session.end, callbacks)
    if leg.extras.save_weights:
        saver.save()
    leg.finish()
    progress.close()
    return session.training.iteration - start


def _replay(run: Run, session: Session, missing: list[int], label: str) -> int:
    """Make missing snapshots, bit for bit, each by training from the nearest earlier one."""
    callbacks = update_averages(session)
    report = EpochReport(session, None, save_predictions=False)
    if session.training.scheduler.state_dict():  # its learning rate depends on the validation loss
        callbacks.append(Callback(loop.every_iterations(session.iterations_per_epoch), report))
    saver = Saver(run.replay, session.runtime.save_every, lambda: resume_state(session))
    callbacks.append(Callback(loop.after_every_step, lambda _: saver.save_in_time()))
    num_steps = 0
    for iteration in missing:
        _go_back(run, session, iteration)
        num_steps += iteration - session.training.iteration
        start, end = (
            steps.to_text(moment, session.iterations_per_epoch)
            for moment in (session.training.iteration, iteration)
        )
        what = f"{label} from " if label else ""
        log.info("replaying %s%s to %s for a snapshot that was not kept", what, start, end)
        loop.train(session.training, session.batches, iteration, callbacks)
        session.save_snapshot(run)
    run.replay.unlink(missing_ok=True)
    return num_steps


def _go_back(run: Run, session: Session, iteration: int) -> None:
    """Load the latest state kept before an iteration, if it is later than the session."""
    earlier = [kept for kept in run.snapshots() if kept < iteration]
    replayed = load_state(run.replay) if run.replay.exists() else None
    reached = replayed["training"]["iteration"] if replayed else -1
    if replayed and max([session.training.iteration, *earlier]) < reached < iteration:
        with name_state_in_errors(run.replay):
            session.load_state_dict(replayed["model"], replayed)
    elif earlier and earlier[-1] > session.training.iteration:
        with name_state_in_errors(run.snapshot_state(earlier[-1])):
            session.load_snapshot(run, earlier[-1])


def lost_files_message(run: Run, missing: Sequence[Path]) -> str:
    """Line about the files that a finished run has lost, and how they are made again."""
    names = ", ".join(str(path.relative_to(run.folder)) for path in missing[:3])
    others = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    how = "from state.pt" if run.state.exists() else "by training again: there is no state.pt"
    return f"{run.folder} has lost {names}{others}; made again {how}"


class Saver:
    """Writes the state of a training at intervals.

    Args:
        path: of the state.
        every: seconds between two writes.
        state: makes what is written.
    """

    def __init__(self, path: Path, every: float, state: Callable[[], dict[str, Any]]) -> None:
        self.path, self.every, self.state = path, every, state
        self.saved_at = time.monotonic()

    def save_in_time(self) -> None:
        """Write the state if the last one is old enough."""
        if time.monotonic() - self.saved_at >= self.every:
            self.save()

    def save(self) -> None:
        """Write the state now."""
        save_state(self.path, self.state())
        self.saved_at = time.monotonic()
