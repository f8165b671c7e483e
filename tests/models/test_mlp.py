from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from isthmus.models.layers import Activation
from isthmus.models.mlp import MLP


def test_the_first_layer_alone_can_have_a_bias():
    model = MLP((5,), 3, width=4, depth=2, bias="input")
    assert [layer.bias is not None for layer in (*model.hidden, model.output)] == [
        True,
        False,
        False,
    ]
    assert not any("bias" in name for name, _ in MLP((5,), 3, bias=False).named_parameters())
    with pytest.raises(ValueError, match="bias: must be one of True, False, input, got 'output'"):
        MLP((5,), 3, bias="output")  # type: ignore[arg-type]


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet_300_100_has_as_many_parameters_as_in_the_literature():
    # LeCun et al. (1998), section III.C.2; Han et al. (2015), table 1, gives 267K.
    assert num_parameters(MLP((1, 28, 28), 10, width=[300, 100])) == 266_610


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [
        (7, None, [7, 7]),
        (7, 1, [7]),
        (7, 4, [7, 7, 7, 7]),
        ([5, 6, 7], None, [5, 6, 7]),
        ([5, 6, 7], 3, [5, 6, 7]),
        (7, 0, []),
        ([], None, []),
    ],
)
def test_width_and_depth_say_which_hidden_layers_there_are(width, depth, expected):
    model = MLP((12,), 3, width, depth)
    assert [layer.out_features for layer in model.hidden] == expected
    assert model(torch.zeros(1, 12)).shape == (1, 3)


def test_an_image_is_a_vector():
    model = MLP((2, 3, 4), 5)
    images = torch.randn(7, 2, 3, 4)
    assert model(images).equal(model(images.reshape(7, 24)))


def test_the_forward_pass_is_the_formula():
    model = MLP((4,), 3, width=[5, 6], activation="tanh")
    inputs = torch.randn(7, 4)
    (first, second), output = model.hidden, model.output
    units = torch.tanh(inputs @ first.weight.T + first.bias)
    units = torch.tanh(units @ second.weight.T + second.bias)
    torch.testing.assert_close(model(inputs), units @ output.weight.T + output.bias)


def test_without_bias_there_are_only_weights():
    model = MLP((4,), 3, width=5, depth=1, bias=False)
    assert [name for name, _ in model.named_parameters()] == ["hidden.0.weight", "output.weight"]


def test_the_signature_offers_every_activation():
    assert get_type_hints(MLP.__init__)["activation"] == Activation
    for activation in get_args(Activation):
        assert MLP((4,), 3, activation=activation)(torch.zeros(1, 4)).shape == (1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": [4, 5], "depth": 3}, r"depth: must be null or 2, the length of .*, got 3"),
        ({"depth": -1}, "depth: must be at least 0, got -1"),
        ({"width": 0}, "width: must be at least 1, got 0"),
        ({"width": [4, 0]}, "width: must be at least 1, got 0"),
        ({"activation": "step"}, "activation: must be one of relu, .* got 'step'"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        MLP((4,), 3, **options)
