from typing import get_args

import pytest
import torch

from isthmus.extraction import stacks
from isthmus.extraction.stacks import SYMMETRIES, Stack, StackLayer, rewrite_units
from isthmus.models import layers
from isthmus.models.mlp import MLP
from isthmus.training import rebuild
from tests.extraction.made import INPUTS, random_stack

SIGNED = [name for name, each in SYMMETRIES.items() if each.sign]


@pytest.mark.parametrize("widths", [[4], [5, 4], [3, 1, 6]])
def test_each_network_computes_what_its_own_module_computes(widths):
    stack = random_stack("gelu", [3, *widths, 2], num_students=3)
    outputs = stack.outputs([INPUTS])
    for n in range(3):
        model = MLP((3,), 2, widths, activation="gelu").double()
        values = zip(model.parameters(), stack.take([n]).tensors(), strict=True)
        for parameter, tensor in values:
            parameter.data = tensor[0]
        torch.testing.assert_close(outputs[n], model(INPUTS))


def test_a_layer_reads_those_before_it_too():
    layer = StackLayer((torch.tensor([[[2.0]]]), torch.tensor([[[30.0]]])), torch.tensor([[400.0]]))
    sources = [torch.tensor([[9.0]]), torch.tensor([[1.0]]), torch.tensor([[[3.0]]])]
    assert layer.pre_activations(sources).item() == 2 * 3 + 30 * 1 + 400
    assert layer.vectors().tolist() == [[[2, 30, 400]]]


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_changing_signs_and_lengths_changes_nothing_that_is_computed(name, number):
    stack = random_stack(name, [3, 4, 5, 3, 2], num_students=2)
    for each in ([0, 1, 2], [number]):  # all below it first: then the layer has several blocks
        for layer in [k for k in each if k <= number]:
            width = stack.widths[layer]
            signs = 1.0 - 2 * (torch.arange(2 * width).view(2, width) % 3 == 0).double()
            scales = torch.linspace(0.5, 2, 2 * width).double().view(2, width)
            scales = scales if stack.symmetry.scales else torch.ones_like(scales)
            found = rewrite_units(stack, layer, signs, scales)
            torch.testing.assert_close(found.outputs([INPUTS]), stack.outputs([INPUTS]))
            torch.testing.assert_close(
                found.layers[layer].bias, signs / scales * stack.layers[layer].bias
            )
            stack = found


def test_what_the_activation_does_not_allow_is_refused():
    ones = torch.ones(2, 4)
    for name in ("g", "elu"):
        stack = random_stack(name, [3, 4, 2], num_students=2)
        with pytest.raises(ValueError, match=f"^activation={name}: the sign of a unit cannot be"):
            rewrite_units(stack, 0, -ones, ones)
    with pytest.raises(ValueError, match="^activation=tanh: the length of a unit cannot be chang"):
        rewrite_units(random_stack("tanh", [3, 4, 2], num_students=2), 0, ones, 2 * ones)


def test_some_of_the_networks_are_taken_in_order_and_moved():
    stack = random_stack("tanh", [3, 4, 2], num_students=3)
    assert torch.equal(stack.take([2, 0]).layers[1].bias, stack.layers[1].bias[[2, 0]])
    assert (stack.num_students, stack.widths, stack.take([1]).num_students) == (3, [4, 2], 1)
    assert {tensor.dtype for tensor in stack.to(torch.float32).tensors()} == {torch.float32}
    assert isinstance(stack, Stack)


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


POINTS = torch.linspace(-4, 4, 81, dtype=torch.float64)


@pytest.mark.parametrize("name", get_args(layers.Activation))
def test_each_activation_has_the_symmetry_that_it_is_said_to_have(name):
    symmetry, s = SYMMETRIES[name], layers.build_activation(name)
    if symmetry.sign == "odd":
        torch.testing.assert_close(s(POINTS), symmetry.constant - s(-POINTS))
    elif symmetry.sign == "even_linear":
        torch.testing.assert_close(s(POINTS) - s(-POINTS), symmetry.slope * POINTS)
    if symmetry.scales:
        torch.testing.assert_close(s(3 * POINTS), 3 * s(POINTS))


@pytest.mark.parametrize("name", [name for name, each in SYMMETRIES.items() if each.sign is None])
def test_an_activation_without_symmetry_has_none_of_them(name):
    s = layers.build_activation(name)
    even, odd = s(POINTS) + s(-POINTS), s(POINTS) - s(-POINTS)
    assert even.std() > 0.1  # not odd around a constant
    assert (odd / POINTS)[POINTS != 0].std() > 0.1  # not a line


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch", [1, 7])
def test_what_a_layer_reads_is_the_sum_of_a_loop_over_blocks(batch, seed):
    widths, students = (3, 4, 2, 5), 3  # the nearest block first
    blocks = [draw(students, 6, width, seed=seed + k) for k, width in enumerate(widths)]
    bias = draw(students, 6, seed=seed + 10)
    shared = [False, True, True, False]  # whether all networks read the same
    sources = [
        draw(*([] if same else [students]), batch, width, seed=seed + 20 + k)
        for k, (width, same) in enumerate(zip(widths, shared, strict=True))
    ]
    found = StackLayer(tuple(blocks), bias).pre_activations([bias, *reversed(sources)])
    for n in range(students):
        expected = bias[n].expand(batch, 6)
        for block, source, same in zip(blocks, sources, shared, strict=True):
            expected = expected + (source if same else source[n]) @ block[n].T
        torch.testing.assert_close(found[n], expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SYMMETRIES)
def test_rewriting_changes_neither_outputs_nor_what_other_layers_give(name, seed):
    stack = random_stack(name, [3, 4, 5, 2], 2, seed)
    rewritten = stack
    for number in (1, 0):  # the second first: the first has to be passed by
        width = stack.widths[number]
        signs, scales = torch.ones(2, width).double(), torch.ones(2, width).double()
        if stack.symmetry.sign:
            signs = draw(2, width, seed=seed).sign()
        if stack.symmetry.scales:
            scales = 0.2 + draw(2, width, seed=seed + 1).abs()
        before = rewritten
        rewritten = rewrite_units(rewritten, number, signs, scales)
        torch.testing.assert_close(rewritten.outputs([INPUTS]), stack.outputs([INPUTS]))
        back = rewrite_units(rewritten, number, signs, 1 / scales)
        for layer, other in zip(back.layers, before.layers, strict=True):
            torch.testing.assert_close(layer.bias, other.bias)
            torch.testing.assert_close(layer.blocks[0], other.blocks[0])
            # A path around a layer that was added is zero where the signs are those of before.
            for k, block in enumerate(layer.blocks[1:], start=1):
                whole = other.blocks[k] if k < len(other.blocks) else torch.zeros_like(block)
                torch.testing.assert_close(block, whole)


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("number", [0, 1])
def test_neither_order_nor_splitting_of_units_changes_outputs(name, number):
    stack = random_stack(name, [3, 4, 3, 2], 2)
    layer, reader = stack.layers[number], stack.layers[number + 1]
    order = torch.tensor([2, 0, 1, 0, *range(3, stack.widths[number])])  # unit 0 twice
    shares = torch.ones(len(order)).double()
    shares[1], shares[3] = 0.25, 0.75
    wide = StackLayer((layer.blocks[0][:, order],), layer.bias[:, order])
    reads = StackLayer((reader.blocks[0][:, :, order] * shares,), reader.bias)
    split = stack.with_layer(number, wide).with_layer(number + 1, reads)
    torch.testing.assert_close(split.outputs([INPUTS]), stack.outputs([INPUTS]))
    signs = torch.ones(2, len(order)).double()
    if stack.symmetry.sign:
        signs[:, 1] = -1  # one half of the split unit turns
        turned = rewrite_units(split, number, signs, torch.ones_like(signs))
        torch.testing.assert_close(turned.outputs([INPUTS]), stack.outputs([INPUTS]))
