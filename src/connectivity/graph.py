"""A model's forward pass as a graph of layers and functions."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from src.models.norms import NORMS


def traced(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """The forward pass of `model` in evaluation mode, one node a layer or function.

    Every node that makes a tensor has its shape as `meta["shape"]`. Torch's own layers and the
    normalization layers of `src.models.norms` are one node each; other modules are opened.

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
