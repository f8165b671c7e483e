"""Several trainings of one recipe, which differ in their seeds alone, as one."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from src.data.batches import TrainBatches
from src.data.stacked_batches import StackedBatches
from src.steps import to_text
from src.training import groups, loop
from src.training.misfit import misfit
from src.training.session import Session
from src.training.stacked_gradients import StackedGradients, tensors_of


class Stacked:
    """Networks in training together: each tensor of theirs is one with a leading axis, `models`.

    Each has its own order of the data, augmentation and dropout, and all is as if it were trained
    by itself, up to rounding. The sessions stay as they are until `scatter`. That every part is
    elementwise is taken for granted of averages, and looked at in all else; `runtime.compile` does
    not apply.

    Args:
        sessions: (models), made of one recipe, at the same iteration; their training sets share
            their memory (`TrainBatches.seeded`).

    Raises:
        ValueError: they cannot be trained together (see `misfit`), or are not at one iteration.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions, first = list(sessions), sessions[0]
        reason = misfit(first)
        if reason is not None:
            raise ValueError(f"these trainings cannot be trained together: {reason}")
        iterations = [session.training.iteration for session in sessions]
        if len(set(iterations)) > 1:
            raise ValueError(f"trained together: all start at one iteration, got {iterations}")
        self.iteration, self.iterations_per_epoch = iterations[0], first.iterations_per_epoch
        in_memory = [each.batches for each in sessions if isinstance(each.batches, TrainBatches)]
        self.batches = StackedBatches(in_memory)  # all of them, see misfit
        self.gradients = StackedGradients(
            [session.model for session in sessions],
            [session.training.dropout_seed for session in sessions],
            min(first.recipe.batch_size, len(first.batches)),
            first.training.autocast,
        )
        self._parameters = list(self.gradients.parameters.values())
        self.scheduler, self.clip = first.training.scheduler, first.training.clip
        self.optimizer = first.make_optimizer(self.gradients.parameters)
        self._base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.averages = first.recipe.averages() if first.recipe.averages else None
        self._gather_states(first)
        self._begin()

    def _gather_states(self, first: Session) -> None:
        states = [session.training.optimizer.state_dict() for session in self.sessions]
        self.optimizer.load_state_dict(_stack(states, common="step"))  # Adam's count of steps
        if self.averages:
            self.averages.start(self.gradients.stack, first.planned_end, self.iterations_per_epoch)
            averages = [each.averages.state_dict() for each in self.sessions if each.averages]
            self.averages.load_state_dict(_stack(averages))

    def _begin(self) -> None:
        """Forget the losses since the last look."""
        self._losses: list[Tensor] = []  # (models,) each, still on the device
        self._sizes: list[int] = []
        device = self.sessions[0].device
        self._correct = torch.zeros(len(self.sessions), dtype=torch.int64, device=device)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one optimizer step of each, as `Training.step`; never waits for the device.

        Args:
            inputs: (models, batch, *input_shape).
            labels: (models, batch).
        """
        factor = self.scheduler.factor(self.iteration)
        groups.set_rates_(self.optimizer, self._base_lrs, factor, self.iteration)
        losses, correct = self.gradients(inputs, labels, self.iteration)
        if self.clip is not None:
            clip_gradients_(self._parameters, self.clip)
        self.optimizer.step()
        self._losses.append(losses)
        self._sizes.append(labels.shape[1])
        self._correct += correct
        self.iteration += 1
        if self.averages:
            self.averages.update(self.iteration)

    def settle(self) -> None:
        """Look at the losses since the last look, and stop at one that is not finite.

        Raises:
            FloatingPointError: naming the step.
        """
        losses = torch.stack(self._losses, dim=1).cpu() if self._losses else None
        for index, session in enumerate(self.sessions):
            session.training.iteration = self.iteration
            if losses is not None:
                running = session.training.running
                running.extend(losses[index], self._correct[index], self._sizes)
                with led_by(session):
                    session.training.settle()
        self._begin()

    def clear(self) -> None:
        """Forget the batches so far: a new epoch begins."""
        for session in self.sessions:
            session.training.running.clear()

    @torch.no_grad()
    def scatter(self) -> None:
        """Bring every session to where its training stands: weights, optimizer and averages."""
        self.settle()
        tensors = tensors_of(self.gradients.stack)
        optimizer = self.optimizer.state_dict()
        averages = self.averages.state_dict() if self.averages else None
        for index, session in enumerate(self.sessions):
            for name, tensor in tensors_of(session.model).items():
                tensor.copy_(tensors[name][index])
            session.training.optimizer.load_state_dict(_unstack(optimizer, index))
            if session.averages:
                session.averages.load_state_dict(_unstack(averages, index))


@contextlib.contextmanager
def led_by(session: Session) -> Iterator[None]:
    """Say which child an error is of."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"child {session.origin.get('child_seed')}: {error}") from error


@dataclass(frozen=True)
class Shared:
    """As `loop.Callback`, but done once for all."""

    when: Callable[[int], bool]
    act: Callable[[Stacked], None]


def train(
    stacked: Stacked,
    end: int,
    shared: Sequence[Shared],
    each: Sequence[Sequence[loop.Callback]],
) -> None:
    """Train all to iteration `end`, as `loop.train` would train one after the other.

    Args:
        stacked: updates its averages itself.
        end: iteration.
        shared: called after those of each; if they need the sessions they scatter.
        each: (models) the callbacks of each session, which is up to date when they are called.
            What they change in it does not come back.

    Raises:
        FloatingPointError: a loss is not finite.
        ValueError: a callback stops one of the trainings.
    """
    for session in stacked.sessions:
        session.model.train()
    if stacked.iteration == 0:
        _call(stacked, shared, each)
    while stacked.iteration < end:
        epoch, start = divmod(stacked.iteration, stacked.iterations_per_epoch)
        if start == 0:
            stacked.settle()
            stacked.clear()
        for inputs, labels in stacked.batches.epoch(epoch, start):
            stacked.step(inputs, labels)
            if stacked.iteration % loop.CHECK_EVERY == 0:
                stacked.settle()
            _call(stacked, shared, each)
            if stacked.iteration == end:
                break


def _call(
    stacked: Stacked, shared: Sequence[Shared], each: Sequence[Sequence[loop.Callback]]
) -> None:
    iteration = stacked.iteration
    due = [[callback for callback in own if callback.when(iteration)] for own in each]
    if any(due):
        stacked.scatter()
    for session, own in zip(stacked.sessions, due, strict=True):
        for callback in own:
            callback.act(session.training)
        if session.training.stopped:
            step = to_text(iteration, stacked.iterations_per_epoch)
            raise ValueError(f"one training was stopped at step {step}; together they all go on")
    for for_all in shared:
        if for_all.when(iteration):
            for_all.act(stacked)


def clip_gradients_(parameters: Sequence[Tensor], max_norm: float) -> None:
    """Scale the gradients of each model down to a norm, as `nn.utils.clip_grad_norm_` does.

    Args:
        parameters: (models, ...) each, with gradients or None.
        max_norm: of all gradients of one model as one vector.
    """
    there = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [p.grad.reshape(len(p), -1) for p in there]  # type: ignore[union-attr]
    norms = torch.stack([gradient.norm(dim=1) for gradient in gradients])  # (tensors, models)
    factors = (max_norm / (norms.norm(dim=0) + 1e-6)).clamp(max=1.0)  # (models,)
    for parameter in there:
        parameter.grad = parameter.grad * factors.view(-1, *[1] * (parameter.ndim - 1))


def _stack(trees: Sequence[Any], common: str | None = None) -> Any:
    """States of equal structure as one whose tensors are stacked.

    Numbers, and what is called `common`, are the same in all of them, and stay as they are.
    """
    first = trees[0]
    if isinstance(first, dict):
        pairs = {key: [tree[key] for tree in trees] for key in first}
        return {
            key: copy.deepcopy(values[0]) if key == common else _stack(values, common)
            for key, values in pairs.items()
        }
    if isinstance(first, list):
        return [_stack(values, common) for values in zip(*trees, strict=True)]
    return torch.stack(list(trees)) if isinstance(first, Tensor) else first


def _unstack(tree: Any, index: int) -> Any:
    """The state of one of them, in memory of its own: optimizers keep the tensors they load."""
    if isinstance(tree, dict):
        return {key: _unstack(value, index) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unstack(value, index) for value in tree]
    if isinstance(tree, Tensor):
        return (tree[index] if tree.ndim else tree).clone()
    return tree
