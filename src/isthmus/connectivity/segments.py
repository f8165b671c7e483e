"""A network cut before each batch-norm layer, so that what this needs can be estimated first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.connectivity.graph import used_once
from isthmus.training.moments import Moments


@dataclass(frozen=True)
class Segment:
    """From one batch-norm layer, or from the inputs of the network, to what the next one gets.

    Args:
        ends: the next batch norm.
        takes: the values that it needs of earlier segments.
        gives: those that later ones need of it.
        spent: those that none of them needs.
        network: of what it takes, and of mean and variance for the batch norm it begins with;
            returns what it gives, and mean and variance of what the next one gets.
        compiled: the same as compiled code, if that was asked for.
    """

    ends: fx.Node
    takes: Sequence[fx.Node]
    gives: Sequence[fx.Node]
    spent: Sequence[fx.Node]
    network: fx.GraphModule
    compiled: Callable[..., Any]

    def run(
        self, values: dict[fx.Node, Any], statistics: Sequence[Tensor], as_compiled: bool
    ) -> Moments:
        """Moments of what the next batch norm gets.

        Args:
            values: what earlier segments gave of the same examples; here it is brought up to date.
            statistics: mean and variance for the batch norm it begins with, if it does.
            as_compiled: whether by `compiled`, made for one number of examples.
        """
        call = self.compiled if as_compiled else self.network
        given, (mean, variance) = call(*(values[node] for node in self.takes), *statistics)
        values.update(zip(self.gives, given, strict=True))
        for node in self.spent:
            del values[node]
        normalized = values[self.ends.all_input_nodes[0]]
        return Moments(mean, variance, normalized.numel() // normalized.shape[1])


def batch_norms(graph: fx.GraphModule) -> dict[fx.Node, _BatchNorm]:
    """The layers that normalize by running statistics, in the order in which they are called.

    Raises:
        ValueError: one is called twice, so that it has no single mean and variance.
    """
    once, found = used_once(graph), dict[fx.Node, _BatchNorm]()
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            if node not in once:
                raise ValueError(f"model: the batch-norm layer {str(node.target)!r} is used twice")
            found[node] = layer
    return found


def cut(graph: fx.GraphModule, compiled: bool = False) -> list[Segment]:
    """The segments that end with each batch norm; what follows the last is left out.

    They hold the parameters of `graph` themselves.

    Args:
        graph: of one input.
        compiled: whether they are to run as compiled code.

    Raises:
        ValueError: a batch norm is called twice.
    """
    layers = batch_norms(graph)
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
    own = fx.Graph()
    new = {node: own.placeholder(node.name) for node in takes}
    rest = list(part)
    if begins is not None:
        node, statistics = rest.pop(0), [own.placeholder(name) for name in ("mean", "variance")]
        of_layer: list[fx.Node | None] = [
            None if tensor is None else own.get_attr(f"{node.target}.{name}")
            for name, tensor in (("weight", begins.weight), ("bias", begins.bias))
        ]
        inputs = new[node.all_input_nodes[0]]
        arguments = (inputs, *statistics, *of_layer, False, 0.0, begins.eps)
        new[node] = own.call_function(F.batch_norm, arguments)
    for node in rest:
        new[node] = own.node_copy(node, new.__getitem__)
    found = own.call_function(moments_of, (new[normalized],))
    own.output((tuple(new[node] for node in gives), found))
    return fx.GraphModule(graph, own)


def moments_of(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, in one pass that suits parts that fit a cache.

    Compiled, they are sums of differences from one of the values, so that nothing cancels where
    a mean is many deviations from 0.

    Args:
        values: (batch, channels, ...), at least one value a channel.
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
