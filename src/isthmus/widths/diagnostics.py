"""Diagnostics of wide networks: activations and their changes, margins, effective ranks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus import rng, state_dicts, steps, tables
from isthmus.data import batches as data_batches
from isthmus.state_dicts import StateDict
from isthmus.training import losses, param_groups
from isthmus.training.evaluation import evaluation_mode
from isthmus.training.loop import Callback, Training, at_iterations
from isthmus.training.options import Diagnostics
from isthmus.training.reporting import Metrics, Number
from isthmus.training.session import Session
from isthmus.widths import layers as widths_layers
from isthmus.widths import theory
from isthmus.widths.layers import ScaledLayer


@dataclass(frozen=True)
class Activity:
    """Inputs and pre-activations by name of the layer, and the network's outputs."""

    inputs: dict[str, Tensor]  # (examples, ...), activations of the layer below
    outputs: dict[str, Tensor]  # (examples, ...), pre-activations
    result: Tensor  # (examples, outputs), of the network


@torch.no_grad()
def record_activations(
    model: nn.Module,
    layers: Sequence[ScaledLayer],
    inputs: Tensor,
    weights: StateDict | None = None,
) -> Activity:
    """Record the activations of a network in evaluation mode; the network is unchanged.

    Args:
        model: a network.
        layers: of it.
        inputs: (examples, *input_shape).
        weights: in place of its own.
    """
    layer_inputs: dict[str, Tensor] = {}
    layer_outputs: dict[str, Tensor] = {}
    hooks = []
    for layer in layers:

        def note(_: nn.Module, arguments: tuple[Tensor], result: Tensor, name: str = layer.name):
            layer_inputs[name], layer_outputs[name] = arguments[0].clone(), result.clone()

        hooks.append(model.get_submodule(layer.name).register_forward_hook(note))
    try:
        with evaluation_mode(model):
            state_dict = model.state_dict() if weights is None else weights
            result = functional_call(model, dict(state_dict), (inputs,))
    finally:
        for hook in hooks:
            hook.remove()
    return Activity(layer_inputs, layer_outputs, result)


def mean_absolute(tensor: Tensor) -> float:
    """Mean absolute value of a tensor."""
    return float(tensor.abs().mean())


def diversity(outputs: Tensor) -> int:
    """Number of units that are the largest one for at least one example.

    Args:
        outputs: (examples, ...) of a layer.
    """
    return len(outputs.flatten(1).argmax(dim=1).unique())


FUNCTION_COLUMNS = ("x", "target", "value")
FUNCTION_FILE = "function.csv"  # in the folder of the run


def function_callbacks(session: Session, metrics: Metrics) -> list[Callback]:
    """Callback that writes the fitted function at the end; empty unless it is one-dimensional."""
    if session.data.loss != "squared" or session.data.input_shape != (1,):
        return []

    @torch.no_grad()
    def write(training: Training) -> None:
        rows: list[tuple[float, ...]] = []
        with evaluation_mode(training.model):
            for inputs, labels in session.evaluator.batches("test"):
                values = training.model(inputs)[:, 0].tolist()
                rows += zip(inputs[:, 0].tolist(), labels.tolist(), values, strict=True)
        tables.write(metrics.path.with_name(FUNCTION_FILE), FUNCTION_COLUMNS, rows)

    return [Callback(at_iterations([session.end]), write)]


def has_margins(model: nn.Module) -> bool:
    """Whether a network has one hidden layer and one output."""
    layers = widths_layers.scaled_layers(model)
    return len(layers) == 2 and layers[1].fan_out == 1


@torch.no_grad()
def normalized_margins(model: nn.Module, outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Margins of a two-layer network, raw and normalized by the size of its weights.

    With y of -1 and 1 the margin is min y f. The size is beta = 1/m (|a|^2 + |W|^2 + |b|^2) of the
    network 1/m sum_j a_j act(w_j x + b_j), 2 where units and outputs are of size 1; margins over
    beta are normalized. The smoothed ones become the normalized one as beta grows.

    Args:
        model: of one hidden layer and one output.
        outputs: (examples, 1).
        labels: (examples,) of 0 and 1.

    Returns:
        `beta`, `margin`, `margin_normalized`, `margin_exponential`, `margin_logistic`, and `auc`,
        the probability that an example of class 1 has a larger output than one of class 0; the last
        is missing where a class is.
    """
    hidden, output = widths_layers.scaled_layers(model)
    units = [p for _, p in model.get_submodule(hidden.name).named_parameters()]
    a = output.width * model.get_parameter(f"{output.name}.weight")
    beta = float(sum((each.double() ** 2).sum() for each in [a, *units])) / output.width
    f = outputs[:, 0].double()
    on_right_side = (2 * labels.double() - 1) * f  # (examples,)
    exponential = torch.log(torch.tensor(len(f)).double()) - torch.logsumexp(-on_right_side, 0)
    logistic = -nn.functional.softplus(-on_right_side).mean().log()
    margins = {
        "beta": beta,
        "margin": float(on_right_side.min()),
        "margin_normalized": float(on_right_side.min()) / beta,
        "margin_exponential": float(exponential) / beta,
        "margin_logistic": float(logistic) / beta,
    }
    positive, negative = f[labels > 0], f[labels == 0]
    if len(positive) and len(negative):
        above = (positive[:, None] - negative).sign().mean()
        margins["auc"] = float((1 + above) / 2)
    return margins


def squared_trace(matrix: Tensor) -> float:
    """Effective rank (sum s)^2 / sum s^2 of squared singular values s; 0 for a zero matrix."""
    squares = _squared_singular_values(matrix)
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.sum() > 0 else 0.0


def frobenius(matrix: Tensor) -> float:
    """Effective rank sum s / max s, squared Frobenius over spectral norm; 0 for a zero matrix."""
    squares = _squared_singular_values(matrix)
    return float(squares.sum() / squares.max()) if squares.sum() > 0 else 0.0


def _squared_singular_values(matrix: Tensor) -> Tensor:
    """In float64, of a matrix scaled to a largest entry of 1, so that no square underflows."""
    matrix = matrix.flatten(1).double()
    matrix = matrix / matrix.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    return torch.linalg.eigvalsh(matrix @ matrix.T).clamp(min=0)


def diagnostic_callbacks(
    options: Diagnostics, seed: int, session: Session, metrics: Metrics
) -> list[Callback]:
    """Callbacks of the training loop, from the session's current iteration.

    Args:
        options: which diagnostics are measured, and when; on all training examples, not augmented,
            if there are fewer than `examples`.
        seed: of the initialization.
        session: in training.
        metrics: where numbers go.

    Raises:
        ValueError: a step is after the end of training.
    """
    per_epoch, end = session.iterations_per_epoch, session.end
    moments = steps.to_iterations(options.steps, per_epoch, end)
    rank_moments = steps.to_iterations(options.ranks, per_epoch, end)
    of_function = function_callbacks(session, metrics)
    if not moments and not rank_moments:
        return of_function
    weights: StateDict = session.model.state_dict()
    if session.training.iteration > 0:
        weights = session.initial_weights(seed)
    elif rank_moments:  # to measure the change since
        weights = state_dicts.copy(weights)
    measuring = Measuring(session, metrics, weights, options.examples)
    before = {moment - 1 for moment in moments}
    if session.training.iteration in before:
        measuring.remember(session.training)
    return [
        Callback(frozenset(moments).__contains__, measuring.measure),
        Callback(frozenset(rank_moments).__contains__, measuring.measure_ranks),
        Callback(before.__contains__, measuring.remember),
        *of_function,
    ]


class Measuring:
    """Measures a network in training, without changing it or any random state.

    Args:
        session: of the network.
        metrics: where numbers go.
        initial: weights of the network at iteration 0.
        num_examples: to measure on.
    """

    def __init__(
        self, session: Session, metrics: Metrics, initial: StateDict, num_examples: int
    ) -> None:
        self.session, self.metrics, self.initial = session, metrics, initial
        self.layers = widths_layers.scaled_layers(session.model)
        self.inputs, self.labels = examples(session, num_examples)
        self._at_start = record_activations(session.model, self.layers, self.inputs, initial)
        self._latest: dict[int, Activity] = {}  # by iteration: now, and before the last step

    def remember(self, training: Training) -> None:
        """Keep the current activations, to measure their change by the next step."""
        self._now(training.iteration)

    def measure(self, training: Training) -> None:
        """Write the sizes of pre-activations and outputs, and of their changes."""
        iteration = training.iteration
        before, now = self._latest.get(iteration - 1), self._now(iteration)
        numbers = [*self._sizes(now, "", None)]
        numbers += self._sizes(now, "_change", self._at_start)
        if before is not None:
            numbers += self._sizes(now, "_step", before)
        for layer in self.layers[:-1]:
            units = diversity(now.outputs[layer.name])
            numbers.append(Number(f"diversity_{layer.name}", units))
        data = self.session.data
        loss = losses.mean_loss(data.loss, now.result.float(), self.labels)
        numbers.append(Number("examples_loss", float(loss)))
        if data.loss == "logistic" and has_margins(self.session.model):
            margins = normalized_margins(self.session.model, now.result, self.labels)
            numbers += [Number(name, value) for name, value in margins.items()]
        if iteration == 0:
            numbers += self._slopes()
        self.metrics.write(iteration, numbers)

    def measure_ranks(self, training: Training) -> None:
        """Write effective ranks of weights, of their change, and of the inputs of each layer."""
        now, state = self._now(training.iteration), training.model.state_dict()
        numbers = []
        for layer in self.layers:
            weight = state[f"{layer.name}.weight"]
            matrices = {"weight": weight, "activation": now.inputs[layer.name]}
            if training.iteration > 0:
                matrices["change"] = weight - self.initial[f"{layer.name}.weight"]
            for name, matrix in matrices.items():
                end = f"{name}_{layer.name}"
                numbers.append(Number(f"rank_trace_{end}", squared_trace(matrix)))
                numbers.append(Number(f"rank_frobenius_{end}", frobenius(matrix)))
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
        """Predicted slopes in log m of outputs, and of their change by the first step."""
        if self.session.parametrization is None:
            return []
        rule = param_groups.lr_rule(self.session.recipe.optimizer)
        known = theory.predicted_slopes(self.session.parametrization, self.session.model, rule)
        names = ("slope_output", "slope_output_change")
        return [Number(*each) for each in zip(names, known or (), strict=False)]

    def _now(self, iteration: int) -> Activity:
        """The activations of an iteration, recorded once."""
        if iteration not in self._latest:
            activity = self._at_start
            if iteration > 0:
                activity = record_activations(self.session.model, self.layers, self.inputs)
            self._latest = {iteration: activity}
        return self._latest[iteration]


def examples(session: Session, count: int) -> tuple[Tensor, Tensor]:
    """A fixed part of the training set, un-augmented: inputs and labels, on the device."""
    data, runtime = session.data, session.runtime
    order = torch.randperm(len(data.train), generator=rng.generator(0, "diagnostics"))
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
