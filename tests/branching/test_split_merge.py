import csv
import math

import pytest
import torch
from torch import nn

from isthmus import state_dicts, tables
from isthmus.branching.results import Legs
from isthmus.branching.split_merge import LegChanges, MergeTrainer, leg_changes
from isthmus.store import files as store_files
from isthmus.training.evaluator import Evaluator
from isthmus.training.loop import Training
from isthmus.training.optimizers import adam
from isthmus.training.schedulers import Cosine
from tests import toys
from tests.branching.families import asked, family, weights

STRATEGIES = [
    None,
    "restart_optimizer",
    "decrease_lr",
    "repeat_increase_batch_size",
    "decrease_child_batch_size",
]


def merging(folder, strategy=None, num_legs=2, recipe=None, **changed):
    """Legs of toys whose first parent is trained to its end; children of one epoch."""
    made = family(folder, recipe)
    values = {"child_seeds": [1, 2], "child_length": "1ep", "bn": "reset"} | changed
    legs = Legs(made.tree, num_legs, strategy, **values)
    merger = MergeTrainer(made, legs)
    made.train_parent(made.plan(asked(spawn_steps=None)), to_its_end=True)
    return merger


def merged(folder, strategy=None, num_legs=2, recipe=None, **changed):
    merger = merging(folder, strategy, num_legs, recipe, **changed)
    merger.train()
    return merger.legs


@pytest.fixture(scope="module")
def by_strategy(tmp_path_factory):
    """Three legs of each strategy."""
    return {
        strategy: merged(tmp_path_factory.mktemp(strategy or "plain"), strategy, 3)
        for strategy in STRATEGIES
    }


@pytest.fixture(params=STRATEGIES)
def legs(request, by_strategy):
    return by_strategy[request.param]


def end(run):
    return run.read_result()["iteration"]


def rates(run):
    """The learning rates that a training reports."""
    with run.metrics.open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["value"]) for row in rows if row["metric"] == "lr"]


def momenta(path):
    found = store_files.load_state(path)["training"]["optimizer"]["state"]
    return {i: buffers["momentum_buffer"] for i, buffers in found.items()}


def by_key(legs):
    """The rows of the table, each there once."""
    names, rows = (
        ("leg", "role", "seeds", "bn", "split"),
        tables.read(legs.table).to_dict("records"),
    )
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows) > 0
    return found


def numbers(row):
    return {name: float(row[name]) for name in ("loss", "accuracy")}


def trained_runs(legs, leg):
    children = [legs.child(leg, seed) for seed in legs.child_seeds]
    return [legs.parent(leg), *children]


def test_an_average_is_the_naive_mean_of_the_children_with_statistics_reset(legs):
    evaluator = family(legs.tree.folder).session.evaluator
    for leg in range(3):
        children = [legs.child(leg, seed) for seed in legs.child_seeds]
        networks = [weights(child, end(child)) for child in children]
        mean = {
            name: torch.stack([n[name].double() for n in networks]).mean(0).to(tensor.dtype)
            for name, tensor in networks[0].items()
        }
        (iteration,) = legs.average(leg).snapshots()
        found = weights(legs.average(leg), iteration)
        expected = evaluator.reset_batch_norm(mean)
        torch.testing.assert_close(found, dict(sorted(expected.items())), rtol=1e-6, atol=1e-7)
        files = [child.snapshot_state(end(child)) for child in children]
        first, second, own = map(momenta, [*files, legs.average(leg).snapshot_state(iteration)])
        for i, momentum in own.items():
            torch.testing.assert_close(momentum, (first[i] + second[i]) / 2)


@pytest.fixture
def first_steps(monkeypatch):
    """Iteration, weights and momentum that every training begins with."""
    seen, begun = [], set()
    step_on, restart_from = Training.step, Training.restart

    def restart(self, *args):
        begun.add(self)
        restart_from(self, *args)

    def step(self, inputs, labels):
        if self in begun:
            begun.remove(self)
            buffers = self.optimizer.state_dict()["state"]
            momentum = {i: b["momentum_buffer"].clone() for i, b in buffers.items()}
            seen.append((self.iteration, state_dicts.copy(self.model.state_dict()), momentum))
        step_on(self, inputs, labels)

    monkeypatch.setattr(Training, "restart", restart)
    monkeypatch.setattr(Training, "step", step)
    return seen


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_next_parent_begins_from_the_average_and_its_momentum(tmp_path, strategy, first_steps):
    legs = merged(tmp_path, strategy)
    begun = [seen for seen in first_steps if seen[0] == 0]
    assert len(begun) == 2  # the parent of the tree, and that of leg 1
    _, model, momentum = begun[1]
    (iteration,) = legs.average(0).snapshots()
    assert toys.equal(model, weights(legs.average(0), iteration))
    if strategy == "restart_optimizer":
        assert momentum == {}, "a fresh optimizer has none"
    else:
        expected = momenta(legs.average(0).snapshot_state(iteration))
        torch.testing.assert_close(momentum, expected, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_children_begin_from_the_end_of_their_parent_with_its_momentum(
    tmp_path, strategy, first_steps
):
    legs = merged(tmp_path, strategy)
    children = [seen for seen in first_steps if seen[0] > 0]
    assert len(children) == 4
    for position, (_, model, momentum) in enumerate(children):
        parent = legs.parent(position // 2)
        assert toys.equal(model, weights(parent, end(parent)))
        expected = momenta(parent.snapshot_state(end(parent)))
        torch.testing.assert_close(momentum, expected, rtol=0, atol=0)


def test_the_learning_rate_of_each_leg_is_a_quarter_of_that_before(by_strategy):
    legs = by_strategy["decrease_lr"]
    for leg in range(3):
        for run in trained_runs(legs, leg):
            assert rates(run) == pytest.approx([0.05 / 4**leg] * len(rates(run)))
            assert len(rates(run)) > 0


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "decrease_lr"])
def test_other_strategies_leave_the_learning_rate_alone(by_strategy, strategy):
    legs = by_strategy[strategy]
    for leg in range(3):
        assert all(set(rates(run)) == {0.05} for run in trained_runs(legs, leg))


def test_a_smaller_learning_rate_takes_smaller_steps(by_strategy):
    def moved(legs, leg):
        child, parent = legs.child(leg, 1), legs.parent(leg)
        before, after = weights(parent, end(parent)), weights(child, end(child))
        return torch.dist(before["output.weight"], after["output.weight"])

    legs = by_strategy["decrease_lr"]
    assert moved(legs, 2) < moved(legs, 1) / 2 < moved(legs, 0) / 4


BATCH_SIZES = {  # of parent and child, by leg; batches of 16 at first, two children
    None: [(16, 16)] * 3,
    "restart_optimizer": [(16, 16)] * 3,
    "decrease_lr": [(16, 16)] * 3,
    "repeat_increase_batch_size": [(16, 16), (32, 32), (64, 64)],
    "decrease_child_batch_size": [(16, 8)] * 3,
}


def test_batches_are_of_the_size_that_the_strategy_says(legs):
    rows = tables.read(legs.table).to_dict("records")
    for leg, sizes in enumerate(BATCH_SIZES[legs.strategy]):
        for role, size in zip(("parent", "child"), sizes, strict=True):
            own = [row for row in rows if (row["leg"], row["role"]) == (str(leg), role)]
            assert {row["batch_size"] for row in own} == {str(size)}
        for run, size in zip(trained_runs(legs, leg), [sizes[0], *[sizes[1]] * 2], strict=True):
            assert run.read_result()["iterations_per_epoch"] == -(-40 // size)  # of 40 examples


def test_parents_are_as_long_as_the_first_and_children_as_asked_in_epochs(legs):
    for leg in range(3):
        epochs = [
            end(run) / run.read_result()["iterations_per_epoch"] for run in trained_runs(legs, leg)
        ]
        assert epochs == [3, 4, 4]  # counted from the beginning of the parent


def test_the_table_has_the_evaluations_of_all(legs):
    rows = by_key(legs)
    networks = {("parent", "", bn) for bn in ("keep", "reset")}
    networks |= {("child", seed, bn) for seed in "12" for bn in ("keep", "reset")}
    networks |= {("average", "1-2", "reset")}
    assert set(rows) == {
        (str(leg), *network, split)
        for leg in range(3)
        for network in networks
        for split in ("train", "val", "test")
    }
    evaluator = family(legs.tree.folder).session.evaluator
    for leg in range(3):
        (iteration,) = legs.average(leg).snapshots()
        parent = weights(legs.parent(leg), end(legs.parent(leg)))
        children = {seed: weights(c, end(c)) for seed in "12" for c in [legs.child(leg, int(seed))]}
        models = {
            ("parent", "", "keep"): parent,
            ("parent", "", "reset"): evaluator.reset_batch_norm(parent),
            ("average", "1-2", "reset"): weights(legs.average(leg), iteration),
        }
        for seed, child in children.items():
            models["child", seed, "keep"] = child
            models["child", seed, "reset"] = evaluator.reset_batch_norm(child)
        assert set(models) == networks
        for network, table in evaluator.table(models).items():
            for split, cell in table.items():
                row = rows[(str(leg), *network, split)]
                assert numbers(row) == pytest.approx(cell, rel=1e-6)
        for role, seed in (("parent", ""), ("child", "1"), ("child", "2")):
            pair = [rows[str(leg), role, seed, bn, "train"]["loss"] for bn in ("keep", "reset")]
            assert len(set(pair)) == 2, "the treatment makes a difference"


class WithoutBatchNorm(nn.Sequential):
    """A linear layer."""

    def __init__(self, input_shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))


@pytest.mark.parametrize(
    ("network", "bn"),
    [
        (toys.Small, "keep"),
        (toys.Small, "average"),
        (WithoutBatchNorm, "reset"),
        (WithoutBatchNorm, "average"),
        (WithoutBatchNorm, "keep"),
    ],
)
def test_what_no_treatment_changes_has_the_same_number_and_is_not_evaluated_again(
    tmp_path, monkeypatch, network, bn
):
    tables, original = [], Evaluator.table

    def table(self, models, *args):
        tables.append(list(models))
        return original(self, models, *args)

    merger = merging(tmp_path, num_legs=1, recipe=toys.recipe(model=network), bn=bn)
    merger._train(0)
    monkeypatch.setattr(Evaluator, "table", table)
    merger.train()
    assert tables == [["average"]]
    rows = by_key(merger.legs)
    trained = [("parent", ""), ("child", "1"), ("child", "2")]
    treatments = {"keep", bn}
    keys = {("0", *member, treatment) for member in trained for treatment in treatments}
    assert {key[:-1] for key in rows} == keys | {("0", "average", "1-2", bn)}
    for role, seed in trained:
        for split in ("train", "val", "test"):
            found = [numbers(rows["0", role, seed, treatment, split]) for treatment in treatments]
            assert all(cell == found[0] for cell in found)


def test_legs_do_not_repeat_each_other(by_strategy):
    legs = by_strategy[None]
    merger = merging(legs.tree.folder, num_legs=3)
    orders = set()
    for leg in range(3):
        session = merger._begin_child(leg, 1)
        inputs, labels = next(iter(session.batches.epoch(3)))
        orders.add((inputs.sum().item(), *labels.tolist()))
    assert len(orders) == 3


def test_children_of_a_leg_differ_unless_they_share_every_stream(tmp_path, by_strategy):
    legs = by_strategy[None]
    assert not toys.equal(*(weights(legs.child(1, seed), 12) for seed in (1, 2)))
    made = family(tmp_path, vary=[])
    same = Legs(made.tree, 2, None, [1, 2], "1ep", "average")
    merger = MergeTrainer(made, same)
    made.train_parent(made.plan(asked(spawn_steps=None)), to_its_end=True)
    merger.train()
    for leg in range(2):
        first, second = (weights(same.child(leg, seed), 12) for seed in (1, 2))
        assert toys.equal(first, second)
        assert toys.equal(first, weights(same.average(leg), 12))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_legs_train_only_those_and_are_as_if_asked_for_at_once(
    tmp_path,
    strategy,
    steps_made,
    by_strategy,
):
    merged(tmp_path, strategy, 2)
    steps_made.clear()
    legs = merged(tmp_path, strategy, 3)
    parent, *children = (run.read_result() for run in trained_runs(legs, 2))
    lengths = [child["iterations_per_epoch"] for child in children]  # one epoch
    assert len(steps_made) == parent["iteration"] + sum(lengths)
    at_once = by_strategy[strategy]
    assert legs.table.read_bytes() == at_once.table.read_bytes()
    for path in at_once.folder.rglob("*.safetensors"):
        assert (legs.folder / path.relative_to(at_once.folder)).read_bytes() == path.read_bytes()


def test_the_steps_of_legs_are_counted(tmp_path, steps_made):
    merger = merging(tmp_path, num_legs=2)
    merger.train()
    assert merger.family.num_steps == len(steps_made) == 2 * (9 + 2 * 3)


def test_finished_legs_make_no_step(tmp_path, steps_made):
    legs = merged(tmp_path)
    before = legs.table.read_bytes()
    steps_made.clear()
    merged(tmp_path)
    assert steps_made == []
    assert legs.table.read_bytes() == before


def test_asking_for_fewer_legs_loses_none(tmp_path):
    legs = merged(tmp_path, num_legs=2)
    before = legs.table.read_bytes()
    merged(tmp_path, num_legs=1)
    assert legs.table.read_bytes() == before


def test_strategies_share_the_first_parent(tmp_path, steps_made):
    merged(tmp_path, "decrease_lr", 1)
    steps_made.clear()
    merged(tmp_path, "restart_optimizer", 1)
    assert len(steps_made) == 2 * 3


def test_legs_killed_again_and_again_end_as_uninterrupted_ones(tmp_path, monkeypatch, by_strategy):
    original = Training.step
    for survived in (4, 9, 11, 2, 13, 100):
        left = iter(range(survived))

        def step(self, inputs, labels, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            original(self, inputs, labels)

        monkeypatch.setattr(Training, "step", step)
        try:
            legs = merged(tmp_path, "decrease_lr", 3)
        except KeyboardInterrupt:
            continue
    assert legs.table.read_bytes() == by_strategy["decrease_lr"].table.read_bytes()


def test_batches_of_less_than_one_example_are_refused_before_any_work(tmp_path):
    message = (
        r"^split_merge.strategy=decrease_child_batch_size: 3 children cannot share batches of "
        r"hparams.batch_size=2$"
    )
    made = family(tmp_path, toys.recipe(batch_size=2))
    legs = Legs(made.tree, 1, "decrease_child_batch_size", [1, 2, 3], None, "reset")
    with pytest.raises(ValueError, match=message):
        MergeTrainer(made, legs)


def test_as_many_children_as_examples_in_a_batch_have_batches_of_one():
    recipe = toys.recipe(batch_size=3)
    assert leg_changes("decrease_child_batch_size", recipe, 5, 3, "child") == LegChanges(1)
    assert leg_changes("decrease_child_batch_size", recipe, 5, 3, "parent") == LegChanges(3)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("child_length", "named"), [("1ep", "1ep"), ("4it", "1ep1it"), (None, "3ep")]
)
def test_children_past_the_end_of_the_schedule_are_refused_before_any_work(
    tmp_path, steps_made, strategy, child_length, named
):
    recipe = toys.recipe(scheduler=Cosine, optimizer=lambda p: adam(p, lr=0.01))
    made = family(tmp_path, recipe)
    legs = Legs(made.tree, 2, strategy, [1, 2], child_length, "reset")
    message = (
        rf"^child_length={named}: the children of 3ep would outlast the schedule of the parent "
        r"\(no learning rate for the step after \d+ iterations: this schedule ends at 9\); "
        r"try .* or scheduler=constant$"
    )
    with pytest.raises(ValueError, match=message):
        MergeTrainer(made, legs)
    assert steps_made == []
    assert list(tmp_path.rglob("*")) == []


def test_a_scaled_optimizer_keeps_its_rate_when_state_is_loaded():
    recipe = LegChanges(16, lr_factor=0.25).apply_to(toys.recipe())
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = recipe.optimizer([parameter])
    assert [group["lr"] for group in optimizer.param_groups] == [0.0125]
    assert (
        LegChanges(16).apply_to(toys.recipe()).optimizer([parameter]).param_groups[0]["lr"] == 0.05
    )
