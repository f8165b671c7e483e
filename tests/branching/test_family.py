from dataclasses import replace

import pytest
import torch

from isthmus.store import files as store_files
from isthmus.store.files import Run
from isthmus.training import recipe as training_recipe
from isthmus.training.fit import fit
from isthmus.training.loop import Callback, after_every_step, train
from isthmus.training.schedulers import Cosine
from isthmus.training.session import Session
from tests import toys
from tests.branching.families import (
    ADAM,
    EVERY,
    RESTLESS,
    asked,
    assert_same_moment,
    family,
    trained,
    weights,
)


@pytest.mark.parametrize("changes", [{}, ADAM], ids=["sgd and ema bank", "adam and swa"])
@pytest.mark.parametrize(("spawn_step", "start"), [("0ep", 0), ("4it", 4), ("2ep", 6)])
def test_a_child_with_the_seeds_of_its_parent_is_the_continuation(
    tmp_path, changes, spawn_step, start
):
    made = family(tmp_path, toys.recipe(**changes))
    length = f"{9 - start}it"
    trained(
        made,
        EVERY,
        spawn_steps=[spawn_step],
        child_seeds=[1],
        child_steps=EVERY,
        child_length=length,
    )
    child = made.tree.child({4: "1ep1it"}.get(start, spawn_step), 1)
    assert child.snapshots() == list(range(start + 1, 10))
    for iteration in child.snapshots():
        assert_same_moment(made.tree.parent, child, iteration)


def test_children_that_share_every_stream_are_identical(tmp_path):
    made = family(tmp_path, vary=[])
    trained(made, spawn_steps=["4it"], child_seeds=[1, 2, 77])
    first, *others = (made.tree.child("1ep1it", seed) for seed in (1, 2, 77))
    for other in others:
        for iteration in first.snapshots():
            assert_same_moment(first, other, iteration)


@pytest.mark.parametrize("stream", ["data_order", "augmentation", "dropout"])
@pytest.mark.parametrize("start", [0, 4])
def test_a_child_that_varies_one_stream_is_a_training_with_that_seed_changed(
    tmp_path, stream, start
):
    made = family(tmp_path / "tree", vary=[stream])
    trained(made, spawn_steps=[f"{start}it"], child_seeds=[7], child_length="5it")
    child = made.tree.child("0ep" if start == 0 else "1ep1it", 7)

    by_hand = Session(toys.recipe(), toys.data(), replace(toys.SEEDS, **{stream: 7}), toys.RUNTIME)
    if start:
        by_hand.load_snapshot(made.tree.parent, start)
    update = Callback(after_every_step, lambda t: by_hand.averages.update(t.iteration))
    train(by_hand.training, by_hand.batches, start + 5, [update])
    run = Run(tmp_path / "by_hand")
    by_hand.save_snapshot(run)
    assert_same_moment(run, child, start + 5)


@pytest.mark.parametrize("stream", ["data_order", "augmentation", "dropout"])
def test_each_stream_makes_children_of_their_own(tmp_path, stream):
    made = family(tmp_path, vary=[stream])
    trained(made, ["3it"], child_length="1ep")
    first, second = (weights(made.tree.child("0ep", seed), 3) for seed in (1, 2))
    assert toys.equal(first, weights(made.tree.parent, 3))
    assert not toys.equal(first, second)


def test_every_child_of_the_initialization_begins_from_that_of_the_parent(tmp_path):
    made = family(tmp_path)
    assert made.origins.seeds_of_child(5) == training_recipe.StreamSeeds(1, 5, 5, 5)
    assert replace(made.origins, vary=["dropout"]).seeds_of_child(5) == training_recipe.StreamSeeds(
        1, 1, 1, 5
    )


def test_neighbours_do_not_change_a_child(tmp_path):
    together, alone = family(tmp_path / "together"), family(tmp_path / "alone")
    trained(together, spawn_steps=["0ep", "4it"], child_seeds=[1, 2, 3])
    trained(alone, spawn_steps=["4it"], child_seeds=[3])
    first, second = (made.tree.child("1ep1it", 3) for made in (together, alone))
    for iteration in first.snapshots():
        assert_same_moment(first, second, iteration)


def test_a_child_that_an_older_version_trained_in_a_stack_stays_but_is_not_trained_on(tmp_path):
    made = family(tmp_path)
    trained(made, child_seeds=[1, 2], child_length="1ep", child_steps=["1ep"])
    run = made.tree.child("0ep", 2)
    store_files.write_json(run.result, run.read_result() | {"together": [2, 3]})
    before = made.num_steps
    trained(made, child_seeds=[1, 2], child_length="1ep", child_steps=["1ep"])
    assert made.num_steps == before
    for changes in ({"child_length": "2ep"}, {"child_length": "1ep", "child_steps": ["2it"]}):
        with pytest.raises(ValueError, match=r"children/0ep/seed_2: .* 2, 3 "):
            trained(made, child_seeds=[2], **changes)


def test_a_finished_family_makes_no_step(tmp_path, steps_made):
    first = family(tmp_path)
    trained(first, child_length="1ep")
    assert first.num_steps == len(steps_made) == 9 + 2 * 3
    again = family(tmp_path)
    trained(again, child_length="1ep")
    assert again.num_steps == 0
    assert len(steps_made) == 9 + 2 * 3


def test_another_child_seed_trains_that_child_alone(tmp_path, steps_made):
    trained(family(tmp_path), child_length="1ep")
    steps_made.clear()
    more = family(tmp_path)
    trained(more, child_seeds=[1, 2, 3], child_length="1ep")
    assert steps_made == [0, 1, 2]
    assert more.num_steps == 3


def test_a_spawn_step_that_was_not_kept_is_replayed_from_the_nearest_one(tmp_path, steps_made):
    later, at_once = family(tmp_path / "later"), family(tmp_path / "at_once")
    trained(later, spawn_steps=["0ep", "1ep", "3ep"], child_length="2it")
    steps_made.clear()
    later.num_steps = 0
    trained(later, spawn_steps=["0ep", "1ep", "5it", "3ep"], child_length="2it")
    assert steps_made == [3, 4, *[5, 6] * 2]  # the parent from 1ep on, then two children
    assert later.num_steps == 6

    trained(at_once, spawn_steps=["0ep", "1ep", "5it", "3ep"], child_length="2it")
    assert_same_moment(later.tree.parent, at_once.tree.parent, 5)
    for seed in (1, 2):
        runs_of_seed = [made.tree.child("1ep2it", seed) for made in (later, at_once)]
        assert_same_moment(*runs_of_seed, 7)


def test_a_child_step_that_was_not_kept_is_replayed(tmp_path, steps_made):
    later, at_once = family(tmp_path / "later"), family(tmp_path / "at_once")
    trained(later, spawn_steps=["4it"], child_steps=["2it", "5it"], child_length="5it")
    steps_made.clear()
    trained(later, spawn_steps=["4it"], child_steps=["1it", "4it", "5it"], child_length="5it")
    assert steps_made == [4, 6, 7] * 2
    trained(at_once, spawn_steps=["4it"], child_steps=["1it", "4it", "5it"], child_length="5it")
    for iteration in (5, 8, 9):
        pair = [made.tree.child("1ep1it", 2) for made in (later, at_once)]
        assert_same_moment(*pair, iteration)


@pytest.mark.parametrize("first", ["1ep", "4it"])
def test_a_child_trained_on_is_as_one_trained_in_one_go(tmp_path, first, steps_made):
    parts, whole = family(tmp_path / "parts"), family(tmp_path / "whole")
    trained(parts, child_length=first, child_steps=[first])
    trained(parts, child_length="7it", child_steps=["7it"])
    steps_made.clear()
    trained(parts, child_length="4ep", child_steps=["7it", "4ep"])
    assert steps_made == [7, 8, 9, 10, 11] * 2
    trained(whole, child_length="4ep", child_steps=["7it", "4ep"])
    for seed in (1, 2):
        one, other = (made.tree.child("0ep", seed) for made in (parts, whole))
        assert_same_moment(one, other, 7)
        assert_same_moment(one, other, 12)
        results = [run.read_result() for run in (one, other)]
        for name in ("iteration", "end", "stopped_early", "best_iteration", "evaluation"):
            assert results[0][name] == results[1][name], name


def test_an_end_within_an_epoch_is_no_epoch_without_a_lower_validation_loss(tmp_path):
    recipe = toys.recipe(**(RESTLESS | {"patience": 4}))
    parts, whole = family(tmp_path / "parts", recipe), family(tmp_path / "whole", recipe)
    for length in ("4it", "5it", "7it", "8it", "6ep"):
        trained(parts, child_seeds=[1], child_length=length, child_steps=[length])
    trained(whole, child_seeds=[1], child_length="6ep", child_steps=["6ep"])
    one, other = (made.tree.child("0ep", 1).read_result() for made in (parts, whole))
    for name in ("iteration", "stopped_early", "best_iteration"):
        assert one[name] == other[name], name


def test_asking_for_shorter_children_trains_nothing_and_makes_what_was_not_kept(
    tmp_path, steps_made
):
    made = family(tmp_path)
    trained(made, child_steps=["2ep"])
    steps_made.clear()
    trained(made, child_length="1ep", child_steps=["1ep"])
    assert steps_made == [0, 1, 2] * 2
    assert made.tree.child("0ep", 1).read_result()["iteration"] == 9


def test_weights_of_a_child_say_where_they_come_from(tmp_path):
    made = family(tmp_path, vary=["dropout"])
    trained(made, spawn_steps=["4it"])
    _, metadata = store_files.load_weights(made.tree.child("1ep1it", 2).weights(5, "ema_0.5"))
    expected = {"spawn_step": 4, "child_seed": 2, "vary": ["dropout"], "iteration": 5}
    assert metadata.items() >= expected.items()
    _, metadata = store_files.load_weights(made.tree.parent.weights(4))
    assert not metadata.keys() & {"spawn_step", "child_seed", "vary"}


def test_the_schedule_of_a_child_goes_on_from_the_spawn_step(tmp_path):
    made = family(tmp_path, toys.recipe(**ADAM))
    trained(made, spawn_steps=["1ep"], child_seeds=[2], child_length="2ep")
    text = made.tree.child("1ep", 2).metrics.read_text()
    rates = {
        row.split(",")[0]: float(row.split(",")[-1]) for row in text.splitlines() if ",lr," in row
    }
    schedule = Cosine(9, 3)
    assert rates == pytest.approx({"6": 0.01 * schedule.factor(5), "9": 0.01 * schedule.factor(8)})


def test_the_parent_keeps_what_is_asked_for_besides_and_its_end_to_train_on_from(tmp_path):
    made = family(tmp_path)
    plan = made.plan(asked(spawn_steps=["1ep"]))
    made.train_parent(plan)
    assert made.tree.parent.snapshots() == [0, 3]
    made.train_parent(plan, ["4it"], to_its_end=True)
    assert made.tree.parent.snapshots() == [0, 3, 4, 9]


def test_the_parent_is_the_training_that_train_py_makes(tmp_path):
    made = family(tmp_path / "tree")
    trained(made, child_length="1it")
    alone = Run(tmp_path / "alone")
    alone.folder.mkdir()
    fit(alone, lambda: Session(toys.recipe(), toys.data(), toys.SEEDS, toys.RUNTIME))
    for model in ("plain", "ema_0.5", "ema_0.9"):
        files = [run.weights(9, model).read_bytes() for run in (made.tree.parent, alone)]
        assert files[0] == files[1]


def random_weights(made, seed=3):
    """Weights that no initialization gives, in the order of a file."""
    generator = torch.Generator().manual_seed(seed)
    initial = made.session.model.state_dict()
    return {
        name: torch.rand(initial[name].shape, generator=generator).to(initial[name].dtype)
        for name in sorted(initial)
    }


@pytest.fixture
def given(tmp_path):
    """Weights as a file gives them, in alphabetical order."""
    path = tmp_path / "given.safetensors"
    store_files.save_weights(path, random_weights(family(tmp_path / "other")), {})
    return store_files.load_weights(path)[0]


def test_a_parent_of_given_weights_begins_from_them_with_a_fresh_optimizer(tmp_path, given):
    made = family(tmp_path / "tree", weights=lambda initial: given)
    made.train_parent(made.plan(asked()))
    parent = made.tree.parent
    for model in ("plain", "ema_0.5", "ema_0.9"):
        assert toys.equal(weights(parent, 0, model), given)
    state = store_files.load_state(parent.snapshot_state(0))["training"]
    assert state["optimizer"]["state"] == {}
    assert state["iteration"] == 0
    assert not toys.equal(weights(parent, 9), given)


def test_weights_are_made_only_for_a_parent_that_is_not_there(tmp_path, given):
    trained(family(tmp_path / "tree", weights=lambda initial: given), child_length="1it")

    def make(initial):
        raise AssertionError("the parent is there")

    trained(family(tmp_path / "tree", weights=make), child_seeds=[1, 2, 3], child_length="1it")


def test_a_spawn_step_of_a_parent_of_given_weights_is_replayed_from_them(tmp_path, given):
    later, at_once = (
        family(tmp_path / name, weights=lambda initial: given) for name in ("later", "at_once")
    )
    trained(later, spawn_steps=["2ep"], child_length="1it")
    (later.tree.parent.snapshot_state(0)).unlink()
    trained(later, spawn_steps=["0ep", "1ep"], child_length="1it")
    trained(at_once, spawn_steps=["0ep", "1ep"], child_length="1it")
    for iteration in (0, 3):
        assert_same_moment(later.tree.parent, at_once.tree.parent, iteration)


@pytest.mark.parametrize(
    ("spawn_steps", "child_length", "message"),
    [
        (
            ["0ep", "2ep"],
            "2ep",
            r"child_length=2ep: the children of 2ep would outlast the schedule of the parent \(no "
            r"learning rate for the step after \d+ iterations: this schedule ends at 9\); try "
            r"child_length=1ep or scheduler=constant$",
        ),
        (
            ["4it"],
            None,
            r"child_length=3ep: the children of 1ep1it would .*try child_length=1ep2it",
        ),
        (["3ep"], "1ep", r".* of 3ep .*; try an earlier spawn step or scheduler=constant$"),
    ],
)
def test_children_that_would_outlast_the_schedule_are_refused_before_any_work(
    tmp_path, spawn_steps, child_length, message
):
    made = family(tmp_path, toys.recipe(**ADAM))
    with pytest.raises(ValueError, match=f"^{message}"):
        made.plan(asked(spawn_steps=spawn_steps, child_length=child_length))


def test_children_that_end_with_the_schedule_are_not_refused(tmp_path):
    made = family(tmp_path, toys.recipe(**ADAM))
    assert made.plan(asked(spawn_steps=["2ep"], child_length="1ep")).child_length == 3


def test_a_split_that_the_data_does_not_have_is_refused_before_any_work(tmp_path):
    made = family(tmp_path, data=toys.data(num_val=0))
    with pytest.raises(ValueError, match="^splits=val: this data set has train, test$"):
        made.plan(asked(splits=["test", "val"]))


def test_no_spawn_step_at_all_is_a_plan_for_the_parent_alone(tmp_path):
    made = family(tmp_path)
    plan = trained(made, spawn_steps=None)
    assert plan.spawn_steps == []
    assert made.num_steps == 9


def test_a_spawn_step_after_the_early_stop_of_the_parent_is_refused(tmp_path):
    made = family(tmp_path, toys.recipe(**RESTLESS))
    plan = made.plan(asked(spawn_steps=["1ep", "48ep", "49ep2it"], child_length="1it"))
    message = (
        r"^spawn_steps: 48ep, 49ep2it is after the early stop of the parent "
        r"\(hparams.patience=2\)$"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            made.train_parent(plan)


def test_children_that_stop_early_keep_what_they_reached_and_are_not_trained_again(
    tmp_path, steps_made
):
    made = family(tmp_path, toys.recipe(**RESTLESS))
    changes = {"child_length": "40ep", "child_steps": ["1ep", "40ep"]}
    trained(made, **changes)
    for seed in (1, 2):
        child = made.tree.child("0ep", seed)
        assert child.read_result()["stopped_early"]
        assert child.snapshots() == [3]
    steps_made.clear()
    trained(family(tmp_path, toys.recipe(**RESTLESS)), **changes)
    assert steps_made == []


def test_parameters_are_those_that_are_learned(tmp_path):
    names = family(tmp_path).parameters()
    assert [name for name in names if name.startswith("bn")] == ["bn.weight", "bn.bias"]
    assert len(names) == 6
