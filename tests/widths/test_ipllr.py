from functools import partial

import pytest
import torch
import torch.nn.functional as F

from isthmus.models.vgg import VGG
from isthmus.training import param_groups
from isthmus.training.optimizers import sgd
from isthmus.widths import layers, parametrization
from tests.widths.naive import STD, Naive
from tests.widths.networks import INPUTS, LABELS, Chain, mlp, option

WIDTH = 8


def first_exponents(name, depth):
    """Of weights and of biases in the first steps, layer by layer, as published."""
    L = depth  # noqa: N806
    biases = [-(L - place + 2) / 2 for place in range(1, L + 1)] + [0]
    if name == "ipllr":
        return [-(L + 1) / 2, *[-(L + 2) / 2] * (L - 1), -(L + 1) / 2], biases
    return [-(L + 1) / 2, *[-(L - place + 4) / 2 for place in range(2, L + 1)], -1], biases


def naive(name, depth, bias, lr, num_first, count):
    """Logits of the network with factors in its forward pass, whose learning rates are switched."""
    model = Naive([5, *[WIDTH] * depth, 3], [0, *[1] * depth], [0] * (depth + 1), bias, seed=3)
    if name == "ipllr_bias":
        with torch.no_grad():
            for place, own in model.biases.items():
                layer = "output" if int(place) == depth else f"hidden.{place}"
                drawn = parametrization.draw_gaussians(f"{layer}.bias", own.shape, 3)
                own.copy_(drawn if layer == "output" else STD * drawn)
    first = first_exponents(name, depth)
    after = [-1, *[-2] * (depth - 1), -1], [*[-1] * depth, 0]
    found = []
    for iteration in range(count):
        of_weights, of_biases = first if iteration < num_first else after
        logits = model(INPUTS.double())
        found.append(logits.detach())
        model.zero_grad()
        F.cross_entropy(logits, LABELS).backward()
        with torch.no_grad():
            for place, weight in enumerate(model.weights):
                weight -= lr * WIDTH ** -of_weights[place] * weight.grad
            for place, own in model.biases.items():
                own -= lr * WIDTH ** -of_biases[int(place)] * own.grad
    return torch.stack(found)


@pytest.mark.parametrize(
    ("name", "bias"),
    [("ipllr", True), ("ipllr", "input"), ("ipllr", False), ("ipllr_bias", True)],
)
@pytest.mark.parametrize(("depth", "num_first"), [(2, 1), (4, 1), (4, 3)])
def test_training_is_that_of_the_network_with_factors_and_switched_rates(
    name, bias, depth, num_first
):
    given = option(name, calibrate_lrs=False, warmup_steps=num_first)
    model = mlp(WIDTH, depth, bias).double()
    given.initialize(model, seed=3)
    named = dict(model.named_parameters())
    optimizer = param_groups.build_optimizer(
        partial(sgd, lr=0.05), given.groups(model, "sgd"), named
    )
    found = []
    for iteration in range(6):
        logits = model(INPUTS.double())
        found.append(logits.detach())
        optimizer.zero_grad()
        F.cross_entropy(logits, LABELS).backward()
        param_groups.set_rates_(optimizer, [0.05] * len(optimizer.param_groups), 1.0, iteration)
        optimizer.step()
    expected = naive(name, depth, bias, 0.05, num_first, 6)
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-9, atol=1e-9)


def test_after_the_first_steps_rates_are_those_of_naive_ip():
    model = mlp(WIDTH, 4)
    rates = {
        name: {p: group.lr for group in option(name).groups(model, "sgd") for p in group.parameters}
        for name in ("ipllr", "naive_ip")
    }
    assert rates["ipllr"] == pytest.approx(rates["naive_ip"])


def test_every_layer_is_a_group_of_its_own():
    model = Chain()
    found = option("ipllr").groups(model, "sgd")
    assert {group.name for group in found} == {layer.name for layer in layers.scaled_layers(model)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 0}, "^warmup_steps: must be at least 1, got 0"),
        ({"cap": 0.0}, "^cap: must be positive, got 0"),
        ({"output_change": -1.0}, "^output_change: must be positive, got -1"),
        ({"std": 0.0}, "^std: must be positive, got 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        option("ipllr", **changes)


def test_what_large_first_steps_are_not_for_is_refused():
    with pytest.raises(ValueError, match="needs gradient descent .*see naive_ip"):
        option("ipllr").groups(mlp(), "adam")
    with pytest.raises(ValueError, match="VGG normalizes in between.*take naive_ip there"):
        option("ipllr").initialize(VGG((3, 32, 32), 10), seed=0)
    with pytest.raises(ValueError, match=r"^random_biases: needs biases in all layers"):
        option("ipllr_bias").initialize(mlp(bias="input"), seed=0)
