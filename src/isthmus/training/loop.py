"""The training loop: optimizer steps, callbacks, running metrics, protocols of the parts."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from isthmus import rng, steps
from isthmus.data.orders import Share, take_all
from isthmus.data.splits import Loss
from isthmus.training import losses as training_losses
from isthmus.training import param_groups
from isthmus.training.distributed import Sharing

Batch: TypeAlias = tuple[Tensor, Tensor]  # inputs and labels
Calibrate: TypeAlias = Callable[[Callable[[Tensor, Tensor], Tensor], list[Batch]], dict[str, float]]


class Batches(Protocol):
    """Training batches in an order that depends on the epoch alone."""

    @property
    def iterations_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Inputs and labels of an epoch's iterations, beginning at `start`."""
        ...

    def with_share(self, share: Share) -> "Batches":
        """A copy that makes only a share of each batch."""
        ...


class LearningRateSchedule(Protocol):
    """The learning rate over time, relative to the optimizer's own, up to the end of training."""

    def factor(self, iteration: int) -> float: ...
    def observe(self, val_loss: float) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Constraint(Protocol):
    """Keeps weights in an allowed set during training, such as pruned weights at 0."""

    def on_gradients(self) -> None:
        """Called after the backward pass, before gradients are clipped or read."""
        ...

    def on_weights(self) -> None:
        """Called after weights were set, by an optimizer step or a restart."""
        ...


class RunningMetrics:
    """Loss and accuracy of the training batches of the epoch so far."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clear()

    def clear(self) -> None:
        """Reset for a new epoch."""
        self.loss_sum, self.num_examples = 0.0, 0  # of the batches whose losses were collected
        self.losses: list[Tensor] = []  # of the batches since, still on the device
        self.sizes: list[int] = []
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)

    def add(self, loss: Tensor, correct: Tensor, size: int) -> None:
        """Add one batch, without waiting for the device."""
        self.losses.append(loss)
        self.sizes.append(size)
        self.correct += correct

    def collect_losses(self) -> tuple[int, float] | None:
        """Add the losses since the last call to the sum; waits for the device.

        Returns:
            How many batches ago the first non-finite loss was, and that loss; or None.
        """
        losses = torch.stack(self.losses).tolist() if self.losses else []
        for position, (loss, size) in enumerate(zip(losses, self.sizes, strict=True)):
            if not math.isfinite(loss):
                return len(losses) - position, loss
            self.loss_sum += loss * size  # one by one: the same sum for any pattern of calls
            self.num_examples += size
        self.losses, self.sizes = [], []
        return None

    def loss(self) -> float:
        """Mean cross-entropy of the collected batches, in nats."""
        return self.loss_sum / self.num_examples

    def accuracy(self) -> float:
        """Fraction of the collected batches' examples that were classified correctly."""
        return self.correct.item() / self.num_examples

    def state_dict(self) -> dict[str, Any]:
        """The sums, to be taken right after `collect_losses`."""
        return {
            "loss_sum": self.loss_sum,
            "num_examples": self.num_examples,
            "correct": int(self.correct.item()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums of an interrupted epoch."""
        self.clear()
        self.loss_sum, self.num_examples = state["loss_sum"], state["num_examples"]
        self.correct += state["correct"]


CHECK_EVERY = 64  # iterations between two checks of the losses: a check waits for the device


class Training:
    """A network in training: everything that an optimizer step changes.

    Args:
        model: the network, on its device, its weights loaded.
        optimizer: over the model's trainable parameters, at the base learning rate.
        scheduler: factor of the base learning rate at each iteration.
        iterations_per_epoch: optimizer steps in one epoch.
        dropout_seed: seed of everything random inside the model.
        autocast: type of the matrix products, or None for the weights' own.
        clip: largest L2 norm of the whole gradient, or None.
        compile_size: size of the batches for which to compile the forward and backward pass;
            others, the last of an epoch, are not worth a compilation of their own. None: no batch.
        constraint: of the weights, such as a pruning mask, or None.
        sharing: how batches are shared with other processes, or None for none.
        loss: that is minimized.
        calibrate: learning rates of the first steps by group, of a loss and two batches, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: LearningRateSchedule,
        *,
        iterations_per_epoch: int,
        dropout_seed: int,
        autocast: torch.dtype | None = None,
        clip: float | None = None,
        compile_size: int | None = None,
        constraint: Constraint | None = None,
        sharing: Sharing | None = None,
        loss: Loss = "cross_entropy",
        calibrate: Calibrate | None = None,
    ) -> None:
        self.sharing = sharing
        self._network = sharing.network(model) if sharing else model  # of the same tensors
        self.model, self.iterations_per_epoch = model, iterations_per_epoch
        self.autocast, self.clip, self._calibrate = autocast, clip, calibrate
        self.loss: Loss = loss
        self.stopped = False  # set by a callback to end the training early
        self.running = RunningMetrics(next(model.parameters()).device)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.compile_size, self._compiled = compile_size, self._forward
        if compile_size is not None:  # asking torch to compile alone imports for seconds
            self._compiled = torch.compile(self._forward, dynamic=False)
        self.restart(optimizer, scheduler, dropout_seed, constraint)

    def restart(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: LearningRateSchedule,
        dropout_seed: int,
        constraint: Constraint | None = None,
    ) -> None:
        """Restart at iteration 0 from the model's current weights; compiled code is kept.

        Args:
            optimizer: a new one over the same parameters, at the base learning rate.
            scheduler: a new one.
            dropout_seed: seed of everything random inside the model.
            constraint: of the weights, or None.
        """
        self.constraint = constraint
        if constraint:
            constraint.on_weights()
        self.optimizer, self.scheduler, self.dropout_seed = optimizer, scheduler, dropout_seed
        self._base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.iteration, self.stopped = 0, False
        self.running.clear()

    def calibrate(self, batches: Batches) -> None:
        """Measure the learning rates of the first steps, if the parametrization calibrates them.

        Not done again if a resumed state has measured ones.
        """
        if self._calibrate is None or param_groups.calibrated_lrs(self.optimizer):
            return
        whole = batches.with_share(take_all) if self.sharing else batches
        two = list(islice(chain(whole.epoch(0), whole.epoch(1)), 2))
        lrs = self._calibrate(lambda *batch: self._loss_and_correct(self.model, *batch)[0], two)
        param_groups.set_first_lrs_(self.optimizer, lrs, self._base_lrs)

    def check_losses(self) -> None:
        """Collect the losses since the last check, and stop at one that is not finite.

        Raises:
            FloatingPointError: naming the step.
        """
        bad = self.running.collect_losses()
        if bad is not None:
            self.require_finite(bad[1], "loss", self.iteration - bad[0])

    def require_finite(self, loss: float, name: str, iteration: int) -> None:
        """Stop at a loss that is not finite.

        Raises:
            FloatingPointError: naming the loss and the step.
        """
        if not math.isfinite(loss):
            step = steps.to_text(iteration, self.iterations_per_epoch)
            raise FloatingPointError(
                f"the {name} is {loss} at step {step} (iteration {iteration}); "
                f"{self._advice()} may help"
            )

    def _advice(self) -> str:
        """Options that may keep the loss finite with this optimizer, schedule, parametrization."""
        if param_groups.calibrated_lrs(self.optimizer):
            cap = "a lower parametrization.cap, the largest learning rate of the first steps,"
            return f"{cap} or a lower optimizer.lr"
        if param_groups.has_first_steps(self.optimizer):  # neither warmed up nor clipped
            return "a lower optimizer.lr"
        clipping = "hparams.grad_clip_max_norm"
        ways = ["a lower optimizer.lr"]
        warmup = getattr(self.scheduler, "warmup", None)
        if warmup is not None:
            ways.append(f"a {'longer ' if warmup else ''}warm-up (scheduler.warmup)")
        ways.append(clipping if self.clip is None else f"a lower {clipping}")
        return f"{', '.join(ways[:-1])} or {ways[-1]}"

    def lr(self) -> float:
        """Learning rate of the next step (without the factors of groups)."""
        return self.base_lr * self.scheduler.factor(self.iteration)

    @property
    def base_lr(self) -> float:
        """Learning rate of the optimizer, before the factor of the schedule."""
        return self._base_lrs[0]

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one optimizer step; never waits for the device."""
        factor = self.scheduler.factor(self.iteration)
        param_groups.set_rates_(self.optimizer, self._base_lrs, factor, self.iteration)
        rng.start_stream(inputs.device, self.dropout_seed, "dropout", self.iteration)
        if self.sharing:
            self.sharing.begin(self.iteration)
        forward = self._compiled if len(labels) == self.compile_size else self._forward
        loss, correct = forward(inputs, labels)
        for parameter in self._parameters:
            parameter.grad = None
        mean, size = loss.detach(), len(labels)
        if self.sharing:
            mean, correct = self.sharing.mean(loss, correct)
            loss, size = self.sharing.scale_loss(loss), self.sharing.num_in_batch
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
        return self._loss_and_correct(self._network, inputs, labels)

    def _loss_and_correct(
        self, network: nn.Module, inputs: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        enabled = self.autocast is not None
        with torch.autocast(inputs.device.type, dtype=self.autocast, enabled=enabled):
            outputs = network(inputs)
        outputs = outputs.float()
        correct = training_losses.is_correct(self.loss, outputs.detach(), labels).sum()
        return training_losses.mean_loss(self.loss, outputs, labels), correct

    def state_dict(self) -> dict[str, Any]:
        """All but the weights that is needed to resume."""
        return {
            "iteration": self.iteration,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "running": self.running.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; the weights must be loaded into the model before.

        The base learning rate stays that of this training, so that a leg can have its own.
        """
        self.iteration = state["iteration"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.running.load_state_dict(state["running"])


@dataclass(frozen=True)
class Callback:
    """A function called at certain iterations, after the optimizer step made there."""

    when: Callable[[int], bool]  # of the iteration; iteration 0 is the initialization
    act: Callable[[Training], None]


def after_every_step(iteration: int) -> bool:
    """True except at the initialization."""
    return iteration > 0


def at_iterations(iterations: Iterable[int]) -> Callable[[int], bool]:
    """True at the given iterations."""
    return frozenset(iterations).__contains__


def every_iterations(period: int) -> Callable[[int], bool]:
    """True at the initialization and at each multiple of `period`."""
    return lambda iteration: iteration % period == 0


def train(training: Training, batches: Batches, end: int, callbacks: Sequence[Callback]) -> None:
    """Train to iteration `end`, or until a callback stops it.

    The callbacks of an iteration are called in order, also at the initialization; a training
    resumed from a later state begins with the step after it.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    per_epoch = batches.iterations_per_epoch
    training.model.train()
    if training.iteration == 0:
        training.calibrate(batches)
        _call(callbacks, training)
    while training.iteration < end and not training.stopped:
        epoch, start = divmod(training.iteration, per_epoch)
        if start == 0:
            training.check_losses()
            training.running.clear()
        for inputs, labels in batches.epoch(epoch, start):
            training.step(inputs, labels)
            if training.iteration % CHECK_EVERY == 0:
                training.check_losses()
            _call(callbacks, training)
            if training.iteration == end or training.stopped:
                break


def _call(callbacks: Sequence[Callback], training: Training) -> None:
    for callback in callbacks:
        if callback.when(training.iteration):
            callback.act(training)
