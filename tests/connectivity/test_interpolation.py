import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.connectivity import barriers, interpolation, line
from isthmus.connectivity.fast_forward import BatchNormEstimator, FoldedNetwork
from isthmus.connectivity.interpolation import InterpolationEvaluator, check_alike, combine
from isthmus.data.splits import DataSet, Normalization, Split
from isthmus.models.lenet import LeNet5
from isthmus.models.mlp import MLP
from isthmus.training import evaluator as training_evaluator
from tests import toys
from tests.connectivity import small
from tests.connectivity.test_tracing import Branching
from tests.models.test_every_model import SMALL, read


def network(seed, counter=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 4, generator=generator)
    return {"weight": weight, "counter": torch.tensor(counter)}


def shares(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("values", [(0.25, 0.75), (0.2, 0.3, 0.5), (1.5, 0.5, -1.0)])
def test_a_combination_is_the_weighted_sum(values):
    networks = [network(seed) for seed in range(len(values))]
    found = combine(networks, shares(*values))["weight"]
    expected = sum(s * n["weight"].double() for s, n in zip(values, networks, strict=True))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == torch.float32


def test_share_1_gives_the_very_tensors_of_a_network():
    networks = [network(seed) for seed in range(3)]
    for number in range(3):
        found = combine(networks, torch.eye(3)[number])
        assert all(found[name] is tensor for name, tensor in networks[number].items())


@pytest.mark.parametrize("share", torch.linspace(-1, 2, 31).tolist())
def test_a_network_combined_with_itself_is_that_network_bit_for_bit(share):
    found = combine([network(0), network(0)], shares(1 - share, share))
    assert found["weight"].equal(network(0)["weight"])


def test_integers_are_those_of_the_largest_share():
    networks = [network(0, counter=3), network(1, counter=8)]
    for share, expected in ((0.4, 3), (0.5, 3), (0.6, 8)):
        assert combine(networks, shares(1 - share, share))["counter"] == expected


def test_networks_stay_as_they_are():
    networks = [network(0), network(1)]
    combine(networks, shares(0.5, 0.5))
    assert networks[0]["weight"].equal(network(0)["weight"])
    assert networks[1]["weight"].equal(network(1)["weight"])


def test_networks_of_different_architectures_are_refused():
    other = {**network(1), "weight": torch.zeros(3, 5)}
    with pytest.raises(
        ValueError,
        match=r"^networks 1 and 3 are of different architectures: weight is \(3, 4\) in the first "
        r"and \(3, 5\) in the other$",
    ):
        check_alike([network(0), network(1), other])


def test_a_tensor_that_only_one_network_has_is_named():
    more = {**network(1), "bias": torch.zeros(3)}
    with pytest.raises(ValueError, match="bias is missing in the first and"):
        check_alike([network(0), more])
    with pytest.raises(ValueError, match="bias is .* in the first and missing in the other"):
        check_alike([more, network(0)])


class Conditional(nn.Module):
    """Batch norm in a network that depends on values, so that it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.small = toys.Small((2, 4, 4), 3)

    def forward(self, inputs):
        return self.small(inputs) if inputs.sum() < 1e9 else inputs


BUILDS = {
    "first layer": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "folded": lambda: toys.Small((2, 4, 4), 3),
    "plain": Conditional,
}
ALPHAS = torch.from_numpy(barriers.parse_alphas(6))


def two(build):
    return [small.make(build, seed).state_dict() for seed in (0, 1)]


@pytest.mark.parametrize("way", BUILDS)
def test_the_way_follows_from_the_architecture_and_stands_the_check(way):
    evaluator = small.evaluator(BUILDS[way]())
    found = InterpolationEvaluator(evaluator, ["test"])
    assert found.method == way
    found.evaluate(two(BUILDS[way]), line.end_shares(ALPHAS), "reset")
    assert found.method == way


def test_a_convolution_without_batch_norm_is_compiled_or_plain(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    model = LeNet5((1, 12, 12), 3)
    for request, num_points, way in (
        (False, 10**6, "plain"),
        ("auto", 6000, "plain"),
        ("auto", 6006, "folded"),
    ):
        evaluator = small.evaluator(model, compile=request)
        assert InterpolationEvaluator(evaluator, ["test"], num_points).method == way


@pytest.mark.parametrize("way", BUILDS)
@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_points_of_a_plane_equal_each_network_on_its_own(way, bn):
    build = BUILDS[way]
    three = [small.make(build, seed).state_dict() for seed in range(3)]
    shares = torch.tensor([[0.2, 0.3, 0.5], [0, 1, 0], [0.6, 0.4, 0]], dtype=torch.float64)
    data, model = toys.data(), build()
    found = InterpolationEvaluator(small.evaluator(build()), ["train", "test"])
    curves = found.evaluate(three, shares, bn)
    for split, curve in curves.items():
        for number, row in enumerate(shares):
            weights, nearest = interpolation.combine(three, row), three[int(row.argmax())]
            if bn == "keep" or row.max() == 1:
                weights |= {name: nearest[name] for name in nearest if "running" in name}
            model = build()
            model.load_state_dict(weights)
            if bn == "reset":
                small.reset(model, data)
            with torch.no_grad():
                logits = model.eval()(small.normalized(data.splits[split]))
            labels = data.splits[split].labels
            loss = F.cross_entropy(logits, labels).item()
            accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
            assert curve.loss[number].item() == pytest.approx(loss, abs=1e-6)
            assert curve.accuracy[number].item() == pytest.approx(accuracy)


@pytest.mark.parametrize("way", BUILDS)
def test_how_many_points_are_in_memory_at_once_makes_no_difference(way, monkeypatch):
    ends, shares = two(BUILDS[way]), line.end_shares(ALPHAS)
    evaluator = small.evaluator(BUILDS[way]())
    whole = InterpolationEvaluator(evaluator, ["test"]).evaluate(ends, shares, "reset")["test"]
    monkeypatch.setattr(interpolation, "HELD_VALUES", 1)
    alone = InterpolationEvaluator(evaluator, ["test"]).evaluate(ends, shares, "reset")["test"]
    torch.testing.assert_close(whole.loss, alone.loss, rtol=0, atol=1e-6)
    assert whole.accuracy.equal(alone.accuracy)


@pytest.mark.parametrize("way", BUILDS)
def test_batches_of_other_sizes_make_no_difference(way, monkeypatch):
    ends, shares = two(BUILDS[way]), line.end_shares(ALPHAS)

    def curve():
        evaluator = small.evaluator(BUILDS[way]())
        return InterpolationEvaluator(evaluator, ["train"]).evaluate(ends, shares, "average")[
            "train"
        ]

    whole = curve()
    monkeypatch.setattr(training_evaluator, "BATCH_VALUES_CPU", 32 * 32)  # 32 images, then 8
    assert small.evaluator(BUILDS[way]()).batch_size == 32
    torch.testing.assert_close(curve().loss, whole.loss, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", ["first layer", "folded"])
def test_bfloat16_is_near_full_precision_and_ends_without_batch_norm_are_exact(way):
    ends = two(BUILDS[way])
    full, half = (
        InterpolationEvaluator(small.evaluator(BUILDS[way](), precision=p), ["test"]).evaluate(
            ends, line.end_shares(ALPHAS), "reset"
        )["test"]
        for p in ("fp32", "bf16")
    )
    assert not full.loss.equal(half.loss)
    torch.testing.assert_close(full.loss, half.loss, rtol=0.03, atol=0.03)
    table = small.evaluator(BUILDS[way](), precision="bf16").table(
        dict(zip("ab", ends, strict=True)), ["test"]
    )
    if way == "first layer":  # without batch norm, whose statistics are estimated anew
        assert half.loss[0].item() == table["a"]["test"]["loss"]
        assert half.loss[-1].item() == table["b"]["test"]["loss"]


def test_a_fast_way_that_makes_other_logits_is_given_up(monkeypatch):
    ends, shares = two(BUILDS["folded"]), line.end_shares(ALPHAS)
    evaluator = small.evaluator(BUILDS["folded"]())
    right = InterpolationEvaluator(evaluator, ["test"]).evaluate(ends, shares, "average")["test"]
    load = FoldedNetwork.load
    monkeypatch.setattr(
        FoldedNetwork, "load", lambda self, w: load(self, w | {"bn.bias": w["bn.bias"] + 0.01})
    )
    wrong = InterpolationEvaluator(evaluator, ["test"])
    found = wrong.evaluate(ends, shares, "average")["test"]
    assert wrong.method == "plain"
    torch.testing.assert_close(found.loss, right.loss, rtol=0, atol=1e-6)


def test_batch_norm_is_reset_once_a_point_the_ends_too(monkeypatch):
    count, reset = [], BatchNormEstimator.reset

    def counted(self, weights):
        count.append(1)
        return reset(self, weights)

    monkeypatch.setattr(BatchNormEstimator, "reset", counted)
    found = InterpolationEvaluator(small.evaluator(BUILDS["folded"]()), ["train", "val", "test"])
    found.evaluate(two(BUILDS["folded"]), line.end_shares(ALPHAS), "reset")
    assert len(count) == len(ALPHAS)
    found.evaluate(two(BUILDS["folded"]), line.end_shares(ALPHAS), "average")
    assert len(count) == len(ALPHAS)


def test_calibration_inputs_too_large_for_one_pass_give_the_same(monkeypatch):
    def curve():
        found = InterpolationEvaluator(small.evaluator(BUILDS["folded"]()), ["test"])
        ends = two(BUILDS["folded"])
        return found.evaluate(ends, line.end_shares(ALPHAS), "reset")["test"].loss

    at_once = curve()
    monkeypatch.setattr(training_evaluator, "CALIBRATION_VALUES", 7 * 32)
    monkeypatch.setattr(BatchNormEstimator, "reset", None)
    torch.testing.assert_close(curve(), at_once, rtol=0, atol=1e-6)


def test_a_negative_variance_is_refused():
    ends = two(BUILDS["folded"])
    shares = torch.tensor([[-9.0, 10.0]], dtype=torch.float64)
    ends[1]["bn.running_var"] = ends[0]["bn.running_var"] / 100
    found = InterpolationEvaluator(small.evaluator(BUILDS["folded"]()), ["test"])
    with pytest.raises(
        ValueError, match=r"^bn=average: with shares \[-9.0, 10.0\] .* bn.running_var becomes neg"
    ):
        found.evaluate(ends, shares, "average")
    assert found.evaluate(ends, shares, "reset")["test"].loss.isfinite().all()


def test_a_network_of_another_architecture_than_the_evaluators_is_refused():
    found = InterpolationEvaluator(small.evaluator(BUILDS["folded"]()), ["test"])
    ends = two(BUILDS["first layer"])
    with pytest.raises(ValueError, match="^network 1 lacks conv.weight, which the evaluator's"):
        found.evaluate(ends, line.end_shares(ALPHAS), "reset")


WAYS = {
    "mlp": "first layer",
    "lenet5": "plain",
    "cnn": "plain",
    "conv4": "plain",
    "resnet_pad": "folded",
    "resnet_projection": "plain",  # with layer norm
    "resnet18": "folded",
    "resnet50": "folded",
    "vgg11": "folded",
    "alexnet": "folded",
}


@pytest.mark.parametrize("name", SMALL)
def test_every_model_has_its_way_and_keeps_it(name):
    file, input_shape, options = SMALL[name]
    target, values = read(file)
    torch.manual_seed(0)
    models = [target(input_shape, 3, **(values | options)) for _ in range(2)]
    inputs = torch.randint(256, (8, *input_shape)).to(torch.uint8)
    split = Split(inputs, torch.arange(8) % 3, torch.arange(8))
    data = DataSet(split, None, split, ("a", "b", "c"), Normalization((0.5,), (0.25,)))
    found = InterpolationEvaluator(small.evaluator(models[0], data), ["test"])
    assert found.method == WAYS[name]
    ends = [model.state_dict() for model in models]
    found.evaluate(ends, torch.tensor([[0.5, 0.5]], dtype=torch.float64), "average")
    assert found.method == WAYS[name]


def test_a_split_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="^splits=val: this data set has train, test$"):
        InterpolationEvaluator(small.evaluator(Branching(), toys.data(num_val=0)), ["val"])
