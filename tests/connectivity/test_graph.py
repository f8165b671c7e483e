import pytest
import torch
from torch import nn

from src.connectivity.graph import traced
from tests.connectivity import networks


class Branching(nn.Module):
    def forward(self, inputs):
        return inputs if inputs.sum() > 0 else -inputs


class Counting(nn.Module):
    def forward(self, inputs):
        return sum(inputs[:, index] for index in range(inputs.shape[1]))


def test_every_node_has_the_shape_of_one_example():
    model, inputs = networks.made("resnet8_pad")
    nodes = {node.name: node for node in traced(model, inputs).graph.nodes}
    assert nodes["inputs"].meta["shape"] == (1, 3, 8, 8)
    assert nodes["stages_1_0_conv1"].meta["shape"] == (1, 8, 4, 4)
    assert nodes["mean"].meta["shape"] == (1, 16)


def test_a_normalization_of_channels_is_one_node():
    model, inputs = networks.made("resnet8_pad_layer_norm")
    targets = [node.target for node in traced(model, inputs).graph.nodes]
    assert "stem.1" in targets and "movedim" not in targets


def test_tracing_leaves_the_model_alone():
    model, inputs = networks.made("vgg11")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    traced(model.train(), inputs)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu" and torch.equal(tensor, before[name])


@pytest.mark.parametrize("module", [Branching, Counting])
def test_what_cannot_be_traced_is_named(module):
    inputs = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=f"^model: torch.fx cannot trace {module.__name__}: .+"):
        traced(module(), inputs)
    within = rf"^model: torch.fx cannot trace its module '1.0' \({module.__name__}\): .+"
    with pytest.raises(ValueError, match=within):
        traced(nn.Sequential(nn.Linear(3, 3), nn.Sequential(module())), inputs)
