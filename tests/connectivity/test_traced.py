import torch
from torch import nn

from src.connectivity import traced
from src.models.mlp import MLP
from tests import toys


class Branching(nn.Module):
    """Does what depends on its inputs' values, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs):
        return self.layer(inputs) if inputs.sum() > 0 else inputs


class TwoInputs(nn.Module):
    def forward(self, first, second):
        return first + second


def test_a_traced_network_is_a_copy_that_computes_the_same_in_evaluation_mode():
    torch.manual_seed(0)
    model = toys.Small((2, 4, 4), 3).train()
    inputs = torch.randn(5, 2, 4, 4)
    graph = traced.trace(model)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert graph(inputs).equal(model.eval()(inputs))
    assert toys.equal(graph.state_dict(), model.state_dict())
    next(graph.parameters()).zero_()
    assert not next(model.parameters()).eq(0).all()


def test_what_cannot_be_traced_is_none():
    assert traced.trace(Branching()) is None
    assert traced.trace(TwoInputs()) is None


def test_a_module_called_twice_under_two_names_is_not_used_once():
    layer = nn.Linear(3, 3)
    graph = traced.trace(nn.Sequential(layer, nn.Linear(3, 3), layer))
    assert [str(node.target) for node in traced.used_once(graph)] == ["1"]


def test_modules_that_a_changed_graph_no_longer_calls_are_left_out():
    graph = traced.trace(MLP((4,), 2, [3]))
    nodes = {str(node.target): node for node in graph.graph.nodes}
    nodes["activation"].replace_all_uses_with(nodes["hidden.0"])
    graph.graph.erase_node(nodes["activation"])
    finished = traced.finish(graph)
    assert "activation" not in dict(finished.named_modules())
    assert finished(torch.zeros(5, 4)).shape == (5, 2)
