"""Affine combinations of networks: computing and evaluating them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from isthmus.connectivity import fast_forward
from isthmus.connectivity.fast_forward import BatchNormEstimator, FoldedNetwork
from isthmus.connectivity.tracing import trace_network
from isthmus.models import layers
from isthmus.state_dicts import StateDict
from isthmus.training import batch_norm
from isthmus.training.evaluation import Evaluation, evaluation_mode, logits_apart, measure_network
from isthmus.training.evaluator import Evaluator
from isthmus.training.metrics import METRIC_NAMES
from isthmus.training.recipe import should_compile
from isthmus.vocabulary import BATCH_NORM_MODES


def combine(networks: Sequence[StateDict], shares: Tensor) -> dict[str, Tensor]:
    """The weighted sum of networks, with shares that add up to 1.

    It is computed as the network of the largest share (the first if several have it), plus the
    share of each other network times its difference from that one: so a network itself, and any
    combination of equal networks, is exact. Integers are those of the network of largest share.

    Args:
        networks: state dicts of one architecture, on one device.
        shares: (networks,), that add up to 1; negative ones extrapolate.

    Returns:
        A state dict whose tensors may be those of a network.
    """
    nearest = networks[int(shares.argmax())]
    combined = dict(nearest)
    for network, share in zip(networks, shares.tolist(), strict=True):
        if network is nearest or share == 0:
            continue
        for name, tensor in nearest.items():
            if tensor.is_floating_point():
                combined[name] = combined[name].add(network[name] - tensor, alpha=share)
    return combined


def check_alike(networks: Sequence[StateDict]) -> None:
    """Refuse to combine networks of different architectures.

    Raises:
        ValueError: naming the first tensor that is not the same in all.
    """
    first = networks[0]
    for number, other in enumerate(networks[1:], start=2):
        for name in [*first, *(name for name in other if name not in first)]:
            shapes = [tuple(n[name].shape) if name in n else "missing" for n in (first, other)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"networks 1 and {number} are of different architectures: {name} is "
                    f"{shapes[0]} in the first and {shapes[1]} in the other"
                )


HELD_VALUES = 2**26  # numbers in the weights of all points that are in memory at once
CHECKED_EXAMPLES = 64  # on which a fast method is compared with the plain one
PART_SIZE = 64  # calibration examples that fit into the cache of a CPU's core
COMPILED_PART_SIZE = 256  # the same of compiled code, which reads memory less often
PASSES_PER_STEP = 6  # forward passes that gain by compiling what one training step gains
ROUNDING = 1e-4  # allowed difference of logits from plain ones, as a fraction of the largest
ROUNDING_TF32 = 1e-2  # where a GPU multiplies with mantissas of 10 bits


@dataclass(frozen=True)
class Curve:
    """All metrics of several points on one split."""

    loss: Tensor  # (points,) float64, mean cross-entropy in nats
    accuracy: Tensor  # (points,) float64, fraction in [0, 1]
    others: tuple[Tensor, ...] = ()  # (points,) float64 each, the further ones of METRICS

    @classmethod
    def from_numbers(cls, numbers: Tensor) -> "Curve":
        """A curve from all of its numbers, (metrics, points)."""
        loss, accuracy, *others = numbers
        return cls(loss, accuracy, tuple(others))

    def lists(self) -> dict[str, list[float]]:
        """The values of all points, by metric."""
        several = (self.loss, self.accuracy, *self.others)
        return {name: one.tolist() for name, one in zip(METRIC_NAMES, several, strict=False)}


class InterpolationEvaluator:
    """Evaluates affine combinations of networks in the fastest way that suits the architecture.

    `method` says which. "first layer": the network begins, after flattening if any, with a linear
    layer, whose outputs are computed for the networks and combined for the points. "folded": batch
    norm is folded into the layers before it, or compiling is faster. "plain": the evaluator
    evaluates each point of any other network. Batch-norm statistics that the evaluator would
    estimate in a single pass are estimated in parts. At first use, logits of the mean of the
    networks on a few examples are computed by the fast and by the plain method, in full precision;
    if they differ by more than rounding, all points are evaluated plainly.

    Args:
        evaluator: of the networks by themselves, with the data.
        splits: train, val, test: those on which to evaluate.
        num_points: how many will be evaluated in all, by which it is decided whether to compile.

    Raises:
        ValueError: the data set has no such split.
    """

    def __init__(self, evaluator: Evaluator, splits: Sequence[str], num_points: int = 1) -> None:
        evaluator.check_splits(splits)
        self.evaluator, self.splits = evaluator, list(splits)
        self._split: fast_forward.SplitNetwork | None = None
        self._folded: FoldedNetwork | None = None
        self._statistics: BatchNormEstimator | None = None
        self._checked = self._compiled = False
        self.has_batch_norm = batch_norm.has_batch_norm(evaluator.model)
        self._graph = trace_network(evaluator.model) if self.has_batch_norm else None
        graph = trace_network(evaluator.model)
        if graph is None:
            return
        self._split = fast_forward.split_first_layer(graph)
        if self._split is None:
            size = evaluator.batch_size
            sizes = [len(evaluator.data.splits[split]) for split in splits]
            passes = num_points * sum(math.ceil(examples / size) for examples in sizes)
            option, as_steps = evaluator.runtime.compile, passes // PASSES_PER_STEP
            self._compiled = should_compile(option, evaluator.model, as_steps)
            folded = FoldedNetwork(graph, size if self._compiled else None)
            self._folded = folded if self._compiled or folded.num_folded else None

    @property
    def method(self) -> str:
        """How points are evaluated: "first layer", "folded" or "plain"."""
        if self._split is not None:
            return "first layer"
        return "plain" if self._folded is None else "folded"

    @torch.no_grad()
    def evaluate(
        self,
        networks: Sequence[StateDict],
        shares: Tensor,
        bn: str,
        splits: Sequence[str] | None = None,
    ) -> dict[str, Curve]:
        """Loss and accuracy of combinations of networks.

        All points are treated alike: under "reset" the networks themselves, too, have statistics
        that are estimated again. Under "average" and "keep", and without batch norm, a combination
        whose parameters are those of the network that has the largest share in it, bit for bit, is
        that network as it was trained, and its values are exactly those that the evaluator gives.
        So is every point between a network and itself.

        Args:
            networks: state dicts of one architecture, on any device.
            shares: (points, networks), adding up to 1.
            bn: batch-norm statistics of the points. "reset": those that its weights have on the
                training set, estimated once per point; "average": combined like weights; "keep":
                those of the network of the largest share, the first if several have it.
            splits: some of those that this one was made for; None for all.

        Returns:
            By split, loss and accuracy of shape (points,).

        Raises:
            ValueError: the networks differ in architecture, from each other or from the
                evaluator's, `bn` is not one of the three, or "average" makes a negative variance,
                as it can where a share is negative.
        """
        layers.check_one_of("bn", bn, BATCH_NORM_MODES)
        check_alike(networks)
        for name in self.evaluator.model.state_dict():
            if name not in networks[0]:
                raise ValueError(f"network 1 lacks {name}, which the evaluator's architecture has")
        device, splits = self.evaluator.device, self.splits if splits is None else splits
        networks = [{name: t.to(device) for name, t in n.items()} for n in networks]
        if not self._checked:
            self._check(networks)
        num_values = sum(tensor.numel() for tensor in networks[0].values())
        parts = []
        for part in shares.split(max(1, HELD_VALUES // num_values)):
            points = self._make(networks, part, bn)
            parts.append(torch.stack([self._measure(points, split) for split in splits]))
        numbers = torch.cat(parts, dim=-1).unbind()  # (metrics, points) per split
        return {s: Curve.from_numbers(each) for s, each in zip(splits, numbers, strict=True)}

    def _make(self, networks: Sequence[StateDict], shares: Tensor, bn: str) -> "_Points":
        """Combinations with the batch-norm statistics that `bn` asks for."""
        shares, weights, as_trained = shares.clone(), [], []
        is_reset = bn == "reset" and self.has_batch_norm
        names = [name for name, _ in self.evaluator.model.named_parameters()]
        for row in shares:
            number = int(row.argmax())
            combined, nearest = combine(networks, row), networks[number]
            is_network = all(torch.equal(combined[name], nearest[name]) for name in names)
            as_trained.append(is_network and not is_reset)
            if is_network:
                row.copy_(torch.eye(len(networks))[number])
                combined = dict(nearest)
            if not as_trained[-1]:
                if bn == "average":
                    self._check_variances(combined, row)
                combined = dict(self._with_statistics(combined, nearest, bn))
            weights.append(combined)
        return _Points(networks, shares, weights, torch.tensor(as_trained))

    def _measure(self, points: "_Points", split: str) -> Tensor:
        """(metrics, points), on a split."""
        evaluator, others = self.evaluator, ~points.as_trained
        batches, autocast = evaluator.batches(split), evaluator.autocast
        if self._split is not None and autocast is None and others.any():
            logits = partial(self._split.logits, points.networks, points.shares, points.weights)
            loss = evaluator.data.loss
            return evaluation_numbers(
                measure_network(logits, batches, loss=loss)
            )  # of the networks, too, exactly
        numbers = torch.zeros(len(METRIC_NAMES), len(others), dtype=torch.float64)
        for number, network in enumerate(points.networks):
            here = points.as_trained & (points.shares[:, number] == 1)
            if here.any():
                numbers[:, here] = evaluation_numbers(evaluator.evaluate({"": network}, split))
        if others.any():
            numbers[:, others] = self._measure_others(points.take(others), split)
        return numbers

    def _measure_others(self, points: "_Points", split: str) -> Tensor:
        """(metrics, points), of points that are no network as it was trained."""
        batches, autocast = self.evaluator.batches(split), self.evaluator.autocast
        loss = self.evaluator.data.loss
        if self._split is not None:
            logits = partial(self._split.logits, points.networks, points.shares, points.weights)
            return evaluation_numbers(measure_network(logits, batches, autocast, loss))
        if self._folded is not None:
            numbers = []
            for each in points.weights:
                self._folded.load(each)
                numbers.append(
                    evaluation_numbers(
                        measure_network(self._folded.logits, batches, autocast, loss)
                    )
                )
            return torch.cat(numbers, dim=1)
        plainly = {str(number): each for number, each in enumerate(points.weights)}
        return evaluation_numbers(self.evaluator.evaluate(plainly, split))

    def _check(self, networks: Sequence[StateDict]) -> None:
        """Give up the fast methods if their logits are not those of the plain one."""
        model, count = self.evaluator.model, len(networks)
        inputs, _ = next(iter(self.evaluator.batches(self.splits[0])))
        inputs, shares = inputs[:CHECKED_EXAMPLES], torch.full((1, count), 1 / count).double()
        combined = combine(networks, shares[0])
        weights = [batch_norm.with_statistics_of(model, combined, networks[0])]
        with evaluation_mode(model):
            plain = logits_apart(model, weights, inputs)
        if self._split is not None:
            logits = self._split.logits(networks, shares, weights, inputs)
        elif self._folded is not None:
            self._folded.load(weights[0])
            logits = self._folded.network(inputs).unsqueeze(0)  # not worth a compilation
        else:
            logits = plain
        self._checked = bool(plain.isfinite().all())  # else with the next networks
        allowed = (ROUNDING if inputs.device.type == "cpu" else ROUNDING_TF32) * plain.abs().max()
        if logits.shape != plain.shape or bool(((logits - plain).abs() > allowed).any()):
            self._split = self._folded = self._graph = None

    def _with_statistics(self, combined: StateDict, nearest: StateDict, bn: str) -> StateDict:
        """Weights with the batch-norm statistics that `bn` asks for."""
        evaluator = self.evaluator
        if bn != "reset" or self._graph is None or not evaluator.calibrates_at_once:
            return evaluator.with_bn_statistics(combined, nearest, bn)
        if self._statistics is None:
            on_cpu, inputs = evaluator.device.type == "cpu", evaluator.calibration
            on_a_core = COMPILED_PART_SIZE if self._compiled else PART_SIZE
            part_size = on_a_core if on_cpu else len(inputs)
            self._statistics = BatchNormEstimator(self._graph, inputs, part_size, self._compiled)
        autocast = evaluator.autocast
        with torch.autocast(evaluator.device.type, dtype=autocast, enabled=autocast is not None):
            return self._statistics.reset(combined)

    def _check_variances(self, weights: StateDict, shares: Tensor) -> None:
        for name in batch_norm.statistics_names(self.evaluator.model):
            if name.endswith("running_var") and bool((weights[name] < 0).any()):
                raise ValueError(
                    f"bn=average: with shares {[round(s, 4) for s in shares.tolist()]} of the "
                    f"networks, {name} becomes negative; outside the networks use bn=reset"
                )


@dataclass(frozen=True)
class _Points:
    """Combinations of networks."""

    networks: Sequence[StateDict]
    shares: Tensor  # (points, networks), just one 1 where a point is a network
    weights: Sequence[StateDict]  # (points,)
    as_trained: Tensor  # (points,) bool: the point is a network as it was trained

    def take(self, chosen: Tensor) -> "_Points":
        """Those that a mask, (points,) bool, chooses."""
        weights = [self.weights[number] for number in chosen.nonzero().flatten().tolist()]
        return _Points(self.networks, self.shares[chosen], weights, self.as_trained[chosen])


def evaluation_numbers(evaluation: Evaluation) -> Tensor:
    """(metrics, models), on the CPU."""
    return torch.stack([evaluation.numbers[name] for name in METRIC_NAMES]).cpu()
