from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training import param_groups
from isthmus.training.optimizers import adam, adamw, lookahead, sgd
from isthmus.widths import parametrization as widths_parametrization
from isthmus.widths.parametrization import Parametrization
from tests.widths.naive import Naive
from tests.widths.networks import GIVEN, INPUTS, LABELS, Chain, mlp, option

SHIFTS = [
    lambda layers: [0.5] * layers,
    lambda layers: [-1.0] + [0.0] * (layers - 1),
    lambda layers: [0.3 * place - 0.7 for place in range(layers)],
]


def steps(model, optimizer, count=8):
    """Logits after every step in float64."""
    found = []
    for _ in range(count):
        logits = model(INPUTS.double())
        optimizer.zero_grad()
        F.cross_entropy(logits, LABELS).backward()
        param_groups.set_rates_(
            optimizer, [g["lr0"] for g in optimizer.param_groups], 1.0, len(found)
        )
        optimizer.step()
        found.append(logits.detach())
    return torch.stack(found)


def ours(parametrization, make, depth, bias):
    model = mlp(8, depth, bias).double()
    parametrization.initialize(model, seed=3)
    rule = param_groups.lr_rule(make)
    optimizer = param_groups.build_optimizer(
        make, parametrization.groups(model, rule), dict(model.named_parameters())
    )
    for group in optimizer.param_groups:
        group["lr0"] = group["lr"]
    return steps(model, optimizer)


def naive(exponents, make, options, depth, bias):
    a, b, c = exponents
    model = Naive([5, *[8] * depth, 3], a, b, bias, seed=3)
    decay, is_in_adam = options.get("weight_decay", 0.0), make is torch.optim.Adam
    optimizer = make(model.groups(options["lr"], decay, c, is_in_adam), **options)
    for group in optimizer.param_groups:
        group["lr0"] = group["lr"]
    return steps(model, optimizer)


def per_layer(values, depth):
    first, hidden, last = values
    return [first, *[hidden] * (depth - 1), last]


OPTIMIZERS = {
    "sgd": (sgd, torch.optim.SGD, {"lr": 0.1}),
    "momentum": (sgd, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    "adam": (adam, torch.optim.Adam, {"lr": 0.01, "eps": 0.01, "weight_decay": 0.05}),
    "adamw": (adamw, torch.optim.AdamW, {"lr": 0.01, "eps": 0.01, "weight_decay": 0.05}),
}


@pytest.mark.parametrize("bias", [True, "input", False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", GIVEN[:5])
def test_training_is_that_of_the_network_with_factors_in_its_forward_pass(name, optimizer, bias):
    given, depth = option(name), 3
    make, reference, options = OPTIMIZERS[optimizer]
    c = given.c_adam if "adam" in optimizer and given.c_adam else given.c
    exponents = [per_layer(values, depth) for values in (given.a, given.b, c)]
    expected = naive(exponents, reference, options, depth, bias)
    found = ours(given, partial(make, **options), depth, bias)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ["ntk", "mup"])
def test_a_shift_of_the_exponents_changes_no_step_of_gradient_descent(name, shift, depth):
    given, t = option(name), shift(depth + 1)
    a, b, c = (per_layer(values, depth) for values in (given.a, given.b, given.c))
    shifted = Parametrization(
        a=[x + s for x, s in zip(a, t, strict=True)],
        b=[x - s for x, s in zip(b, t, strict=True)],
        c=[x - 2 * s for x, s in zip(c, t, strict=True)],
    )
    for make in (
        partial(sgd, lr=0.5),
        partial(sgd, lr=0.1, momentum=0.9, weight_decay=0.05),
        partial(lookahead, lr=0.1, momentum=0.9, period=2, alpha=0.5),
    ):
        before, after = (ours(each, make, depth, True) for each in (given, shifted))
        torch.testing.assert_close(before, after, rtol=1e-10, atol=1e-10)
        expected = naive((a, b, c), torch.optim.SGD, {"lr": 0.5}, depth, True)
        factored = naive(
            (shifted.a, shifted.b, shifted.c), torch.optim.SGD, {"lr": 0.5}, depth, True
        )
        torch.testing.assert_close(expected, factored, rtol=1e-10, atol=1e-10)


def test_all_parametrizations_of_one_seed_have_the_same_gaussians():
    drawn = {}
    for name in GIVEN[:5]:
        given, model = option(name), mlp(16)
        given.initialize(model, seed=5)
        for key, weight in model.named_parameters():
            if key.endswith("weight"):
                raw = (weight / weight.std()).detach()
                torch.testing.assert_close(raw, drawn.setdefault(key, raw))


def test_the_gaussians_of_a_layer_do_not_depend_on_the_others():
    shallow, deep = mlp(8, 2), mlp(8, 5)
    for model in (shallow, deep):
        option("mup").initialize(model, seed=1)
    torch.testing.assert_close(shallow.hidden[1].weight, deep.hidden[1].weight)
    option("mup").initialize(deep, seed=2)
    assert not torch.equal(shallow.hidden[1].weight, deep.hidden[1].weight)


@pytest.mark.parametrize(
    ("activation", "variance"),
    [("relu", 2.0), ("gelu", 4.0), ("elu", 1.0), ("tanh", 1.0), ("sigmoid", 2.0)],
)
def test_the_standard_deviation_goes_with_the_activation(activation, variance):
    model = mlp(300, 2, activation=activation)
    option("ntk").initialize(model, seed=0)
    assert model.hidden[0].weight.var().item() == pytest.approx(variance / 6, rel=0.15)
    assert model.hidden[0].bias.var().item() == pytest.approx(variance / 6, rel=0.3)
    assert model.hidden[1].weight.var().item() == pytest.approx(variance / 300, rel=0.05)
    assert model.output.weight.var().item() == pytest.approx(1 / 300, rel=0.2)
    option("ntk", std=3.0).initialize(model, seed=0)
    assert model.hidden[1].weight.var().item() == pytest.approx(9 / 300, rel=0.05)


def test_other_biases_begin_at_zero():
    model = mlp(8, 3)
    option("mup").initialize(model, seed=0)
    for name in ("hidden.1.bias", "hidden.2.bias", "output.bias"):
        assert not model.get_parameter(name).any()


def test_weights_around_one_have_a_mean():
    model = mlp(300, 2)
    option("ip_non_centered").initialize(model, seed=0)
    assert model.hidden[1].weight.mean().item() == pytest.approx(1 / 300, rel=0.05)
    assert model.hidden[0].weight.mean().item() == pytest.approx(0, abs=0.1)


def factors(name, model, rule):
    found = option(name).groups(model, rule)
    return {parameter: group.lr for group in found for parameter in group.parameters}


@pytest.mark.parametrize(("rule", "units"), [("sgd", 1), ("adam", 0)])
def test_every_kind_of_layer_of_a_residual_network_has_a_rule(rule, units):
    model = ResNetCifar((3, 8, 8), 10, depth=8, width=4)
    rates = factors("mup", model, rule)
    assert set(rates) == {name for name, _ in model.named_parameters()}
    names = {id(module): name for name, module in model.named_modules()}
    first, *others = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert rates[f"{names[id(first)]}.weight"] == pytest.approx(4.0**units)  # its channels
    for conv in others:
        fan_in = conv.weight[0].numel()
        expected = 1.0 if rule == "sgd" else 1 / fan_in
        assert rates[f"{names[id(conv)]}.weight"] == pytest.approx(expected)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for own in ("weight", "bias"):  # one number a unit
            assert rates[f"{names[id(norm)]}.{own}"] == pytest.approx(norm.num_features**units)
    assert rates["output.weight"] == pytest.approx(1 / 16)
    assert rates["output.bias"] == 1


def test_hidden_layers_of_a_convolutional_network_are_scaled_by_their_fan_in():
    model = Chain(4)
    option("standard").initialize(model, seed=0)
    drawn = widths_parametrization.draw_gaussians("second.weight", model.second.weight.shape, 0)
    torch.testing.assert_close(model.second.weight, (drawn * (2 / 36) ** 0.5).float())


def test_layers_of_equal_factors_are_one_group():
    assert len(option("standard").groups(mlp(8, 6), "sgd")) == 1
    assert len(option("mup").groups(mlp(8, 6, False), "sgd")) == 3


@pytest.mark.parametrize("name", ["a", "b", "c", "c_adam"])
def test_exponents_are_one_a_kind_or_one_a_layer(name):
    for length in (2, 4, 6):
        wrong = option("mup", **{name: [0] * length})
        message = rf"^{name}: must be 3 exponents.*each of the 5 layers, got {length}$"
        with pytest.raises(ValueError, match=message):
            wrong.groups(mlp(8, 4), "adam" if name == "c_adam" else "sgd")
    option("mup", **{name: [0] * 5}).groups(mlp(8, 4), "adam")


def test_a_standard_deviation_is_positive():
    with pytest.raises(ValueError, match="^std: must be positive, got 0"):
        option("mup", std=0)


def test_softmax_regression_has_no_width():
    with pytest.raises(ValueError, match="MLP has no hidden layer, whose width"):
        option("mup").initialize(mlp(8, 0), seed=0)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(5, 4), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(4))


def test_a_parameter_of_another_kind_has_no_rule():
    with pytest.raises(ValueError, match="no rule for scale of Own, which is of no convolution"):
        option("mup").groups(Own(), "sgd")
