import threading

import numpy as np
import pytest
import torch
from torch import nn

from isthmus import tables
from isthmus.connectivity import barriers, matching, plan, repair, results
from isthmus.connectivity import line as connectivity_line
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.line import LineEnds, RepairedLine, measure_line
from isthmus.connectivity.options import LineOptions
from isthmus.connectivity.plan import BranchPair, LineRecords
from isthmus.connectivity.repair import repair_network
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.paths import display_path
from isthmus.store import files as store_files
from isthmus.training.batch_norm import has_batch_norm
from tests import toys
from tests.connectivity import small
from tests.connectivity.lines import bump, known

BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "small": lambda: toys.Small((2, 4, 4), 3),
    "resnet": lambda: ResNetCifar((2, 4, 4), 3, depth=8, width=4),
    "layer norm": lambda: ResNetCifar((2, 4, 4), 3, depth=8, width=4, norm="layer"),
}


def curves(build, start, end, alphas, bn, **how):
    evaluator = small.evaluator(build(), **how)
    return connectivity_line.evaluate_line(
        InterpolationEvaluator(evaluator, ["train", "test"]), start, end, alphas, bn
    )


def tensor_of_alphas(alphas):
    return torch.from_numpy(barriers.parse_alphas(alphas))


@pytest.fixture(params=BUILDS)
def build(request):
    return BUILDS[request.param]


@pytest.fixture
def ends(build):
    return [small.make(build, seed).state_dict() for seed in (0, 1)]


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_a_line_equals_the_naive_loop(build, ends, bn):
    alphas = tensor_of_alphas([0, 0.2, 0.5, 0.7, 1])
    found = curves(build, *ends, alphas, bn)
    for split, curve in found.items():
        loss, accuracy = small.naive(build, *ends, alphas, toys.data(), split, bn)
        torch.testing.assert_close(curve.loss, loss, rtol=0, atol=1e-6)
        torch.testing.assert_close(curve.accuracy, accuracy, rtol=0, atol=1e-3)


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_alpha_0_and_1_are_the_plain_evaluation_of_the_ends_treated_as_all_points(build, ends, bn):
    found = curves(build, *ends, tensor_of_alphas(9), bn)
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
    found = curves(build, ends[0], again, tensor_of_alphas(11), bn, precision=precision)
    for curve in found.values():
        assert len(set(curve.loss.tolist())) == 1
        assert len(set(curve.accuracy.tolist())) == 1
        assert barriers.barrier(curve.loss, barriers.parse_alphas(11)) == 0


def test_a_line_walked_back_is_the_same_line(build, ends):
    alphas = tensor_of_alphas(5)
    there, back = (curves(build, *pair, alphas, "average")["test"] for pair in (ends, ends[::-1]))
    torch.testing.assert_close(there.loss, back.loss.flip(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(there.accuracy, back.accuracy.flip(0))


def test_refined_alphas_need_no_ends(build, ends):
    alphas = tensor_of_alphas([0, 0.2, 0.5, 1])
    whole = curves(build, *ends, alphas, "reset")["test"]
    part = curves(build, *ends, alphas[1:3], "reset")["test"]
    torch.testing.assert_close(part.loss, whole.loss[1:3], rtol=0, atol=1e-6)


def test_batch_norm_can_differ_between_the_ways_to_set_it():
    ends = [small.make(BUILDS["small"], seed).state_dict() for seed in (0, 1)]
    alphas = tensor_of_alphas(3)
    middles = {
        bn: curves(BUILDS["small"], *ends, alphas, bn)["test"].loss[1].item()
        for bn in ("reset", "average", "keep")
    }
    assert len(set(middles.values())) == 3


def test_ends_of_different_architectures_are_refused():
    ends = [small.make(lambda w=w: MLP((2, 4, 4), 3, [w]), 0).state_dict() for w in (4, 5)]
    with pytest.raises(ValueError, match=r"architectures: hidden.0.weight is \(4, 32\) in the"):
        curves(BUILDS["mlp"], *ends, tensor_of_alphas(3), "reset")


def test_another_word_for_batch_norm_is_refused(build, ends):
    with pytest.raises(ValueError, match="^bn: must be one of reset, average, keep, got 'fresh'$"):
        curves(build, *ends, tensor_of_alphas(3), "fresh")


def test_shares_are_how_much_of_either_end_is_in_a_point():
    found = connectivity_line.end_shares(torch.tensor([0, 0.25, 1], dtype=torch.float64))
    assert found.tolist() == [[1, 0], [0.75, 0.25], [0, 1]]


def test_models_in_training_mode_stay_in_it(build, ends):
    model = build().train()
    dropout = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    points = InterpolationEvaluator(small.evaluator(model), ["test"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    connectivity_line.evaluate_line(points, *ends, tensor_of_alphas(3), "reset")
    assert model.training and all(m.training for m in dropout)
    assert toys.equal(before, model.state_dict())


def build_kept_lines():
    return MLP((2, 4, 4), 3, [8, 5])


def saved(folder, *seeds):
    files = [folder / f"{seed}.safetensors" for seed in seeds]
    for seed, file in zip(seeds, files, strict=True):
        store_files.save_weights(file, small.make(build_kept_lines, seed).state_dict(), {})
    return files


def test_a_line_that_another_job_measures_is_waited_for_and_not_measured_again(
    tmp_path, monkeypatch
):
    ends, folder, request = saved(tmp_path, 0, 1), tmp_path / "run", LineOptions(alphas=3)
    measured_lines, begun, go_on = [], threading.Event(), threading.Event()

    def measured(*arguments):
        measured_lines.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(timeout=60)
        return original(*arguments)

    def measure():
        connectivity_line.measure_missing_lines(
            store_files.Run(folder), small.evaluator(build_kept_lines()), request, [(None, 2, ends)]
        )

    original = connectivity_line.measure_line
    monkeypatch.setattr(connectivity_line, "measure_line", measured)
    jobs = [threading.Thread(target=measure, name=name) for name in ("first", "second")]
    jobs[0].start()
    assert begun.wait(timeout=60)
    jobs[1].start()
    jobs[1].join(timeout=1)
    assert jobs[1].is_alive()  # it waits
    go_on.set()
    for job in jobs:
        job.join()
    assert measured_lines == ["first"]
    assert not LineRecords(folder).lack([(None, 2)], request)
    (line,) = LineRecords(folder).read()
    assert line["networks"] == [display_path(file) for file in ends]


def test_tables_of_the_study_hold_the_lines_of_all_main_branches(tmp_path):
    ends, request = saved(tmp_path, 0, 1), LineOptions(alphas=3, splits=["test"])
    pair = BranchPair(3, 6, 3)
    for seed in (1, 2):
        run = store_files.Run(tmp_path / "study" / f"seed_{seed}")
        connectivity_line.measure_missing_lines(
            run, small.evaluator(build_kept_lines()), request, [(pair, 5, ends)]
        )
        assert not LineRecords(run.folder).lack([(pair, 5)], request)
        results.complete_tables(run.folder)
    for name in ("lines", "barriers"):
        seeds = tables.read_keys(results.table_path(tmp_path / "study", name), ["global_seed"])
        assert set(seeds) == {("1",), ("2",)}
    (content,) = LineRecords(tmp_path / "study" / "seed_1").read()
    assert content["num_classes"] == 3


def test_tables_are_written_while_many_lines_are_measured(tmp_path, monkeypatch):
    written, complete = [], results.complete_tables

    def complete_and_count(folder):
        complete(folder)
        written.append(len(LineRecords(folder).files))

    monkeypatch.setattr(results, "complete_tables", complete_and_count)
    ends, request = saved(tmp_path, 0, 1), LineOptions(alphas=2, splits=["test"])
    for every, expected in ((60.0, []), (0.0, [4, 5, 6])):
        monkeypatch.setattr(connectivity_line, "TABLES_EVERY", every)
        lines = [(BranchPair(3, 6, 3), seed + 3 * (every == 0), ends) for seed in range(3)]
        run = store_files.Run(tmp_path / "run")
        connectivity_line.measure_missing_lines(
            run, small.evaluator(build_kept_lines()), request, lines
        )
        assert written == expected


def test_a_line_between_two_children_says_which(tmp_path):
    files = {seed: tmp_path / f"{seed}.safetensors" for seed in (2, 10, 3)}
    for seed, file in files.items():
        store_files.save_weights(file, small.make(build_kept_lines, seed).state_dict(), {})
    pair, request = BranchPair(3, 6, 3), LineOptions(alphas=3, splits=["train"])
    lines = [
        (pair, name, [files[start], files[end]])
        for name, (start, end) in plan.seed_pairs(list(files)).items()
    ]
    store, run = LineRecords(tmp_path / "run"), store_files.Run(tmp_path / "run")
    connectivity_line.measure_missing_lines(
        run, small.evaluator(build_kept_lines()), request, lines[:2]
    )
    assert not store.lack([line[:2] for line in lines[:2]], request)
    assert store.lack([line[:2] for line in lines], request)
    connectivity_line.measure_missing_lines(
        run, small.evaluator(build_kept_lines()), request, lines[::-1]
    )
    assert not store.lack([line[:2] for line in lines], request)
    found = store.read()
    assert [line["child_seed"] for line in found] == ["2-3", "2-10", "3-10"]
    assert found[1]["networks"] == [display_path(files[seed]) for seed in (2, 10)]
    ends = [line["curves"]["train"]["loss"] for line in found]
    assert ends[0][0] == ends[1][0] and ends[0][-1] == ends[2][0] and ends[1][-1] == ends[2][-1]


MEASURING_BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}
TREATMENTS = ["reset", "average", "keep", "repair"]
SPLITS = ["train", "test"]


@pytest.fixture(params=MEASURING_BUILDS)
def build_measuring(request):
    return MEASURING_BUILDS[request.param]


def ends_measuring(build_measuring, align="none", same=False, splits=SPLITS):
    """Two networks, or one and itself, and what evaluates them."""
    start, end = (small.make(build_measuring, seed).state_dict() for seed in (0, 0 if same else 1))
    return LineEnds(
        InterpolationEvaluator(small.evaluator(build_measuring()), splits), start, end, align
    )


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
def test_a_measured_line_equals_the_naive_loop(build_measuring, bn):
    alphas = [0, 0.2, 0.5, 0.7, 1]
    both = ends_measuring(build_measuring)
    found = measure_line(both, None, LineOptions(alphas=alphas, bn=bn), 7)
    assert (found["child_seed"], found["align"], found["bn"]) == (7, "none", bn)
    for split, curve in found["curves"].items():
        assert curve["alphas"] == alphas
        grid = tensor_of_alphas(alphas)
        naive = small.naive(build_measuring, both.start, both.end, grid, toys.data(), split, bn)
        torch.testing.assert_close(numbers(curve), naive, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bn", TREATMENTS)
@pytest.mark.parametrize("align", ["none", "weights", "activations"])
def test_alpha_0_and_1_are_the_networks_treated_as_all_points_and_as_trained(
    build_measuring, bn, align
):
    both = ends_measuring(build_measuring, align)
    found = measure_line(both, None, LineOptions(alphas=3, bn=bn, align=align), None)
    is_reset = build_measuring is MEASURING_BUILDS["batch norm"] and bn in ("reset", "repair")
    assert found["ends"] == ("reset" if is_reset else "as_trained")
    two = {"start": both.start, "end": both.saved_end}
    treated = {n: small.as_points(build_measuring, two[n], bn, toys.data()) for n in two}
    as_trained, table = (small.evaluator(build_measuring()).table(some) for some in (two, treated))
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
def test_a_network_and_itself_are_the_same_everywhere_between(build_measuring, bn, align):
    both = ends_measuring(build_measuring, align, same=True)
    assert both.start is not both.saved_end
    found = measure_line(both, None, LineOptions(alphas=5, refine=3, bn=bn, align=align), None)
    assert (found["distance"], found["cosine"]) == (0, pytest.approx(1))
    for curve in found["curves"].values():
        assert len(curve["alphas"]) == 8
        assert len(set(curve["loss"])) == len(set(curve["accuracy"])) == 1


def test_distance_and_cosine_are_of_the_parameters_without_running_statistics():
    both = ends_measuring(MEASURING_BUILDS["batch norm"])
    names = [name for name in both.start if "running" not in name and "num_batches" not in name]
    one, other = (
        np.concatenate([network[name].double().numpy().ravel() for name in names])
        for network in (both.start, both.saved_end)
    )
    assert both.separation["distance"] == pytest.approx(np.linalg.norm(one - other), rel=1e-6)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert both.separation["cosine"] == pytest.approx(cosine, rel=1e-9)


def test_an_aligned_line_is_the_line_to_the_permuted_network_and_no_longer(build_measuring):
    plain, aligned = ends_measuring(build_measuring), ends_measuring(build_measuring, "weights")
    evaluator = aligned.points.evaluator
    inputs = evaluator.calibration
    by_hand = matching.align_network(
        evaluator.model, aligned.start, aligned.saved_end, "weights", inputs
    )
    assert toys.equal(dict(aligned.end), dict(by_hand))
    request = LineOptions(alphas=3, align="weights", splits=["test"])
    found = measure_line(aligned, None, request, None)
    naive = small.naive(
        build_measuring,
        plain.start,
        by_hand,
        tensor_of_alphas(3),
        toys.data(),
        "test",
        "reset",
    )
    torch.testing.assert_close(numbers(found["curves"]["test"]), naive, rtol=0, atol=1e-6)
    assert found["distance"] <= plain.separation["distance"]


def test_what_is_known_is_not_evaluated_again():
    both = known()
    first = measure_line(both, None, LineOptions(alphas=5), 1)
    assert both.evaluated == [([0, 0.25, 0.5, 0.75, 1], ["train", "test"])]
    again = measure_line(both, first, LineOptions(alphas=5), 1)
    assert len(both.evaluated) == 1
    assert again == first


def test_only_the_missing_alphas_are_evaluated_and_the_others_stay():
    both = known()
    coarse = measure_line(both, None, LineOptions(alphas=3), 1)
    fine = measure_line(both, coarse, LineOptions(alphas=5), 1)
    assert both.evaluated[1:] == [([0.25, 0.75], ["train", "test"])]
    assert fine["curves"]["test"]["alphas"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(fine["curves"]["test"]["requests"]) == 2
    back = measure_line(both, fine, LineOptions(alphas=3), 1)
    assert len(both.evaluated) == 2
    assert back == fine


def test_a_further_split_alone_is_evaluated():
    both = known()
    first = measure_line(both, None, LineOptions(alphas=3, splits=["test"]), 1)
    second = measure_line(both, first, LineOptions(alphas=3, splits=["train", "test", "val"]), 1)
    assert both.evaluated[1:] == [([0, 0.5, 1], ["train", "val"])]
    assert second["curves"]["test"] == first["curves"]["test"]


def test_splits_that_lack_other_alphas_are_evaluated_apart():
    both = known()
    first = measure_line(both, None, LineOptions(alphas=3, splits=["test"]), 1)
    measure_line(both, first, LineOptions(alphas=5), 1)
    assert both.evaluated[1:] == [
        ([0, 0.25, 0.5, 0.75, 1], ["train"]),
        ([0.25, 0.75], ["test"]),
    ]


def test_the_order_of_requests_makes_no_difference():
    requests = [
        LineOptions(alphas=5, splits=["test"]),
        LineOptions(alphas=[0, 0.1, 1]),
        LineOptions(alphas=3, refine=2),
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
    first = measure_line(known(), None, LineOptions(alphas=3), 1)
    copy = torch.tensor(first["curves"]["test"]["alphas"])
    measure_line(known(), first, LineOptions(alphas=5, refine=2), 1)
    assert first["curves"]["test"]["alphas"] == copy.tolist()
    assert len(first["curves"]["test"]["requests"]) == 1


def test_further_alphas_lie_around_the_largest_excess_of_each_split():
    both = known()
    found = measure_line(both, None, LineOptions(alphas=5, refine=4), 1)
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
    coarse = measure_line(both, None, LineOptions(alphas=3), 1)
    fine = measure_line(both, coarse, LineOptions(alphas=3, refine=2), 1)
    assert max(coarse["curves"]["train"]["loss"]) == pytest.approx(0.5 + 2 / 3)
    assert max(fine["curves"]["train"]["loss"]) == pytest.approx(1.5)


def test_refining_later_gives_the_line_that_was_refined_at_once():
    at_once = measure_line(known(), None, LineOptions(alphas=5, refine=3), 1)
    first = measure_line(known(), None, LineOptions(alphas=5), 1)
    both = known()
    later = measure_line(both, first, LineOptions(alphas=5, refine=3), 1)
    assert without_requests(later) == without_requests(at_once)
    assert sorted(len(alphas) for alphas, _ in both.evaluated) == [3, 3]


@pytest.mark.parametrize("bn", ["reset", "repair"])
def test_a_line_whose_ends_an_older_version_treated_otherwise_is_measured_anew(bn):
    older = measure_line(known(), None, LineOptions(alphas=3, bn=bn, splits=["train"]), 1)
    del older["ends"]
    older["curves"]["train"] |= {"loss": [9.0, 9.0, 9.0], "barriers": {}}
    both = known(resets=True)
    found = measure_line(both, older, LineOptions(alphas=3, bn=bn, splits=["train"]), 1)
    assert both.evaluated == [([0, 0.5, 1], ["train"])]
    assert found == measure_line(
        known(resets=True), None, LineOptions(alphas=3, bn=bn, splits=["train"]), 1
    )


def test_a_line_without_batch_norm_of_an_older_version_is_kept():
    older = measure_line(known(), None, LineOptions(alphas=3), 1)
    whole = {**older}
    del older["ends"]
    both = known()
    assert measure_line(both, older, LineOptions(alphas=3), 1) == whole
    assert both.evaluated == []


def test_ends_as_trained_are_evaluated_once_and_only_where_they_are_not_those_of_the_line():
    both, request = known(resets=True), LineOptions(alphas=3, splits=["train"])
    first = measure_line(both, None, request, 1)
    assert first["curves"]["train"]["as_trained"] == {"loss": [7, 8], "accuracy": [0.7, 0.8]}
    calls, original = [], both.evaluate_as_trained
    both.evaluate_as_trained = lambda splits: calls.append(splits) or original(splits)
    measure_line(both, first, LineOptions(alphas=5, splits=["train", "test"]), 1)
    assert calls == [["test"]]
    kept = measure_line(known(resets=True), None, LineOptions(alphas=3, bn="keep"), 1)
    assert kept["ends"] == "as_trained" and "as_trained" not in kept["curves"]["train"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (LineOptions(alphas=1), "^alphas: at least 2, both ends, are needed, got 1$"),
        (
            LineOptions(alphas=[0, 0.5]),
            r"^alphas: must hold 0 and 1, the two ends, got \[0, 0.5\]$",
        ),
        (LineOptions(alphas=3, refine=0), "^refine: must be at least 1, got 0$"),
    ],
)
def test_a_line_that_cannot_be_measured_is_refused(request_, message):
    with pytest.raises(ValueError, match=message):
        measure_line(known(), None, request_, 1)


def test_networks_of_different_architectures_are_refused():
    build = MEASURING_BUILDS["mlp"]
    other = small.make(lambda: MLP((2, 4, 4), 3, [8, 6]), 1).state_dict()
    points = InterpolationEvaluator(small.evaluator(build()), SPLITS)
    both = LineEnds(points, small.make(build, 0).state_dict(), other, "none")
    with pytest.raises(ValueError, match="^networks 1 and 2 are of different architectures: "):
        measure_line(both, None, LineOptions(alphas=3), None)


REPAIRED_LINE_BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}


@pytest.fixture(params=REPAIRED_LINE_BUILDS)
def build_repaired_line(request):
    return REPAIRED_LINE_BUILDS[request.param]


@pytest.fixture
def ends_repaired_line(build_repaired_line):
    return [small.make(build_repaired_line, seed).state_dict() for seed in (0, 1)]


def along(build_repaired_line, start, end):
    return RepairedLine(
        InterpolationEvaluator(small.evaluator(build_repaired_line()), SPLITS), start, end
    )


def test_a_point_is_the_interpolated_network_repaired_by_hand(
    build_repaired_line, ends_repaired_line
):
    alphas = tensor_of_alphas([0, 0.3, 0.5, 0.9, 1])
    found = along(build_repaired_line, *ends_repaired_line).evaluate(alphas, SPLITS)
    evaluator = small.evaluator(build_repaired_line())
    inputs = small.normalized(toys.data().train)  # all of them: there are few
    ends_repaired_line = [
        small.as_points(build_repaired_line, network, "repair", toys.data())
        for network in ends_repaired_line
    ]
    start, end = (
        repair.pre_activation_stats(build_repaired_line(), network, inputs)
        for network in ends_repaired_line
    )
    for number, alpha in enumerate(alphas.tolist()):
        between = {
            name: ends_repaired_line[0][name].lerp(ends_repaired_line[1][name], alpha)
            if ends_repaired_line[0][name].is_floating_point()
            else ends_repaired_line[0][name]
            for name in ends_repaired_line[0]
        }
        targets = repair.lerp_stats(start, end, alpha)
        network = repair_network(build_repaired_line(), between, targets, inputs)
        table = evaluator.table({"": network})[""]
        for split, curve in found.items():
            assert curve.loss[number].item() == pytest.approx(table[split]["loss"], abs=1e-5)
            assert curve.accuracy[number].item() == pytest.approx(table[split]["accuracy"])


def test_the_ends_are_the_plain_evaluation_of_the_networks_treated_as_all_points(
    build_repaired_line, ends_repaired_line
):
    found = along(build_repaired_line, *ends_repaired_line).evaluate(tensor_of_alphas(2), SPLITS)
    treated = [
        small.as_points(build_repaired_line, network, "repair", toys.data())
        for network in ends_repaired_line
    ]
    table = small.evaluator(build_repaired_line()).table(dict(zip("ab", treated, strict=True)))
    for split, curve in found.items():
        losses = [table[name][split]["loss"] for name in "ab"]
        is_exact = build_repaired_line is REPAIRED_LINE_BUILDS["mlp"]
        assert curve.loss.tolist() == (losses if is_exact else pytest.approx(losses, rel=1e-5))
        assert curve.accuracy.tolist() == [table[name][split]["accuracy"] for name in "ab"]


def test_a_network_and_itself_are_the_same_everywhere_between_of_repaired_line(
    build_repaired_line, ends_repaired_line
):
    again = {name: tensor.clone() for name, tensor in ends_repaired_line[0].items()}
    found = along(build_repaired_line, ends_repaired_line[0], again).evaluate(
        tensor_of_alphas(7), SPLITS
    )
    for curve in found.values():
        assert len(set(curve.loss.tolist())) == len(set(curve.accuracy.tolist())) == 1


def test_points_do_not_depend_on_their_order_or_on_each_other(
    build_repaired_line, ends_repaired_line
):
    alphas = tensor_of_alphas(5)
    whole = along(build_repaired_line, *ends_repaired_line).evaluate(alphas, ["test"])["test"]
    some = along(build_repaired_line, *ends_repaired_line).evaluate(alphas[[3, 1]], ["test"])[
        "test"
    ]
    assert some.loss.equal(whole.loss[[3, 1]])
    assert some.accuracy.equal(whole.accuracy[[3, 1]])


def test_only_the_splits_that_are_asked_for_are_evaluated(build_repaired_line, ends_repaired_line):
    found = along(build_repaired_line, *ends_repaired_line).evaluate(
        torch.tensor([0.5], dtype=torch.float64), ["train"]
    )
    assert list(found) == ["train"]


def test_a_line_repairs_what_averaging_takes_from_the_variance_of_hidden_units():
    # Far from each other, two networks cancel in their middle: its units hardly vary.
    build = REPAIRED_LINE_BUILDS["mlp"]
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
