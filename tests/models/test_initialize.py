import copy
import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from isthmus import rng
from isthmus.models.initialize import BN_INITS, INITS, initialize
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar

FAN_IN, FAN_OUT = 16 * 9, 64 * 9  # of the convolution below, with 9,216 weights
STANDARD_DEVIATIONS = {
    "kaiming_normal": math.sqrt(2 / FAN_IN),
    "kaiming_uniform": math.sqrt(2 / FAN_IN),
    "xavier_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "xavier_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "orthogonal": math.sqrt(1 / FAN_IN),  # 64 unit vectors of FAN_IN numbers
    "binary": math.sqrt(2 / FAN_IN),
}


def convolution(init: INITS, seed: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(16, 64, 3)
    initialize(layer, init, "ones", seed)
    return layer


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    assert first.keys() == second.keys()
    return {name for name in first if not first[name].equal(second[name])}


@pytest.mark.parametrize("init", get_args(INITS))
def test_weights_have_the_standard_deviation_of_the_formula_and_biases_are_0(init):
    layer = convolution(init)
    # 9,216 draws: the standard error of the deviation is .8 % of it, of the mean 1 %.
    assert layer.weight.std().item() == pytest.approx(STANDARD_DEVIATIONS[init], rel=0.03)
    assert abs(layer.weight.mean().item()) < 0.05 * STANDARD_DEVIATIONS[init]
    assert layer.bias.eq(0).all()


@pytest.mark.parametrize(("init", "kurtosis"), [("normal", 3.0), ("uniform", 1.8)])
def test_weights_have_the_distribution_they_are_named_after(init, kurtosis):
    for family in ("kaiming", "xavier"):
        weight = convolution(f"{family}_{init}").weight
        assert (weight / weight.std()).pow(4).mean().item() == pytest.approx(kurtosis, rel=0.1)


def test_orthogonal_filters_are_orthonormal():
    filters = convolution("orthogonal").weight.flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(64), atol=1e-5, rtol=0)


def test_binary_weights_are_the_signs_of_the_kaiming_normal_ones():
    binary, normal = convolution("binary").weight, convolution("kaiming_normal").weight
    torch.testing.assert_close(binary, normal.sign() * math.sqrt(2 / FAN_IN))


def test_a_drawn_weight_is_that_of_torch_from_the_stream_of_its_name():
    model = MLP((5,), 3)
    initialize(model, "kaiming_normal", "ones", seed=7)
    stream = rng.generator(7, "initialization", "hidden.1.weight")
    expected = nn.init.kaiming_normal_(torch.empty(64, 64), nonlinearity="relu", generator=stream)
    assert model.hidden[1].weight.equal(expected)


@pytest.mark.parametrize("init", ["kaiming_normal", "kaiming_uniform", "binary"])
def test_the_last_linear_layer_has_the_variance_of_torch_s_own_layers(init):
    model = MLP((5,), 40, width=400)
    initialize(model, init, "ones", seed=0)
    # 16,000 draws: the standard error of the deviation is .6 % of it.
    assert model.output.weight.std().item() == pytest.approx(math.sqrt(1 / 1200), rel=0.03)
    assert model.hidden[1].weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.03)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_fresh_resnet_20_with_projections_has_norm_43_3(norm):
    # Measured in the code of the spawning study. In the mean: 2 out_channels for a convolution, 2
    # classes for the output, 1/3 for a channel of a normalization, together 1881 = 43.4 ** 2. There
    # the output layer has the gain of ReLU too, and so six times the variance that it has here.
    model = ResNetCifar((3, 32, 32), 10, shortcut="projection", norm=norm)
    for seed in range(3):
        initialize(model, "kaiming_normal", "uniform", seed)
        squares = sum(parameter.square().sum().item() for parameter in model.parameters())
        squares += 5 * model.output.weight.square().sum().item()
        assert math.sqrt(squares) == pytest.approx(43.3, abs=0.4)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norm_weights_are_ones_or_uniform_and_their_biases_0(norm):
    model = ResNetCifar((3, 32, 32), 10, norm=norm)
    layers = [module for name, module in model.named_modules() if "norm" in name]
    initialize(model, "kaiming_normal", "uniform", seed=0)
    weights = torch.cat([layer.weight for layer in layers])  # (672,)
    assert 0 <= weights.min() < 0.02 and 0.98 < weights.max() < 1
    assert weights.mean().item() == pytest.approx(1 / 2, abs=0.05)
    assert weights.var().item() == pytest.approx(1 / 12, rel=0.2)
    initialize(model, "kaiming_normal", "ones", seed=0)
    assert all(layer.weight.eq(1).all() and layer.bias.eq(0).all() for layer in layers)


def test_the_same_seed_gives_the_same_model_whatever_it_was_and_whatever_was_drawn():
    model, other = ResNetCifar((3, 32, 32), 10, 8, 4), ResNetCifar((3, 32, 32), 10, 8, 4)
    before = torch.get_rng_state()
    initialize(model, "kaiming_normal", "uniform", seed=3)
    assert torch.get_rng_state().equal(before)
    other(torch.randn(5, 3, 8, 8))  # moves the running statistics
    initialize(other, "kaiming_normal", "uniform", seed=3)
    assert changed(state(model), state(other)) == set()


def test_another_seed_changes_every_weight():
    model = MLP((5,), 3)
    initialize(model, "kaiming_normal", "ones", seed=0)
    first = state(model)
    initialize(model, "kaiming_normal", "ones", seed=1)
    assert changed(first, state(model)) == {name for name in first if name.endswith("weight")}


def test_changing_one_layer_leaves_the_others_as_they_were():
    model, wider = MLP((5,), 3, width=[6, 7]), MLP((5,), 3, width=[6, 8])
    initialize(model, "kaiming_normal", "ones", seed=0)
    initialize(wider, "kaiming_normal", "ones", seed=0)
    assert model.hidden[0].weight.equal(wider.hidden[0].weight)
    shallow, deep = ResNetCifar((3, 8, 8), 10, 8, 4), ResNetCifar((3, 8, 8), 10, 14, 4)
    initialize(shallow, "xavier_uniform", "uniform", seed=0)
    initialize(deep, "xavier_uniform", "uniform", seed=0)
    shared = state(shallow)
    longer = {name: tensor for name, tensor in state(deep).items() if name in shared}
    assert changed(shared, longer) == set()


def test_layers_of_equal_shape_differ():
    model = MLP((6,), 3, width=6, depth=2)
    initialize(model, "kaiming_normal", "ones", seed=0)
    assert not model.hidden[0].weight.equal(model.hidden[1].weight)


def test_the_numbers_do_not_depend_on_the_precision_or_the_memory_format():
    model = ResNetCifar((3, 8, 8), 10, 8, 4)
    double = copy.deepcopy(model).double().to(memory_format=torch.channels_last)
    initialize(model, "kaiming_normal", "uniform", seed=0)
    initialize(double, "kaiming_normal", "uniform", seed=0)
    assert changed(state(model.double()), state(double)) == set()
    assert double.stem[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_parameters_of_other_layers_are_named_and_left_as_they_were():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2), nn.GroupNorm(1, 2, affine=False))
    embedding = model[0].weight.clone()
    assert initialize(model, "kaiming_normal", "ones", seed=0) == ["0.weight"]
    assert model[0].weight.equal(embedding)
    assert initialize(nn.LayerNorm(3, bias=False), "binary", "uniform", seed=0) == []


@pytest.mark.parametrize(
    ("init", "bn_init", "message"),
    [
        ("he", "ones", "init: must be one of kaiming_normal, .*, binary, got 'he'"),
        ("binary", "zeros", "bn_init: must be one of ones, uniform, got 'zeros'"),
    ],
)
def test_another_initialization_is_refused(init, bn_init, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        initialize(MLP((5,), 3), init, bn_init, seed=0)


def test_the_choices_are_those_of_the_configuration():
    assert set(get_args(INITS)) == STANDARD_DEVIATIONS.keys()
    assert get_args(BN_INITS) == ("ones", "uniform")


def test_layers_can_be_left_to_someone_else():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = model[0].weight.clone()
    untouched = initialize(model, None, "uniform", seed=1)
    assert untouched == ["0.weight", "0.bias"]
    assert torch.equal(model[0].weight, before) and not torch.equal(model[1].weight, torch.ones(3))
