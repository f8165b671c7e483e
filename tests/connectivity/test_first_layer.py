import pytest
import torch
from torch import nn

from isthmus.connectivity import fast_forward, interpolation, tracing
from isthmus.models.cnn import CNN
from isthmus.models.mlp import MLP
from tests import toys

INPUTS = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """A network whose first layer is not alone at its inputs, or is used again."""

    def __init__(self, how):
        super().__init__()
        self.how, self.first, self.output = how, nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, inputs):
        flat = inputs.flatten(1)
        hidden = torch.relu(self.first(flat))
        again = {"residual": hidden + flat, "shared": self.first(hidden)}
        return self.output(again[self.how])


class Constant(nn.Module):
    """Adds a tensor that is none of its weights."""

    def __init__(self):
        super().__init__()
        self.first, self.output = nn.Linear(32, 3), nn.Linear(3, 3)

    def forward(self, inputs):
        return self.output(self.first(inputs.flatten(1)) + torch.ones(3))


SPLIT = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "no hidden layer": lambda: MLP((2, 4, 4), 3, []),
    "no bias": lambda: MLP((2, 4, 4), 3, [8, 5], bias=False),
    "tanh": lambda: MLP((2, 4, 4), 3, 8, activation="tanh"),
    "flatten module": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 4), nn.Linear(4, 3)),
    "along the last axis": lambda: nn.Sequential(
        nn.Linear(4, 2), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 3)
    ),
    "constant": lambda: Constant(),
    "batch norm": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(32, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)
    ),
}


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("rows", [[[0.3, 0.4, 0.3]], [[0, 1, 0], [1, 0.5, -0.5], [2, -1, 0]]])
def test_logits_of_combinations_are_those_of_the_combined_networks(name, rows):
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(SPLIT[name]().double().eval())
    networks, shares = [m.state_dict() for m in models], torch.tensor(rows, dtype=torch.float64)
    weights = [interpolation.combine(networks, row) for row in shares]
    network = fast_forward.split_first_layer(tracing.trace_network(models[0]))
    logits = network.logits(networks, shares, weights, INPUTS.double())
    assert logits.shape == (len(rows), 6, 3)
    for found, point in zip(logits, weights, strict=True):
        models[0].load_state_dict(point)
        torch.testing.assert_close(found, models[0](INPUTS.double()), rtol=1e-12, atol=1e-12)


def test_the_rest_does_not_hold_the_first_layer():
    network = fast_forward.split_first_layer(tracing.trace_network(SPLIT["mlp"]()))
    assert network.first == "hidden.0"
    names = ["hidden.1.weight", "hidden.1.bias", "output.weight", "output.bias"]
    assert list(network.rest.state_dict()) == names


@pytest.mark.parametrize(
    "build",
    [
        lambda: CNN((2, 4, 4), 3),
        lambda: toys.Small((2, 4, 4), 3),
        lambda: Twice("residual"),
        lambda: Twice("shared"),
        lambda: nn.Sequential(nn.Flatten(0), nn.Linear(192, 3)),
        lambda: nn.Sequential(nn.Flatten(1, 2), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)),
        lambda: nn.Identity(),
    ],
)
def test_what_does_not_begin_with_one_linear_layer_stays_whole(build):
    whole = tracing.trace_network(build())
    nodes = len(whole.graph.nodes)
    assert fast_forward.split_first_layer(whole) is None
    assert len(whole.graph.nodes) == nodes
