"""Trains a stack of students with Adam on batches of queries."""

import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from tqdm import tqdm

from isthmus import rng
from isthmus.data.orders import data_order
from isthmus.extraction.options import ExtractRuntime
from isthmus.extraction.stacks import Stack, StackLayer
from isthmus.store import files
from isthmus.training.plateau import Plateau
from isthmus.vocabulary import Activation

FIRST, SECOND, EPS = 0.9, 0.999, 1e-8  # decay of the mean and of the mean square of gradients
FUSED = 4096  # numbers of a student in one tensor, from which a call for each student is faster


@dataclass(frozen=True, eq=False)
class AdamMoments:
    """Adam's moments of gradients; one tensor for each of the weights.

    Args:
        mean: moving averages of gradients.
        square: of their squares.
        room: buffers for intermediate values.
    """

    mean: list[Tensor]
    square: list[Tensor]
    room: list[Tensor]

    def take(self, students: Sequence[int] | slice) -> "AdamMoments":
        """The moments of some students; for a slice, views of the same memory."""
        chosen = students if isinstance(students, slice) else list(students)
        parts = (self.mean, self.square, self.room)
        mean, square, room = ([tensor[chosen] for tensor in each] for each in parts)
        return AdamMoments(mean, square, room)


def zero_moments(weights: Sequence[Tensor]) -> AdamMoments:
    """The moments of weights before their first gradient."""
    mean, square, room = ([torch.zeros_like(tensor) for tensor in weights] for _ in range(3))
    return AdamMoments(mean, square, room)


@torch.no_grad()
def adam_step_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    held: AdamMoments,
    rates: Sequence[float],
    step: int,
) -> None:
    """Make an Adam step of all students in place; large students one by one in a fused call.

    Args:
        weights: (students, ...) each.
        gradients: (students, ...) each.
        held: moments of the gradients; updated.
        rates: the learning rate of each student.
        step: 1 for the first one.
    """
    if max(tensor[0].numel() for tensor in weights) >= FUSED:
        _step_alone_(weights, gradients, held, rates, step)
        return
    root = math.sqrt(1 - SECOND**step)
    scaled = torch.tensor([-rate * root / (1 - FIRST**step) for rate in rates], dtype=torch.float64)
    tensors = zip(weights, gradients, held.mean, held.square, held.room, strict=True)
    for weight, gradient, mean, square, move in tensors:
        mean.lerp_(gradient, 1 - FIRST)
        square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        torch.sqrt(square, out=move).add_(EPS * root)
        torch.div(mean, move, out=move)
        weight.addcmul_(move, scaled.to(weight).view(-1, *[1] * (weight.ndim - 1)))


def _step_alone_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    held: AdamMoments,
    rates: Sequence[float],
    step: int,
) -> None:
    """A step of every student, with one call per student; with one call for all students if they
    have one learning rate."""
    tensors = (weights, gradients, held.mean, held.square)
    if len(set(rates)) == 1:  # as until the first plateau of a student: one call for all
        of_students, rates = [[tuple(each)] for each in tensors], rates[:1]
    else:  # four lists, each with one tuple per student: its parts of all tensors
        parted = ([tensor.unbind() for tensor in each] for each in tensors)
        of_students = [list(zip(*each, strict=True)) for each in parted]
    counts = torch.full((len(rates), len(weights)), step - 1.0, device=weights[0].device)
    how: dict[str, Any] = {"beta1": FIRST, "beta2": SECOND, "eps": EPS, "weight_decay": 0.0}
    how |= {"fused": True, "amsgrad": False, "maximize": False}
    for *parts, before, rate in zip(*of_students, counts, rates, strict=True):
        weight, gradient, mean, square = (list(part) for part in parts)
        adam(weight, gradient, mean, square, [], list(before.unbind()), lr=rate, **how)


@dataclass(frozen=True)
class StudentChunk:
    """Some of the students, for one epoch.

    Args:
        students: which of them.
        stack: their weights, which are trained.
        moments: of their gradients.
        rates: their learning rates.
    """

    students: slice
    stack: Stack
    moments: AdamMoments
    rates: Sequence[float]

    def step_(self, sources: Sequence[Tensor], targets: Tensor, step: int) -> Tensor:
        """Make a step on a batch; returns (students,), the summed losses of its examples before."""
        leaves, outputs = self.stack.tensors(), self.stack.outputs(sources)
        misses = outputs.detach() - targets  # (students, batch, outputs)
        losses = misses.square().mean(dim=(1, 2)) * len(targets)
        of_outputs = misses.mul_(2 / targets.numel())  # the gradient of the mean squared error
        gradients = torch.autograd.grad(outputs, leaves, of_outputs)
        adam_step_(leaves, gradients, self.moments, self.rates, step)
        return losses


ROWS = 4096  # examples at a time in evaluations
VALUES_AT_ONCE = 2**19  # activations of a layer of all students trained together, on a CPU
ROUNDING = 1 + 1e-6  # of a learning rate that fell in several steps


@dataclass(frozen=True)
class FitSchedule:
    """Learning rate schedule of students.

    Args:
        lr: of Adam, at first.
        batch_size: examples in a batch.
        epochs: at most.
        factor: by which the learning rate of a student falls when its loss has not.
        patience: epochs without a lower loss before it falls.
        cooldown: epochs after a fall that do not count.
        min_lr: a student is done at this learning rate.
    """

    lr: float
    batch_size: int
    epochs: int
    factor: float
    patience: int
    cooldown: int
    min_lr: float

    def plateau(self) -> Plateau:
        """A plateau schedule of one student, whose factor is relative to `lr`."""
        return Plateau(
            1, 1, self.factor, self.patience, self.cooldown, 0.0, min(self.min_lr / self.lr, 1)
        )


def initialize_students(
    students: range, sizes: Sequence[int], activation: Activation, seed: int
) -> Stack:
    """Untrained students: normal weights of variance 2 / inputs (He et al., 2015).

    Student n does not depend on the others.

    Args:
        students: their numbers, at least one.
        sizes: features of the inputs, units of each hidden layer, outputs.
        activation: of the hidden layers.
        seed: of the streams that weights are drawn from.
    """
    layers = []
    for number, (inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False)):
        drawn = [
            torch.randn(units, inputs, generator=rng.generator(seed, "student", n, number))
            for n in students
        ]
        weights = torch.stack(drawn) * math.sqrt(2 / inputs)
        layers.append(StackLayer((weights,), torch.zeros(len(students), units)))
    return Stack(tuple(layers), activation)


@torch.no_grad()
def student_losses(stack: Stack, sources: Sequence[Tensor], targets: Tensor) -> list[float]:
    """Mean squared errors over examples and outputs, one per student."""
    total = torch.zeros(stack.num_students, dtype=torch.float64)
    for start in range(0, len(targets), ROWS):
        rows = slice(start, start + ROWS)
        outputs = stack.outputs([source[rows] for source in sources])
        total += (outputs - targets[rows]).double().square().sum(dim=(1, 2)).cpu()
    return (total / targets.numel()).tolist()


class Fit:
    """A training of students that imitate a teacher.

    The loss of each is its mean squared error over batch and outputs. Their sum is minimized: with
    Adam every student is then trained as if it were alone. A student that is done leaves the stack.

    Args:
        stack: where they begin.
        sources: (batch, features) each, what their first layer reads, the nearest last.
        targets: (batch, outputs), of the teacher.
        schedule: of each student.
        seed: of the order of the examples.
    """

    def __init__(
        self,
        stack: Stack,
        sources: Sequence[Tensor],
        targets: Tensor,
        schedule: FitSchedule,
        seed: int,
    ) -> None:
        self.sources, self.targets, self.schedule, self.seed = sources, targets, schedule, seed
        self.stack = stack.with_tensors([tensor.clone() for tensor in stack.tensors()])
        self.active = list(range(stack.num_students))
        self.plateaus = [schedule.plateau() for _ in self.active]
        self.epoch = self.step = 0
        self.rows: list[tuple[int, int, float, float]] = []  # epoch, student, loss, lr
        self.latest: dict[int, float] = {}  # loss of each student in its last epoch
        self.working = [tensor.clone() for tensor in self.stack.tensors()]
        self.moments = zero_moments(self.working)

    @property
    def is_done(self) -> bool:
        return not self.active or self.epoch >= self.schedule.epochs

    def run(self, save: Callable[[], None], save_every: float, report: Callable[[], None]) -> None:
        """Train until every student is done.

        Args:
            save: called at the end of an epoch when `save_every` seconds have passed, and last.
            save_every: seconds.
            report: called after each epoch.

        Raises:
            FloatingPointError: a loss is not finite; the message names student and epoch.
        """
        saved = time.monotonic()
        while not self.is_done:
            self._end_epoch(self._train_epoch())
            report()
            if time.monotonic() - saved >= save_every:
                save()
                saved = time.monotonic()
        self._put_back()
        save()

    def _train_epoch(self) -> list[float]:
        """One pass through the examples; returns the mean loss of each active student during it."""
        num, size = len(self.targets), self.schedule.batch_size
        order = data_order(self.seed, self.epoch, num).to(self.targets.device)
        total = torch.zeros(len(self.active), device=self.targets.device)
        room = [source.new_empty(min(size, num), source.shape[1]) for source in self.sources]
        parts = list(self._parts(min(size, num)))
        for start in range(0, num, size):
            rows = order[start : start + size]
            sources = [
                torch.index_select(source, 0, rows, out=batch[: len(rows)])
                for source, batch in zip(self.sources, room, strict=True)
            ]
            targets = self.targets.index_select(0, rows)
            self.step += 1
            for part in parts:
                total[part.students] += part.step_(sources, targets, self.step)
        return (total / num).tolist()

    def _parts(self, batch_size: int) -> Iterator[StudentChunk]:
        """The active students, as many at a time as stay in a CPU's cache."""
        rates = [self.schedule.lr * self.plateaus[n].factor(0) for n in self.active]
        at_once = len(rates)
        if self.targets.device.type == "cpu":
            at_once = max(1, VALUES_AT_ONCE // (batch_size * max(self.stack.widths)))
        for start in range(0, len(rates), at_once):
            students = slice(start, start + at_once)
            leaves = [tensor[students].requires_grad_() for tensor in self.working]
            stack = self.stack.with_tensors(leaves)
            yield StudentChunk(students, stack, self.moments.take(students), rates[students])

    def _end_epoch(self, losses: Sequence[float]) -> None:
        """Record the losses, lower learning rates, and take out students that are done."""
        self.epoch += 1
        last, done = self.epoch >= self.schedule.epochs, []
        for place, (student, loss) in enumerate(zip(self.active, losses, strict=True)):
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of student {student} is {loss} in epoch {self.epoch}; "
                    f"a smaller learning rate may help"
                )
            plateau = self.plateaus[student]
            lr = self.schedule.lr * plateau.factor(0)
            plateau.observe(loss)
            self.latest[student] = loss
            next_lr = self.schedule.lr * plateau.factor(0)
            if next_lr <= self.schedule.min_lr * ROUNDING:
                done.append(place)
            if is_recorded(self.epoch) or last or place in done:
                self.rows.append((self.epoch, student, loss, lr))
        if done:
            self._take_out(done)

    def _take_out(self, places: Sequence[int]) -> None:
        self._put_back()
        kept = [place for place in range(len(self.active)) if place not in places]
        self.working = [tensor[kept] for tensor in self.working]
        self.moments = self.moments.take(kept)
        self.active = [self.active[place] for place in kept]

    def _put_back(self) -> None:
        for whole, part in zip(self.stack.tensors(), self.working, strict=True):
            whole[self.active] = part.detach()

    def state_dict(self) -> dict[str, Any]:
        """The state to resume from after the last epoch."""
        self._put_back()
        return {
            "tensors": self.stack.tensors(),
            "moments": [self.moments.mean, self.moments.square],
            "active": self.active,
            "plateaus": [plateau.state_dict() for plateau in self.plateaus],
            "epoch": self.epoch,
            "step": self.step,
            "rows": [list(row) for row in self.rows],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned, perhaps of a shorter training."""
        for whole, tensor in zip(self.stack.tensors(), state["tensors"], strict=True):
            whole.copy_(tensor)
        self.active, self.epoch, self.step = state["active"], state["epoch"], state["step"]
        self.working = [tensor[self.active] for tensor in self.stack.tensors()]
        self.moments = zero_moments(self.working)
        for each, saved in zip(
            (self.moments.mean, self.moments.square), state["moments"], strict=True
        ):
            for tensor, value in zip(each, saved, strict=True):
                tensor.copy_(value)
        for plateau, each in zip(self.plateaus, state["plateaus"], strict=True):
            plateau.load_state_dict(each)
        self.rows = [tuple(row) for row in state["rows"]]
        self.latest = {student: loss for _, student, loss, _ in self.rows}
        if not self.is_done:  # without the rows of the last epoch of a shorter training
            self.rows = [r for r in self.rows if is_recorded(r[0]) or r[1] not in self.active]


def is_recorded(epoch: int) -> bool:
    """Whether the losses of an epoch are kept: all up to 100, then every 10, 100, ..."""
    return epoch % 10 ** max(0, len(str(epoch - 1)) - 2) == 0


log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


def train_students(fit: Fit, state: Path, running: ExtractRuntime, name: str) -> Fit:
    """Train students to the end, from a saved state if there is one.

    Args:
        fit: before the first epoch.
        state: file of the saved state.
        running: see `ExtractRuntime`.
        name: what is trained, for the log.
    """
    if state.exists():
        fit.load_state_dict(files.load_state(state))
        if not fit.is_done:
            log.info("%s: resuming from epoch %d", name, fit.epoch)
    if fit.is_done:
        return fit
    hidden = not running.progress or not sys.stderr.isatty()
    bar = tqdm(total=fit.schedule.epochs, initial=fit.epoch, unit="ep", disable=hidden, desc=name)
    last_line = time.monotonic()

    def report() -> None:
        nonlocal last_line
        bar.update()
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            bar.set_postfix_str(loss_summary(fit)) if not hidden else log.info(
                "%s: epoch %d  %s", name, fit.epoch, loss_summary(fit)
            )

    fit.run(lambda: files.save_state(state, fit.state_dict()), running.save_every, report)
    bar.close()
    log.info("%s: %d epochs  %s", name, fit.epoch, loss_summary(fit))
    return fit


def loss_summary(fit: Fit) -> str:
    """The latest losses, as text for the log."""
    losses = sorted(fit.latest.values())
    converged = len(losses) - len(fit.active)
    return (
        f"losses {losses[0]:.2e} to {losses[-1]:.2e}, median {statistics.median(losses):.2e}; "
        f"{converged} of {len(losses)} converged"
    )
