"""muP is that of its authors: the package `mup`, up to the abc symmetry."""

import mup
import pytest
import torch
from torch import nn

from isthmus.widths import parametrization
from tests.widths.networks import mlp, option

BASE, WIDTH = 8, 32


class Theirs(nn.Module):
    """As `MLP`, with the output layer that the package asks for."""

    def __init__(self, width, depth):
        super().__init__()
        sizes = [5, *[width] * depth]
        pairs = zip(sizes, sizes[1:], strict=False)
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairs)
        self.output = mup.MuReadout(width, 3)


def theirs(width, depth, make):
    """By parameter: factor of the forward pass, of the initial weights, of the learning rate."""
    model = Theirs(width, depth)
    mup.set_base_shapes(model, Theirs(BASE, depth), delta=Theirs(2 * BASE, depth))
    optimizer = make(model.parameters(), lr=1.0)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    found = {}
    for name, parameter in model.named_parameters():
        torch.manual_seed(0)
        mup.normal_(parameter)
        torch.manual_seed(0)
        spread = (parameter / torch.empty_like(parameter).normal_()).flatten()[0].item()
        forward = 1 / model.output.width_mult() if name == "output.weight" else 1.0
        found[name] = forward, spread, rates[id(parameter)], decays[id(parameter)]
    return found


def ours(width, depth, rule):
    """By parameter: factor of the initial weights, and of the learning rate."""
    model, given = mlp(width, depth), option("mup", std=1.0)
    given.initialize(model, seed=0)
    rates = {name: g.lr for g in given.groups(model, rule) for name in g.parameters}
    spreads = {
        name: (p / parametrization.draw_gaussians(name, p.shape, 0)).flatten()[0].item()
        for name, p in model.named_parameters()
    }
    return {name: (spreads[name], rates[name]) for name in rates}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("rule", "make"), [("sgd", mup.MuSGD), ("adam", mup.MuAdam)])
def test_initial_weights_and_learning_rates_grow_with_width_as_in_the_package(depth, rule, make):
    package = theirs(WIDTH, depth, make)
    base, wide = ours(BASE, depth, rule), ours(WIDTH, depth, rule)
    for name, (forward, spread, rate, _) in package.items():
        if not name.endswith("bias"):  # ours begin at 0
            assert wide[name][0] / base[name][0] == pytest.approx(forward * spread), name
        gradient = forward**2 if rule == "sgd" else forward
        assert wide[name][1] / base[name][1] == pytest.approx(gradient * rate), name


@pytest.mark.parametrize("make", [mup.MuSGD, mup.MuAdam])
def test_the_package_too_takes_off_the_same_share_of_all_weights(make):
    def decaying(parameters, lr):
        return make(parameters, lr=lr, weight_decay=0.1)

    for _, _, rate, decay in theirs(WIDTH, 2, decaying).values():
        assert rate * decay == pytest.approx(0.1)
