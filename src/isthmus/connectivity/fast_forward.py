"""Fast forward passes for many sets of weights of one network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.connectivity.tracing import finish_graph, modules_used_once
from isthmus.models.structure import tied_names
from isthmus.state_dicts import StateDict
from isthmus.training import batch_norm
from isthmus.training.batch_norm import ChannelStats


@dataclass(frozen=True)
class SplitNetwork:
    """A fully connected first layer, and the rest of the network.

    The outputs of the first layer are linear in its weights and bias: those of a combination of
    networks are the combination of the networks' outputs. So they are computed once per network,
    not once per combination.
    """

    first: str  # name of the first layer
    flattens: bool  # whether inputs are flattened before it
    rest: fx.GraphModule  # from the outputs of the first layer to the logits

    def logits(
        self,
        networks: Sequence[StateDict],
        shares: Tensor,
        weights: Sequence[StateDict],
        inputs: Tensor,
    ) -> Tensor:
        """Logits of combinations of networks.

        The first layer is computed without autocast, as its outputs are combined after. Those of a
        network itself, with share 1, are exactly those of the whole network in full precision.

        Args:
            networks: state dicts.
            shares: (points, networks), adding up to 1.
            weights: (points,) state dicts, the combinations.
            inputs: (batch, *input_shape).

        Returns:
            (points, batch, classes).
        """
        if self.flattens:
            inputs = inputs.flatten(1)  # (batch, features)
        with torch.autocast(inputs.device.type, enabled=False):
            units = [
                F.linear(inputs, n[f"{self.first}.weight"], n.get(f"{self.first}.bias"))
                for n in networks
            ]  # (batch, units) each
            steps = [each - units[0] for each in units]
        ties = tied_names(self.rest)
        names = [n for n in self.rest.state_dict() if n in weights[0] and n not in ties]
        logits = []
        for point, row in zip(weights, shares.tolist(), strict=True):
            combined = units[row.index(max(row))]
            if row.count(0) < len(row) - 1:  # not a network itself
                combined = units[0]
                for step, share in zip(steps[1:], row[1:], strict=True):
                    combined = combined.add(step, alpha=share)
            of_rest = {name: point[name] for name in names}
            logits.append(functional_call(self.rest, of_rest, (combined,)))
        return torch.stack(logits)


def split_first_layer(graph: fx.GraphModule) -> SplitNetwork | None:
    """Split a network after its first layer.

    Args:
        graph: a network from `tracing.trace_network`, which becomes the rest.

    Returns:
        None, and the graph as it was, unless the inputs, flattened or not, are read by one linear
        layer only, which is used once.
    """
    inputs = next(node for node in graph.graph.nodes if node.op == "placeholder")
    passed = [inputs]
    while len(passed[-1].users) == 1 and _flattens(graph, next(iter(passed[-1].users))):
        passed.append(next(iter(passed[-1].users)))
    if len(passed[-1].users) != 1:
        return None
    first = next(iter(passed[-1].users))
    if type(modules_used_once(graph).get(first)) is not nn.Linear:
        return None
    with graph.graph.inserting_before(inputs):
        units = graph.graph.placeholder("units")
    first.replace_all_uses_with(units)
    for node in (first, *reversed(passed)):
        graph.graph.erase_node(node)
    return SplitNetwork(str(first.target), len(passed) > 1, finish_graph(graph))


def _flattens(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether an operation makes (batch, features) of (batch, *input_shape)."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
    is_flatten = node.target in (torch.flatten, "flatten")
    return is_flatten and node.args[1:] == (1,) and not node.kwargs


_LAYERS: dict[type[nn.Module], type[nn.Module]] = {  # batch norms, by what can take them in
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}


class FoldedNetwork:
    """A network with folded batch norm, to evaluate many sets of weights one after the other.

    `network` is its graph, which holds the weights loaded last.

    With fixed statistics batch normalization is affine for each channel, so that a convolution or
    linear layer right before it can do its work (Jacob et al., 2018, section 3.2). It is folded
    where nothing else uses the outputs of that layer; elsewhere it stays. The scales are computed
    in float64; in float32 the logits differ by rounding only.

    Args:
        graph: a network from `tracing.trace_network`, which becomes the folded one.
        compile_size: examples in a batch that runs as compiled code; others, the last of a split,
            are not worth a compilation of their own. None: no batch.
    """

    def __init__(self, graph: fx.GraphModule, compile_size: int | None = None) -> None:
        self._pairs = fold_batch_norms(graph)
        self.network, self._compile_size = graph, compile_size
        self._compiled: Callable[[Tensor], Tensor] = graph
        if compile_size is not None:  # asking torch to compile alone imports for seconds
            self._compiled = torch.compile(graph, dynamic=False)

    @property
    def num_folded(self) -> int:
        """How many batch-norm layers are part of the layer before them."""
        return len(self._pairs)

    @torch.no_grad()
    def load(self, weights: StateDict) -> None:
        """Load weights, under the names that they have in the network before folding."""
        folded: dict[str, Tensor] = {}
        for layer, (norm, eps) in self._pairs.items():
            weight, bias = fold_layer(weights, layer, norm, eps)
            folded |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        for name, tensor in self.network.state_dict().items():
            if name in folded or name in weights:  # else a constant of the graph
                tensor.copy_(folded[name] if name in folded else weights[name])

    def logits(self, inputs: Tensor) -> Tensor:
        """(1, batch, classes), of the weights loaded last."""
        is_full = len(inputs) == self._compile_size
        return (self._compiled if is_full else self.network)(inputs).unsqueeze(0)


def fold_batch_norms(graph: fx.GraphModule) -> dict[str, tuple[str, float]]:
    """Fold every batch norm of a graph into the layer before it, where that is possible.

    Returns:
        The names of these layers, which then have a bias, and for each the name and epsilon of its
        batch norm.
    """
    pairs: dict[str, tuple[str, float]] = {}
    modules = modules_used_once(graph)
    for node in list(graph.graph.nodes):
        norm = modules.get(node)
        before = node.args[0] if node.args else None
        if not isinstance(norm, _BatchNorm) or not isinstance(before, fx.Node):
            continue
        layer = modules.get(before)
        if layer is None or not _foldable(layer, norm) or len(before.users) > 1:
            continue
        if layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(norm.num_features), False)
        pairs[str(before.target)] = (str(node.target), norm.eps)
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    finish_graph(graph)
    return pairs


def fold_layer(weights: StateDict, layer: str, norm: str, eps: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that does the work of the batch norm after it, too.

    Args:
        weights: with both layers, and the running statistics.
        layer: name of the convolution or linear layer.
        norm: name of its batch norm.
        eps: added to the variance.
    """
    weight = weights[f"{layer}.weight"]  # (features, ...)
    mean, variance = (weights[f"{norm}.running_{name}"].double() for name in ("mean", "var"))
    scale = (variance + eps).rsqrt()  # (features,)
    if f"{norm}.weight" in weights:
        scale = scale * weights[f"{norm}.weight"]
    bias = -mean
    if f"{layer}.bias" in weights:
        bias = bias + weights[f"{layer}.bias"]
    bias = bias * scale
    if f"{norm}.bias" in weights:
        bias = bias + weights[f"{norm}.bias"]
    spread = scale.view(-1, *[1] * (weight.dim() - 1))
    return (weight * spread).to(weight.dtype), bias.to(weight.dtype)


def _foldable(layer: nn.Module, norm: _BatchNorm) -> bool:
    if _LAYERS.get(type(layer)) is not type(norm) or norm.running_mean is None:
        return False
    assert isinstance(layer.weight, Tensor)
    return len(layer.weight) == norm.num_features


@dataclass(frozen=True)
class Segment:
    """The part of a network between two batch-norm layers, or from its inputs to the first.

    Args:
        ends: the next batch norm.
        takes: the values that it needs of earlier segments.
        gives: those that later ones need of it.
        spent: those that none of them needs.
        network: of what it takes, and of mean and variance for the batch norm it begins with;
            returns what it gives, and mean and variance of what the next one gets.
        compiled: the same as compiled code, if requested; else `network`.
    """

    ends: fx.Node
    takes: Sequence[fx.Node]
    gives: Sequence[fx.Node]
    spent: Sequence[fx.Node]
    network: fx.GraphModule
    compiled: Callable[..., Any]

    def run(
        self, values: dict[fx.Node, Any], statistics: Sequence[Tensor], as_compiled: bool
    ) -> ChannelStats:
        """Run the segment; returns the moments of the inputs of the next batch norm.

        Args:
            values: what earlier segments gave of the same examples; here it is brought up to date.
            statistics: mean and variance for the batch norm it begins with, if it does.
            as_compiled: whether by `compiled`, made for one number of examples.
        """
        call = self.compiled if as_compiled else self.network
        outputs, (mean, variance) = call(*(values[node] for node in self.takes), *statistics)
        values.update(zip(self.gives, outputs, strict=True))
        for node in self.spent:
            del values[node]
        normalized = values[self.ends.all_input_nodes[0]]
        return ChannelStats(mean, variance, normalized.numel() // normalized.shape[1])


def batch_norm_layers(graph: fx.GraphModule) -> dict[fx.Node, _BatchNorm]:
    """The layers that normalize by running statistics, in the order in which they are called.

    Raises:
        ValueError: one is called twice, so that it has no single mean and variance.
    """
    once, layers = modules_used_once(graph), dict[fx.Node, _BatchNorm]()
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            if node not in once:
                raise ValueError(f"model: the batch-norm layer {str(node.target)!r} is used twice")
            layers[node] = layer
    return layers


def cut_segments(graph: fx.GraphModule, compiled: bool = False) -> list[Segment]:
    """Cut a network into segments between batch-norm layers; the rest after the last is left out.

    They hold the parameters of `graph` themselves.

    Args:
        graph: of one input.
        compiled: whether they are to run as compiled code.

    Raises:
        ValueError: a batch norm is called twice.
    """
    layers = batch_norm_layers(graph)
    parts = list[list[fx.Node]]([[]])  # all but the first begin with a batch norm
    for node in graph.graph.nodes:
        if node in layers:
            parts.append([])
        if node.op not in ("placeholder", "output"):
            parts[-1].append(node)
    needed = [{source for node in part for source in node.all_input_nodes} for part in parts]
    held = [node for node in graph.graph.nodes if node.op == "placeholder"]
    segments = []
    for number, ends in enumerate(layers):
        part, later = parts[number], set[fx.Node]().union(*needed[number + 1 :])
        takes = [node for node in held if node in needed[number] or node in ends.all_input_nodes]
        gives = [node for node in part if node in later]
        spent = [node for node in held if node not in later]
        begins = layers.get(part[0]) if part else None
        network = _network(graph, part, begins, takes, gives, ends.all_input_nodes[0])
        # Asking torch to compile alone imports for seconds.
        call = torch.compile(network, dynamic=False) if compiled else network
        segments.append(Segment(ends, takes, gives, spent, network, call))
        held = [node for node in (*held, *gives) if node in later]
    return segments


def _network(
    graph: fx.GraphModule,
    part: Sequence[fx.Node],
    begins: _BatchNorm | None,
    takes: Sequence[fx.Node],
    gives: Sequence[fx.Node],
    normalized: fx.Node,
) -> fx.GraphModule:
    """The network of a segment, of the nodes in `part`."""
    inner = fx.Graph()
    new = {node: inner.placeholder(node.name) for node in takes}
    rest = list(part)
    if begins is not None:
        node, statistics = rest.pop(0), [inner.placeholder(name) for name in ("mean", "variance")]
        of_layer: list[fx.Node | None] = [
            None if tensor is None else inner.get_attr(f"{node.target}.{name}")
            for name, tensor in (("weight", begins.weight), ("bias", begins.bias))
        ]
        inputs = new[node.all_input_nodes[0]]
        arguments = (inputs, *statistics, *of_layer, False, 0.0, begins.eps)
        new[node] = inner.call_function(F.batch_norm, arguments)
    for node in rest:
        new[node] = inner.node_copy(node, new.__getitem__)
    moments = inner.call_function(channel_moments, (new[normalized],))
    inner.output((tuple(new[node] for node in gives), moments))
    return fx.GraphModule(graph, inner)


def channel_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, in one pass that suits parts that fit a cache.

    Compiled, they are sums of differences from one of the values, so that nothing cancels where
    a mean is many deviations from 0.

    Args:
        values: (batch, channels, ...), at least one value per channel.
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if not torch.compiler.is_compiling():
        return torch.batch_norm_update_stats(values, None, None, 0.0)
    axes = [0, *range(2, values.dim())]
    near = values[tuple(slice(None) if axis == 1 else slice(1) for axis in range(values.dim()))]
    apart = values - near
    offset, square = apart.mean(axes), apart.square().mean(axes)
    return near.flatten() + offset, square - offset.square()


class BatchNormEstimator:
    """Estimates batch-norm statistics of one set of weights after the other, on fixed inputs.

    They are those of `isthmus.training.batch_norm.reset_statistics`, to rounding: each layer
    normalizes by the mean and variance of all inputs, as if these were one batch. The batch is
    computed in parts: all parts reach a batch-norm layer before any of them is computed further.

    Args:
        graph: a network from `tracing.trace_network`.
        inputs: (examples, ...), normalized, where the network is; at least two values per channel.
        part_size: examples in a part, at least 1.
        compiled: whether parts run as compiled code, but for the last one if it is smaller.

    Raises:
        ValueError: a batch-norm layer is used twice, so that it has no single mean and variance.
    """

    def __init__(
        self, graph: fx.GraphModule, inputs: Tensor, part_size: int, compiled: bool = False
    ) -> None:
        self.graph, self.parts = graph, inputs.split(part_size)
        self._whole = [compiled and len(part) == part_size for part in self.parts]
        self._segments = cut_segments(graph, any(self._whole))

    @torch.no_grad()
    def reset(self, weights: StateDict) -> dict[str, Tensor]:
        """`weights`, not copied, with the statistics that they have on the inputs."""
        for name, tensor in self.graph.state_dict().items():
            if name in weights:  # else a constant of the graph
                tensor.copy_(weights[name])
        (entry,) = (node for node in self.graph.graph.nodes if node.op == "placeholder")
        parts: list[dict[fx.Node, Any]] = [{entry: part} for part in self.parts]
        updated, statistics = dict(weights), list[Tensor]()
        for segment in self._segments:
            moments = [
                segment.run(values, statistics, as_compiled)
                for values, as_compiled in zip(parts, self._whole, strict=True)
            ]
            mean, variance, count = batch_norm.merge_stats(moments)
            unbiased = variance * (count / (count - 1))
            for key, value in (("running_mean", mean), ("running_var", unbiased)):
                name = f"{segment.ends.target}.{key}"
                updated[name] = value.to(weights[name])
            name = f"{segment.ends.target}.num_batches_tracked"
            if name in weights:
                updated[name] = torch.ones_like(weights[name])
            statistics = [mean.to(self.parts[0]), variance.to(self.parts[0])]
        return updated
