import math

import pytest
import torch
from torch import nn

from isthmus.connectivity import barriers, line
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training.batch_norm import has_batch_norm
from tests import toys
from tests.connectivity import small

BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "small": lambda: toys.Small((2, 4, 4), 3),
    "resnet": lambda: ResNetCifar((2, 4, 4), 3, depth=8, width=4),
    "layer norm": lambda: ResNetCifar((2, 4, 4), 3, depth=8, width=4, norm="layer"),
}


def curves(build, start, end, alphas, bn, **how):
    evaluator = small.evaluator(build(), **how)
    return line.evaluate_line(
        InterpolationEvaluator(evaluator, ["train", "test"]), start, end, alphas, bn
    )


@pytest.fixture(params=BUILDS)
def build(request):
    return BUILDS[request.param]


@pytest.fixture
def ends(build):
    return [small.make(build, seed).state_dict() for seed in (0, 1)]


@pytest.mark.parametrize("num", [2, 3, 25])
def test_a_number_of_alphas_spaces_them_evenly_with_both_ends(num):
    alphas = barriers.parse_alphas(num)
    assert alphas.tolist() == [i / (num - 1) for i in range(num)]
    assert alphas.dtype == torch.float64


def test_alphas_may_be_given():
    assert barriers.parse_alphas([0, 0.25, 1]).tolist() == [0, 0.25, 1]


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        (1, "^alphas: at least 2, both ends, are needed, got 1$"),
        (0, "^alphas: at least 2, both ends, are needed, got 0$"),
        ([], r"^alphas: at least 2, both ends, are needed, got \[\]$"),
        ([0.5], r"^alphas: at least 2, both ends, are needed, got \[0.5\]$"),
        ([0, 1.2], r"^alphas: must be in \[0, 1\], got \[0, 1.2\]$"),
        ([-0.1, 1], r"^alphas: must be in \[0, 1\], got"),
        ([0, math.nan, 1], r"^alphas: must be in \[0, 1\], got"),
        ([0, 0.5, 0.5, 1], "^alphas: must increase, got"),
        ([1, 0], "^alphas: must increase, got"),
        ([0, 0.5], "^alphas: must hold 0 and 1, the two ends, got"),
        ([0.5, 1], "^alphas: must hold 0 and 1, the two ends, got"),
    ],
)
def test_alphas_that_are_no_line_are_refused(alphas, message):
    with pytest.raises(ValueError, match=message):
        barriers.parse_alphas(alphas)


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_a_line_equals_the_naive_loop(build, ends, bn):
    alphas = barriers.parse_alphas([0, 0.2, 0.5, 0.7, 1])
    found = curves(build, *ends, alphas, bn)
    for split, curve in found.items():
        loss, accuracy = small.naive(build, *ends, alphas, toys.data(), split, bn)
        torch.testing.assert_close(curve.loss, loss, rtol=0, atol=1e-6)
        torch.testing.assert_close(curve.accuracy, accuracy, rtol=0, atol=1e-3)


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_alpha_0_and_1_are_the_plain_evaluation_of_the_ends_treated_as_all_points(build, ends, bn):
    found = curves(build, *ends, barriers.parse_alphas(9), bn)
    treated = [small.as_points(build, network, bn, toys.data()) for network in ends]
    is_exact = all(toys.equal(*pair) for pair in zip(ends, treated, strict=True))
    assert is_exact == (bn != "reset" or not has_batch_norm(build()))
    table = small.evaluator(build()).table(dict(zip("ab", treated, strict=True)))
    for split, curve in found.items():
        for number, name in ((0, "a"), (-1, "b")):
            numbers = {"loss": curve.loss[number].item(), "accuracy": curve.accuracy[number].item()}
            assert numbers == (
                table[name][split] if is_exact else pytest.approx(table[name][split])
            )


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_interpolated_with_itself_is_the_same_everywhere(build, ends, bn, precision):
    again = {name: tensor.clone() for name, tensor in ends[0].items()}
    found = curves(build, ends[0], again, barriers.parse_alphas(11), bn, precision=precision)
    for curve in found.values():
        assert len(set(curve.loss.tolist())) == 1
        assert len(set(curve.accuracy.tolist())) == 1
        assert barriers.barrier(curve.loss, barriers.parse_alphas(11)) == 0


def test_a_line_walked_back_is_the_same_line(build, ends):
    alphas = barriers.parse_alphas(5)
    there, back = (curves(build, *pair, alphas, "average")["test"] for pair in (ends, ends[::-1]))
    torch.testing.assert_close(there.loss, back.loss.flip(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(there.accuracy, back.accuracy.flip(0))


def test_refined_alphas_need_no_ends(build, ends):
    alphas = barriers.parse_alphas([0, 0.2, 0.5, 1])
    whole = curves(build, *ends, alphas, "reset")["test"]
    part = curves(build, *ends, alphas[1:3], "reset")["test"]
    torch.testing.assert_close(part.loss, whole.loss[1:3], rtol=0, atol=1e-6)


def test_batch_norm_can_differ_between_the_ways_to_set_it():
    ends = [small.make(BUILDS["small"], seed).state_dict() for seed in (0, 1)]
    alphas = barriers.parse_alphas(3)
    middles = {
        bn: curves(BUILDS["small"], *ends, alphas, bn)["test"].loss[1].item()
        for bn in ("reset", "average", "keep")
    }
    assert len(set(middles.values())) == 3


def test_ends_of_different_architectures_are_refused():
    ends = [small.make(lambda w=w: MLP((2, 4, 4), 3, [w]), 0).state_dict() for w in (4, 5)]
    with pytest.raises(ValueError, match=r"architectures: hidden.0.weight is \(4, 32\) in the"):
        curves(BUILDS["mlp"], *ends, barriers.parse_alphas(3), "reset")


def test_another_word_for_batch_norm_is_refused(build, ends):
    with pytest.raises(ValueError, match="^bn: must be one of reset, average, keep, got 'fresh'$"):
        curves(build, *ends, barriers.parse_alphas(3), "fresh")


def test_shares_are_how_much_of_either_end_is_in_a_point():
    found = line.end_shares(torch.tensor([0, 0.25, 1], dtype=torch.float64))
    assert found.tolist() == [[1, 0], [0.75, 0.25], [0, 1]]


def test_models_in_training_mode_stay_in_it(build, ends):
    model = build().train()
    dropout = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    points = InterpolationEvaluator(small.evaluator(model), ["test"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    line.evaluate_line(points, *ends, barriers.parse_alphas(3), "reset")
    assert model.training and all(m.training for m in dropout)
    assert toys.equal(before, model.state_dict())
