import dataclasses
from dataclasses import replace
from typing import Any

import pytest
import torch

from isthmus.branching import family as branching_family
from isthmus.branching.family import BranchFamily, FamilyConfig
from isthmus.branching.plan import SpawnTree
from isthmus.config import naming, parts, schema
from isthmus.config.parts import Part
from isthmus.data.splits import Split
from isthmus.store import files as store_files
from isthmus.store.files import Run
from isthmus.training import options
from isthmus.training.fit import fit
from isthmus.training.loop import Callback, after_every_step, train
from isthmus.training.options import StreamSeeds
from isthmus.training.recipe import Recipe
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
from tests.values import defaults


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
    assert made.origins.seeds_of_child(5) == StreamSeeds(1, 5, 5, 5)
    assert replace(made.origins, vary=["dropout"]).seeds_of_child(5) == StreamSeeds(1, 1, 1, 5)


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


K1K2 = [(0, 3), (0, 5), (4, 3), (4, 5)]  # of nine iterations, three an epoch
FOLDERS = {0: "0ep", 4: "1ep1it"}


def departed(folder, some=K1K2, seeds=(2, 3), snapshots=None, **origins):
    """The family of branches that have been trained."""
    made = family(folder, **origins)
    branching_family.train_branch_pairs(made, list(some), list(seeds), snapshots)
    return made


def test_the_main_branch_and_each_other_keep_every_moment_of_comparison(tmp_path):
    tree = departed(tmp_path).tree
    assert tree.parent.read_result()["iteration"] == 9
    for start, further in K1K2:
        for run in (tree.parent, *(tree.child(FOLDERS[start], seed) for seed in (2, 3))):
            assert run.weights(start + further).exists()
    assert {folder.name for folder in (tmp_path / "children").iterdir()} == set(FOLDERS.values())


def test_branches_are_those_that_spawn_makes_bit_for_bit(tmp_path):
    tree = departed(tmp_path / "departures", snapshots=["3ep"]).tree
    spawned = family(tmp_path / "spawn")
    moments = ["3it", "5it", "7it", "9it"]
    steps = {"spawn_steps": ["0ep", "4it"], "child_length": "5it", "child_steps": moments[:2]}
    trained(spawned, moments, child_seeds=[2, 3], **steps)
    for start, further in K1K2:
        assert_same_moment(tree.parent, spawned.tree.parent, start + further)
        for seed in (2, 3):
            runs = (each.child(FOLDERS[start], seed) for each in (tree, spawned.tree))
            assert_same_moment(*runs, start + further)


def test_a_branch_is_not_the_main_one_and_no_other_branch(tmp_path):
    tree = departed(tmp_path, [(4, 3)]).tree
    main, one, other = (
        weights(run, 7) for run in (tree.parent, *(tree.child("1ep1it", s) for s in (2, 3)))
    )
    assert not toys.equal(main, one)
    assert not toys.equal(main, other)
    assert not toys.equal(one, other)


def test_nothing_is_trained_twice(tmp_path, steps_made):
    first = departed(tmp_path)
    assert first.num_steps == len(steps_made) == 9 + 4 * 5
    again = departed(tmp_path)
    assert again.num_steps == 0
    assert len(steps_made) == first.num_steps


def test_what_spawn_has_trained_is_used(tmp_path, steps_made):
    moments = ["3it", "6it"]
    steps = {"spawn_steps": ["0ep"], "child_length": "2ep", "child_steps": moments}
    trained(family(tmp_path), moments, child_seeds=[2, 3], **steps)
    steps_made.clear()
    assert departed(tmp_path, [(0, 3), (0, 6)]).num_steps == 0
    more = departed(tmp_path, [(0, 3), (0, 6)], seeds=[2, 3, 4])
    assert more.num_steps == len(steps_made) == 6


def test_later_comparisons_go_on_from_what_is_there(tmp_path):
    at_once = departed(tmp_path / "once", [(3, 3), (3, 6)]).tree
    departed(tmp_path / "later", [(3, 3)])
    later = departed(tmp_path / "later", [(3, 6)])
    assert later.num_steps == 2 * 3
    assert later.tree.parent.weights(9).exists()
    for iteration in (6, 9):
        for seed in (2, 3):
            assert_same_moment(at_once.child("1ep", seed), later.tree.child("1ep", seed), iteration)


def test_a_comparison_that_was_not_kept_is_replayed(tmp_path):
    departed(tmp_path / "later", [(0, 6)])
    later = departed(tmp_path / "later", [(0, 4)]).tree
    at_once = departed(tmp_path / "once", [(0, 4)]).tree
    assert_same_moment(later.parent, at_once.parent, 4)
    assert_same_moment(later.child("0ep", 2), at_once.child("0ep", 2), 4)


def test_the_main_branch_keeps_the_snapshots_that_are_asked_for_besides(tmp_path):
    tree = departed(tmp_path, [(3, 3)], snapshots=["1it", "8it"]).tree
    assert set(tree.parent.snapshots()) >= {0, 1, 3, 6, 8}
    assert not tree.child("1ep", 2).weights(8).exists()


def restless():
    return toys.recipe(**RESTLESS)


def test_a_training_that_stopped_before_a_comparison_is_refused(tmp_path):
    message = r"^k1=0ep k2=49ep: training stopped early, before 49ep \(hparams.patience=2\)$"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            departed(tmp_path, [(0, 3), (0, 147)], recipe=restless())


def test_a_main_branch_that_stopped_before_a_departure_is_refused_naming_k1(tmp_path):
    message = r"^k1: 48ep is after the early stop of the parent \(hparams.patience=2\)$"
    with pytest.raises(ValueError, match=message):
        departed(tmp_path, [(0, 3), (144, 3)], recipe=restless())


def test_comparisons_before_an_early_stop_are_made(tmp_path):
    tree = departed(tmp_path, [(0, 3)], recipe=restless()).tree
    assert tree.parent.read_result()["stopped_early"]
    assert tree.child("0ep", 2).weights(3).exists()


STEPS = {"spawn_steps": ["0ep", "1it"], "child_length": "2it", "child_seeds": [2]}


def values(**changes: Any) -> dict[str, Any]:
    """A configuration of `Family`: one epoch of an MLP on the digits in nine steps."""
    own = defaults(options.Family)
    own |= {
        "dataset": {
            "_target_": "isthmus.data.digits.Digits",
            "augment": True,
            "subsample_fraction": 0.4,
        },
        "model": {"_target_": "isthmus.models.mlp.MLP", "_partial_": True, "width": 4},
        "optimizer": {"_target_": "isthmus.training.optimizers.sgd", "_partial_": True, "lr": 0.1},
        "scheduler": {"_target_": "isthmus.training.schedulers.Constant"},
        "averaged": None,
        "runtime": own["runtime"] | {"device": "cpu", "progress": False, "tensorboard": False},
    }
    own["model"] |= {"init": "kaiming_normal", "bn_init": "ones", "freeze": []}
    own["hparams"] |= {"epochs": 1, "batch_size": 64}
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(own[name], dict)
        own[name] = own[name] | change if merges else change
    return own


def family_options(**changes: Any) -> options.Family:
    return schema.make_options(options.Family, values(**changes))


def founded(folder, **changes):
    return branching_family.build_family(family_options(**changes), SpawnTree(folder))


def test_a_family_is_what_the_parts_make_by_hand(tmp_path):
    made = founded(tmp_path / "founded", vary=["dropout", "data_order"], global_seed=5)
    own = family_options(vary=["dropout", "data_order"], global_seed=5)
    recipe = Recipe.from_options(own)
    data = parts.load_data(own.dataset, 5)
    origins = FamilyConfig(recipe, data, StreamSeeds(5, 5, 5, 5), ["dropout", "data_order"])
    by_hand = BranchFamily(SpawnTree(tmp_path / "by_hand"), origins, own.runtime)
    for each in (made, by_hand):
        trained(each, ["1ep"], **STEPS)
    assert_same_moment(made.tree.parent, by_hand.tree.parent, 9)
    children = (each.tree.child("1it", 2) for each in (made, by_hand))
    assert_same_moment(*children, 3)


@pytest.mark.parametrize("stream", ["initialization", "data_order", "augmentation", "dropout"])
def test_every_stream_of_chance_has_its_own_seed_or_the_global_one(tmp_path, stream):
    made = founded(tmp_path, seeds={stream: 9}, global_seed=4)
    assert made.origins.seeds == dataclasses.replace(StreamSeeds(4, 4, 4, 4), **{stream: 9})


def test_weights_say_how_they_were_trained(tmp_path):
    own = values()
    made = founded(tmp_path)
    made.train_parent(made.plan(asked(child_length="1it")))
    _, metadata = store_files.load_weights(made.tree.parent.weights(9))
    names = set(naming.typed_fields(options.Train))
    assert set(metadata["config"]) == names - {"runtime", "output_dir", "snapshots"}
    assert metadata["config"]["model"] == own["model"] | {"_target_": "MLP"}


def test_a_part_that_refuses_its_values_is_named_before_the_data_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "load_data", None)
    with pytest.raises(ValueError, match="^optimizer.lr: must be "):
        founded(tmp_path, optimizer={"lr": -1.0})
    assert list(tmp_path.iterdir()) == []


def test_without_pretraining_the_parent_begins_from_its_initialization(tmp_path):
    assert founded(tmp_path).origins.weights is None


@pytest.fixture
def given_founding(tmp_path):
    """A file of weights that fit."""
    made = founded(tmp_path / "given", global_seed=7)
    path = tmp_path / "given.safetensors"
    store_files.save_weights(path, made.session.model.state_dict(), {})
    return path


def test_given_weights_are_what_the_parent_begins_from(tmp_path, given_founding):
    made = founded(tmp_path / "tree", pretrain={"weights": str(given_founding)})
    made.train_parent(made.plan(asked(child_length="1it")))
    assert toys.equal(weights(made.tree.parent, 0), store_files.load_weights(given_founding)[0])
    assert not made.tree.pretrain.folder.exists()


def test_given_weights_that_are_not_there_are_named(tmp_path, given_founding):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*x.safetensors; that folder has"):
        founded(
            tmp_path / "tree", pretrain={"weights": str(given_founding.with_name("x.safetensors"))}
        )


def test_given_weights_of_another_architecture_are_refused(tmp_path, given_founding):
    made = founded(tmp_path / "tree", pretrain={"weights": str(given_founding)}, model={"width": 5})
    with pytest.raises(ValueError, match="^pretrain.weights=.* of another shape: hidden.0.weight"):
        made.train_parent(made.plan(asked(child_length="1it")))


def test_a_pretraining_is_a_training_of_its_own_and_what_the_parent_begins_from(tmp_path):
    own = {"optimizer": {"lr": 0.5}, "hparams": {"steps": "3it"}}
    made = founded(tmp_path / "tree", pretrain=own)
    made.train_parent(made.plan(asked(child_length="1it")))
    before = made.tree.pretrain
    assert before.read_result()["iteration"] == 3
    assert toys.equal(weights(made.tree.parent, 0), weights(before, 3))

    alone = founded(tmp_path / "alone", optimizer={"lr": 0.5}, hparams={"steps": "3it"})
    alone.train_parent(alone.plan(asked(child_length="1it")))
    assert toys.equal(weights(before, 3), weights(alone.tree.parent, 3))


def test_a_pretraining_on_other_data_is_on_that(tmp_path):
    own = {"dataset": {"subsample_fraction": 0.1}}
    made = founded(tmp_path, pretrain=own)
    made.train_parent(made.plan(asked(child_length="1it")))
    assert made.tree.pretrain.read_result()["iteration"] == 3


def test_the_data_of_a_pretraining_is_not_read_for_a_parent_that_is_there(tmp_path, monkeypatch):
    own = {"dataset": {"subsample_fraction": 0.1}}
    trained(founded(tmp_path, pretrain=own), **STEPS)
    read, load = [], parts.load_data
    monkeypatch.setattr(parts, "load_data", lambda *a: read.append(a) or load(*a))
    again = founded(tmp_path, pretrain=own)
    trained(again, **STEPS)
    assert again.num_steps == 0
    assert len(read) == 1


def test_a_pretraining_with_inputs_of_another_shape_is_refused(tmp_path, monkeypatch):
    load = parts.load_data

    def larger(part, seed):
        data = load(part, seed)
        if part.arguments["subsample_fraction"] == 0.4:
            return data
        train = Split(
            torch.zeros(8, 1, 9, 9, dtype=torch.uint8), data.train.labels[:8], torch.arange(8)
        )
        return dataclasses.replace(data, train=train)

    monkeypatch.setattr(parts, "load_data", larger)
    message = (
        r"^pretrain.dataset: has inputs of shape \[1, 9, 9\], and dataset of shape \[1, 8, 8\]$"
    )
    with pytest.raises(ValueError, match=message):
        founded(tmp_path, pretrain={"dataset": {"subsample_fraction": 0.1}})
    assert list(tmp_path.iterdir()) == []


def test_labels_that_are_numbers_are_refused(tmp_path):
    numbers = Part("dataset", "isthmus.data.function_1d.Function1D")
    with pytest.raises(ValueError, match="^dataset: compares accuracies"):
        branching_family.build_family(
            replace(family_options(), dataset=numbers), SpawnTree(tmp_path)
        )


def test_the_parametrization_reaches_parent_and_children(tmp_path):
    part = {
        "_target_": "isthmus.widths.ipllr.IPLLR",
        "warmup_steps": 2,
        "cap": 0.1,
    }
    made = founded(tmp_path, parametrization=part)
    plan = trained(made, **STEPS | {"child_seeds": [1, 2, 3]})
    assert plan.spawn_steps == [0, 1]
    for step in ("0ep", "1it"):
        for seed in (1, 2, 3):  # 1 is the parent's
            run = made.tree.child(step, seed)
            _, metadata = store_files.load_weights(run.weights(run.read_result()["iteration"]))
            assert metadata["config"]["parametrization"] == part | {"_target_": "IPLLR"}
            _, of_parent = store_files.load_weights(made.tree.parent.weights(0))
            assert metadata["first_lrs"] == of_parent["first_lrs"]
