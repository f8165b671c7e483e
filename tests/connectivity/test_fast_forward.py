import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from isthmus.connectivity import fast_forward, interpolation, tracing
from isthmus.connectivity.fast_forward import BatchNormEstimator, FoldedNetwork, fold_layer
from isthmus.connectivity.tracing import trace_network
from isthmus.models.alexnet import AlexNet
from isthmus.models.cnn import CNN
from isthmus.models.mlp import MLP
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from isthmus.training import batch_norm
from isthmus.training.batch_norm import ChannelStats, merge_stats
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


class Shared(nn.Module):
    """Its convolution is looked at before the batch norm, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, inputs):
        hidden = self.conv(inputs)
        return (self.bn(hidden) + hidden).mean(dim=(-2, -1))


def moved(model):
    """In float64, with statistics and affine parameters far from those it began with."""
    model.double().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.affine:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
            if module.running_mean is not None:
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.1, 3)
    return model


FOLDABLE = {
    "small": (lambda: toys.Small((2, 4, 4), 3), (2, 4, 4), 1),
    "resnet8": (lambda: ResNetCifar((3, 8, 8), 4, depth=8), (3, 8, 8), 7),
    "projection": (
        lambda: ResNetCifar((3, 8, 8), 4, depth=8, shortcut="projection"), (3, 8, 8), 9
    ),
    "layer norm": (lambda: ResNetCifar((3, 8, 8), 4, depth=8, norm="layer"), (3, 8, 8), 0),
    "resnet18": (lambda: ResNet((3, 8, 8), 4, stem="cifar", width=4), (3, 8, 8), 20),
    "resnet50": (lambda: ResNet((3, 8, 8), 4, depth=50, stem="cifar", width=4), (3, 8, 8), 53),
    "vgg11": (lambda: VGG((3, 16, 16), 4, depth=11), (3, 16, 16), 8),
    "alexnet": (lambda: AlexNet((3, 63, 63), 4), (3, 63, 63), 2),
    "linear": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (5,), 1),
    "sequence": (lambda: nn.Sequential(nn.Conv1d(5, 4, 2), nn.BatchNorm1d(4)), (5, 7), 1),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4)), (1, 3, 3, 3), 1),
    "before": (lambda: nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2)), (2, 3, 3), 0),
    "shared": (Shared, (2, 4, 4), 0),
    "no affine": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, affine=False)), (2, 3, 3), 1
    ),
    "no statistics": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, track_running_stats=False)),
        (2, 3, 3), 0,
    ),
    "own epsilon": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, eps=0.5)), (2, 3, 3), 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDABLE)
def test_a_folded_network_computes_the_same_and_takes_in_all_it_can(name):
    build, shape, num_folded = FOLDABLE[name]
    torch.manual_seed(0)
    folded = FoldedNetwork(trace_network(build().double()))
    assert folded.num_folded == num_folded
    for seed in range(2):
        torch.manual_seed(seed)
        model, inputs = moved(build()), torch.randn(4, *shape, dtype=torch.float64)
        folded.load(model.state_dict())
        logits = folded.logits(inputs)
        torch.testing.assert_close(logits[0], model(inputs), rtol=1e-9, atol=1e-9)


def test_a_folded_layer_is_that_of_torch():
    torch.manual_seed(0)
    model = moved(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)))
    fused = fuse_conv_bn_eval(*model)
    weight, bias = fold_layer(model.state_dict(), "0", "1", model[1].eps)
    torch.testing.assert_close(weight, fused.weight)
    torch.testing.assert_close(bias, fused.bias)


def test_the_weights_given_stay_as_they_are():
    model = moved(toys.Small((2, 4, 4), 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    FoldedNetwork(trace_network(model)).load(model.state_dict())
    assert toys.equal(before, model.state_dict())


def test_only_batches_of_the_size_given_run_compiled(monkeypatch):
    compiled = []

    def compile_(network, dynamic):
        assert dynamic is False

        def run(inputs):
            compiled.append(len(inputs))
            return network(inputs)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    model = toys.Small((2, 4, 4), 3).eval()
    folded = FoldedNetwork(trace_network(model), compile_size=5)
    folded.load(model.state_dict())
    for size in (5, 5, 2):
        folded.logits(torch.randn(size, 2, 4, 4))
    assert compiled == [5, 5]
    assert FoldedNetwork(trace_network(model)).logits(torch.randn(5, 2, 4, 4)).shape == (1, 5, 3)
    assert compiled == [5, 5]


def test_a_segment_ends_before_each_batch_norm_and_keeps_only_what_is_needed_later():
    graph = trace_network(ResNetCifar((2, 16, 16), 3, depth=8, width=4))
    found, held = fast_forward.cut_segments(graph), {next(iter(graph.graph.nodes))}
    norms = [name for name, module in graph.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [segment.ends.target for segment in found] == norms
    for segment in found:
        assert set(segment.takes) <= held
        held = held | set(segment.gives)
        assert set(segment.spent) <= held
        held -= set(segment.spent)
        assert segment.ends.all_input_nodes[0] in held
        assert len(held) <= 2  # what is normalized next, and a residual stream


@pytest.mark.parametrize("compiled", [False, True])
def test_moments_far_from_zero_are_right_in_float32(compiled):
    moments_of = fast_forward.channel_moments
    if compiled:
        moments_of = torch.compile(moments_of, backend="eager", fullgraph=True)
    values = 1000 + torch.randn(40, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    parts = [ChannelStats(*moments_of(part), len(part) * 25) for part in values.split(7)]
    mean, variance, count = merge_stats(parts)
    exact = values.double()
    assert count == 40 * 25
    torch.testing.assert_close(mean, exact.mean(dim=(0, 2, 3)), rtol=1e-6, atol=0)
    expected = exact.var(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(variance, expected, rtol=1e-4, atol=0)


BUILDS = {
    "small": (lambda: toys.Small((2, 16, 16), 3)),
    "resnet": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4)),
    "projection": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4, shortcut="projection")),
    "vgg": (lambda: VGG((2, 16, 16), 3, depth=11)),
    "layer norm": (lambda: ResNetCifar((2, 16, 16), 3, depth=8, width=4, norm="layer")),
    "no affine": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, affine=False))),
}
STATISTICS_INPUTS = torch.randn(23, 2, 16, 16, generator=torch.Generator().manual_seed(0)).double()


def estimated(model, part_size, inputs=STATISTICS_INPUTS):
    return BatchNormEstimator(trace_network(model), inputs, part_size)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("part_size", [1, 7, 22, 23, 1000])
def test_statistics_are_those_of_one_batch_whatever_the_parts(name, part_size):
    statistics = estimated(BUILDS[name]().double(), part_size)
    for seed in range(2):
        torch.manual_seed(seed)
        weights = BUILDS[name]().double().state_dict()
        found = statistics.reset(weights)
        expected = batch_norm.reset_statistics(BUILDS[name]().double(), weights, STATISTICS_INPUTS)
        assert list(found) == list(expected)
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["resnet", "projection", "vgg", "no affine"])
def test_compiled_statistics_are_the_same(name, monkeypatch):
    ran = traced_by_dynamo(monkeypatch)
    statistics = BatchNormEstimator(
        trace_network(BUILDS[name]().double()), STATISTICS_INPUTS, 7, compiled=True
    )
    for seed in range(2):
        torch.manual_seed(seed)
        weights = BUILDS[name]().double().state_dict()
        found = statistics.reset(weights)
        expected = batch_norm.reset_statistics(BUILDS[name]().double(), weights, STATISTICS_INPUTS)
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
    model, inputs = BUILDS["resnet"](), STATISTICS_INPUTS.float()
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
