"""Lines on which nothing changes must be flat: all of their points are treated alike."""

import pytest
import torch
import torch.nn.functional as F

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.line import LineEnds, measure_line
from isthmus.connectivity.options import LineOptions
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from isthmus.data.splits import DataSet, Normalization, Split
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from tests.connectivity import small

FLAT = 1e-3  # nats
SHAPE = (3, 16, 16)
BUILDS = {
    "resnet20": lambda: ResNetCifar(SHAPE, 3, depth=20, width=4),
    "vgg11": lambda: VGG(SHAPE, 3, depth=11),
}


def images(num, seed):
    """Noise, brighter in the classes that come later."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num,), generator=generator)
    noise = torch.randint(120, (num, *SHAPE), generator=generator)
    inputs = (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return Split(inputs, labels, torch.arange(num))


DATA = DataSet(images(64, 0), None, images(32, 1), ("a", "b", "c"), Normalization((0.5,), (0.25,)))


@pytest.fixture(scope="module", params=BUILDS)
def trained(request):
    """A network after six steps, whose running statistics still hold where it began."""
    torch.manual_seed(0)
    model = BUILDS[request.param]().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(6):
        loss = F.cross_entropy(model(small.normalized(DATA.train)), DATA.train.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return BUILDS[request.param], model.state_dict()


def line(trained, end, bn, align="none"):
    """The line from a trained network to another, on the test set."""
    build, start = trained
    points = InterpolationEvaluator(small.evaluator(build(), DATA), ["test"])
    ends = LineEnds(points, start, end, align)
    request = LineOptions(alphas=5, bn=bn, align=align, splits=["test"])
    return measure_line(ends, None, request, None)["curves"]["test"]


def shaken(network):
    """Every parameter changed by about 1e-5."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: tensor + 1e-5 * torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point() and "running" not in name
        else tensor
        for name, tensor in network.items()
    }


@pytest.mark.parametrize("bn", ["reset", "repair", "average", "keep"])
def test_a_network_and_its_shaken_copy_have_a_flat_line(trained, bn):
    build, start = trained
    end = shaken(start)
    curve = line(trained, end, bn)
    assert max(curve["loss"]) - min(curve["loss"]) < FLAT
    two = {"start": start, "end": end}
    table = small.evaluator(build(), DATA).table(two, ["test"])
    as_trained = [table[name]["test"]["loss"] for name in two]
    if bn in ("average", "keep"):
        assert [curve["loss"][0], curve["loss"][-1]] == as_trained
    else:  # a line whose ends are as trained would not be flat
        assert curve["as_trained"]["loss"] == as_trained
        assert abs(as_trained[0] - curve["loss"][0]) > 10 * FLAT
        treated = small.as_points(build, start, bn, DATA)
        plain = small.evaluator(build(), DATA).table({"": treated}, ["test"])[""]["test"]
        assert curve["loss"][0] == pytest.approx(plain["loss"], abs=1e-5)


@pytest.mark.parametrize("bn", ["reset", "repair"])
@pytest.mark.parametrize("align", ["weights", "activations"])
def test_a_network_and_its_permuted_twin_have_a_flat_line(trained, align, bn):
    build, start = trained
    evaluator = small.evaluator(build(), DATA)
    units = permutation_spec.find_groups(evaluator.model, evaluator.calibration)
    twin = permute(shaken(start), units, draw_permutations(units, seed=1))
    curve = line(trained, twin, bn, align)
    assert max(curve["loss"]) - min(curve["loss"]) < FLAT
