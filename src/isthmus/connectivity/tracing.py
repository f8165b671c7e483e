"""Traces networks with `torch.fx`, and loads weights into copies of them."""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from isthmus.models.layers import NORMS
from isthmus.state_dicts import StateDict


def trace_network(model: nn.Module) -> fx.GraphModule | None:
    """A traced copy of a network in evaluation mode, to be changed; None if it cannot be traced.

    Its tensors have the names that they have in `model`, and the memory format.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    try:
        graph = _Tracer().trace(copy)
    except Exception:  # the model's own code meets stand-ins for tensors: anything can happen
        return None
    traced = fx.GraphModule(copy, graph)
    return traced if sum(node.op == "placeholder" for node in graph.nodes) == 1 else None


def modules_used_once(graph: fx.GraphModule) -> dict[fx.Node, nn.Module]:
    """The modules that a graph calls once only, under whatever name, by the calling node."""
    called = {
        node: graph.get_submodule(str(node.target))
        for node in graph.graph.nodes
        if node.op == "call_module"
    }
    counts = Counter(called.values())
    return {node: module for node, module in called.items() if counts[module] == 1}


def finish_graph(graph: fx.GraphModule) -> fx.GraphModule:
    """The same network after its graph was changed, without the modules that it no longer calls."""
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


def trace_shapes(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """The traced forward pass of `model` in evaluation mode, with shapes but no numbers.

    Every node that makes a tensor has its shape as `meta["shape"]`.

    Args:
        model: any mode and device; neither it nor the global random state changes.
        inputs: (batch, ...), of which shape and type of one example matter.

    Returns:
        A copy on the device "meta", which holds no numbers.

    Raises:
        ValueError: the forward pass depends on the values of its inputs, or does something else
            that `torch.fx` cannot follow; the message names the module.
    """
    copy = deepcopy(model).eval().to("meta")
    try:
        graph = _Tracer().trace(copy)
    except (TypeError, RuntimeError, fx.proxy.TraceError) as error:
        raise _untraceable("", copy, error) from error
    module = fx.GraphModule(copy, graph)
    with torch.no_grad():
        _Shapes(module, garbage_collect_values=False).run(inputs[:1].to("meta"))
    return module


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, NORMS) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except (TypeError, RuntimeError, fx.proxy.TraceError) as error:
            raise _untraceable(self.path_of_module(m), m, error) from error


class _Shapes(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = result.shape
        return result


def _untraceable(name: str, module: nn.Module, error: Exception) -> ValueError:
    where = f"its module {name!r} ({type(module).__name__})" if name else type(module).__name__
    reason = str(error).partition("\n")[0]
    return ValueError(f"model: torch.fx cannot trace {where}: {reason}")


def load_network(model: nn.Module, state_dict: StateDict) -> nn.Module:
    """A copy of `model` in evaluation mode, with the weights of `state_dict`."""
    copy = deepcopy(model).eval()
    copy.load_state_dict(state_dict)
    return copy


def parameter_device(model: nn.Module) -> torch.device:
    """Where the parameters of `model` are."""
    return next(model.parameters()).device


def chunks(inputs: Tensor, chunk_size: int) -> Sequence[Tensor]:
    """Parts of `inputs`, each for one forward pass.

    Args:
        inputs: (examples, ...).
        chunk_size: the largest number of examples in a part.

    Raises:
        ValueError: `chunk_size` or the number of `inputs` is below 1.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size: must be at least 1, got {chunk_size}")
    if len(inputs) == 0:
        raise ValueError("inputs: activations need at least one example, got none")
    return inputs.split(chunk_size)
