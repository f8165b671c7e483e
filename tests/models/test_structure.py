import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from isthmus.models.structure import (
    check_initialized,
    check_outputs,
    reparametrized_layers,
    tied_names,
)


class Returns(nn.Module):
    """Two logits per example, or what `change` makes of them."""

    def __init__(self, change=lambda logits: logits):
        super().__init__()
        self.norm, self.output = nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.change = change

    def forward(self, inputs):
        return self.change(self.output(self.norm(inputs)))


def test_each_further_name_of_a_tensor_is_found_with_its_first_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert tied_names(model) == {}
    model[1].weight = model[0].weight
    model.append(model[2])  # one module in two places: its buffers too
    layers = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert tied_names(model) == {"1.weight": "0.weight"} | {f"3.{n}": f"2.{n}" for n in layers}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "change",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.orthogonal],
)
def test_layers_whose_weight_is_made_of_other_tensors_are_named(change):
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(change(nn.Linear(3, 3))))
    assert reparametrized_layers(model) == ["1.0"]


def test_a_module_without_sizes_is_named():
    check_initialized(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"^model: 1 is a LazyLinear, .* \(Linear\)$"):
        check_initialized(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: (logits, 1), r"Returns returns a tuple; .* shape \[batch, 2\]$"),
        (lambda logits: logits[:, :1], r"outputs of shape \[batch, 1\] .* needs \[batch, 2\]$"),
        (lambda logits: logits.mean(dim=1), r"outputs of shape \[batch\] .* needs \[batch, 2\]$"),
    ],
)
def test_other_outputs_than_one_number_per_class_are_named(change, message):
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        check_outputs(Returns(change), torch.zeros(1, 3), 2)


def test_a_model_that_is_tried_stays_as_it_is():
    model = Returns(lambda logits: logits + torch.rand(()))
    model.output.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    check_outputs(model, torch.ones(1, 3), 2)
    assert torch.get_rng_state().equal(state)
    assert model.training and model.norm.training and not model.output.training
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
