import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.training.stacked_gradients import StackedGradients, stack_of, tensors_of
from tests import toys


def networks(make=lambda: toys.Small((2, 4, 4), 3), num=3):
    torch.manual_seed(0)
    made = [make() for _ in range(num)]
    for model in made:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    return made


def batch(num=3, size=8):
    generator = torch.Generator().manual_seed(size)
    inputs = torch.randn(num, size, 2, 4, 4, generator=generator)
    return inputs, torch.randint(3, (num, size), generator=generator)


class Odd(nn.Module):
    """A scalar parameter, a shared one, one that is not used, and a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(2, 2)
        self.register_buffer("calls", torch.tensor(0), persistent=False)

    def forward(self, inputs):
        self.calls += 1
        return self.scale * self.second(self.first(inputs.flatten(1)))[:, :3]


@pytest.mark.parametrize("make", [lambda: toys.Small((2, 4, 4), 3), Odd])
@pytest.mark.parametrize("captured", [True, False])
def test_losses_gradients_and_buffers_are_those_of_each_by_itself(make, captured):
    models = networks(make)
    gradients = StackedGradients(models, [0, 1, 2], 8 if captured else None, autocast=None)
    for iteration in range(2):
        inputs, labels = batch()
        losses, correct = gradients(inputs, labels, iteration)
        for index, model in enumerate(models):
            model.zero_grad()
            logits = model.train()(inputs[index])
            loss = F.cross_entropy(logits, labels[index])
            loss.backward()
            torch.testing.assert_close(losses[index], loss)
            assert correct[index] == (logits.argmax(dim=1) == labels[index]).sum()
            for name, parameter in gradients.parameters.items():
                expected = model.get_parameter(name).grad
                found = None if parameter.grad is None else parameter.grad[index]
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
            for name, buffer in model.named_buffers():
                torch.testing.assert_close(tensors_of(gradients.stack)[name][index], buffer)


def test_only_full_batches_are_captured():
    gradients = StackedGradients(networks(), [0, 1, 2], 8, autocast=None)
    gradients(*batch(size=5), iteration=0)
    assert gradients._captured is None
    gradients(*batch(size=8), iteration=1)
    assert gradients._captured is not None


def test_gradients_have_the_strides_of_their_parameters():
    models = [model.to(memory_format=torch.channels_last) for model in networks()]
    gradients = StackedGradients(models, [0, 1, 2], 8, autocast=None)
    gradients(*batch(), iteration=0)
    assert all(p.grad.stride() == p.stride() for p in gradients.parameters.values())


def test_frozen_parameters_get_no_gradient():
    models = networks()
    for model in models:
        model.conv.weight.requires_grad_(False)
    gradients = StackedGradients(models, [0, 1, 2], 8, autocast=None)
    gradients(*batch(), iteration=0)
    assert "conv.weight" not in gradients.parameters
    assert dict(gradients.stack.named_parameters())["conv.weight"].grad is None


def test_the_models_are_copied_not_taken():
    models = networks()
    before = copy.deepcopy(models[0].state_dict())
    stack = stack_of(models)
    stack.conv.weight.data.zero_()
    assert toys.equal(models[0].state_dict(), before)
    assert stack.state_dict().keys() == before.keys()
    assert stack.bn.num_batches_tracked.shape == (3,)
