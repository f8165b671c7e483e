"""Train a run to its end, from wherever it stands."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isthmus import steps
from isthmus.runs import Run, load_state, save_state
from isthmus.training import loop
from isthmus.training.leg import Extras, Leg, Request, going_on, state_of, update_averages
from isthmus.training.loop import Callback
from isthmus.training.report import Report
from isthmus.training.session import Session

log = logging.getLogger(__name__)


def fit(
    run: Run,
    make: Callable[[], Session],
    snapshots: Request = None,
    save_predictions: bool = True,
    end: int | None = None,
    words: str = "",
    extras: Extras | None = None,
) -> int:
    """Train until the run has its result and every snapshot asked for.

    Goes on from the run's last state, if there is one; makes a snapshot that a finished run did
    not keep by replaying from the nearest earlier one, and files that it has lost anew.

    Args:
        run: whose folder is held.
        make: the session in its first state, called only if there is something to train.
        snapshots: what to keep on the way.
        save_predictions: whether to keep correctness per validation example.
        end: an iteration up to which a run that was finished before is trained on.
        words: what is trained, as a person would say it.
        extras: what is wanted besides; a run without weights begins anew after a kill.

    Returns:
        How many optimizer steps were made.

    Raises:
        FloatingPointError: a loss is not finite; the run stays at its last state.
        ValueError: a snapshot lies after the end of training, or a part refuses its values.
    """
    num_steps = 0
    try:
        missing_files = run.missing_files()
        if missing_files:
            log.info("%s", lost(run, missing_files))
        if missing_files or not run.has_reached(end):
            num_steps += _train(Leg(run, make(), snapshots, save_predictions, words, extras))
        missing = run.missing_snapshots(snapshots, end)
        if missing:
            num_steps += _replay(run, make(), missing, words)
    except FloatingPointError as error:
        raise FloatingPointError(f"{words}: {error}" if words else str(error)) from error
    return num_steps


def _train(leg: Leg) -> int:
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


def _replay(run: Run, session: Session, missing: list[int], words: str) -> int:
    """Make snapshots that were not kept, bit for bit, each from the nearest earlier one."""
    callbacks = update_averages(session)
    report = Report(session, None, save_predictions=False)
    if session.training.scheduler.state_dict():  # its learning rate depends on the validation loss
        callbacks.append(Callback(loop.every(session.iterations_per_epoch), report))
    saver = Saver(run.replay, session.runtime.save_every, lambda: going_on(session))
    callbacks.append(Callback(loop.after_every_step, lambda _: saver.save_in_time()))
    num_steps = 0
    for iteration in missing:
        _go_back(run, session, iteration)
        num_steps += iteration - session.training.iteration
        start, end = (
            steps.to_text(moment, session.iterations_per_epoch)
            for moment in (session.training.iteration, iteration)
        )
        what = f"{words} from " if words else ""
        log.info("replaying %s%s to %s for a snapshot that was not kept", what, start, end)
        loop.train(session.training, session.batches, iteration, callbacks)
        session.save_snapshot(run)
    run.replay.unlink(missing_ok=True)
    return num_steps


def _go_back(run: Run, session: Session, iteration: int) -> None:
    """Load the latest of what is kept before an iteration, if it is later than the session."""
    earlier = [kept for kept in run.snapshots() if kept < iteration]
    replayed = load_state(run.replay) if run.replay.exists() else None
    reached = replayed["training"]["iteration"] if replayed else -1
    if replayed and max([session.training.iteration, *earlier]) < reached < iteration:
        with state_of(run.replay):
            session.load_state_dict(replayed["model"], replayed)
    elif earlier and earlier[-1] > session.training.iteration:
        with state_of(run.snapshot_state(earlier[-1])):
            session.load_snapshot(run, earlier[-1])


def lost(run: Run, missing: Sequence[Path]) -> str:
    """What a finished run has lost, and what follows, in a line."""
    names = ", ".join(str(path.relative_to(run.folder)) for path in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    how = "from state.pt" if run.state.exists() else "by training again: there is no state.pt"
    return f"{run.folder} has lost {names}{more}; made again {how}"


class Saver:
    """Writes a state when the last one is old enough.

    Args:
        path: of the state.
        every: seconds between two writes.
        state: makes what is written.
    """

    def __init__(self, path: Path, every: float, state: Callable[[], dict[str, Any]]) -> None:
        self.path, self.every, self.state = path, every, state
        self.saved = time.monotonic()

    def save_in_time(self) -> None:
        """Write it if it is time."""
        if time.monotonic() - self.saved >= self.every:
            self.save()

    def save(self) -> None:
        """Write it now."""
        save_state(self.path, self.state())
        self.saved = time.monotonic()
