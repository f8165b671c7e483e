import copy

import pytest
import torch
from torch import nn

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.matching import align_network
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from isthmus.models.mlp import MLP
from tests.connectivity import networks

NAMES = ["mlp", "lenet5", "resnet8_pad"]


class Branching(nn.Module):
    """A network whose way depends on values, so that its units cannot be traced."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(6, 5)

    def forward(self, inputs):
        return self.output(inputs) if inputs.sum() < 1e9 else inputs


def shuffled(name, seed=3):
    """A model, its weights nearly as they are, and the same with hidden units in another order."""
    model, inputs = networks.made(name)
    inputs = networks.inputs(40, tuple(inputs.shape[1:]))
    found = permutation_spec.find_groups(model, inputs)
    end = permute(model.state_dict(), found, draw_permutations(found, seed))
    return model, networks.noisy(model.state_dict()), end, inputs


def logits(model, weights, inputs):
    model = copy.deepcopy(model).eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        return model(inputs)


def test_no_alignment_leaves_a_network_as_it_is():
    model, start, end, inputs = shuffled("mlp")
    assert align_network(model, start, end, "none", inputs) is end


@pytest.mark.parametrize("align", ["weights", "activations"])
@pytest.mark.parametrize("name", ["mlp", "resnet8_pad"])
def test_a_network_whose_units_were_shuffled_is_put_in_order_again(name, align):
    model, start, end, inputs = shuffled(name)
    found = align_network(model, start, end, align, inputs)
    for key, tensor in model.state_dict().items():
        assert found[key].equal(tensor), key


@pytest.mark.parametrize("align", ["weights", "activations"])
@pytest.mark.parametrize("name", NAMES)
def test_an_aligned_network_computes_what_it_did_and_neither_it_nor_the_model_is_changed(
    name, align
):
    model, start, _, inputs = shuffled(name)
    end = networks.weights(model, 5)
    kept = {key: tensor.clone() for key, tensor in end.items()}
    own = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = align_network(model, start, end, align, inputs)
    assert any(not found[key].equal(end[key]) for key in end)
    torch.testing.assert_close(
        logits(model, found, inputs), logits(model, end, inputs), rtol=1e-9, atol=1e-9
    )
    assert all(end[key].equal(kept[key]) for key in kept)
    assert all(model.state_dict()[key].equal(own[key]) for key in own)


@pytest.mark.parametrize("align", ["none", "weights"])
def test_networks_of_different_architectures_are_refused(align):
    model, inputs = MLP((6,), 5, width=8).double(), networks.inputs(4, (6,))
    other = MLP((6,), 5, width=7).double().state_dict()
    with pytest.raises(ValueError, match="^networks 1 and 2 are of different architectures: "):
        align_network(model, model.state_dict(), other, align, inputs)


@pytest.mark.parametrize("align", ["weights", "activations"])
def test_a_model_whose_units_cannot_be_found_is_refused_naming_the_option(align):
    model, inputs = Branching().double(), networks.inputs(4, (6,))
    with pytest.raises(ValueError, match=f"^align={align}: "):
        align_network(model, model.state_dict(), model.state_dict(), align, inputs)
