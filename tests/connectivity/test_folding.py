import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from isthmus.connectivity.fast_forward import FoldedNetwork, fold_layer
from isthmus.connectivity.tracing import trace_network
from isthmus.models.alexnet import AlexNet
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from tests import toys


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
