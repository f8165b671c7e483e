"""Rewinds and restarts one session to where the training of each level or branch begins."""

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from isthmus import state_dicts
from isthmus.pruning.plan import PruningPlan, PruningTree
from isthmus.state_dicts import StateDict
from isthmus.store.files import load_state
from isthmus.training import masked_training
from isthmus.training.loop import Constraint
from isthmus.training.masked_training import Masking
from isthmus.training.masks import Mask
from isthmus.training.options import StreamSeeds
from isthmus.training.schedulers import Scheduler
from isthmus.training.session import Session

log = logging.getLogger(__name__)

SMALLEST_LR = 1e-3  # as a fraction of optimizer.lr: with less, weights do not change


class ConstantSchedule(Scheduler):
    """One learning rate throughout.

    Args:
        factor: that learning rate, relative to the base.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def factor(self, iteration: int) -> float:
        """See `Scheduler`."""
        return self._factor


class StartingPoints:
    """The starting points of levels and branches: resets one session to each of them.

    Args:
        session: of the dense network, in its first state.
        tree: with the levels.
        plan: of them.
        seeds: of the streams of chance.
        weights: makes the weights that level 0 begins from out of fresh ones; None: fresh ones.
    """

    def __init__(
        self,
        session: Session,
        tree: PruningTree,
        plan: PruningPlan,
        seeds: StreamSeeds,
        weights: Callable[[StateDict], StateDict] | None,
    ) -> None:
        self.session, self.tree, self.plan = session, tree, plan
        self.seeds, self.weights = seeds, weights
        self.initial = state_dicts.copy(session.model.state_dict())

    def with_seeds(self, seeds: StreamSeeds) -> "StartingPoints":
        """The same starting points with other seeds of the streams of chance."""
        other = copy.copy(self)
        other.seeds = seeds
        return other

    def begin_dense(self, mask: Mask | None, origin: dict[str, Any]) -> Session:
        """The session at the beginning of level 0; of a sparse network if there is a mask."""
        weights: StateDict = self.initial
        if self.weights is not None:
            weights = self.weights(self.initial)
        return self.restart_from(weights, self.plan.start, mask, origin)

    def rewind(self, mask: Mask | None, origin: dict[str, Any]) -> Session:
        """The session with the state of level 0 at the rewind step, and pruned weights at 0.

        Weights, optimizer, schedule and averaged models are as they were there. Without a mask it
        is level 0 itself, which continues from there.
        """
        session = self.begin_dense(mask, origin)
        if self.plan.rewind > self.plan.start:
            session.load_snapshot(self.tree.level(0), self.plan.rewind)
            if mask is not None:
                masked_training.mask_session_(session, mask)
        return session

    def rewound_weights(self) -> StateDict:
        """The dense weights at the rewind step."""
        if self.plan.rewind > self.plan.start:
            file = self.tree.level(0).weights(self.plan.rewind)
            return self.session.evaluator.load(file)
        return self.begin_dense(None, {}).model.state_dict()

    def restart_from(
        self, weights: StateDict, iteration: int, mask: Mask | None, origin: dict[str, Any]
    ) -> Session:
        """The session with given weights at an iteration, a fresh optimizer and averaged models.

        Args:
            weights: pruned ones are set to 0.
            iteration: from which the schedule and the data order continue.
            mask: None for a dense network.
            origin: what is saved with the weights.
        """
        constraint = None if mask is None else partial(Masking, mask=mask)
        session = restart_session(self.session, self.seeds, weights, iteration, constraint, origin)
        if iteration == self.plan.rewind > self.plan.start:
            state = load_state(self.tree.level(0).snapshot_state(iteration))
            session.training.scheduler.load_state_dict(state["training"]["scheduler"])
        return session

    def continue_training(
        self, weights: StateDict, mask: Mask, origin: dict[str, Any], lr: float | None
    ) -> Session:
        """The session that trains given weights as long as level 0, at one learning rate.

        Args:
            weights: pruned ones are set to 0.
            mask: of the network.
            origin: what is saved with the weights.
            lr: None for the learning rate that level 0 ended with.
        """
        session = self.restart_from(weights, self.plan.start, mask, origin)
        training = session.training
        if lr is None:
            last = load_state(self.tree.level(0).state)["training"]
            training.scheduler.load_state_dict(last["scheduler"])
            training.scheduler = ConstantSchedule(training.scheduler.factor(last["iteration"] - 1))
            log.info("trained on at the last learning rate, %.3g", training.lr())
        else:
            training.scheduler = ConstantSchedule(lr / training.base_lr)
        return session

    def check_last_lr(self) -> None:
        """Refuse to train on at the last learning rate where the schedule falls to 0.

        Raises:
            ValueError: naming the option that gives another rate.
        """
        training, end = self.session.training, self.plan.end
        if training.scheduler.factor(end) < SMALLEST_LR:
            raise ValueError(
                f"rewind=none: levels would be trained on at the last learning rate of level 0, "
                f"{training.scheduler.factor(end - 1) * training.base_lr:.2g}, where the schedule "
                f"has fallen to 0; retrain_lr={training.base_lr / 10:g} gives them one, and "
                "rewind=lr (not with pruning=han) the schedule once more"
            )


def restart_session(
    session: Session,
    seeds: StreamSeeds,
    weights: StateDict,
    iteration: int,
    constraint: Callable[[nn.Module], Constraint] | None,
    origin: dict[str, Any],
) -> Session:
    """Restart a session at an iteration: given weights, fresh optimizer and averaged models.

    Args:
        session: to restart.
        seeds: of the streams of chance.
        weights: that the constraint makes sparse.
        iteration: from which the schedule and the data order continue.
        constraint: what keeps pruned weights at 0; None in a dense network.
        origin: what is saved with the weights.
    """
    session.set_constraint(constraint)
    session.restart(seeds, weights, origin=origin)
    session.training.iteration = iteration
    return session
