"""What is measured at the end of each epoch, and what follows from it."""

import io
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import state_dicts
from isthmus.runs import write_bytes
from isthmus.state_dicts import StateDict
from isthmus.training import groups
from isthmus.training.loop import Training
from isthmus.training.metrics import Metrics, Number
from isthmus.training.session import Session


class Report:
    """Evaluates a training at the end of each epoch.

    Writes the numbers, keeps the weights of lowest validation loss and, per validation example,
    who classified it correctly; tells the scheduler; stops when patience is out.

    Args:
        session: the training.
        metrics: where numbers go, or None: a replay, whose numbers are already written.
        save_predictions: whether to keep correctness per validation example.
    """

    def __init__(
        self, session: Session, metrics: Metrics | None, save_predictions: bool = True
    ) -> None:
        self.session, self.metrics, self.save_predictions = session, metrics, save_predictions
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.best_iteration, self.epochs_since_best = float("inf"), 0, 0
        self.steps: dict[str, list[int]] = {}  # of the predictions, by model
        self.correct: dict[str, list[Tensor]] = {}  # packed to bits
        self.seconds = 0.0  # of training and of writing its states, without evaluations
        self.summary = ""  # the latest epoch in a few words
        self._began = time.perf_counter()
        self._resumed_at = _examples_of_epoch(session.training)
        self._names = [name for name, _ in session.model.named_parameters()]

    def __call__(self, training: Training) -> None:
        """Measure, write, and decide whether to go on."""
        training.settle()
        numbers = self._of_epoch(training)
        models = self.session.models()
        numbers += self._of_weights(models)
        if self.session.data.val is not None:
            numbers += self._of_validation(training, models)
        if self.metrics:
            self.metrics.write(training.iteration, numbers)
        self._began, self._resumed_at = time.perf_counter(), 0

    def _of_epoch(self, training: Training) -> list[Number]:
        """Loss, accuracy and speed of the training batches since the last report."""
        if training.iteration == 0:
            self.summary = ""
            return [Number("lr", training.lr())]  # of the first step
        running, lr = training.running, groups.base_lr(training.optimizer)  # of the last step
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

    def _of_weights(self, models: dict[str, StateDict]) -> list[Number]:
        plain = models["plain"]
        numbers = []
        for name, weights in models.items():
            norm = state_dicts.norm(weights, self._names).item()
            numbers.append(Number("weight_norm", norm, model=name))
            if name != "plain":
                distance = state_dicts.distance(plain, weights, self._names).item()
                numbers.append(Number("weight_distance", distance, model=name))
        return numbers

    def _of_validation(self, training: Training, models: dict[str, StateDict]) -> list[Number]:
        result = self.session.evaluator.evaluate(models, "val")
        losses, accuracies = result.loss.tolist(), result.accuracy.tolist()
        training.require_finite(losses[0], "validation loss", training.iteration)
        numbers = []
        has_accuracy = self.session.data.has_accuracy
        for name, loss, accuracy in zip(models, losses, accuracies, strict=True):
            numbers.append(Number("loss", loss, "val", name))
            if has_accuracy:
                numbers.append(Number("accuracy", accuracy, "val", name))
        if self.save_predictions and has_accuracy:
            for name, correct in zip(models, result.correct.cpu(), strict=True):
                packed = torch.from_numpy(np.packbits(correct.numpy()))
                self.steps.setdefault(name, []).append(training.iteration)
                self.correct.setdefault(name, []).append(packed)
        values = accuracies if has_accuracy else losses
        shown = "  ".join(f"{n} {value:.3f}" for n, value in zip(models, values, strict=True))
        self.summary += f"  val {'accuracy' if has_accuracy else 'loss'} {shown}"
        if training.iteration > 0:
            training.scheduler.observe(losses[0])
        self._keep_best(training, losses[0])
        return numbers

    def _keep_best(self, training: Training, loss: float) -> None:
        patience = self.session.recipe.patience
        if loss < self.best_loss:
            self.best = state_dicts.copy(training.model.state_dict())
            self.best_loss, self.best_iteration = loss, training.iteration
            self.epochs_since_best = 0
        elif training.iteration > 0:
            self.epochs_since_best += 1
        training.stopped = patience is not None and self.epochs_since_best >= patience

    def write_predictions(self) -> None:
        """Write who classified which validation example correctly, after every epoch.

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
        """All that is remembered from epoch to epoch."""
        return {
            "best": self.best,
            "best_loss": self.best_loss,
            "best_iteration": self.best_iteration,
            "epochs_since_best": self.epochs_since_best,
            "stopped": self.session.training.stopped,
            "steps": self.steps,
            "correct": self.correct,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as remembered, after the session has been loaded."""
        self._resumed_at = _examples_of_epoch(self.session.training)
        self.best = {name: t.to(self.session.device) for name, t in state["best"].items()}
        self.best_loss, self.best_iteration = state["best_loss"], state["best_iteration"]
        self.epochs_since_best = state["epochs_since_best"]
        self.session.training.stopped = state["stopped"]
        self.steps, self.correct = state["steps"], state["correct"]
        self.seconds = state["seconds"]


def _examples_of_epoch(training: Training) -> int:
    """Examples that were seen in an epoch before it goes on; 0 at its beginning."""
    in_epoch = training.iteration % training.iterations_per_epoch > 0
    return training.running.num_examples if in_epoch else 0
