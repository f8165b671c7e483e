import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from isthmus.models.mlp import MLP
from isthmus.models.vgg import VGG
from isthmus.training import param_groups
from isthmus.training.loop import train
from isthmus.training.optimizers import sgd
from isthmus.training.session import Session
from isthmus.widths import layers, parametrization
from tests import toys
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


def session(make=None, freeze=(), lr=0.01, **changes):
    return Session(
        toys.recipe(
            model=make or partial(MLP, width=32, depth=4, bias="input"),
            optimizer=partial(sgd, lr=lr),
            averages=None,
            parametrization=lambda: option("ipllr", **changes),
            freeze=list(freeze),
        ),
        toys.data(),
        toys.SEEDS,
        toys.RUNTIME,
    )


def changes_of_the_first_step(made):
    """By layer: mean absolute change of its outputs on the second batch by its own update."""
    before = copy.deepcopy(made.model)
    (_, _), (inputs, _) = list(made.batches.epoch(0))[:2]
    train(made.training, made.batches, 1, [])
    found = {}
    for layer in layers.scaled_layers(made.model):
        seen = []
        module = made.model.get_submodule(layer.name)
        module.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            made.model(inputs)
            difference = module(seen[0]) - before.get_submodule(layer.name)(seen[0])
        found[layer.name] = difference.abs().mean().item()
    return found


@pytest.mark.parametrize("make", [None, lambda *shapes: Chain()])
def test_the_first_step_changes_hidden_layers_by_one_and_the_output_by_a_tenth(make):
    made = session(make)
    found = changes_of_the_first_step(made)
    expected = dict.fromkeys(found, 1.0) | {"output": 0.1}
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_learning_rate_of_the_optimizer_counts_from_the_second_step_on():
    slow, fast = (changes_of_the_first_step(session(lr=lr)) for lr in (1e-4, 10.0))
    assert slow == pytest.approx(fast, rel=1e-3)


def test_layers_above_one_that_is_capped_see_what_it_does_with_the_cap():
    made = session(cap=0.5)
    found = changes_of_the_first_step(made)
    rates = made.metadata("plain")["first_lrs"]
    assert 0.5 in rates.values()
    for name, change in found.items():
        target = 0.1 if name == "output" else 1.0
        if rates[name] < 0.5:
            assert change == pytest.approx(target, rel=1e-3)
        else:
            assert change < target


def test_rates_are_logged_and_saved_with_the_weights(caplog):
    caplog.set_level("INFO")
    made = session()
    assert "first_lrs" not in made.metadata("plain")
    train(made.training, made.batches, 1, [])
    rates = made.metadata("plain")["first_lrs"]
    assert list(rates) == ["hidden.0", "hidden.1", "hidden.2", "hidden.3", "output"]
    shown = ", ".join(f"{name} {rate:.4g}" for name, rate in rates.items())
    assert caplog.messages == [f"learning rates of the first steps: {shown}"]


@pytest.mark.parametrize("interrupted", [0, 1, 2, 4])
def test_a_training_that_is_resumed_is_as_one_that_was_not(interrupted, caplog):
    whole, first, second = (session(warmup_steps=2, cap=0.1) for _ in range(3))
    train(whole.training, whole.batches, 6, [])
    train(first.training, first.batches, interrupted, [])
    second.load_state_dict(first.model.state_dict(), copy.deepcopy(first.state_dict()))
    caplog.clear()
    train(second.training, second.batches, 6, [])
    assert caplog.messages == []  # not calibrated again
    assert whole.model.output.weight.isfinite().all()
    assert toys.equal(whole.model.state_dict(), second.model.state_dict())
    assert second.metadata("plain") == whole.metadata("plain")


def test_calibrating_leaves_the_network_as_it_was():
    made = session()
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    made.training.calibrate(made.batches)
    assert toys.equal(before, made.model.state_dict())
    assert made.model.training and not any(p.grad is not None for p in made.model.parameters())


def test_a_layer_that_is_frozen_has_no_rate():
    made = session(freeze=["output"])
    train(made.training, made.batches, 1, [])
    assert "output" not in made.metadata("plain")["first_lrs"]


def test_without_calibration_the_first_step_has_the_learning_rate_of_the_optimizer():
    made = session(calibrate_lrs=False)
    train(made.training, made.batches, 1, [])
    assert "first_lrs" not in made.metadata("plain")


def test_an_update_of_zero_is_refused_with_what_may_help():
    made = session()
    with torch.no_grad():
        made.model.output.weight.zero_()  # no gradient gets past it
    with pytest.raises(FloatingPointError, match="hidden.0 is 0, .*calibrate_lrs=false"):
        train(made.training, made.batches, 1, [])


def test_an_update_that_is_not_finite_is_refused_with_what_may_help():
    made = session()
    with torch.no_grad():
        made.model.hidden[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="hidden.0 .* by nan; a lower parametrization.cap"):
        train(made.training, made.batches, 1, [])


def test_a_loss_that_is_not_finite_after_calibration_says_what_may_help():
    made = session(lr=1e30)
    advice = "a lower parametrization.cap, .*, or a lower optimizer.lr may help"
    with pytest.raises(FloatingPointError, match=advice):
        train(made.training, made.batches, 9, [])
