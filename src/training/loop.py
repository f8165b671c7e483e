"""The one training loop."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src import chance, steps
from src.training.running import Running
from src.training.sharing import Sharing

CHECK_EVERY = 64  # iterations between two looks at the losses: a look waits for the device


class Batches(Protocol):
    """Training batches in an order that depends on the epoch alone."""

    @property
    def iterations_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of an epoch's iterations from `start` on."""
        ...


class Scheduler(Protocol):
    """The learning rate over time, relative to the optimizer's own."""

    def factor(self, iteration: int) -> float: ...
    def observe(self, val_loss: float) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Constraint(Protocol):
    """Keeps a network where it has to be while it is trained."""

    def on_gradients(self) -> None:
        """Called when gradients are there, before they are clipped or anything else reads them."""
        ...

    def on_weights(self) -> None:
        """Called when weights were set, by an optimizer step or a new beginning."""
        ...


class Training:
    """A network in training: everything that an optimizer step changes.

    Args:
        model: the network, on its device, its weights loaded.
        optimizer: over the model's trainable parameters, at the base learning rate.
        scheduler: what the base learning rate is multiplied by at each iteration.
        iterations_per_epoch: optimizer steps in one epoch.
        dropout_seed: seed of everything random inside the model.
        autocast: type of the matrix products, or None for the weights' own.
        clip: largest L2 norm of the whole gradient, or None.
        compile_size: size of the batches for which to compile the forward and backward pass;
            others, the last of an epoch, are not worth a compilation of their own. None: no batch.
        constraint: what keeps the network where it has to be, or None.
        sharing: how batches are shared with other processes, or None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler,
        *,
        iterations_per_epoch: int,
        dropout_seed: int,
        autocast: torch.dtype | None = None,
        clip: float | None = None,
        compile_size: int | None = None,
        constraint: Constraint | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.sharing = sharing
        self._network = sharing.network(model) if sharing else model  # of the same tensors
        self.model, self.iterations_per_epoch = model, iterations_per_epoch
        self.autocast, self.clip = autocast, clip
        self.stopped = False  # set by a callback to end the training early
        self.running = Running(next(model.parameters()).device)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.compile_size, self._compiled = compile_size, self._forward
        if compile_size is not None:  # asking torch to compile alone imports for seconds
            self._compiled = torch.compile(self._forward, dynamic=False)
        self.restart(optimizer, scheduler, dropout_seed, constraint)

    def restart(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler,
        dropout_seed: int,
        constraint: Constraint | None = None,
    ) -> None:
        """Begin anew, from whatever the model holds then; compiled code stays as it is.

        Args:
            optimizer: a new one over the same parameters, at the base learning rate.
            scheduler: a new one.
            dropout_seed: seed of everything random inside the model.
            constraint: what keeps the network where it has to be, or None.
        """
        self.constraint = constraint
        if constraint:
            constraint.on_weights()
        self.optimizer, self.scheduler, self.dropout_seed = optimizer, scheduler, dropout_seed
        self._base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.iteration, self.stopped = 0, False
        self.running.clear()

    def settle(self) -> None:
        """Look at the losses since the last look, and stop at one that is not finite.

        Raises:
            FloatingPointError: naming the step.
        """
        bad = self.running.settle()
        if bad is not None:
            self.require_finite(bad[1], "loss", self.iteration - bad[0])

    def require_finite(self, loss: float, words: str, iteration: int) -> None:
        """Stop at a loss that is not finite.

        Raises:
            FloatingPointError: naming the loss and the step.
        """
        if not math.isfinite(loss):
            step = steps.to_text(iteration, self.iterations_per_epoch)
            raise FloatingPointError(
                f"the {words} is {loss} at step {step} (iteration {iteration}); a lower "
                f"optimizer.lr, a warm-up or hparams.grad_clip_max_norm may help"
            )

    def lr(self) -> float:
        """Learning rate of the next step (of the first parameter group)."""
        return self._base_lrs[0] * self.scheduler.factor(self.iteration)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one optimizer step; never waits for the device."""
        factor = self.scheduler.factor(self.iteration)
        for group, base_lr in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = base_lr * factor
        chance.start_stream(inputs.device, self.dropout_seed, "dropout", self.iteration)
        if self.sharing:
            self.sharing.begin(self.iteration)
        forward = self._compiled if len(labels) == self.compile_size else self._forward
        loss, correct = forward(inputs, labels)
        for parameter in self._parameters:
            parameter.grad = None
        mean, size = loss.detach(), len(labels)
        if self.sharing:
            mean, correct = self.sharing.mean(loss, correct)
            loss, size = self.sharing.scaled(loss), self.sharing.whole
        loss.backward()
        if self.constraint:
            self.constraint.on_gradients()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.clip)
        self.optimizer.step()
        if self.constraint:
            self.constraint.on_weights()
        self.running.add(mean, correct, size)
        self.iteration += 1

    def _forward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        enabled = self.autocast is not None
        with torch.autocast(inputs.device.type, dtype=self.autocast, enabled=enabled):
            logits = self._network(inputs)
        logits = logits.float()
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        return F.cross_entropy(logits, labels), correct

    def state_dict(self) -> dict[str, Any]:
        """All but the weights: what is needed to go on from them."""
        return {
            "iteration": self.iteration,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "running": self.running.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the weights are loaded into the model before.

        The base learning rate stays that of this training, so that a leg can have its own.
        """
        self.iteration = state["iteration"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.running.load_state_dict(state["running"])


@dataclass(frozen=True)
class Callback:
    """Something done at certain moments of training, after the optimizer step made there."""

    when: Callable[[int], bool]  # of the iteration; iteration 0 is the initialization
    act: Callable[[Training], None]


def after_every_step(iteration: int) -> bool:
    """True but at the initialization."""
    return iteration > 0


def at(iterations: Iterable[int]) -> Callable[[int], bool]:
    """True at the given iterations."""
    return frozenset(iterations).__contains__


def every(period: int) -> Callable[[int], bool]:
    """True at the initialization and at each multiple of `period`."""
    return lambda iteration: iteration % period == 0


def train(training: Training, batches: Batches, end: int, callbacks: Sequence[Callback]) -> None:
    """Train to iteration `end`, or until a callback stops it.

    The callbacks of an iteration are called in the order given, at the initialization too; a
    training that goes on from a later state begins with the step after it.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    per_epoch = batches.iterations_per_epoch
    training.model.train()
    if training.iteration == 0:
        _call(callbacks, training)
    while training.iteration < end and not training.stopped:
        epoch, start = divmod(training.iteration, per_epoch)
        if start == 0:
            training.settle()
            training.running.clear()
        for inputs, labels in batches.epoch(epoch, start):
            training.step(inputs, labels)
            if training.iteration % CHECK_EVERY == 0:
                training.settle()
            _call(callbacks, training)
            if training.iteration == end or training.stopped:
                break


def _call(callbacks: Sequence[Callback], training: Training) -> None:
    for callback in callbacks:
        if callback.when(training.iteration):
            callback.act(training)
