from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.branching.options import Spawn
from isthmus.data.splits import Augmentation
from isthmus.pruning.options import Instability, Prune
from isthmus.training.effects import (
    check_variation,
    draws_random_numbers,
    log_modes_without_effect,
    log_seeds_without_effect,
    reason_without_effect,
)
from isthmus.training.loop import train
from isthmus.training.options import Seeds, Train
from isthmus.training.session import Session
from tests import toys

ALL = ["data_order", "augmentation", "dropout"]


class Without(toys.Small):
    """As the toys, without dropout."""

    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.dropout = nn.Identity()


class ByFunction(Without):
    """Dropout by a function, which no module tells of."""

    def forward(self, inputs):
        return super().forward(F.dropout(inputs, 0.1, training=self.training))


class ByNothing(Without):
    """Dropout of nothing."""

    def forward(self, inputs):
        return super().forward(F.dropout(inputs, 0.0, training=self.training))


def session(model=toys.Small, augment=True, num_train=40, **changes):
    data = toys.data(num_train, augment=augment)
    return Session(toys.recipe(model=model, **changes), data, toys.SEEDS, toys.RUNTIME)


@pytest.mark.parametrize(
    ("model", "draws"),
    [(toys.Small, True), (ByFunction, True), (Without, False), (ByNothing, False)],
)
def test_a_network_draws_random_numbers_if_dropout_leaves_anything_out(model, draws):
    made = session(model)
    before = [tensor.clone() for tensor in made.model.state_dict().values()]
    state = torch.get_rng_state()
    assert draws_random_numbers(made) is draws
    assert torch.get_rng_state().equal(state)
    assert all(map(torch.equal, before, made.model.state_dict().values()))


@pytest.mark.parametrize(
    ("changes", "effective"),
    [
        ({}, list(ALL)),
        ({"model": Without}, ["data_order", "augmentation"]),
        ({"augment": False}, ["data_order", "dropout"]),
        ({"model": Without, "batch_size": 39}, ["data_order", "augmentation"]),
        ({"model": Without, "batch_size": 40}, ["augmentation"]),
        ({"batch_size": 40}, list(ALL)),  # which examples share a mask
        ({"model": Without, "augment": False, "batch_size": 64}, []),
    ],
    ids=str,
)
def test_streams_have_an_effect_where_there_is_something_to_change(changes, effective):
    made = session(**changes)
    assert {stream for stream in ALL if reason_without_effect(made, stream) is None} == set(
        effective
    )
    initial = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    for stream in ALL:  # the oracle: trainings with another seed of the stream
        ends = []
        for seed in (1, 2):
            made.restart(replace(toys.SEEDS, **{stream: seed}), initial)
            train(made.training, made.batches, 3, [])
            ends.append(torch.cat([p.detach().flatten() for p in made.model.parameters()]))
        difference = (ends[0] - ends[1]).abs().max().item()
        assert difference > 1e-3 if stream in effective else difference < 1e-5, stream


def test_an_augmentation_that_does_nothing_is_none():
    made = session(augment=False)
    object.__setattr__(made.data, "augmentation", Augmentation())
    assert reason_without_effect(made, "augmentation") is not None


@pytest.mark.parametrize(
    ("changes", "vary"),
    [
        ({"model": Without}, ["dropout"]),
        ({"augment": False}, ["augmentation"]),
        ({"model": Without, "augment": False}, ["augmentation", "dropout"]),
        ({"model": Without, "batch_size": 40}, ["data_order"]),
    ],
    ids=str,
)
def test_children_that_would_be_one_network_are_refused(changes, vary):
    with pytest.raises(ValueError, match=rf"^vary=\[{','.join(vary)}\]: .*") as error:
        check_variation(session(**changes), vary)
    assert all(f"{stream} (" in str(error.value) for stream in vary)


@pytest.mark.parametrize(
    ("changes", "idle"), [({}, []), ({"model": Without}, ["dropout"])], ids=str
)
def test_streams_without_effect_are_said_where_others_have_one(changes, idle, caplog):
    with caplog.at_level("INFO"):
        check_variation(session(**changes), ALL)
    (said,) = [record.getMessage() for record in caplog.records] or [""]
    assert [stream for stream in ALL if f"{stream} (" in said] == idle


@pytest.mark.parametrize(
    ("changes", "seeds", "logged"),
    [
        ({"model": Without}, {"dropout": 5}, ["seeds.dropout=5"]),
        ({"model": toys.Small}, {"dropout": 5, "data_order": 2}, []),
        ({"augment": False}, {"augmentation": 3}, ["seeds.augmentation=3"]),
        ({"augment": False}, {}, []),  # none was chosen
    ],
)
def test_a_chosen_seed_of_a_stream_without_draws_is_logged(changes, seeds, logged, caplog):
    caplog.set_level("INFO")
    log_seeds_without_effect(toys.options(Train, seeds=Seeds(**seeds)), session(**changes))
    assert [line.partition(":")[0] for line in caplog.messages] == logged


@pytest.mark.parametrize(
    ("model", "is_logged"), [(nn.Linear(2, 2), True), (nn.BatchNorm1d(2), False)]
)
@pytest.mark.parametrize(
    ("cls", "values", "name"),
    [
        (Spawn, {"bn": "keep", "child_seeds": [1]}, "bn=keep"),
        (Prune, {"instability": Instability(bn="keep")}, "instability.bn=keep"),
        (
            Train,
            {"model": {"_target_": "isthmus.models.mlp.MLP", "bn_init": "uniform"}},
            "model.bn_init=uniform",
        ),
    ],
)
def test_a_mode_of_normalization_is_logged_where_a_network_has_none(
    cls, values, name, model, is_logged, caplog
):
    caplog.set_level("INFO")
    log_modes_without_effect(toys.options(cls, **values), model)
    assert [line.partition(":")[0] for line in caplog.messages] == [name] * is_logged
    caplog.clear()
    log_modes_without_effect(toys.options(Train), model)  # by its default
    assert caplog.messages == []
