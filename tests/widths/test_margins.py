import math

import pytest
import torch
from torch import nn

from isthmus.models.mlp import MLP
from isthmus.widths import diagnostics
from tests.widths.networks import mlp, option

LABELS = torch.tensor([1, 0, 1, 0])


def network(width=50):
    model = MLP((5,), 1, width=width, depth=1, bias="input")
    option("mean_field").initialize(model, seed=0)
    return model


def test_the_size_is_2_where_units_are_on_the_sphere():
    assert diagnostics.normalized_margins(network(), torch.ones(4, 1), LABELS)[
        "beta"
    ] == pytest.approx(2, rel=1e-5)


def test_margins_are_those_of_hand():
    outputs = torch.tensor([[2.0], [-1.0], [0.5], [3.0]])  # on the right side: 2, 1, .5, -3
    found = diagnostics.normalized_margins(network(), outputs, LABELS)
    beta, sides = found["beta"], [2.0, 1.0, 0.5, -3.0]
    assert found["margin"] == -3 and found["margin_normalized"] == pytest.approx(-3 / beta)
    exponential = (math.log(4) - math.log(sum(math.exp(-s) for s in sides))) / beta
    assert found["margin_exponential"] == pytest.approx(exponential)
    logistic = -math.log(sum(math.log1p(math.exp(-s)) for s in sides) / 4) / beta
    assert found["margin_logistic"] == pytest.approx(logistic)
    assert found["auc"] == pytest.approx(2 / 4)  # 2 > -1, .5 > -1


def test_smoothed_margins_become_the_normalized_one_as_the_network_grows():
    model, outputs = network(), torch.tensor([[0.3], [-0.2], [0.25], [-0.4]])
    gaps = []
    for scale in (1, 30):  # outputs are of degree 2 in weights: so is beta
        with torch.no_grad():
            model.hidden[0].weight.mul_(scale)
            model.hidden[0].bias.mul_(scale)
            model.output.weight.mul_(scale)
        found = diagnostics.normalized_margins(model, outputs * scale**2, LABELS)
        gaps.append(abs(found["margin_exponential"] - found["margin_normalized"]))
        assert found["margin_normalized"] == pytest.approx(0.1, rel=1e-3)
    assert gaps[1] < 0.01 < gaps[0]


def test_ties_count_half_and_one_class_alone_has_no_auc():
    assert diagnostics.normalized_margins(network(), torch.ones(4, 1), LABELS)["auc"] == 0.5
    assert "auc" not in diagnostics.normalized_margins(
        network(), torch.ones(4, 1), torch.ones(4).long()
    )


@pytest.mark.parametrize(
    ("model", "expected"), [(network(), True), (mlp(8, 1), False), (mlp(8, 2), False)]
)
def test_they_are_for_one_hidden_layer_and_one_output(model: nn.Module, expected):
    assert diagnostics.has_margins(model) is expected
