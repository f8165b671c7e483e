import csv
import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from isthmus.pruning import plan
from isthmus.pruning.branches import Branch, Branches, Children
from isthmus.pruning.options import BRANCHES
from isthmus.pruning.strategies import SparseGlobal
from isthmus.store import files as store_files
from isthmus.training import loop, masked_training, masks
from isthmus.training.fit import update_averages
from isthmus.training.loop import Training
from isthmus.training.masked_training import Masking
from isthmus.training.options import Pretrain
from isthmus.training.session import Session
from tests import toys
from tests.pruning.studies import OFTEN, assert_same, assert_sparse, grown, mask, study, weights


def branched(made, kind="randomly_prune", session=None, folder="branch_1", **options):
    """The branches of all sparse levels, trained."""
    section = BRANCHES[kind](**options)
    branches = Branches(made, Branch(kind, folder, f"{kind} words", section, session))
    for level in made.plan.levels[1:]:
        branches.train(level)
    return [made.tree.branch(level, folder) for level in made.plan.levels[1:]]


def begun(made, *arguments, **options):
    """Iteration and weights of each branch at its first step."""
    found, original, last = [], Training.step, []

    def step(self, inputs, labels):
        if not last or self.iteration != last[-1] + 1:
            found.append(
                (self.iteration, {k: v.clone() for k, v in self.model.state_dict().items()})
            )
        last.append(self.iteration)
        original(self, inputs, labels)

    Training.step = step
    try:
        branched(made, *arguments, **options)
    finally:
        Training.step = original
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study that rewinds to the middle of an epoch."""
    folder = tmp_path_factory.mktemp("study")
    return grown(study(folder, toys.recipe(), SparseGlobal(0.3), rewind_step="4it"))


@pytest.mark.parametrize(
    ("rewind", "step"), [("weights", "0"), ("weights", "4it"), ("lr", "4it"), ("none", "0")]
)
def test_the_identity_branch_is_the_level_bit_for_bit(tmp_path, rewind, step):
    made = grown(study(tmp_path, rewind=rewind, rewind_step=step))
    for level, run in enumerate(branched(made, strategy="identity"), start=1):
        assert_same(run, made.tree.level(level))
        own, of_level = run.read_result(), made.tree.level(level).read_result()
        assert own["evaluation"] == of_level["evaluation"]


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_a_randomly_pruned_level_has_as_many_weights_in_other_places(made, strategy):
    for level, run in enumerate(
        branched(made, strategy=strategy, folder=f"prune_{strategy}"), start=1
    ):
        kept, of_level = mask(run), mask(made.tree.level(level))
        assert masks.num_kept(kept) == masks.num_kept(of_level)  # one layer is pruned
        assert not kept["conv.weight"].equal(of_level["conv.weight"])
        assert kept["output.weight"].all()
        assert_sparse(weights(run), kept)


def test_random_pruning_depends_on_its_seed_and_on_the_level(made):
    first = branched(made, folder="prune_a")
    other = branched(made, folder="prune_b", seed=2)
    assert not mask(first[0])["conv.weight"].equal(mask(other[0])["conv.weight"])
    again = branched(made, folder="prune_c")
    assert mask(first[1])["conv.weight"].equal(mask(again[1])["conv.weight"])


def test_a_randomly_pruned_level_starts_where_it_is_told(made):
    dense = weights(made.tree.level(0), 4)
    for start_at, iteration in (("rewind", 4), ("init", 0), ("end", 0)):
        found = begun(made, start_at=start_at, folder=f"prune_{start_at}")
        assert [place for place, _ in found] == [iteration] * 2
        for level, (_, state) in enumerate(found, start=1):
            given = {
                "rewind": dense,
                "init": made.starts.initial,
                "end": weights(made.tree.level(0)),
            }[start_at]
            kept = mask(made.tree.branch(level, f"prune_{start_at}"))
            assert toys.equal(state, masks.apply_mask(given, kept))


KINDS = {
    "randomly_prune": ["rewind", "init", "end"],
    "randomly_reinitialize": ["rewind", "init"],
    "retrain": ["rewind", "init"],
}


@pytest.mark.parametrize(
    ("rewind", "step"), [("weights", "0"), ("weights", "4it"), ("lr", "4it"), ("none", "0")]
)
def test_no_branch_begins_with_weights_that_are_pruned_already(tmp_path, rewind, step):
    made = grown(study(tmp_path, rewind=rewind, rewind_step=step, levels=3))
    for kind, starts in KINDS.items():
        for start_at in starts:
            folder = f"{kind}_{start_at}"
            session = other_session(epochs=2) if kind == "retrain" else None
            found = begun(made, kind, session, folder, start_at=start_at)
            for level, (_, state) in enumerate(found, start=1):
                kept = mask(made.tree.branch(level, folder))
                num_zeros = sum(int((state[name][part] == 0).sum()) for name, part in kept.items())
                assert num_zeros == 0, (folder, level)


@pytest.mark.parametrize(("start_at", "iteration"), [("rewind", 4), ("init", 0)])
def test_a_reinitialized_level_has_its_mask_and_fresh_weights(made, start_at, iteration):
    kind, name = "randomly_reinitialize", f"fresh_{start_at}"
    found = begun(made, kind, start_at=start_at, folder=name)
    assert [place for place, _ in found] == [iteration] * 2
    for level, (_, state) in enumerate(found, start=1):
        run, of_level = made.tree.branch(level, name), mask(made.tree.level(level))
        assert all(mask(run)[layer].equal(of_level[layer]) for layer in of_level)
        assert_sparse(state, of_level)
        assert_sparse(weights(run), of_level)
        kept = of_level["conv.weight"]
        same = state["conv.weight"][kept] == made.starts.initial["conv.weight"][kept]
        assert not same.any()
    other = begun(made, kind, start_at=start_at, folder=f"{name}_b", seed=2)
    assert not toys.equal(other[0][1], found[0][1])


def other_session(classes=3, **changes):
    data = toys.data()
    if classes != 3:
        names = tuple("abcdefg"[:classes])
        data = replace(data, class_names=names)
    return lambda: Session(toys.recipe(**changes), data, toys.SEEDS, toys.RUNTIME)


def test_a_level_is_retrained_with_other_hyperparameters(made):
    session = other_session(epochs=2, batch_size=10)  # four iterations an epoch, not three
    found = begun(made, "retrain", session, folder="retrain_a")
    assert [place for place, _ in found] == [5, 5]  # 1ep1it
    dense = weights(made.tree.level(0), 4)
    for level, (_, state) in enumerate(found, start=1):
        run, of_level = made.tree.branch(level, "retrain_a"), mask(made.tree.level(level))
        assert toys.equal(state, masks.apply_mask(dense, of_level))
        assert_sparse(weights(run, 8), of_level)
        assert run.read_result()["iteration"] == 8


def test_a_level_is_retrained_on_other_classes_with_a_fresh_output_layer(made):
    session = other_session(classes=5)
    found = begun(made, "retrain", session, folder="retrain_b", start_at="init")
    assert [place for place, _ in found] == [0, 0]
    for level, (_, state) in enumerate(found, start=1):
        kept = mask(made.tree.branch(level, "retrain_b"))
        assert kept["output.weight"].shape == (5, 64) and kept["output.weight"].all()
        expected = masks.apply_mask(made.starts.initial, mask(made.tree.level(level)))
        assert state["conv.weight"].equal(expected["conv.weight"])
        assert state["output.weight"].shape == (5, 64)


def test_retraining_that_would_begin_after_its_end_is_refused(made):
    message = "^retrain: begins at 1ep1it, the rewind step of levels, .* before its end, 1ep; retr"
    with pytest.raises(ValueError, match=message):
        branched(made, "retrain", other_session(epochs=1), folder="retrain_c")


def test_a_branch_is_trained_once_and_says_what_it_is(made):
    branched(made, folder="prune_once")
    before = made.num_steps
    runs_made = branched(made, folder="prune_once")
    assert made.num_steps == before
    for level, run in enumerate(runs_made, start=1):
        result = run.read_result()
        assert (result["level"], result["branch"]) == (level, "randomly_prune words")
        _, said = store_files.load_weights(run.weights(9))
        assert said["mask"]["file"] == "../mask.safetensors"
        with plan.sparsity_file(run).open() as file:
            *_, total = csv.DictReader(file)
        assert float(total["density"]) == result["density"] == masks.density(mask(run))


def test_a_branch_that_empties_a_layer_is_named(tmp_path):
    made = grown(study(tmp_path, levels=1))
    few = {name: torch.zeros_like(kept) for name, kept in made.mask(1).items()}
    few["conv.weight"].view(-1)[0] = True
    few["output.weight"].view(-1)[:2] = True
    made.mask = lambda level: few
    message = "^branch=randomly_prune: level 1 would empty conv.weight: no weight is left of it$"
    with pytest.raises(ValueError, match=message):
        for seed in range(30):  # one weight in four goes to the smaller layer
            branched(made, strategy="global", seed=seed, folder=f"prune_{seed}")


ALL = ("data_order", "augmentation", "dropout")
NAME = "instability_0123456789"


def children(made_children, seeds=(2, 3), vary=ALL, folder=NAME):
    return Children(made_children, folder, "instability words", seeds, vary)


def brought_up(made_children, *arguments, **options):
    """Children of all levels, trained."""
    of = children(made_children, *arguments, **options)
    for level in made_children.plan.levels:
        of.train(level)
    return of


def by_hand(made_children, level, seed, vary):
    """All models of a child that left level 0 at step 4, made of a session and nothing else."""
    kept = mask(made_children.tree.level(level)) if level else None
    recipe = toys.recipe(constraint=partial(Masking, mask=kept) if level else None)
    seeds = replace(toys.SEEDS, **{name: seed for name in vary})
    session = Session(recipe, toys.data(), seeds, toys.RUNTIME)
    session.load_snapshot(made_children.tree.level(0), 4)
    if level:
        masked_training.mask_session_(session, kept)
    loop.train(session.training, session.batches, 9, update_averages(session))
    return session.models()


@pytest.fixture(scope="module")
def made_children(tmp_path_factory):
    """A study that rewinds to the middle of an epoch, with children."""
    made = grown(study(tmp_path_factory.mktemp("study"), rewind_step="4it"))
    brought_up(made)
    return made


@pytest.mark.parametrize("vary", [ALL, ("data_order",), ("augmentation",), ("dropout",)], ids=str)
def test_children_are_those_of_sessions_made_by_hand(made_children, vary):
    brought_up(made_children, vary=vary, folder=f"instability_{'_'.join(vary)}")
    for level in made_children.plan.levels:
        for seed in (2, 3):
            run = made_children.tree.child(level, f"instability_{'_'.join(vary)}", seed)
            for name, expected in by_hand(made_children, level, seed, vary).items():
                assert toys.equal(weights(run, model=name), expected)


def test_each_stream_makes_other_children(made_children):
    for level in made_children.plan.levels:
        found = [weights(made_children.tree.level(level))]
        found += [
            by_hand(made_children, level, 2, vary)["plain"] for vary in (ALL, *([n] for n in ALL))
        ]
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
    made = grown(
        study(tmp_path, weights=lambda initial: given, pretrain=Pretrain(hparams={"steps": "1ep"}))
    )
    brought_up(made, seeds=[1])
    for level in made.plan.levels:
        assert_same(made.tree.child(level, NAME, 1), made.tree.level(level))
    assert made.num_steps == 2 * 3 * 6


def test_every_network_of_a_child_is_sparse_and_names_its_mask(made_children):
    for level in (1, 2):
        of_level = mask(made_children.tree.level(level))
        for seed in (2, 3):
            run = made_children.tree.child(level, NAME, seed)
            assert all(mask(run)[name].equal(kept) for name, kept in of_level.items())
            files = list((run.folder / "weights").glob("*.safetensors"))
            assert len(files) == 5  # plain, two averages, best, best_averaged
            for file in files:
                assert_sparse(store_files.load_weights(file)[0], of_level)
            constraint = masked_training.masking_from_file(str(run.weights(9)))
            model = made_children.starts.session.model
            model.load_state_dict(made_children.starts.initial)
            constraint(model).on_weights()
            assert_sparse(model.state_dict(), of_level)


def test_children_of_the_dense_network_are_dense(made_children):
    for seed in (2, 3):
        run = made_children.tree.child(0, NAME, seed)
        _, said = store_files.load_weights(run.weights(9))
        assert "mask" not in said and said["density"] == 1
        assert not plan.mask_file(run).exists()
        state = weights(run)
        assert all(
            state[name].all()
            for name in masks.prunable_layers(made_children.starts.session.model).sizes
        )


def test_a_child_says_what_it_is(made_children):
    _, said = store_files.load_weights(made_children.tree.child(2, NAME, 3).weights(9))
    assert (said["level"], said["branch"], said["child_seed"]) == (2, "instability words", 3)
    assert said["vary"] == ["augmentation", "data_order", "dropout"]
    assert said["density"] == masks.density(mask(made_children.tree.level(2)))


def test_children_are_trained_once_and_more_of_them_are_added(made_children):
    before = made_children.num_steps
    brought_up(made_children)
    assert made_children.num_steps == before
    of = brought_up(made_children, seeds=[2, 5])
    assert made_children.num_steps == before + 3 * 5
    files = of.train(1)
    assert files == {seed: made_children.tree.child(1, NAME, seed).weights(9) for seed in (2, 5)}


def test_a_branch_is_summed_up_when_all_of_it_is_done(made_children):
    assert made_children.tree.instabilities(2) == made_children.tree.branches(2) == []
    of = children(made_children, vary=("dropout", "data_order"))
    of.finish(2)
    run = made_children.tree.branch(2, NAME)
    assert (made_children.tree.instabilities(2), made_children.tree.branches(2)) == ([NAME], [])
    assert json.loads(run.result.read_text()) == {
        "level": 2,
        "strategy": "sparse_global",
        "rewind": "weights",
        "rewind_step": 4,
        "density": masks.density(mask(made_children.tree.level(2))),
        "branch": "instability words",
        "vary": ["data_order", "dropout"],
    }
    before = run.result.stat().st_mtime_ns
    of.finish(2)
    assert run.result.stat().st_mtime_ns == before


@pytest.mark.parametrize("killed_at", [3, 8])
def test_a_killed_child_goes_on_bit_for_bit(made_children, tmp_path, monkeypatch, killed_at):
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
        assert_same(again.tree.child(1, NAME, seed), made_children.tree.child(1, NAME, seed))
