"""The first layer of fully connected networks, whose outputs are linear in its weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.func import functional_call

from isthmus.connectivity.graph import finish, used_once
from isthmus.models.structure import tied_names
from isthmus.state_dicts import StateDict


@dataclass(frozen=True)
class SplitNetwork:
    """A fully connected first layer, and the rest of the network.

    What the first layer makes of given inputs is linear in its weights and bias: for a combination
    of networks it is the combination of what their first layers make. So it is computed once for
    each network, not once for each combination.
    """

    first: str  # name of the first layer
    flattens: bool  # whether inputs are flattened before it
    rest: fx.GraphModule  # from what the first layer makes to the logits

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
        made = []
        for point, row in zip(weights, shares.tolist(), strict=True):
            combined = units[row.index(max(row))]
            if row.count(0) < len(row) - 1:  # not a network itself
                combined = units[0]
                for step, share in zip(steps[1:], row[1:], strict=True):
                    combined = combined.add(step, alpha=share)
            of_rest = {name: point[name] for name in names}
            made.append(functional_call(self.rest, of_rest, (combined,)))
        return torch.stack(made)


def split(graph: fx.GraphModule) -> SplitNetwork | None:
    """Take a network apart behind its first layer.

    Args:
        graph: a network from `graph.trace`, which becomes the rest.

    Returns:
        None, and the graph as it was, if the inputs do not go, flattened or not, into just one
        linear layer that is used just once.
    """
    inputs = next(node for node in graph.graph.nodes if node.op == "placeholder")
    passed = [inputs]
    while len(passed[-1].users) == 1 and _flattens(graph, next(iter(passed[-1].users))):
        passed.append(next(iter(passed[-1].users)))
    if len(passed[-1].users) != 1:
        return None
    first = next(iter(passed[-1].users))
    if type(used_once(graph).get(first)) is not nn.Linear:
        return None
    with graph.graph.inserting_before(inputs):
        units = graph.graph.placeholder("units")
    first.replace_all_uses_with(units)
    for node in (first, *reversed(passed)):
        graph.graph.erase_node(node)
    return SplitNetwork(str(first.target), len(passed) > 1, finish(graph))


def _flattens(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether an operation makes (batch, features) of (batch, *input_shape)."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
    is_flatten = node.target in (torch.flatten, "flatten")
    return is_flatten and node.args[1:] == (1,) and not node.kwargs
