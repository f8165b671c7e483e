"""Networks as graphs of operations in evaluation mode, which can be taken apart."""

from collections import Counter
from copy import deepcopy

from torch import fx, nn


def trace(model: nn.Module) -> fx.GraphModule | None:
    """A copy of a network as a graph of operations, or None if it cannot be traced.

    Its tensors have the names that they have in `model`, and the memory format.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    try:
        traced = fx.symbolic_trace(copy)
    except Exception:  # the model's own code meets stand-ins for tensors: anything can happen
        return None
    return traced if sum(node.op == "placeholder" for node in traced.graph.nodes) == 1 else None


def used_once(traced: fx.GraphModule) -> dict[fx.Node, nn.Module]:
    """The modules that a graph calls just once, under whatever name, by where it does so."""
    called = {
        node: traced.get_submodule(str(node.target))
        for node in traced.graph.nodes
        if node.op == "call_module"
    }
    counts = Counter(called.values())
    return {node: module for node, module in called.items() if counts[module] == 1}


def finish(traced: fx.GraphModule) -> fx.GraphModule:
    """The same network after its graph was changed, without the modules that it no longer calls."""
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced
