"""What is left over where signs were changed: affine functions of a layer's own inputs.

For an activation with s(z) = s(-z) + slope * z, students that agree on the lines of their units may
differ in the signs, and with them in an affine function that bypasses the layer. It is found by
least squares, and vanishes where the signs can be chosen as the teacher's are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.extraction.stacks import Layer, Stack, rewritten

ROWS = 4096  # examples at a time
SINGULAR = 1e-12  # of the largest eigenvalue of the moments; below it a direction is not there
NEGLIGIBLE = 1e-2  # of the variance of what a layer reads


def fitted(upper: Stack, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Stack:
    """Students whose first layer comes closest to its targets, by its affine part alone.

    Where the activation is even-linear that is a path from all sources but the nearest, which the
    layer reads as it did, and the bias; else the bias. The path of least norm is added.

    Args:
        upper: the students.
        sources: (batch, features) each, what their first layer reads, the nearest last.
        targets: one a student, (batch, units), what should go into the activation.
    """
    first = upper.layers[0]
    others = list(reversed(sources[:-1])) if upper.symmetry.sign == "even_linear" else []
    batch, width = len(sources[-1]), sum(source.shape[1] for source in others) + 1
    moments = torch.zeros(width, width, dtype=torch.float64)
    products = torch.zeros(len(targets), width, first.bias.shape[1], dtype=torch.float64)
    for start in range(0, batch, ROWS):
        rows = slice(start, start + ROWS)
        parts = [source[rows].double().cpu() for source in others]
        known = torch.cat([*parts, torch.ones(len(sources[-1][rows]), 1).double()], dim=1)
        made = first.pre_activations([source[rows] for source in sources])
        missing = torch.stack([each[rows] for each in targets]).to(made) - made
        moments += known.T @ known
        products += known.T @ missing.double().cpu()
    path = (_pseudo_inverse(moments) @ products).transpose(1, 2).to(first.bias)
    sizes = [source.shape[1] for source in others]
    *added, bias = path.split([*sizes, 1], dim=2)
    blocks = list(first.blocks)
    for k, more in enumerate(added, start=1):
        if k < len(blocks):
            blocks[k] = blocks[k] + more
        else:
            blocks.append(more.contiguous())
    return upper.replaced(0, Layer(tuple(blocks), first.bias + bias.squeeze(2)))


@dataclass(frozen=True, eq=False)
class Folded:
    """A network with other signs.

    Args:
        network: of one student.
        left: for each hidden layer, the variance of what comes by the affine path around it, over
            that of all that the next layer reads.
    """

    network: Stack
    left: tuple[float, ...]


def fold(network: Stack, inputs: Tensor) -> Folded:
    """Choose the signs of units for which affine paths vanish, from the first layer up.

    The path around a layer is written as a sum of what each of its units would leave over, by
    least squares on the data; units whose share is nearer to 1 than to 0 change sign. If then less
    than a hundredth of the variance of what the next layer reads comes by the path, it is dropped;
    else all stays as it was.

    Args:
        network: of one student.
        inputs: (batch, features).
    """
    left = []
    for number in range(len(network.layers) - 1):
        if len(network.layers[number + 1].blocks) > 1:
            signs = torch.where(_shares(network, number, inputs) > 0.5, -1.0, 1.0)
            signs = signs.to(network.layers[number].bias).unsqueeze(0)
            turned = rewritten(network, number, signs, torch.ones_like(signs))
            if share_of_path(turned, number, inputs) <= NEGLIGIBLE:
                network = _without_path(turned, number, inputs)
        left.append(share_of_path(network, number, inputs))
    return Folded(network, tuple(left))


def share_of_path(network: Stack, number: int, inputs: Tensor) -> float:
    """Variance of what comes by the affine path around a layer, over that of all that is read."""
    reader, sources = network.layers[number + 1], network.sources([inputs], number + 1)
    if len(reader.blocks) == 1:
        return 0.0
    whole = reader.pre_activations(sources).var(dim=1).sum()
    return float(_path(reader, sources).var(dim=1).sum() / whole)


def _without_path(network: Stack, number: int, inputs: Tensor) -> Stack:
    """What the affine path around a layer gives on average becomes bias."""
    reader = network.layers[number + 1]
    mean = _path(reader, network.sources([inputs], number + 1)).mean(dim=1)
    return network.replaced(number + 1, Layer(reader.blocks[:1], reader.bias + mean))


def _shares(network: Stack, number: int, inputs: Tensor) -> Tensor:
    """(units,), how much of each unit's leftover the affine path holds, 0 or 1 where exact."""
    layer, reader = network.layers[number], network.layers[number + 1]
    sources = network.sources([inputs], number + 1)
    outgoing = network.symmetry.slope * reader.blocks[0][0].double()  # (readers, units)
    units = layer.pre_activations(sources[:-1])[0].double()  # (batch, units)
    units = units - units.mean(dim=0)
    path = _path(reader, sources)[0].double()  # (batch, readers)
    # Turning unit i adds slope * a_i z_i to what is read; the path is to be its negative.
    gram = (outgoing.T @ outgoing) * (units.T @ units)
    products = -(outgoing * (path.T @ units)).sum(dim=0)
    return _pseudo_inverse(gram.cpu()) @ products.cpu()


def _path(reader: Layer, sources: Sequence[Tensor]) -> Tensor:
    """(students, batch, units), what a layer reads from all but the layer before it."""
    return Layer(reader.blocks[1:], torch.zeros_like(reader.bias)).pre_activations(sources[:-1])


def _pseudo_inverse(matrix: Tensor) -> Tensor:
    """Of a symmetric matrix that has no negative eigenvalue but by rounding."""
    return torch.linalg.pinv(matrix, rtol=SINGULAR, hermitian=True)
