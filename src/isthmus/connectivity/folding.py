"""Batch normalization in evaluation mode as part of the layer before it."""

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.connectivity.graph import finish, used_once
from isthmus.state_dicts import StateDict

_LAYERS: dict[type[nn.Module], type[nn.Module]] = {  # batch norms, by what can take them in
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}


class FoldedNetwork:
    """One network in memory, to evaluate many sets of weights with, one after the other.

    `network` is its graph, which holds the weights loaded last.

    With fixed statistics batch normalization is affine for each channel, so that a convolution or
    linear layer right before it can do its work (Jacob et al., 2018, section 3.2). It is folded
    where nothing else uses the outputs of that layer; elsewhere it stays. The scales are computed
    in float64; in float32 the logits differ by rounding only.

    Args:
        graph: a network from `graph.trace`, which becomes the folded one.
        compile_size: examples in a batch that runs as compiled code; others, the last of a split,
            are not worth a compilation of their own. None: no batch.
    """

    def __init__(self, graph: fx.GraphModule, compile_size: int | None = None) -> None:
        self._pairs = fold(graph)
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
        """Take on weights, under the names of the network as it was before folding."""
        folded: dict[str, Tensor] = {}
        for layer, (norm, eps) in self._pairs.items():
            weight, bias = folded_layer(weights, layer, norm, eps)
            folded |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        for name, tensor in self.network.state_dict().items():
            if name in folded or name in weights:  # else a constant of the graph
                tensor.copy_(folded[name] if name in folded else weights[name])

    def logits(self, inputs: Tensor) -> Tensor:
        """(1, batch, classes), of the weights loaded last."""
        whole = len(inputs) == self._compile_size
        return (self._compiled if whole else self.network)(inputs).unsqueeze(0)


def fold(graph: fx.GraphModule) -> dict[str, tuple[str, float]]:
    """Leave out of a graph every batch norm that can be part of the layer before it.

    Returns:
        The names of these layers, which then have a bias, and for each the name and epsilon of its
        batch norm.
    """
    pairs: dict[str, tuple[str, float]] = {}
    modules = used_once(graph)
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
    finish(graph)
    return pairs


def folded_layer(weights: StateDict, layer: str, norm: str, eps: float) -> tuple[Tensor, Tensor]:
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
