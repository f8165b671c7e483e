import pytest
import torch

from isthmus.connectivity.tracing import chunks, load_network
from tests.connectivity import networks


def test_chunks_are_all_inputs_in_order():
    inputs = torch.arange(7)
    parts = chunks(inputs, 3)
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(list(parts)), inputs)


def test_a_chunk_and_the_inputs_have_an_example():
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        chunks(torch.zeros(3), 0)
    with pytest.raises(ValueError, match="^inputs: activations need at least one example, got no"):
        chunks(torch.zeros(0, 3), 5)


def test_loaded_weights_are_a_copy_in_evaluation_mode():
    model, _ = networks.made("mlp")
    weights = networks.weights(model, seed=1)
    copy = load_network(model.train(), weights)
    assert model.training and not copy.training
    for name, tensor in copy.state_dict().items():
        assert torch.equal(tensor, weights[name])
        assert tensor.data_ptr() not in (
            weights[name].data_ptr(),
            model.state_dict()[name].data_ptr(),
        )
