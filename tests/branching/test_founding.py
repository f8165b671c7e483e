import dataclasses
from typing import Any

import pytest
import torch

from isthmus.branching import family as branching_family
from isthmus.branching.family import BranchFamily, FamilyConfig
from isthmus.branching.plan import SpawnTree
from isthmus.config import launch
from isthmus.data.splits import Split
from isthmus.store import files
from isthmus.training import options
from isthmus.training.recipe import Recipe, Runtime, StreamSeeds
from tests import toys
from tests.branching.families import asked, assert_same_moment, trained, weights

STEPS = {"spawn_steps": ["0ep", "1it"], "child_length": "2it", "child_seeds": [2]}


def values(**changes: Any) -> dict[str, Any]:
    """A configuration of `Family`: one epoch of an MLP on the digits in nine steps."""
    own = dataclasses.asdict(options.Family())
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


def founded(folder, **changes):
    return branching_family.build_family(values(**changes), SpawnTree(folder))


def test_a_family_is_what_the_parts_make_by_hand(tmp_path):
    made = founded(tmp_path / "founded", vary=["dropout", "data_order"], global_seed=5)
    own = values(vary=["dropout", "data_order"], global_seed=5)
    recipe = Recipe(**launch.recipe(launch.training(own)))
    data = launch.load_data(own["dataset"], 5)
    origins = FamilyConfig(recipe, data, StreamSeeds(5, 5, 5, 5), ["dropout", "data_order"])
    by_hand = BranchFamily(SpawnTree(tmp_path / "by_hand"), origins, Runtime(**launch.runtime(own)))
    for family in (made, by_hand):
        trained(family, ["1ep"], **STEPS)
    assert_same_moment(made.tree.parent, by_hand.tree.parent, 9)
    children = (family.tree.child("1it", 2) for family in (made, by_hand))
    assert_same_moment(*children, 3)


@pytest.mark.parametrize("stream", ["initialization", "data_order", "augmentation", "dropout"])
def test_every_stream_of_chance_has_its_own_seed_or_the_global_one(tmp_path, stream):
    made = founded(tmp_path, seeds={stream: 9}, global_seed=4)
    assert made.origins.seeds == dataclasses.replace(StreamSeeds(4, 4, 4, 4), **{stream: 9})


def test_weights_say_how_they_were_trained(tmp_path):
    own = values()
    made = branching_family.build_family(own, SpawnTree(tmp_path))
    made.train_parent(made.plan(asked(child_length="1it")))
    _, metadata = files.load_weights(made.tree.parent.weights(9))
    assert set(metadata["config"]) == {
        field.name for field in dataclasses.fields(options.Train)
    } - {"runtime", "output_dir", "snapshots"}
    assert metadata["config"]["model"] == own["model"] | {"_target_": "MLP"}


def test_a_part_that_refuses_its_values_is_named_before_the_data_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "load_data", None)
    with pytest.raises(ValueError, match="^optimizer.lr: must be "):
        founded(tmp_path, optimizer={"lr": -1.0})
    assert list(tmp_path.iterdir()) == []


def test_without_pretraining_the_parent_begins_from_its_initialization(tmp_path):
    assert founded(tmp_path).origins.weights is None


@pytest.fixture
def given(tmp_path):
    """A file of weights that fit."""
    made = founded(tmp_path / "given", global_seed=7)
    path = tmp_path / "given.safetensors"
    files.save_weights(path, made.session.model.state_dict(), {})
    return path


def test_given_weights_are_what_the_parent_begins_from(tmp_path, given):
    made = founded(tmp_path / "tree", pretrain={"weights": str(given)})
    made.train_parent(made.plan(asked(child_length="1it")))
    assert toys.equal(weights(made.tree.parent, 0), files.load_weights(given)[0])
    assert not made.tree.pretrain.folder.exists()


def test_given_weights_that_are_not_there_are_named(tmp_path, given):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*x.safetensors; that folder has"):
        founded(tmp_path / "tree", pretrain={"weights": str(given.with_name("x.safetensors"))})


def test_given_weights_of_another_architecture_are_refused(tmp_path, given):
    made = founded(tmp_path / "tree", pretrain={"weights": str(given)}, model={"width": 5})
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
    read, load = [], launch.load_data
    monkeypatch.setattr(launch, "load_data", lambda *a: read.append(a) or load(*a))
    again = founded(tmp_path, pretrain=own)
    trained(again, **STEPS)
    assert again.num_steps == 0
    assert len(read) == 1


def test_a_pretraining_with_inputs_of_another_shape_is_refused(tmp_path, monkeypatch):
    load = launch.load_data

    def larger(node, seed):
        data = load(node, seed)
        if node["subsample_fraction"] == 0.4:
            return data
        train = Split(
            torch.zeros(8, 1, 9, 9, dtype=torch.uint8), data.train.labels[:8], torch.arange(8)
        )
        return dataclasses.replace(data, train=train)

    monkeypatch.setattr(launch, "load_data", larger)
    message = (
        r"^pretrain.dataset: has inputs of shape \[1, 9, 9\], and dataset of shape \[1, 8, 8\]$"
    )
    with pytest.raises(ValueError, match=message):
        founded(tmp_path, pretrain={"dataset": {"subsample_fraction": 0.1}})
    assert list(tmp_path.iterdir()) == []


def test_labels_that_are_numbers_are_refused(tmp_path):
    numbers = {"_target_": "isthmus.data.function_1d.Function1D"}
    with pytest.raises(ValueError, match="^dataset: compares accuracies"):
        branching_family.build_family(values() | {"dataset": numbers}, SpawnTree(tmp_path))


def test_the_parametrization_reaches_parent_and_children(tmp_path):
    part = {
        "_target_": "isthmus.widths.ipllr.IPLLR",
        "warmup_steps": 2,
        "cap": 0.1,
    }
    made = branching_family.build_family(values(parametrization=part), SpawnTree(tmp_path))
    plan = trained(made, **STEPS | {"child_seeds": [1, 2, 3]})
    assert plan.spawn_steps == [0, 1]
    for step in ("0ep", "1it"):
        for seed in (1, 2, 3):  # 1 is the parent's
            run = made.tree.child(step, seed)
            _, metadata = files.load_weights(run.weights(run.read_result()["iteration"]))
            assert metadata["config"]["parametrization"] == part | {"_target_": "IPLLR"}
            _, of_parent = files.load_weights(made.tree.parent.weights(0))
            assert metadata["first_lrs"] == of_parent["first_lrs"]
