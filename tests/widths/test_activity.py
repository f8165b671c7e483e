import torch

from isthmus.widths import diagnostics, layers
from tests.widths.networks import INPUTS, mlp


def test_what_goes_in_and_out_is_that_of_a_forward_pass_by_hand():
    model = mlp(8, 2)
    found = diagnostics.record_activations(model, layers.scaled_layers(model), INPUTS)
    first = INPUTS @ model.hidden[0].weight.T + model.hidden[0].bias
    torch.testing.assert_close(found.outputs["hidden.0"], first)
    torch.testing.assert_close(found.inputs["hidden.1"], torch.relu(first))
    torch.testing.assert_close(found.inputs["hidden.0"], INPUTS)
    torch.testing.assert_close(found.result, model(INPUTS))
    torch.testing.assert_close(found.outputs["output"], found.result)


def test_other_weights_can_be_lent():
    model, other = mlp(8, 2), mlp(8, 2)
    found = diagnostics.record_activations(
        model, layers.scaled_layers(model), INPUTS, other.state_dict()
    )
    torch.testing.assert_close(found.result, other(INPUTS))


def test_the_model_is_left_as_it_was():
    model = mlp(8, 2).train()
    diagnostics.record_activations(model, layers.scaled_layers(model), INPUTS)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_diversity_counts_the_units_that_are_largest_for_some_example():
    outputs = torch.tensor([[3.0, 1, 2], [5, 0, 9], [4, 1, 0]])
    assert diagnostics.diversity(outputs) == 2
    assert diagnostics.mean_absolute(torch.tensor([-1.0, 3.0])) == 2
