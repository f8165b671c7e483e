import pytest
import torch
from torch import nn

from isthmus.connectivity.tracing import (
    chunks,
    finish_graph,
    load_network,
    modules_used_once,
    trace_network,
    trace_shapes,
)
from isthmus.models.mlp import MLP
from tests import toys
from tests.connectivity import networks


def test_chunks_are_all_inputs_in_order():
    inputs = torch.arange(7)
    parts = chunks(inputs, 3)
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(list(parts)), inputs)


def test_a_chunk_and_the_inputs_have_an_example():
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        chunks(torch.zeros(3), 0)
    with pytest.raises(ValueError, match="^inputs: activations need at least one example, got no"):
        chunks(torch.zeros(0, 3), 5)


def test_loaded_weights_are_a_copy_in_evaluation_mode():
    model, _ = networks.made("mlp")
    weights = networks.weights(model, seed=1)
    copy = load_network(model.train(), weights)
    assert model.training and not copy.training
    for name, tensor in copy.state_dict().items():
        assert torch.equal(tensor, weights[name])
        assert tensor.data_ptr() not in (
            weights[name].data_ptr(),
            model.state_dict()[name].data_ptr(),
        )


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


class Counting(nn.Module):
    def forward(self, inputs):
        return sum(inputs[:, index] for index in range(inputs.shape[1]))


def test_every_node_has_the_shape_of_one_example():
    model, inputs = networks.made("resnet8_pad")
    nodes = {node.name: node for node in trace_shapes(model, inputs).graph.nodes}
    assert nodes["inputs"].meta["shape"] == (1, 3, 8, 8)
    assert nodes["stages_1_0_conv1"].meta["shape"] == (1, 8, 4, 4)
    assert nodes["mean"].meta["shape"] == (1, 16)


def test_a_normalization_of_channels_is_one_node():
    model, inputs = networks.made("resnet8_pad_layer_norm")
    targets = [node.target for node in trace_shapes(model, inputs).graph.nodes]
    assert "stem.1" in targets and "movedim" not in targets


def test_tracing_leaves_the_model_alone():
    model, inputs = networks.made("vgg11")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace_shapes(model.train(), inputs)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu" and torch.equal(tensor, before[name])


@pytest.mark.parametrize("module", [Branching, Counting])
def test_what_cannot_be_traced_is_named(module):
    inputs = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=f"^model: torch.fx cannot trace {module.__name__}: .+"):
        trace_shapes(module(), inputs)
    within = rf"^model: torch.fx cannot trace its module '1.0' \({module.__name__}\): .+"
    with pytest.raises(ValueError, match=within):
        trace_shapes(nn.Sequential(nn.Linear(3, 3), nn.Sequential(module())), inputs)


def test_a_traced_network_is_a_copy_that_computes_the_same_in_evaluation_mode():
    torch.manual_seed(0)
    model = toys.Small((2, 4, 4), 3).train()
    inputs = torch.randn(5, 2, 4, 4)
    graph = trace_network(model)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert graph(inputs).equal(model.eval()(inputs))
    assert toys.equal(graph.state_dict(), model.state_dict())
    next(graph.parameters()).zero_()
    assert not next(model.parameters()).eq(0).all()


def test_what_cannot_be_traced_is_none():
    assert trace_network(Branching()) is None
    assert trace_network(TwoInputs()) is None


def test_a_module_called_twice_under_two_names_is_not_used_once():
    layer = nn.Linear(3, 3)
    graph = trace_network(nn.Sequential(layer, nn.Linear(3, 3), layer))
    assert [str(node.target) for node in modules_used_once(graph)] == ["1"]


def test_modules_that_a_changed_graph_no_longer_calls_are_left_out():
    graph = trace_network(MLP((4,), 2, [3]))
    nodes = {str(node.target): node for node in graph.graph.nodes}
    nodes["activation"].replace_all_uses_with(nodes["hidden.0"])
    graph.graph.erase_node(nodes["activation"])
    finished = finish_graph(graph)
    assert "activation" not in dict(finished.named_modules())
    assert finished(torch.zeros(5, 4)).shape == (5, 2)
