"""Numbers that say what a network does as it becomes wide, at chosen steps of its training."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus import chance, state_dicts, steps
from isthmus.data import batches as data_batches
from isthmus.state_dicts import StateDict
from isthmus.training import groups, losses
from isthmus.training.loop import Callback, Training
from isthmus.training.metrics import Metrics, Number
from isthmus.training.session import Session
from isthmus.widths import activity, functions, layers, margins, ranks, theory
from isthmus.widths.activity import Activity, mean_absolute

Request = str | list[steps.Step] | None  # of several moments, see steps.to_iterations


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured, and when.

    Args:
        steps: when to measure pre-activations, outputs and margins.
        ranks: when to measure effective ranks, which takes longer.
        examples: of the training set, un-augmented, to measure on; all if there are fewer.
    """

    steps: Request = None
    ranks: Request = None
    examples: int = 256

    def callbacks(self, seed: int, session: Session, metrics: Metrics) -> list[Callback]:
        """What the training loop calls, from where the session stands.

        Args:
            seed: of the initialization.
            session: in training.
            metrics: where numbers go.

        Raises:
            ValueError: a moment lies after the end of training.
        """
        per_epoch, end = session.iterations_per_epoch, session.end
        moments = steps.to_iterations(self.steps, per_epoch, end)
        of_ranks = steps.to_iterations(self.ranks, per_epoch, end)
        own = functions.callbacks(session, metrics)
        if not moments and not of_ranks:
            return own
        weights: StateDict = session.model.state_dict()
        if session.training.iteration > 0:
            weights = session.initialized(seed)
        elif of_ranks:  # of the change since
            weights = state_dicts.copy(weights)
        measuring = Measuring(session, metrics, weights, self.examples)
        before = {moment - 1 for moment in moments}
        if session.training.iteration in before:
            measuring.remember(session.training)
        return [
            Callback(frozenset(moments).__contains__, measuring.measure),
            Callback(frozenset(of_ranks).__contains__, measuring.measure_ranks),
            Callback(before.__contains__, measuring.remember),
            *own,
        ]


class Measuring:
    """Measures a network in training; neither it nor anything random is changed.

    Args:
        session: of the network.
        metrics: where numbers go.
        initial: weights of the network at iteration 0; those of its own are out of date later on.
        num_examples: to measure on.
    """

    def __init__(
        self, session: Session, metrics: Metrics, initial: StateDict, num_examples: int
    ) -> None:
        self.session, self.metrics, self.initial = session, metrics, initial
        self.layers = layers.of(session.model)
        self.inputs, self.labels = examples(session, num_examples)
        self._at_start = activity.of(session.model, self.layers, self.inputs, initial)
        self._latest: dict[int, Activity] = {}  # by iteration: now, and before the last step

    def remember(self, training: Training) -> None:
        """Keep what goes on now, to say after the next step what that changed."""
        self._now(training.iteration)

    def measure(self, training: Training) -> None:
        """Write pre-activations, outputs, and how they changed."""
        iteration = training.iteration
        before, now = self._latest.get(iteration - 1), self._now(iteration)
        numbers = [*self._sizes(now, "", None)]
        numbers += self._sizes(now, "_change", self._at_start)
        if before is not None:
            numbers += self._sizes(now, "_step", before)
        for layer in self.layers[:-1]:
            units = activity.diversity(now.outputs[layer.name])
            numbers.append(Number(f"diversity_{layer.name}", units))
        data = self.session.data
        loss = losses.mean(data.loss, now.result.float(), self.labels)
        numbers.append(Number("examples_loss", float(loss)))
        if data.loss == "logistic" and margins.are_defined(self.session.model):
            found = margins.of(self.session.model, now.result, self.labels)
            numbers += [Number(name, value) for name, value in found.items()]
        if iteration == 0:
            numbers += self._slopes()
        self.metrics.write(iteration, numbers)

    def measure_ranks(self, training: Training) -> None:
        """Write effective ranks of weights, of their change, and of what enters each layer."""
        now, state = self._now(training.iteration), training.model.state_dict()
        numbers = []
        for layer in self.layers:
            weight = state[f"{layer.name}.weight"]
            matrices = {"weight": weight, "activation": now.inputs[layer.name]}
            if training.iteration > 0:
                matrices["change"] = weight - self.initial[f"{layer.name}.weight"]
            for name, matrix in matrices.items():
                end = f"{name}_{layer.name}"
                numbers.append(Number(f"rank_trace_{end}", ranks.squared_trace(matrix)))
                numbers.append(Number(f"rank_frobenius_{end}", ranks.frobenius(matrix)))
        self.metrics.write(training.iteration, numbers)

    def _sizes(self, now: Activity, ending: str, then: Activity | None) -> Iterator[Number]:
        """Mean absolute values, or those of the difference to another moment."""
        for layer in self.layers[:-1]:
            outputs = now.outputs[layer.name]
            if then is not None:
                outputs = outputs - then.outputs[layer.name]
            yield Number(f"preactivation{ending}_{layer.name}", mean_absolute(outputs))
        result = now.result if then is None else now.result - then.result
        yield Number(f"output{ending}", mean_absolute(result))

    def _slopes(self) -> list[Number]:
        """What the exponents say of outputs, and of their change by the first step, in log m."""
        if self.session.parametrization is None:
            return []
        rule = groups.rule_of(self.session.recipe.optimizer)
        known = theory.of(self.session.parametrization, self.session.model, rule)
        names = ("slope_output", "slope_output_change")
        return [Number(*each) for each in zip(names, known or (), strict=False)]

    def _now(self, iteration: int) -> Activity:
        """What goes on in the network, looked at once an iteration."""
        if iteration not in self._latest:
            found = self._at_start
            if iteration > 0:
                found = activity.of(self.session.model, self.layers, self.inputs)
            self._latest = {iteration: found}
        return self._latest[iteration]


def examples(session: Session, count: int) -> tuple[Tensor, Tensor]:
    """A fixed part of the training set, un-augmented: inputs and labels, on the device."""
    data, runtime = session.data, session.runtime
    order = torch.randperm(len(data.train), generator=chance.generator(0, "diagnostics"))
    chosen = data.train.take(order[:count].sort().values)
    batches = data_batches.eval_batches(
        chosen,
        data.normalization,
        batch_size=len(chosen),
        device=session.device,
        channels_last=runtime.channels_last,
        num_workers=runtime.num_workers,
    )
    return next(iter(batches))
