import pytest
import torch
from torch import nn

from src import chance
from src.training import given_dropout

CPU = torch.device("cpu")
INPUTS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """Uses one dropout twice and another, first registered, in between."""

    def __init__(self, inplace=False, first=0.5):
        super().__init__()
        self.between, self.twice = nn.Dropout(0.3), nn.Dropout(first, inplace)
        self.linear, self.unused = nn.Linear(5, 4), nn.Linear(5, 4)

    def forward(self, inputs):
        return self.twice(self.linear(self.between(self.twice(inputs + 0))))


@pytest.mark.parametrize("first", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("inplace", [False, True])
def test_given_masks_are_those_that_each_network_would_draw(inplace, first):
    model = Twice(inplace, first).train()
    rehearsal = given_dropout.rehearse(model, INPUTS, autocast=None)
    masks = given_dropout.draw(rehearsal.dropouts, [3, 4], 7, CPU)
    assert [mask.shape for mask in masks] == [(2, 6, 5), (2, 6, 5), (2, 6, 4)]
    for index, seed in enumerate([3, 4]):
        chance.start_stream(CPU, seed, "dropout", 7)
        expected = model(INPUTS)
        given = Twice(inplace, first)
        given.load_state_dict(model.state_dict())
        given_dropout.give_masks_(given)[:] = [mask[index] for mask in masks]
        assert torch.equal(given(INPUTS), expected)


def test_masks_follow_the_memory_format_and_type_of_what_they_are_applied_to():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5)).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
    rehearsal = given_dropout.rehearse(model, images, torch.bfloat16)
    ((_, ones),) = rehearsal.dropouts
    assert ones.dtype == torch.bfloat16 and ones.is_contiguous(memory_format=torch.channels_last)


def test_a_rehearsal_names_the_parameters_in_use_and_leaves_the_model_alone():
    model = Twice().eval()
    model.linear.bias.requires_grad_(False)
    rehearsal = given_dropout.rehearse(model, INPUTS, None)
    assert rehearsal.used == {"linear.weight"}
    assert not model.training and not model.twice._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_without_dropout_there_are_no_masks_and_nothing_is_drawn():
    before = torch.get_rng_state()
    assert given_dropout.draw([], [1, 2], 0, CPU) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_other_kinds_of_dropout_are_not_replaced():
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5))
    given_dropout.give_masks_(model)
    assert [type(module) for module in model] == [given_dropout.GivenDropout, nn.Dropout2d]
