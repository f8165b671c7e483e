import copy
import csv
import math
from functools import partial

import pytest
import torch
from torch import nn

from isthmus.data.clusters import Clusters
from isthmus.data.function_1d import Function1D
from isthmus.models.mlp import MLP
from isthmus.store.files import Run
from isthmus.training import loop, options
from isthmus.training.fit import TrainHooks, fit
from isthmus.training.optimizers import sgd
from isthmus.training.options import Diagnostics
from isthmus.training.reporting import Metrics
from isthmus.training.session import Session
from isthmus.widths import diagnostics, layers
from isthmus.widths.diagnostics import diagnostic_callbacks, examples
from tests import toys
from tests.widths.networks import INPUTS, mlp, option

MEASURED = {"steps": ["0it", "2it", "5it"], "ranks": ["0it", "5it"], "examples": 10}


def session(data=None, depth=2, name="mup", **changes):
    values = {
        "model": partial(MLP, width=6, depth=depth, bias="input"),
        "optimizer": partial(sgd, lr=0.1),
        "averages": None,
        "steps": "6it",
        "parametrization": (lambda: option(name)) if name else None,
    }
    recipe = toys.recipe(**(values | changes))
    return Session(recipe, data or toys.data(augment=False), toys.SEEDS, toys.RUNTIME)


def rows(folder, metric=None):
    with (folder / "metrics.csv").open() as file:
        found = [r for r in csv.DictReader(file) if metric is None or r["metric"] == metric]
    return {(int(r["step"]), r["metric"]): float(r["value"]) for r in found}


def measured(folder, made, asked):
    metrics = Metrics(folder / "metrics.csv", None, made.iterations_per_epoch)
    loop.train(made.training, made.batches, made.end, diagnostic_callbacks(asked, 1, made, metrics))
    return rows(folder)


def test_numbers_are_those_of_a_naive_computation(tmp_path):
    found = measured(tmp_path, session(), Diagnostics(**MEASURED))
    made, kept = session(), {}
    inputs, _ = examples(made, 10)
    keep = loop.Callback(
        lambda _: True, lambda t: kept.update({t.iteration: copy.deepcopy(t.model)})
    )
    loop.train(made.training, made.batches, 6, [keep])
    first = {i: m.hidden[0](inputs.flatten(1)) for i, m in kept.items()}
    for step in (0, 2, 5):
        network = kept[step]
        size = first[step].abs().mean().item()
        assert found[step, "preactivation_hidden.0"] == pytest.approx(size)
        change = (first[step] - first[0]).abs().mean().item()
        assert found[step, "preactivation_change_hidden.0"] == pytest.approx(change)
        assert found[step, "output"] == pytest.approx(network(inputs).abs().mean().item())
        difference = (network(inputs) - kept[0](inputs)).abs().mean().item()
        assert found[step, "output_change"] == pytest.approx(difference)
        if step > 0:
            last = (first[step] - first[step - 1]).abs().mean().item()
            assert found[step, "preactivation_step_hidden.0"] == pytest.approx(last)
    moved = kept[5].hidden[1].weight - kept[0].hidden[1].weight
    expected = diagnostics.squared_trace(moved.detach())
    assert found[5, "rank_trace_change_hidden.1"] == pytest.approx(expected)
    assert (0, "rank_trace_change_hidden.1") not in found
    second = torch.relu(first[5])
    expected = diagnostics.frobenius(second.detach())
    assert found[5, "rank_frobenius_activation_hidden.1"] == pytest.approx(expected)
    assert {step for step, _ in found} == {0, 2, 5}
    assert found[0, "slope_output"] == -0.5 and found[0, "slope_output_change"] == 0


def test_measuring_changes_no_weight(tmp_path):
    plain, watched = (session(model=toys.Small, name=None) for _ in range(2))
    loop.train(plain.training, plain.batches, 6, [])
    asked = Diagnostics(steps="every_1it", ranks="every_1it")
    found = measured(tmp_path, watched, asked)
    assert toys.equal(plain.model.state_dict(), watched.model.state_dict())
    assert found[6, "diversity_conv"] > 1  # of convolutions too


def test_nothing_is_called_where_nothing_is_asked_for(tmp_path):
    assert (
        diagnostic_callbacks(Diagnostics(), 1, session(), Metrics(tmp_path / "m.csv", None, 3))
        == []
    )


def test_a_moment_after_the_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="9ep is after the end of training"):
        diagnostic_callbacks(
            Diagnostics(steps=["9ep"]), 1, session(), Metrics(tmp_path / "m.csv", None, 3)
        )


@pytest.mark.parametrize("stopped", [1, 2, 4])
def test_numbers_of_a_run_that_was_interrupted_are_those_of_one_that_was_not(tmp_path, stopped):
    def made():
        one = session()
        one.runtime = options.Runtime(
            device="cpu", progress=False, tensorboard=False, save_every=0.0
        )
        return one

    def dying(session_, metrics):
        def die(training):
            raise KeyboardInterrupt

        own = diagnostic_callbacks(Diagnostics(**MEASURED), 1, session_, metrics)
        return [
            *own,
            loop.Callback(loop.at_iterations([stopped + 1]), die),
        ]  # after it was saved at `stopped`

    whole, broken = Run(tmp_path / "whole"), Run(tmp_path / "broken")
    for run in (whole, broken):
        run.folder.mkdir()
    measures = partial(diagnostic_callbacks, Diagnostics(**MEASURED), 1)
    fit(whole, made, extras=TrainHooks(measures))
    with pytest.raises(KeyboardInterrupt):
        fit(broken, made, extras=TrainHooks(dying))
    fit(broken, made, extras=TrainHooks(measures))
    changing = ("seconds", "images_per_second")
    kept = [
        {key: value for key, value in rows(run.folder).items() if key[1] not in changing}
        for run in (whole, broken)
    ]
    assert kept[0] == kept[1]


def test_margins_are_measured_of_one_hidden_layer_on_two_classes(tmp_path):
    data = Clusters(num_train=40, num_test=10).load(0)
    found = measured(tmp_path, session(data, 1, "mean_field"), Diagnostics(steps=["0it", "6it"]))
    assert found[0, "beta"] == pytest.approx(2, rel=1e-5)
    assert {"margin", "margin_normalized", "auc"} <= {metric for _, metric in found}
    (tmp_path / "deeper").mkdir()
    deeper = measured(tmp_path / "deeper", session(data, 2), Diagnostics(steps=["0it"]))
    assert "margin" not in {metric for _, metric in deeper}


def test_examples_are_of_the_training_set_and_the_same_again():
    made = session()
    inputs, labels = examples(made, 10)
    again, _ = examples(made, 10)
    assert torch.equal(inputs, again) and len(labels) == 10
    everything = next(iter(made.evaluator.batches("train")))[0].flatten(1)
    for example in inputs.flatten(1):
        assert (everything == example).all(dim=1).any()
    assert len(examples(made, 10**6)[0]) == len(made.data.train)


def test_a_function_of_one_variable_is_written_when_it_is_trained(tmp_path):
    data = Function1D(num_points=4).load(0)
    made = session(data, 2, batch_size=4)
    run = Run(tmp_path)
    fit(
        run,
        lambda: made,
        extras=TrainHooks(partial(diagnostic_callbacks, Diagnostics(), 1), save_weights=False),
    )
    with (tmp_path / "function.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 201
    inputs = torch.tensor([[float(row["x"])] for row in table])
    values = made.model(inputs)[:, 0].tolist()
    assert [float(row["value"]) for row in table] == pytest.approx(values)
    targets = [float(row["target"]) for row in table]
    assert targets == pytest.approx(data.test.labels.tolist())
    result = run.read_result()["evaluation"]["plain"]
    assert list(result["test"]) == ["loss"]  # no accuracy
    assert "accuracy" not in {metric for _, metric in rows(tmp_path)}


def test_a_run_without_weights_has_its_tables_alone(tmp_path):
    fit(Run(tmp_path), session, extras=TrainHooks(save_weights=False))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"metrics.csv", "result.json"} <= names
    assert not names & {"weights", "state.pt"}


def test_layers_that_are_named_are_those_of_the_network():
    made = session()
    assert [layer.name for layer in layers.scaled_layers(made.model)] == [
        "hidden.0",
        "hidden.1",
        "output",
    ]


def test_what_goes_in_and_out_is_that_of_a_forward_pass_by_hand():
    model = mlp(8, 2)
    found = diagnostics.record_activations(model, layers.scaled_layers(model), INPUTS)
    first = INPUTS @ model.hidden[0].weight.T + model.hidden[0].bias
    torch.testing.assert_close(found.outputs["hidden.0"], first)
    torch.testing.assert_close(found.inputs["hidden.1"], torch.relu(first))
    torch.testing.assert_close(found.inputs["hidden.0"], INPUTS)
    torch.testing.assert_close(found.result, model(INPUTS))
    torch.testing.assert_close(found.outputs["output"], found.result)


def test_other_weights_can_be_lent():
    model, other = mlp(8, 2), mlp(8, 2)
    found = diagnostics.record_activations(
        model, layers.scaled_layers(model), INPUTS, other.state_dict()
    )
    torch.testing.assert_close(found.result, other(INPUTS))


def test_the_model_is_left_as_it_was():
    model = mlp(8, 2).train()
    diagnostics.record_activations(model, layers.scaled_layers(model), INPUTS)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_diversity_counts_the_units_that_are_largest_for_some_example():
    outputs = torch.tensor([[3.0, 1, 2], [5, 0, 9], [4, 1, 0]])
    assert diagnostics.diversity(outputs) == 2
    assert diagnostics.mean_absolute(torch.tensor([-1.0, 3.0])) == 2


LABELS = torch.tensor([1, 0, 1, 0])


def network(width=50):
    model = MLP((5,), 1, width=width, depth=1, bias="input")
    option("mean_field").initialize(model, seed=0)
    return model


def test_the_size_is_2_where_units_are_on_the_sphere():
    assert diagnostics.normalized_margins(network(), torch.ones(4, 1), LABELS)[
        "beta"
    ] == pytest.approx(2, rel=1e-5)


def test_margins_are_those_of_hand():
    outputs = torch.tensor([[2.0], [-1.0], [0.5], [3.0]])  # on the right side: 2, 1, .5, -3
    found = diagnostics.normalized_margins(network(), outputs, LABELS)
    beta, sides = found["beta"], [2.0, 1.0, 0.5, -3.0]
    assert found["margin"] == -3 and found["margin_normalized"] == pytest.approx(-3 / beta)
    exponential = (math.log(4) - math.log(sum(math.exp(-s) for s in sides))) / beta
    assert found["margin_exponential"] == pytest.approx(exponential)
    logistic = -math.log(sum(math.log1p(math.exp(-s)) for s in sides) / 4) / beta
    assert found["margin_logistic"] == pytest.approx(logistic)
    assert found["auc"] == pytest.approx(2 / 4)  # 2 > -1, .5 > -1


def test_smoothed_margins_become_the_normalized_one_as_the_network_grows():
    model, outputs = network(), torch.tensor([[0.3], [-0.2], [0.25], [-0.4]])
    gaps = []
    for scale in (1, 30):  # outputs are of degree 2 in weights: so is beta
        with torch.no_grad():
            model.hidden[0].weight.mul_(scale)
            model.hidden[0].bias.mul_(scale)
            model.output.weight.mul_(scale)
        found = diagnostics.normalized_margins(model, outputs * scale**2, LABELS)
        gaps.append(abs(found["margin_exponential"] - found["margin_normalized"]))
        assert found["margin_normalized"] == pytest.approx(0.1, rel=1e-3)
    assert gaps[1] < 0.01 < gaps[0]


def test_ties_count_half_and_one_class_alone_has_no_auc():
    assert diagnostics.normalized_margins(network(), torch.ones(4, 1), LABELS)["auc"] == 0.5
    assert "auc" not in diagnostics.normalized_margins(
        network(), torch.ones(4, 1), torch.ones(4).long()
    )


@pytest.mark.parametrize(
    ("model", "expected"), [(network(), True), (mlp(8, 1), False), (mlp(8, 2), False)]
)
def test_they_are_for_one_hidden_layer_and_one_output(model: nn.Module, expected):
    assert diagnostics.has_margins(model) is expected


RANDOM = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("matrix", [RANDOM, RANDOM.T, RANDOM.view(7, 2, 2)])
def test_ranks_are_those_of_the_singular_values(matrix):
    s = torch.linalg.svdvals(matrix.flatten(1).double()) ** 2
    assert diagnostics.squared_trace(matrix) == pytest.approx((s.sum() ** 2 / (s**2).sum()).item())
    assert diagnostics.frobenius(matrix) == pytest.approx((s.sum() / s.max()).item())


@pytest.mark.parametrize("rank", [diagnostics.squared_trace, diagnostics.frobenius])
def test_equal_directions_count_one_each_and_size_does_not_matter(rank):
    projection = torch.diag(torch.tensor([1.0, 1, 1, 0, 0]))
    for scale in (1.0, 1e-30, 1e20):
        assert rank(projection * scale) == pytest.approx(3)
    assert rank(torch.outer(RANDOM[:, 0], RANDOM[0])) == pytest.approx(1)
    assert rank(torch.zeros(3, 2)) == 0
