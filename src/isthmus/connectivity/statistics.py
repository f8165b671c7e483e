"""Batch-norm statistics of many weights of one network, in parts that fit a processor's cache."""

from typing import Any

import torch
from torch import Tensor, fx

from isthmus.connectivity import segments
from isthmus.state_dicts import StateDict
from isthmus.training import moments


class BatchNormStatistics:
    """Estimates batch-norm statistics on fixed inputs, for one set of weights after the other.

    They are those of `isthmus.training.batch_norm.reset`, to rounding: each layer normalizes by the
    mean and variance of all inputs, as if these were one batch. Of that batch parts are gone
    through, all of which reach one batch-norm layer before any of them goes on to the next.

    Args:
        graph: a network from `graph.trace`.
        inputs: (examples, ...), normalized, where the network is; at least two values a channel.
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
        self._segments = segments.cut(graph, any(self._whole))

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
            found = [
                segment.run(values, statistics, whole)
                for values, whole in zip(parts, self._whole, strict=True)
            ]
            mean, variance, count = moments.merged(found)
            unbiased = variance * (count / (count - 1))
            for key, value in (("running_mean", mean), ("running_var", unbiased)):
                name = f"{segment.ends.target}.{key}"
                updated[name] = value.to(weights[name])
            name = f"{segment.ends.target}.num_batches_tracked"
            if name in weights:
                updated[name] = torch.ones_like(weights[name])
            statistics = [mean.to(self.parts[0]), variance.to(self.parts[0])]
        return updated
