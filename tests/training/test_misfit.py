import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.data.clusters import Clusters
from src.data.streams import StreamedTrainBatches
from src.models.mlp import MLP
from src.training.lookahead import Lookahead
from src.training.misfit import misfit, pays
from src.training.optimizers import adam, adamw, lookahead
from src.training.plateau import Plateau
from src.training.session import Session
from tests import toys


def session(**changes):
    return Session(toys.recipe(**changes), toys.data(), toys.SEEDS, toys.RUNTIME)


class Noisy(toys.Small):
    def forward(self, inputs):
        return F.dropout(super().forward(inputs), 0.5, self.training)


class Reading(toys.Small):
    def forward(self, inputs):
        return super().forward(inputs) * inputs.sum().item()


class Dropout2d(toys.Small):
    def __init__(self, *shapes):
        super().__init__(*shapes)
        self.dropout = nn.Dropout2d(0.2)


@pytest.mark.parametrize("optimizer", [adam, adamw, lookahead])
def test_elementwise_optimizers_fit(optimizer):
    assert misfit(session(optimizer=lambda parameters: optimizer(parameters, lr=0.1))) is None


def test_a_trial_changes_nothing():
    made = session()
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    assert misfit(made) is None
    assert toys.equal(made.model.state_dict(), before)
    assert type(made.model.dropout) is nn.Dropout
    assert all(parameter.grad is None for parameter in made.model.parameters())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scheduler": Plateau}, "depends on its validation loss"),
        ({"patience": 3}, r"hparams.patience=3"),
        ({"optimizer": lambda p: torch.optim.Rprop(p)}, "Rprop is not known to treat each weight"),
        (
            {"optimizer": lambda p: Lookahead(torch.optim.Rprop(p), 5, 0.5)},
            "Rprop is not known to treat each weight",
        ),
        ({"model": Noisy}, "random numbers other than those of nn.Dropout"),
        ({"model": Dropout2d}, "random numbers other than those of nn.Dropout"),
        ({"model": Reading}, r"cannot compute several of these networks at once \(.*item"),
    ],
)
def test_what_does_not_fit_is_explained(changes, reason):
    assert re.search(reason, misfit(session(**changes)))


def test_streamed_data_does_not_fit():
    made = session()
    made.batches = StreamedTrainBatches.__new__(StreamedTrainBatches)
    assert misfit(made) == "the training set stays in its files"


def test_it_pays_for_several_small_fully_connected_networks():
    assert pays(session(model=MLP), 2) and not pays(session(model=MLP), 1)
    assert not pays(session(model=lambda *shapes: MLP(*shapes, width=2000)), 8)
    assert not pays(session(), 8)


def test_another_loss_does_not_fit():
    data = Clusters(num_train=20, num_test=5).load(0)
    made = Session(toys.recipe(model=MLP), data, toys.SEEDS, toys.RUNTIME)
    assert misfit(made) == "the loss of this data set is logistic, not cross_entropy"
