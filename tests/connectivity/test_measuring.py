import numpy as np
import pytest
import torch

from isthmus.connectivity import barriers, matching
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.line import LineEnds, measure_line
from isthmus.connectivity.plan import LineRequest
from isthmus.models.mlp import MLP
from tests import toys
from tests.connectivity import small
from tests.connectivity.lines import bump, known

BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}
TREATMENTS = ["reset", "average", "keep", "repair"]
SPLITS = ["train", "test"]


@pytest.fixture(params=BUILDS)
def build(request):
    return BUILDS[request.param]


def ends(build, align="none", same=False, splits=SPLITS):
    """Two networks, or one and itself, and what evaluates them."""
    start, end = (small.make(build, seed).state_dict() for seed in (0, 0 if same else 1))
    return LineEnds(InterpolationEvaluator(small.evaluator(build()), splits), start, end, align)


def numbers(curve):
    return torch.tensor([curve["loss"], curve["accuracy"]], dtype=torch.float64)


def without_requests(line):
    """A line without how often it was asked for."""
    curves = {
        split: {name: value for name, value in curve.items() if name != "requests"}
        for split, curve in line["curves"].items()
    }
    return line | {"curves": curves}


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_a_measured_line_equals_the_naive_loop(build, bn):
    alphas = [0, 0.2, 0.5, 0.7, 1]
    both = ends(build)
    found = measure_line(both, None, LineRequest(alphas=alphas, bn=bn), 7)
    assert (found["child_seed"], found["align"], found["bn"]) == (7, "none", bn)
    for split, curve in found["curves"].items():
        assert curve["alphas"] == alphas
        grid = barriers.parse_alphas(alphas)
        naive = small.naive(build, both.start, both.end, grid, toys.data(), split, bn)
        torch.testing.assert_close(numbers(curve), naive, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bn", TREATMENTS)
@pytest.mark.parametrize("align", ["none", "weights", "activations"])
def test_alpha_0_and_1_are_the_networks_treated_as_all_points_and_as_trained(build, bn, align):
    both = ends(build, align)
    found = measure_line(both, None, LineRequest(alphas=3, bn=bn, align=align), None)
    is_reset = build is BUILDS["batch norm"] and bn in ("reset", "repair")
    assert found["ends"] == ("reset" if is_reset else "as_trained")
    two = {"start": both.start, "end": both.saved_end}
    treated = {n: small.as_points(build, two[n], bn, toys.data()) for n in two}
    as_trained, table = (small.evaluator(build()).table(some) for some in (two, treated))
    for split, curve in found["curves"].items():
        for place, name in ((0, "start"), (-1, "end")):
            is_exact = not (name == "end" and align != "none")  # else sums in another order
            for metric, value in table[name][split].items():
                exact = value if is_exact and not is_reset else pytest.approx(value, abs=1e-6)
                assert curve[metric][place] == exact
            if not is_reset:
                assert "as_trained" not in curve
                continue
            for metric, value in as_trained[name][split].items():
                exact = value if is_exact else pytest.approx(value, abs=1e-6)
                assert curve["as_trained"][metric][place] == exact


@pytest.mark.parametrize("bn", TREATMENTS)
@pytest.mark.parametrize("align", ["none", "weights", "activations"])
def test_a_network_and_itself_are_the_same_everywhere_between(build, bn, align):
    both = ends(build, align, same=True)
    assert both.start is not both.saved_end
    found = measure_line(both, None, LineRequest(alphas=5, refine=3, bn=bn, align=align), None)
    assert (found["distance"], found["cosine"]) == (0, pytest.approx(1))
    for curve in found["curves"].values():
        assert len(curve["alphas"]) == 8
        assert len(set(curve["loss"])) == len(set(curve["accuracy"])) == 1


def test_distance_and_cosine_are_of_the_parameters_without_running_statistics():
    both = ends(BUILDS["batch norm"])
    names = [name for name in both.start if "running" not in name and "num_batches" not in name]
    one, other = (
        np.concatenate([network[name].double().numpy().ravel() for name in names])
        for network in (both.start, both.saved_end)
    )
    assert both.separation["distance"] == pytest.approx(np.linalg.norm(one - other), rel=1e-6)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert both.separation["cosine"] == pytest.approx(cosine, rel=1e-9)


def test_an_aligned_line_is_the_line_to_the_permuted_network_and_no_longer(build):
    plain, aligned = ends(build), ends(build, "weights")
    evaluator = aligned.points.evaluator
    inputs = evaluator.calibration
    by_hand = matching.align_network(
        evaluator.model, aligned.start, aligned.saved_end, "weights", inputs
    )
    assert toys.equal(dict(aligned.end), dict(by_hand))
    request = LineRequest(alphas=3, align="weights", splits=["test"])
    found = measure_line(aligned, None, request, None)
    naive = small.naive(
        build, plain.start, by_hand, barriers.parse_alphas(3), toys.data(), "test", "reset"
    )
    torch.testing.assert_close(numbers(found["curves"]["test"]), naive, rtol=0, atol=1e-6)
    assert found["distance"] <= plain.separation["distance"]


def test_what_is_known_is_not_evaluated_again():
    both = known()
    first = measure_line(both, None, LineRequest(alphas=5), 1)
    assert both.evaluated == [([0, 0.25, 0.5, 0.75, 1], ["train", "test"])]
    again = measure_line(both, first, LineRequest(alphas=5), 1)
    assert len(both.evaluated) == 1
    assert again == first


def test_only_the_missing_alphas_are_evaluated_and_the_others_stay():
    both = known()
    coarse = measure_line(both, None, LineRequest(alphas=3), 1)
    fine = measure_line(both, coarse, LineRequest(alphas=5), 1)
    assert both.evaluated[1:] == [([0.25, 0.75], ["train", "test"])]
    assert fine["curves"]["test"]["alphas"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(fine["curves"]["test"]["requests"]) == 2
    back = measure_line(both, fine, LineRequest(alphas=3), 1)
    assert len(both.evaluated) == 2
    assert back == fine


def test_a_further_split_alone_is_evaluated():
    both = known()
    first = measure_line(both, None, LineRequest(alphas=3, splits=["test"]), 1)
    second = measure_line(both, first, LineRequest(alphas=3, splits=["train", "test", "val"]), 1)
    assert both.evaluated[1:] == [([0, 0.5, 1], ["train", "val"])]
    assert second["curves"]["test"] == first["curves"]["test"]


def test_splits_that_lack_other_alphas_are_evaluated_apart():
    both = known()
    first = measure_line(both, None, LineRequest(alphas=3, splits=["test"]), 1)
    measure_line(both, first, LineRequest(alphas=5), 1)
    assert both.evaluated[1:] == [
        ([0, 0.25, 0.5, 0.75, 1], ["train"]),
        ([0.25, 0.75], ["test"]),
    ]


def test_the_order_of_requests_makes_no_difference():
    requests = [
        LineRequest(alphas=5, splits=["test"]),
        LineRequest(alphas=[0, 0.1, 1]),
        LineRequest(alphas=3, refine=2),
    ]
    results = []
    for order in (requests, requests[::-1], [requests[i] for i in (1, 2, 0)]):
        result = None
        for request in order:
            result = measure_line(known(), result, request, 1)
        for curve in result["curves"].values():
            assert curve["alphas"] == sorted(curve["alphas"])
        results.append(without_requests(result))
    assert results[0] == results[1] == results[2]


def test_what_was_known_is_not_changed():
    first = measure_line(known(), None, LineRequest(alphas=3), 1)
    copy = torch.tensor(first["curves"]["test"]["alphas"])
    measure_line(known(), first, LineRequest(alphas=5, refine=2), 1)
    assert first["curves"]["test"]["alphas"] == copy.tolist()
    assert len(first["curves"]["test"]["requests"]) == 1


def test_further_alphas_lie_around_the_largest_excess_of_each_split():
    both = known()
    found = measure_line(both, None, LineRequest(alphas=5, refine=4), 1)
    expected = {
        "train": [1 / 12, 2 / 12, 4 / 12, 5 / 12],
        "test": [7 / 12, 8 / 12, 10 / 12, 11 / 12],
    }
    grid = [0, 0.25, 0.5, 0.75, 1]
    for split, further in expected.items():
        curve = found["curves"][split]
        assert curve["alphas"] == pytest.approx(sorted([*grid, *further]))
        losses = bump(torch.tensor(curve["alphas"], dtype=torch.float64), further[1] + 1 / 12, 1.0)
        assert curve["loss"] == pytest.approx(losses.tolist())
    assert [splits for _, splits in both.evaluated] == [SPLITS, ["train"], ["test"]]


def test_refining_finds_the_height_of_a_barrier_that_the_grid_missed():
    both = known()
    coarse = measure_line(both, None, LineRequest(alphas=3), 1)
    fine = measure_line(both, coarse, LineRequest(alphas=3, refine=2), 1)
    assert max(coarse["curves"]["train"]["loss"]) == pytest.approx(0.5 + 2 / 3)
    assert max(fine["curves"]["train"]["loss"]) == pytest.approx(1.5)


def test_refining_later_gives_the_line_that_was_refined_at_once():
    at_once = measure_line(known(), None, LineRequest(alphas=5, refine=3), 1)
    first = measure_line(known(), None, LineRequest(alphas=5), 1)
    both = known()
    later = measure_line(both, first, LineRequest(alphas=5, refine=3), 1)
    assert without_requests(later) == without_requests(at_once)
    assert sorted(len(alphas) for alphas, _ in both.evaluated) == [3, 3]


@pytest.mark.parametrize("bn", ["reset", "repair"])
def test_a_line_whose_ends_an_older_version_treated_otherwise_is_measured_anew(bn):
    older = measure_line(known(), None, LineRequest(alphas=3, bn=bn, splits=["train"]), 1)
    del older["ends"]
    older["curves"]["train"] |= {"loss": [9.0, 9.0, 9.0], "barriers": {}}
    both = known(resets=True)
    found = measure_line(both, older, LineRequest(alphas=3, bn=bn, splits=["train"]), 1)
    assert both.evaluated == [([0, 0.5, 1], ["train"])]
    assert found == measure_line(
        known(resets=True), None, LineRequest(alphas=3, bn=bn, splits=["train"]), 1
    )


def test_a_line_without_batch_norm_of_an_older_version_is_kept():
    older = measure_line(known(), None, LineRequest(alphas=3), 1)
    whole = {**older}
    del older["ends"]
    both = known()
    assert measure_line(both, older, LineRequest(alphas=3), 1) == whole
    assert both.evaluated == []


def test_ends_as_trained_are_evaluated_once_and_only_where_they_are_not_those_of_the_line():
    both, request = known(resets=True), LineRequest(alphas=3, splits=["train"])
    first = measure_line(both, None, request, 1)
    assert first["curves"]["train"]["as_trained"] == {"loss": [7, 8], "accuracy": [0.7, 0.8]}
    calls, original = [], both.evaluate_as_trained
    both.evaluate_as_trained = lambda splits: calls.append(splits) or original(splits)
    measure_line(both, first, LineRequest(alphas=5, splits=["train", "test"]), 1)
    assert calls == [["test"]]
    kept = measure_line(known(resets=True), None, LineRequest(alphas=3, bn="keep"), 1)
    assert kept["ends"] == "as_trained" and "as_trained" not in kept["curves"]["train"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (LineRequest(alphas=1), "^alphas: at least 2, both ends, are needed, got 1$"),
        (
            LineRequest(alphas=[0, 0.5]),
            r"^alphas: must hold 0 and 1, the two ends, got \[0, 0.5\]$",
        ),
        (LineRequest(alphas=3, refine=0), "^refine: must be at least 1, got 0$"),
    ],
)
def test_a_line_that_cannot_be_measured_is_refused(request_, message):
    with pytest.raises(ValueError, match=message):
        measure_line(known(), None, request_, 1)


def test_networks_of_different_architectures_are_refused():
    build = BUILDS["mlp"]
    other = small.make(lambda: MLP((2, 4, 4), 3, [8, 6]), 1).state_dict()
    points = InterpolationEvaluator(small.evaluator(build()), SPLITS)
    both = LineEnds(points, small.make(build, 0).state_dict(), other, "none")
    with pytest.raises(ValueError, match="^networks 1 and 2 are of different architectures: "):
        measure_line(both, None, LineRequest(alphas=3), None)
