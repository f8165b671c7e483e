"""From clusters to units: one for each, and students that are written with these."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.extraction.clusters import Clustering
from isthmus.extraction.stacks import Layer, Stack, rewritten


@dataclass(frozen=True, eq=False)
class Collapsed:
    """A layer that all students share, and what they put on top of it.

    Args:
        common: the layer, of one network; a unit for each cluster.
        upper: the other layers of every student, the first of which reads `common`.
        winners: the student that each unit was taken from.
    """

    common: Layer
    upper: Stack
    winners: tuple[int, ...]


def collapse(stack: Stack, clustering: Clustering, losses: Sequence[float]) -> Collapsed:
    """Put one unit in the place of each cluster of the first layer.

    It is taken from the student of lowest loss that has a unit in the cluster, the mean if it has
    several, up to sign and length. What students read from units of a cluster is summed. Units in
    no cluster are left out.

    Args:
        stack: the students.
        clustering: of the units of their first layer.
        losses: one a student.
    """
    signs, labels = (each.to(stack.layers[0].bias.device) for each in
                     (clustering.signs, clustering.labels))  # fmt: skip
    scales = torch.ones_like(signs)
    if stack.symmetry.scales:
        lengths = stack.layers[0].vectors().norm(dim=2).to(signs)
        scales = torch.where(lengths > 0, lengths, scales)
    signs, scales = signs.to(stack.layers[0].bias), scales.to(stack.layers[0].bias)
    alike = rewritten(stack, 0, signs, scales)
    numbers = torch.arange(clustering.num_kept, device=labels.device)
    members = (labels.unsqueeze(2) == numbers).to(signs)  # (students, units, clusters)
    winners = _winners(members, losses)
    best = members[winners, :, numbers]  # (clusters, units)
    shares = (best / best.sum(dim=1, keepdim=True)).unsqueeze(1)  # (clusters, 1, units)
    first = alike.layers[0]
    blocks = tuple((shares @ block[winners]).squeeze(1).unsqueeze(0) for block in first.blocks)
    bias = (shares @ first.bias[winners].unsqueeze(2)).flatten().unsqueeze(0)
    upper = Stack(alike.layers[1:], stack.activation)
    for later, layer in enumerate(upper.layers):
        if later < len(layer.blocks):
            summed = layer.blocks[later] @ members
            parts = (*layer.blocks[:later], summed, *layer.blocks[later + 1 :])
            upper = upper.replaced(later, Layer(parts, layer.bias))
    return Collapsed(Layer(blocks, bias), upper, tuple(winners.tolist()))


def output_of_winners(upper: Stack, winners: Sequence[int], losses: Sequence[float]) -> Stack:
    """The output layer of one network: what it reads from a unit is its student's.

    The bias, and what is read from elsewhere, is that of the best student.

    Args:
        upper: of every student, only the output layer.
        winners: the student that each unit was taken from.
        losses: one a student.
    """
    (layer,) = upper.layers
    units = torch.arange(len(winners))
    columns = layer.blocks[0][list(winners), :, units].T.unsqueeze(0)  # (1, outputs, units)
    best = min(range(len(losses)), key=losses.__getitem__)
    others = tuple(block[best : best + 1] for block in layer.blocks[1:])
    made = Layer((columns.contiguous(), *others), layer.bias[best : best + 1])
    return Stack((made,), upper.activation)


def _winners(members: Tensor, losses: Sequence[float]) -> Tensor:
    """(clusters,), the student of lowest loss in each."""
    has_one = members.amax(dim=1) > 0  # (students, clusters)
    order = torch.tensor(sorted(range(len(losses)), key=losses.__getitem__), device=members.device)
    return order[has_one[order].to(torch.uint8).argmax(dim=0)]
