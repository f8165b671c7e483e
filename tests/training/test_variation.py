from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.data.splits import Augmentation
from isthmus.training.loop import train
from isthmus.training.session import Session
from isthmus.training.variation import check_variation, draws_random_numbers, reason_without_effect
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
