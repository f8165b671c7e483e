import re

import pytest
import torch
from torch import nn

from isthmus.models.freeze import freeze, output_layer
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar


class Tricky(nn.Module):
    """Names that say the opposite of what the layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Conv2d(3, 4, 1)
        self.bn_free = nn.Linear(4, 4)
        self.scale = nn.GroupNorm(2, 4)
        self.shift = nn.Parameter(torch.zeros(4))
        self.running_mean_head = nn.Linear(4, 2)


PARTS_OF_TRICKY = {
    "batch_norm": {"scale.weight", "scale.bias"},
    "output": {"running_mean_head.weight", "running_mean_head.bias"},
    "others": {"shift", "output.weight", "output.bias", "bn_free.weight", "bn_free.bias"},
}


def frozen(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if not value.requires_grad}


@pytest.mark.parametrize("part", PARTS_OF_TRICKY)
def test_a_part_is_found_by_the_type_of_its_layers(part):
    model = Tricky()
    freeze(model, [part])
    assert frozen(model) == PARTS_OF_TRICKY[part]


def test_parts_add_up():
    model = Tricky()
    freeze(model, ["output", "others"])
    assert frozen(model) == PARTS_OF_TRICKY["output"] | PARTS_OF_TRICKY["others"]


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_only_the_norms_of_a_resnet_can_be_trained(norm):
    model = ResNetCifar((3, 8, 8), 10, depth=8, width=2, norm=norm)
    freeze(model, ["output", "others"])
    trained = {name for name, _ in model.named_parameters()} - frozen(model)
    assert len(trained) == 2 * 7
    assert all("norm" in name or name.startswith("stem.1") for name in trained)


def test_frozen_parameters_get_no_gradient():
    model = MLP((4,), 3)
    freeze(model, ["others"])
    model(torch.ones(2, 4)).sum().backward()
    assert {name for name, value in model.named_parameters() if value.grad is not None} == {
        "output.weight",
        "output.bias",
    }


@pytest.mark.parametrize(
    ("exceptions", "kept"),
    [
        (["bn_free.weight"], {"bn_free.weight"}),
        (["bn_free.*", "shift"], {"bn_free.weight", "bn_free.bias", "shift"}),
        (["*.bias"], {"bn_free.bias", "output.bias"}),
    ],
)
def test_exceptions_stay_trainable(exceptions, kept):
    model = Tricky()
    freeze(model, ["others"], exceptions)
    assert frozen(model) == PARTS_OF_TRICKY["others"] - kept


def test_everything_but_an_exception_may_be_frozen():
    model = Tricky()
    freeze(model, ["batch_norm", "output", "others"], ["shift"])
    assert {name for name, _ in model.named_parameters()} - frozen(model) == {"shift"}


def test_no_part_freezes_nothing():
    model = Tricky()
    freeze(model, [])
    assert frozen(model) == set()


@pytest.mark.parametrize(
    ("parts", "exceptions", "message"),
    [
        (["bn"], [], "freeze: must be one of batch_norm, output, others, got 'bn'"),
        (["batch_norm"], [], "freeze: MLP has no batch_norm; it has output, others"),
        (
            ["others"],
            ["fc.*"],
            "freeze_exceptions: 'fc.*' matches no parameter; there are "
            "hidden.0.weight, hidden.0.bias, output.weight, output.bias",
        ),
        (
            ["output", "others"],
            [],
            "freeze: output, others leaves nothing to train; name freeze_exceptions among "
            "hidden.0.weight, hidden.0.bias, output.weight, output.bias",
        ),
    ],
)
def test_an_argument_that_is_not_allowed_is_refused_before_anything_is_frozen(
    parts, exceptions, message
):
    model = MLP((4,), 3, width=[5])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        freeze(model, parts, exceptions)
    assert frozen(model) == set()


def test_freezing_the_rest_of_a_frozen_model_is_refused():
    model = MLP((4,), 3)
    freeze(model, ["others"])
    with pytest.raises(ValueError, match="^freeze: output leaves nothing to train"):
        freeze(model, ["output"])


def test_a_model_without_a_linear_layer_has_no_output_to_freeze():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    message = "^freeze: Sequential has no output; it has batch_norm, others$"
    with pytest.raises(ValueError, match=message):
        freeze(model, ["output"])


def test_the_output_layer_is_the_last_linear_one():
    assert output_layer(MLP((4,), 3)) == "output"
    assert output_layer(Tricky()) == "running_mean_head"
    assert output_layer(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == "0"
    assert output_layer(nn.Linear(2, 3)) == ""


def test_a_model_without_a_linear_layer_has_no_output_layer():
    message = "^Sequential has no linear layer; it has Conv2d, Sequential$"
    with pytest.raises(ValueError, match=message):
        output_layer(nn.Sequential(nn.Conv2d(3, 4, 1)))
