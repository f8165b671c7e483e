"""Train several runs that differ in their seeds as one stack, from wherever they stand."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from src import steps
from src.runs import Run, load_state, save_state
from src.training import loop
from src.training.fit import Saver
from src.training.leg import Leg
from src.training.session import Session
from src.training.stacked import Shared, Stacked, train

log = logging.getLogger(__name__)


def fit_together(legs: Sequence[Leg], state: Path, words: str) -> int:
    """Train legs to their common end.

    The state of all is one file while they are under way, written at once, so that they go on in
    step after a kill; then each run has its own, as if it had been trained apart.

    Args:
        legs: (models) of sessions that are twins, in their first states.
        state: file of that state.
        words: what is trained, as a person would say it.

    Returns:
        How many optimizer steps were made, of all together.

    Raises:
        FloatingPointError: a loss is not finite; the runs stay at their last state.
        ValueError: they cannot be trained together.
    """
    for leg, own in zip(legs, _states(legs, state), strict=True):
        leg.begin(own)
    stacked = Stacked([leg.session for leg in legs])
    start, end = stacked.iteration, legs[0].session.end
    progress = legs[0].progress(words)

    def state_of_all() -> dict[str, Any]:
        stacked.scatter()
        return {"legs": [leg.state() for leg in legs]}

    saver = Saver(state, legs[0].session.runtime.save_every, state_of_all)
    shared = [Shared(loop.after_every_step, lambda _: saver.save_in_time())]
    shared += [_for_all(callback) for callback in progress.callbacks()]
    train(stacked, end, shared, [leg.callbacks() for leg in legs])
    saver.save()
    for leg in legs:
        save_state(leg.run.state, leg.state())
        leg.finish()
    state.unlink()
    progress.close()
    return (stacked.iteration - start) * len(legs)


def replay_together(
    runs: Sequence[Run], make: Callable[[], list[Session]], missing: Sequence[int], words: str
) -> int:
    """Make snapshots that runs trained together did not keep, bit for bit, with the same stack.

    Args:
        runs: (models) all that were trained together, in that order, whose folders are held.
        make: their sessions in their first states.
        missing: iterations, in order.
        words: what is trained.

    Returns:
        How many optimizer steps were made, of all together.
    """
    sessions, num_steps = make(), 0
    for iteration in missing:
        common = set.intersection(*(set(run.snapshots()) for run in runs))
        earlier = max((kept for kept in common if kept < iteration), default=-1)
        if earlier > sessions[0].training.iteration:
            for run, session in zip(runs, sessions, strict=True):
                session.load_snapshot(run, earlier)
        stacked = Stacked(sessions)
        num_steps += (iteration - stacked.iteration) * len(sessions)
        moments = (stacked.iteration, iteration)
        texts = [steps.to_text(moment, stacked.iterations_per_epoch) for moment in moments]
        log.info("replaying %s from %s to %s for a snapshot that was not kept", words, *texts)
        train(stacked, iteration, [], [[] for _ in sessions])
        stacked.scatter()
        for run, session in zip(runs, sessions, strict=True):
            session.save_snapshot(run)
    return num_steps


def _states(legs: Sequence[Leg], state: Path) -> list[dict[str, Any] | None]:
    """What each leg goes on from: the common state, its own, or nothing."""
    if state.exists():
        return load_state(state)["legs"]
    return [load_state(leg.run.state) if leg.run.state.exists() else None for leg in legs]


def _for_all(callback: loop.Callback) -> Shared:
    return Shared(callback.when, lambda stacked: callback.act(stacked.sessions[0].training))
