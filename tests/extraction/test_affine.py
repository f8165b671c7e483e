import pytest
import torch

from isthmus.extraction import reconstruction
from isthmus.extraction.stacks import StackLayer, rewrite_units
from tests.extraction.made import INPUTS, random_stack

EVEN_LINEAR = ["relu", "leaky_relu", "gelu", "silu", "softplus"]


def turned(name, widths=(4, 3), seed=0):
    """A network, and the same with some signs changed, from the last layer down."""
    network = random_stack(name, [3, *widths, 2], 1, seed)
    other = network
    for number in reversed(range(len(widths))):
        signs = torch.ones(1, widths[number]).double()
        signs[0, ::2] = -1
        other = rewrite_units(other, number, signs, torch.ones_like(signs))
    return network, other


@pytest.mark.parametrize("name", EVEN_LINEAR)
@pytest.mark.parametrize("widths", [(4,), (4, 3), (3, 4, 2)])
def test_paths_around_layers_are_folded_into_signs(name, widths):
    network, other = turned(name, widths)
    assert all(len(layer.blocks) > 1 for layer in other.layers[1:])
    folded = reconstruction.fold_signs(other, INPUTS)
    assert folded.left == (0.0,) * len(widths)
    for one, two in zip(folded.network.tensors(), network.tensors(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_path_that_no_signs_explain_stays():
    _, other = turned("gelu")
    first, last = other.layers[1], other.layers[2]
    odd = random_stack("gelu", [3, 3, 2], 1, seed=9).layers[0].blocks[0]
    other = other.with_layer(1, StackLayer((first.blocks[0], first.blocks[1] + odd), first.bias))
    folded = reconstruction.fold_signs(other, INPUTS)
    torch.testing.assert_close(folded.network.outputs([INPUTS]), other.outputs([INPUTS]))
    assert folded.left[0] == pytest.approx(reconstruction.share_of_path(folded.network, 0, INPUTS))
    assert folded.left[0] > reconstruction.NEGLIGIBLE
    assert (
        len(last.blocks) == 3
        and reconstruction.share_of_path(random_stack("gelu", [3, 4, 2], 1), 0, INPUTS) == 0
    )


def test_the_share_of_a_path_is_that_of_the_variance():
    network = random_stack("gelu", [3, 4, 2], 1)
    reader, path = network.layers[1], torch.randn(1, 2, 3, dtype=torch.float64)
    network = network.with_layer(1, StackLayer((reader.blocks[0], path), reader.bias))
    ours = (INPUTS @ path[0].T).var(dim=0).sum()
    whole = network.outputs([INPUTS])[0].var(dim=0).sum()
    assert reconstruction.share_of_path(network, 0, INPUTS) == pytest.approx(float(ours / whole))


@pytest.mark.parametrize(("name", "blocks"), [("softplus", 2), ("tanh", 1)])
def test_least_squares_finds_the_path_or_the_bias(name, blocks, monkeypatch):
    monkeypatch.setattr(reconstruction, "ROWS", 7)
    stack = random_stack(name, [3, 4, 2], 2)
    sources = stack.take([0]).sources([INPUTS], 1)
    sources = [INPUTS, sources[1][0]]
    upper = random_stack(name, [4, 2], 2, seed=3)
    path = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(2)).double()
    added = INPUTS @ path.transpose(1, 2) if blocks == 2 else torch.zeros(2, 1, 1)
    targets = list(upper.outputs(sources) + added + torch.tensor([5.0, -7.0]))
    found = reconstruction.fit_affine_layer(upper, sources, targets).layers[0]
    assert len(found.blocks) == blocks
    assert found.blocks[0].equal(upper.layers[0].blocks[0])
    torch.testing.assert_close(
        found.bias, upper.layers[0].bias + torch.tensor([5.0, -7.0]).double()
    )
    if blocks == 2:
        torch.testing.assert_close(found.blocks[1], path)
        again = reconstruction.fit_affine_layer(
            upper.with_layer(0, found), sources, targets
        ).layers[0]
        torch.testing.assert_close(again.blocks[1], path)


def test_inputs_that_never_change_get_no_weight():
    inputs = torch.cat([INPUTS, torch.full((len(INPUTS), 2), 3.0)], dim=1)
    sources = [inputs, INPUTS]
    upper = random_stack("relu", [3, 2], 1)
    targets = list(upper.outputs(sources) + INPUTS[:, :1])
    found = reconstruction.fit_affine_layer(upper, sources, targets).layers[0]
    expected = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]).double()
    torch.testing.assert_close(found.blocks[1][0, :, :3], expected)
    assert found.blocks[1][0, :, 3:].abs().max() < 1e-6  # of least norm, the bias is elsewhere
