import pytest
import torch

from isthmus.models.mlp import MLP
from isthmus.models.skip_mlp import SkipMLP

INPUTS = torch.randn(7, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def test_layers_read_what_is_before_them_the_nearest_first():
    model = SkipMLP((1, 2, 2), 3, [5, 6], [1, 2, 3], activation="tanh")
    flat = INPUTS.flatten(1)
    first = torch.tanh(model.hidden[0](flat))
    second = torch.tanh(model.hidden[1](torch.cat([first, flat], dim=1)))
    expected = model.output(torch.cat([second, first, flat], dim=1))
    assert model(INPUTS).equal(expected)


def test_without_paths_it_is_an_mlp():
    model, plain = SkipMLP((4,), 3, [5, 6], [1, 1, 1]), MLP((4,), 3, [5, 6])
    plain.load_state_dict(model.state_dict())
    inputs = INPUTS.flatten(1)
    assert model(inputs).equal(plain(inputs))


@pytest.mark.parametrize("reads", [[1, 2], [1, 2, 4], [0, 1, 1], [2, 1, 1]])
def test_what_is_not_there_cannot_be_read(reads):
    with pytest.raises(ValueError, match="^reads: must be 3 numbers, the k-th from 1 to k, got"):
        SkipMLP((4,), 3, [5, 6], reads)
