import pytest
import torch
from torch import nn

from isthmus.connectivity.fast_forward import BatchNormEstimator
from isthmus.connectivity.tracing import trace_network
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from isthmus.training import batch_norm
from tests import toys

BUILDS = {
    "small": (lambda: toys.Small((2, 16, 16), 3)),
    "resnet": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4)),
    "projection": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4, shortcut="projection")),
    "vgg": (lambda: VGG((2, 16, 16), 3, depth=11)),
    "layer norm": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4, norm="layer")),
    "no affine": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, affine=False))),
}
INPUTS = torch.randn(23, 2, 16, 16, generator=torch.Generator().manual_seed(0)).double()


def estimated(model, part_size, inputs=INPUTS):
    return BatchNormEstimator(trace_network(model), inputs, part_size)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("part_size", [1, 7, 22, 23, 1000])
def test_statistics_are_those_of_one_batch_whatever_the_parts(name, part_size):
    statistics = estimated(BUILDS[name]().double(), part_size)
    for seed in range(2):
        torch.manual_seed(seed)
        weights = BUILDS[name]().double().state_dict()
        found = statistics.reset(weights)
        expected = batch_norm.reset_statistics(BUILDS[name]().double(), weights, INPUTS)
        assert list(found) == list(expected)
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["resnet", "projection", "vgg", "no affine"])
def test_compiled_statistics_are_the_same(name, monkeypatch):
    ran = traced_by_dynamo(monkeypatch)
    statistics = BatchNormEstimator(
        trace_network(BUILDS[name]().double()), INPUTS, 7, compiled=True
    )
    for seed in range(2):
        torch.manual_seed(seed)
        weights = BUILDS[name]().double().state_dict()
        found = statistics.reset(weights)
        expected = batch_norm.reset_statistics(BUILDS[name]().double(), weights, INPUTS)
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-9, atol=1e-9)
    num_layers = sum("running_mean" in key for key in weights)
    assert ran == [7, 7, 7] * num_layers * 2  # of 23; the last two examples not


def traced_by_dynamo(monkeypatch):
    """Examples in each call of compiled code, which is traced as ever, but not generated."""
    torch.compiler.reset()
    ran, whole = [], torch.compile

    def compile_(network, dynamic):
        compiled = whole(network, dynamic=dynamic, backend="eager", fullgraph=True)

        def call(*arguments):
            ran.append(len(arguments[0]))
            return compiled(*arguments)

        return call

    monkeypatch.setattr(torch, "compile", compile_)
    return ran


def test_weights_are_passed_on_and_stay_as_they_are():
    model = toys.Small((2, 16, 16), 3).double()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = estimated(model, 5).reset(weights)
    assert toys.equal(weights, model.state_dict())
    for name, tensor in found.items():
        assert (tensor is weights[name]) == ("running" not in name and "num" not in name)


def test_autocast_stays_near_full_precision():
    model, inputs = BUILDS["resnet"](), INPUTS.float()
    weights = model.state_dict()
    full = estimated(model, 7, inputs).reset(weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = estimated(model, 7, inputs).reset(weights)
    for name, tensor in full.items():
        assert half[name].dtype == tensor.dtype
        torch.testing.assert_close(half[name], tensor, rtol=0.05, atol=0.05)


def test_one_layer_used_twice_is_refused():
    layer = nn.BatchNorm1d(2)
    model = nn.Sequential(nn.Linear(2, 2), layer, nn.Linear(2, 2), layer)
    with pytest.raises(ValueError, match="^model: the batch-norm layer '1' is used twice$"):
        BatchNormEstimator(trace_network(model), torch.randn(7, 2), 3)
