"""Reports of a training: evaluations after each epoch, metrics.csv, TensorBoard, progress."""

import io
import logging
import math
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from isthmus import state_dicts, steps, tables
from isthmus.state_dicts import StateDict
from isthmus.store.files import write_bytes
from isthmus.training import loop, param_groups
from isthmus.training.loop import Callback, Training
from isthmus.training.session import Session
from isthmus.vocabulary import BEST, BEST_AVERAGED

log = logging.getLogger(__name__)

METRIC_COLUMNS = ("step", "epoch", "split", "model", "metric", "value")


@dataclass(frozen=True)
class Number:
    """One row of metrics.csv, without its step."""

    metric: str
    value: float
    split: str = ""  # train, val, test; empty if it is of no split
    model: str = "plain"

    @property
    def tag(self) -> str:
        """Name in TensorBoard, where each model is a run of its own, so that one card has all."""
        return "/".join(part for part in (self.metric, self.split) if part)


class Metrics:
    """Writer of a run's metrics.csv and of its TensorBoard events.

    Rows that a killed job wrote after its last state are removed when the run resumes, so that no
    row is there twice or in part.

    Args:
        path: the table.
        tensorboard: folder of the event files, which are in a folder per model; None for none.
            Its name is that of the training in TensorBoard.
        iterations_per_epoch: optimizer steps in one epoch.
    """

    def __init__(self, path: Path, tensorboard: Path | None, iterations_per_epoch: int) -> None:
        self.path, self.tensorboard = path, tensorboard
        self.iterations_per_epoch = iterations_per_epoch
        self.size = 0  # bytes of the table
        self._writers: dict[str, Any] = {}  # by model
        self._purge_step: int | None = None  # from which on events of a killed job are hidden

    def write(self, iteration: int, numbers: list[Number]) -> None:
        """Append the numbers of one step.

        Raises:
            OSError: the table cannot be written.
        """
        epoch = f"{round(iteration / self.iterations_per_epoch, 6):g}"
        head = [METRIC_COLUMNS] if self.size == 0 else []
        rows = ([iteration, epoch, n.split, n.model, n.metric, n.value] for n in numbers)
        self._append(tables.csv_bytes([*head, *rows]))
        for n in numbers if self.tensorboard else []:
            self._events(n.model).add_scalar(n.tag, n.value, iteration)
        for writer in self._writers.values():
            writer.flush()

    def write_hparams(
        self, hparams: dict[str, Any], numbers: list[Number], iteration: int, averaged: str | None
    ) -> None:
        """Add each model to TensorBoard's hparams tab, which compares the models of all runs.

        It has the same tags for every model, and `<tag>/averaged` beside those of the plain one.

        Args:
            hparams: numbers, texts and booleans by name.
            numbers: final ones, of every model; written before.
            iteration: at which they were measured.
            averaged: the averaged model to compare with those of other runs; None if there is none.
        """
        if self.tensorboard is None:
            return
        from tensorboard.plugins.hparams import summary_v2

        for n in numbers:
            if n.model == averaged:
                self._events("plain").add_scalar(f"{n.tag}/averaged", n.value, iteration)
        for model in dict.fromkeys(n.model for n in numbers):
            name = f"{self.tensorboard.name}/{model}"  # that of the run, without what runs share
            summary = summary_v2.hparams_pb({**hparams, "weights": model}, trial_id=name)
            self._events(model).file_writer.add_summary(summary)

    def close(self) -> None:
        """Flush and close the TensorBoard events."""
        for writer in self._writers.values():
            writer.close()

    def state_dict(self) -> dict[str, Any]:
        """The part of the table that belongs to the state it is saved with."""
        content = self.path.read_bytes()[: self.size] if self.size else b""
        return {"size": self.size, "content": zlib.compress(content)}

    def load_state_dict(self, state: dict[str, Any], iteration: int) -> None:
        """Remove rows written after the state of an iteration; restore lost ones from the state.

        Raises:
            ValueError: the table, or a part of it, is lost, and the state of an older version does
                not have it.
        """
        self.size = state["size"]
        content = self.path.read_bytes() if self.path.exists() else b""
        if "content" in state:
            saved = zlib.decompress(state["content"])
            if content[: self.size] != saved:
                log.warning("%s: %s; restored from state.pt", self.path, self._damage(content))
                write_bytes(self.path, saved)
        elif len(content) < self.size:
            raise ValueError(
                f"{self.path}: {self._damage(content)}; to train again from the beginning, remove "
                f"{self.path.with_name('state.pt')} and result.json, if it is there"
            )
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(self.size)
        self._purge_step = iteration + 1
        if self.tensorboard and not self.tensorboard.exists():
            self._write_events_again()

    def _write_events_again(self) -> None:
        """Write the events of all rows of the table, of a run that began in another folder."""
        for row in tables.read_keys(self.path, METRIC_COLUMNS):
            number = Number(metric=row[4], value=float(row[5]), split=row[2], model=row[3])
            self._events(number.model).add_scalar(number.tag, number.value, int(row[0]))

    def _damage(self, content: bytes) -> str:
        """What is wrong with the existing table, for a message."""
        if not self.path.exists():
            return "is not there"
        if len(content) < self.size:
            return f"has {len(content)} of the {self.size} bytes that it had"
        return "was changed since"

    def _append(self, content: bytes) -> None:
        try:
            with self.path.open("ab" if self.size else "wb") as file:
                file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.size += len(content)

    def _events(self, model: str) -> Any:
        """The writer of one model's events."""
        if model not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # a second to import

            assert self.tensorboard is not None  # the caller has looked
            folder = str(self.tensorboard / model)
            self._writers[model] = SummaryWriter(folder, purge_step=self._purge_step)
        return self._writers[model]


@dataclass
class Best:
    """The weights of lowest validation loss so far, of the network or of its averaged models."""

    weights: StateDict = field(default_factory=dict)  # empty before there are any
    loss: float = float("inf")
    iteration: int = 0
    model: str = "plain"  # whose weights they are
    epochs_since: int = 0  # without a lower loss

    def update(self, losses: Mapping[str, float], models: Mapping[str, StateDict], at: int) -> None:
        """Keep the weights of lowest loss, if it is lower than that of the kept ones.

        Args:
            losses: on the validation split, by model; may be empty.
            models: weights by model, which nobody changes later.
            at: iteration of them; 0 for the untrained network.
        """
        model = min(losses, key=losses.__getitem__, default=None)
        if model is None:
            return
        if losses[model] < self.loss:
            self.weights, self.loss = models[model], losses[model]
            self.iteration, self.model, self.epochs_since = at, model, 0
        elif at > 0:
            self.epochs_since += 1

    def to(self, device: torch.device) -> "Best":
        """The same with its weights on a device."""
        return replace(self, weights={name: t.to(device) for name, t in self.weights.items()})


class EpochReport:
    """Evaluates a training at the end of each epoch.

    Writes the numbers, keeps the weights of lowest validation loss and, per validation example,
    which models classified it correctly; informs the scheduler; stops when patience is exceeded.

    Args:
        session: the training.
        metrics: where numbers go, or None: a replay, whose numbers are already written.
        save_predictions: whether to keep correctness per validation example.
    """

    def __init__(
        self, session: Session, metrics: Metrics | None, save_predictions: bool = True
    ) -> None:
        self.session, self.metrics, self.save_predictions = session, metrics, save_predictions
        self.best, self.best_averaged = Best(), Best()
        self.steps: dict[str, list[int]] = {}  # of the predictions, by model
        self.correct: dict[str, list[Tensor]] = {}  # packed to bits
        self.seconds = 0.0  # of training and of writing its states, without evaluations
        self.summary = ""  # the latest epoch in a few words
        self._began = time.perf_counter()
        self._resumed_at = _examples_of_epoch(session.training)
        self._names = [name for name, _ in session.model.named_parameters()]

    def __call__(self, training: Training) -> None:
        """Evaluate, write the numbers, and decide whether to stop."""
        training.check_losses()
        numbers = self._epoch_numbers(training)
        models = self.session.models()
        numbers += self._weight_numbers(models)
        if self.session.data.val is not None:
            numbers += self._validation_numbers(training, models)
        if self.metrics:
            self.metrics.write(training.iteration, numbers)
        self._began, self._resumed_at = time.perf_counter(), 0

    def _epoch_numbers(self, training: Training) -> list[Number]:
        """Loss, accuracy and speed of the training batches since the last report."""
        if training.iteration == 0:
            self.summary = ""
            return [Number("lr", training.lr())]  # of the first step
        running, lr = training.running, param_groups.base_lr(training.optimizer)  # of the last step
        seconds = time.perf_counter() - self._began  # of the epoch, or of its part since a resume
        self.seconds += seconds
        self.summary = f"train loss {running.loss():.3f}"
        accuracy = [Number("accuracy", running.accuracy(), "train")]
        return [
            Number("loss", running.loss(), "train"),
            *(accuracy if self.session.data.has_accuracy else []),
            Number("lr", lr),
            Number("seconds", seconds),
            Number("images_per_second", (running.num_examples - self._resumed_at) / seconds),
        ]

    def _weight_numbers(self, models: dict[str, StateDict]) -> list[Number]:
        plain = models["plain"]
        numbers = []
        for name, weights in models.items():
            norm = state_dicts.norm(weights, self._names).item()
            numbers.append(Number("weight_norm", norm, model=name))
            if name != "plain":
                distance = state_dicts.distance(plain, weights, self._names).item()
                numbers.append(Number("weight_distance", distance, model=name))
        return numbers

    def _validation_numbers(self, training: Training, models: dict[str, StateDict]) -> list[Number]:
        result = self.session.evaluator.evaluate(models, "val")
        losses, accuracies = result.loss.tolist(), result.accuracy.tolist()
        training.require_finite(losses[0], "validation loss", training.iteration)
        has_accuracy = self.session.data.has_accuracy
        metrics = self.session.evaluator.metric_names()
        columns = {metric: result.numbers[metric].tolist() for metric in metrics}
        numbers = [
            Number(metric, columns[metric][place], "val", name)
            for place, name in enumerate(models)
            for metric in metrics
        ]
        if self.save_predictions and has_accuracy:
            for name, correct in zip(models, result.correct.cpu(), strict=True):
                packed = torch.from_numpy(np.packbits(correct.numpy()))
                self.steps.setdefault(name, []).append(training.iteration)
                self.correct.setdefault(name, []).append(packed)
        values = accuracies if has_accuracy else losses
        numbers_text = "  ".join(f"{n} {v:.3f}" for n, v in zip(models, values, strict=True))
        self.summary += f"  val {'accuracy' if has_accuracy else 'loss'} {numbers_text}"
        if training.iteration > 0:
            training.scheduler.observe(losses[0])
        self._keep_best(training, models, dict(zip(models, losses, strict=True)))
        return numbers

    def _keep_best(
        self, training: Training, models: dict[str, StateDict], losses: dict[str, float]
    ) -> None:
        hparams, iteration = self.session.recipe.hparams, training.iteration
        plain = losses.pop("plain")
        if plain < self.best.loss:  # the network's own tensors, which change
            models = models | {"plain": state_dicts.copy(models["plain"])}
        self.best.update({"plain": plain}, models, iteration)
        self.best_averaged.update(losses, models, iteration)
        best = self.best_averaged if hparams.patience_model == "averaged" else self.best
        training.stopped = hparams.patience is not None and best.epochs_since >= hparams.patience

    def bests(self) -> dict[str, Best]:
        """The networks of lowest validation loss that there are, by name."""
        both = {BEST: self.best, BEST_AVERAGED: self.best_averaged}
        return {name: best for name, best in both.items() if best.weights}

    def write_predictions(self) -> None:
        """Write the correctness of each model on each validation example after every epoch.

        Arrays `indices` (examples,), `steps/<model>` (epochs,) and `correct/<model>`
        (epochs, examples).
        """
        if not self.correct or self.session.data.val is None or self.metrics is None:
            return
        indices = self.session.data.val.indices.numpy()
        arrays = {"indices": indices}
        for model, packed in self.correct.items():
            bits = np.stack([bits.numpy() for bits in packed])
            correct = np.unpackbits(bits, axis=1, count=len(indices)).astype(bool)
            arrays |= {f"steps/{model}": np.array(self.steps[model]), f"correct/{model}": correct}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_bytes(self.metrics.path.with_name("predictions.npz"), content.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """State that is kept from epoch to epoch."""
        return {
            "bests": {name: vars(best) for name, best in self.bests().items()},
            "stopped": self.session.training.stopped,
            "steps": self.steps,
            "correct": self.correct,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, after the session has been loaded."""
        self._resumed_at = _examples_of_epoch(self.session.training)
        bests = {name: Best(**best).to(self.session.device) for name, best in _bests(state).items()}
        self.best, self.best_averaged = bests.get(BEST, Best()), bests.get(BEST_AVERAGED, Best())
        self.session.training.stopped = state["stopped"]
        self.steps, self.correct = state["steps"], state["correct"]
        self.seconds = state["seconds"]


def _bests(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The fields of each `Best` of a state; an older version knew only that of the network."""
    if "bests" in state or not state["best"]:
        return state.get("bests", {})
    names = {"weights": "best", "loss": "best_loss", "iteration": "best_iteration"}
    return {
        BEST: {new: state[old] for new, old in names.items()}
        | {"epochs_since": state["epochs_since_best"]}
    }


def _examples_of_epoch(training: Training) -> int:
    """Examples of the current epoch that were seen before a resume; 0 at its beginning."""
    in_epoch = training.iteration % training.iterations_per_epoch > 0
    return training.running.num_examples if in_epoch else 0


MOST_LINES = 100  # of one training, besides its first and last
SECONDS_BETWEEN_LINES = 10.0  # of one of many trainings, for which a line per epoch is too much


class Progress:
    """Shows a training's progress and its latest numbers.

    Args:
        training: what is shown.
        end: its last iteration.
        report: whose numbers are shown.
        bar: whether to draw a bar where there is a terminal.
        label: what is trained, where it is one of several; its lines come less often then.
    """

    def __init__(
        self, training: Training, end: int, report: EpochReport, bar: bool, label: str = ""
    ) -> None:
        self.training, self.end, self.report, self.label = training, end, report, label
        hidden = not bar or not sys.stderr.isatty()
        self.bar = tqdm(
            total=end, initial=training.iteration, unit="it", disable=hidden, desc=label or None
        )
        self._last_line = time.monotonic()

    def callbacks(self) -> list[Callback]:
        """Callbacks that count every step, and show every epoch, or a hundred of many epochs."""
        per_epoch = self.training.iterations_per_epoch
        period = per_epoch * math.ceil(self.end / per_epoch / MOST_LINES)
        last = self.end - self.end % per_epoch
        return [
            Callback(loop.after_every_step, lambda _: self.advance()),
            Callback(lambda step: step % period == 0 or step == last, lambda _: self.show()),
        ]

    def advance(self) -> None:
        """Count an optimizer step."""
        self.bar.update()

    def show(self) -> None:
        """Show the numbers of the last epoch, in the bar or as a log line."""
        if not self.bar.disable:
            self.bar.set_postfix_str(self.report.summary)
            return
        training, now = self.training, time.monotonic()
        if self.label and training.iteration < self.end:
            if now - self._last_line < SECONDS_BETWEEN_LINES:
                return
        self._last_line = now
        step = steps.to_text(training.iteration, training.iterations_per_epoch)
        log.info("%s%s  %s", f"{self.label}: " if self.label else "", step, self.report.summary)

    def close(self) -> None:
        """Show an end within an epoch, and close the bar."""
        if self.training.iteration % self.training.iterations_per_epoch:
            self.show()
        self.bar.close()
