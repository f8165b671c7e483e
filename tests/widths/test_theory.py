import pytest

from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.widths import theory
from tests.widths.networks import mlp, option


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
@pytest.mark.parametrize(
    ("name", "outputs", "change"),
    [
        ("ntk", lambda depth: 0, lambda depth: 0),
        ("mup", lambda depth: -1 / 2, lambda depth: 0),
        ("naive_ip", lambda depth: -depth / 2, lambda depth: -(depth - 2)),
        ("ipllr", lambda depth: -depth / 2, lambda depth: 0),
        ("standard", lambda depth: 0, lambda depth: (depth + 1) / 2),
    ],
)
def test_slopes_are_those_of_the_papers(name, outputs, change, depth):
    found = theory.predicted_slopes(option(name), mlp(8, depth), "sgd")
    assert found == pytest.approx((outputs(depth), change(depth)))


@pytest.mark.parametrize(
    ("name", "model", "rule"),
    [
        ("mup", ResNetCifar((3, 8, 8), 10, depth=8), "sgd"),
        ("mup", mlp(), "adam"),
        ("ip_non_centered", mlp(), "sgd"),
        ("ipllr_bias", mlp(), "sgd"),
    ],
)
def test_nothing_is_said_of_what_is_not_known(name, model, rule):
    assert theory.predicted_slopes(option(name), model, rule) is None
