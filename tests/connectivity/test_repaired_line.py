import pytest
import torch

from isthmus.connectivity import barriers, repair
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.line import RepairedLine
from isthmus.connectivity.repair import repair_network
from isthmus.models.mlp import MLP
from tests import toys
from tests.connectivity import small

BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}
SPLITS = ["train", "test"]


@pytest.fixture(params=BUILDS)
def build(request):
    return BUILDS[request.param]


@pytest.fixture
def ends(build):
    return [small.make(build, seed).state_dict() for seed in (0, 1)]


def along(build, start, end):
    return RepairedLine(InterpolationEvaluator(small.evaluator(build()), SPLITS), start, end)


def test_a_point_is_the_interpolated_network_repaired_by_hand(build, ends):
    alphas = barriers.parse_alphas([0, 0.3, 0.5, 0.9, 1])
    found = along(build, *ends).evaluate(alphas, SPLITS)
    evaluator = small.evaluator(build())
    inputs = small.normalized(toys.data().train)  # all of them: there are few
    ends = [small.as_points(build, network, "repair", toys.data()) for network in ends]
    start, end = (repair.pre_activation_stats(build(), network, inputs) for network in ends)
    for number, alpha in enumerate(alphas.tolist()):
        between = {
            name: ends[0][name].lerp(ends[1][name], alpha)
            if ends[0][name].is_floating_point()
            else ends[0][name]
            for name in ends[0]
        }
        targets = repair.lerp_stats(start, end, alpha)
        network = repair_network(build(), between, targets, inputs)
        table = evaluator.table({"": network})[""]
        for split, curve in found.items():
            assert curve.loss[number].item() == pytest.approx(table[split]["loss"], abs=1e-5)
            assert curve.accuracy[number].item() == pytest.approx(table[split]["accuracy"])


def test_the_ends_are_the_plain_evaluation_of_the_networks_treated_as_all_points(build, ends):
    found = along(build, *ends).evaluate(barriers.parse_alphas(2), SPLITS)
    treated = [small.as_points(build, network, "repair", toys.data()) for network in ends]
    table = small.evaluator(build()).table(dict(zip("ab", treated, strict=True)))
    for split, curve in found.items():
        losses = [table[name][split]["loss"] for name in "ab"]
        is_exact = build is BUILDS["mlp"]
        assert curve.loss.tolist() == (losses if is_exact else pytest.approx(losses, rel=1e-5))
        assert curve.accuracy.tolist() == [table[name][split]["accuracy"] for name in "ab"]


def test_a_network_and_itself_are_the_same_everywhere_between(build, ends):
    again = {name: tensor.clone() for name, tensor in ends[0].items()}
    found = along(build, ends[0], again).evaluate(barriers.parse_alphas(7), SPLITS)
    for curve in found.values():
        assert len(set(curve.loss.tolist())) == len(set(curve.accuracy.tolist())) == 1


def test_points_do_not_depend_on_their_order_or_on_each_other(build, ends):
    alphas = barriers.parse_alphas(5)
    whole = along(build, *ends).evaluate(alphas, ["test"])["test"]
    some = along(build, *ends).evaluate(alphas[[3, 1]], ["test"])["test"]
    assert some.loss.equal(whole.loss[[3, 1]])
    assert some.accuracy.equal(whole.accuracy[[3, 1]])


def test_only_the_splits_that_are_asked_for_are_evaluated(build, ends):
    found = along(build, *ends).evaluate(torch.tensor([0.5], dtype=torch.float64), ["train"])
    assert list(found) == ["train"]


def test_a_line_repairs_what_averaging_takes_from_the_variance_of_hidden_units():
    # Far from each other, two networks cancel in their middle: its units hardly vary.
    build = BUILDS["mlp"]
    start, end = (small.make(build, seed).state_dict() for seed in (0, 1))
    repaired_line = along(build, start, end)
    network = repaired_line._network_at(0.5)
    inputs = small.normalized(toys.data().train)
    of_ends, of_middle = (
        [repair.pre_activation_stats(build(), each, inputs) for each in some]
        for some in ([start, end], [network])
    )
    for name, statistics in of_middle[0].items():
        mean = (of_ends[0][name].std + of_ends[1][name].std) / 2
        torch.testing.assert_close(statistics.std, mean, rtol=1e-4, atol=1e-5)
