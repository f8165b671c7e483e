import json
from dataclasses import replace
from functools import partial

import pytest

from isthmus.pruning import plan
from isthmus.pruning.branches import Children
from isthmus.store import files as store_files
from isthmus.training import loop, masked_training, masks
from isthmus.training.fit import update_averages
from isthmus.training.loop import Training
from isthmus.training.masked_training import Masking
from isthmus.training.session import Session
from tests import toys
from tests.pruning.studies import OFTEN, assert_same, assert_sparse, grown, mask, study, weights

ALL = ("data_order", "augmentation", "dropout")
NAME = "instability_0123456789"


def children(made, seeds=(2, 3), vary=ALL, folder=NAME):
    return Children(made, folder, "instability words", seeds, vary)


def brought_up(made, *arguments, **options):
    """Children of all levels, trained."""
    of = children(made, *arguments, **options)
    for level in made.plan.levels:
        of.train(level)
    return of


def by_hand(made, level, seed, vary):
    """All models of a child that left level 0 at step 4, made of a session and nothing else."""
    kept = mask(made.tree.level(level)) if level else None
    recipe = toys.recipe(constraint=partial(Masking, mask=kept) if level else None)
    seeds = replace(toys.SEEDS, **{name: seed for name in vary})
    session = Session(recipe, toys.data(), seeds, toys.RUNTIME)
    session.load_snapshot(made.tree.level(0), 4)
    if level:
        masked_training.mask_session_(session, kept)
    loop.train(session.training, session.batches, 9, update_averages(session))
    return session.models()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study that rewinds to the middle of an epoch, with children."""
    made = grown(study(tmp_path_factory.mktemp("study"), rewind_step="4it"))
    brought_up(made)
    return made


@pytest.mark.parametrize("vary", [ALL, ("data_order",), ("augmentation",), ("dropout",)], ids=str)
def test_children_are_those_of_sessions_made_by_hand(made, vary):
    brought_up(made, vary=vary, folder=f"instability_{'_'.join(vary)}")
    for level in made.plan.levels:
        for seed in (2, 3):
            run = made.tree.child(level, f"instability_{'_'.join(vary)}", seed)
            for name, expected in by_hand(made, level, seed, vary).items():
                assert toys.equal(weights(run, model=name), expected)


def test_each_stream_makes_other_children(made):
    for level in made.plan.levels:
        found = [weights(made.tree.level(level))]
        found += [by_hand(made, level, 2, vary)["plain"] for vary in (ALL, *([n] for n in ALL))]
        pairs = [(a, b) for i, a in enumerate(found) for b in found[:i]]
        assert not any(toys.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("rewind", "step"), [("weights", "0"), ("weights", "4it"), ("lr", "4it"), ("none", "0")]
)
def test_a_child_with_the_seeds_of_the_study_is_its_level_bit_for_bit(tmp_path, rewind, step):
    made = grown(study(tmp_path, rewind=rewind, rewind_step=step))
    brought_up(made, seeds=[1, 2])
    for level in made.plan.levels:
        same, other = (made.tree.child(level, NAME, seed) for seed in (1, 2))
        assert_same(same, made.tree.level(level))
        of_both = [run.read_result()["evaluation"] for run in (same, made.tree.level(level))]
        assert of_both[0]["plain"] == of_both[1]["plain"]
        assert not toys.equal(weights(other), weights(same))


def test_children_go_on_from_a_pretraining_too(tmp_path):
    given = toys.Small((2, 4, 4), 3).state_dict()
    made = grown(study(tmp_path, weights=lambda initial: given, start="1ep"))
    brought_up(made, seeds=[1])
    for level in made.plan.levels:
        assert_same(made.tree.child(level, NAME, 1), made.tree.level(level))
    assert made.num_steps == 2 * 3 * 6


def test_every_network_of_a_child_is_sparse_and_names_its_mask(made):
    for level in (1, 2):
        of_level = mask(made.tree.level(level))
        for seed in (2, 3):
            run = made.tree.child(level, NAME, seed)
            assert all(mask(run)[name].equal(kept) for name, kept in of_level.items())
            files = list((run.folder / "weights").glob("*.safetensors"))
            assert len(files) == 4  # plain, two averages, best
            for file in files:
                assert_sparse(store_files.load_weights(file)[0], of_level)
            constraint = masked_training.masking_from_file(str(run.weights(9)))
            model = made.starts.session.model
            model.load_state_dict(made.starts.initial)
            constraint(model).on_weights()
            assert_sparse(model.state_dict(), of_level)


def test_children_of_the_dense_network_are_dense(made):
    for seed in (2, 3):
        run = made.tree.child(0, NAME, seed)
        _, said = store_files.load_weights(run.weights(9))
        assert "mask" not in said and said["density"] == 1
        assert not plan.mask_file(run).exists()
        state = weights(run)
        assert all(
            state[name].all() for name in masks.prunable_layers(made.starts.session.model).sizes
        )


def test_a_child_says_what_it_is(made):
    _, said = store_files.load_weights(made.tree.child(2, NAME, 3).weights(9))
    assert (said["level"], said["branch"], said["child_seed"]) == (2, "instability words", 3)
    assert said["vary"] == ["augmentation", "data_order", "dropout"]
    assert said["density"] == masks.density(mask(made.tree.level(2)))


def test_children_are_trained_once_and_more_of_them_are_added(made):
    before = made.num_steps
    brought_up(made)
    assert made.num_steps == before
    of = brought_up(made, seeds=[2, 5])
    assert made.num_steps == before + 3 * 5
    files = of.train(1)
    assert files == {seed: made.tree.child(1, NAME, seed).weights(9) for seed in (2, 5)}


def test_a_branch_is_summed_up_when_all_of_it_is_done(made):
    assert made.tree.instabilities(2) == made.tree.branches(2) == []
    of = children(made, vary=("dropout", "data_order"))
    of.finish(2)
    run = made.tree.branch(2, NAME)
    assert (made.tree.instabilities(2), made.tree.branches(2)) == ([NAME], [])
    assert json.loads(run.result.read_text()) == {
        "level": 2,
        "strategy": "sparse_global",
        "rewind": "weights",
        "rewind_step": 4,
        "density": masks.density(mask(made.tree.level(2))),
        "branch": "instability words",
        "vary": ["data_order", "dropout"],
    }
    before = run.result.stat().st_mtime_ns
    of.finish(2)
    assert run.result.stat().st_mtime_ns == before


@pytest.mark.parametrize("killed_at", [3, 8])
def test_a_killed_child_goes_on_bit_for_bit(made, tmp_path, monkeypatch, killed_at):
    parts = grown(study(tmp_path, rewind_step="4it", runtime=OFTEN, levels=1))
    original, steps = Training.step, []

    def step(self, inputs, labels):
        steps.append(self.iteration)
        if len(steps) == killed_at:
            raise KeyboardInterrupt
        original(self, inputs, labels)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", step)
        with pytest.raises(KeyboardInterrupt):
            children(parts).train(1)
    again = study(tmp_path, rewind_step="4it", runtime=OFTEN, levels=1)
    children(again).train(1)
    assert again.num_steps == 10 - (killed_at - 1)
    for seed in (2, 3):
        assert_same(again.tree.child(1, NAME, seed), made.tree.child(1, NAME, seed))
