import pytest
import torch

from isthmus.config import rebuild
from isthmus.extraction import stacks
from isthmus.extraction.stacks import rewrite_units
from tests.extraction.made import INPUTS, random_stack


@pytest.mark.parametrize("turn", [False, True])
def test_the_saved_model_computes_what_the_network_does(turn):
    network = random_stack("silu", [3, 4, 5, 2], 1)
    if turn:
        for number in (0, 1):
            signs = -torch.ones(1, network.widths[number]).double()
            network = rewrite_units(network, number, signs, torch.ones_like(signs))
    node = stacks.model_node(network)
    assert node["_target_"].endswith("SkipMLP" if turn else "MLP")
    model = rebuild.build_model(
        {"config": {"model": node}, "input_shape": [3], "num_classes": 2}
    ).double()
    model.load_state_dict(stacks.stack_state_dict(network))
    torch.testing.assert_close(model(INPUTS), network.outputs([INPUTS])[0])
