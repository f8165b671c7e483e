"""Compares a reconstruction with its teacher: matched and excess units, error on their line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus.extraction import clustering
from isthmus.extraction.reconstruction import comparison_vectors
from isthmus.extraction.stacks import Stack, StackLayer, rewrite_units

NOBODY = -1


@dataclass(frozen=True, eq=False)
class AlignedNetworks:
    """Reconstruction and teacher with their units in one order, so that a line joins them.

    Args:
        reconstruction: with the units of the teacher that it lacks added, which nothing reads.
        teacher: with the excess units of the reconstruction added, which nothing reads.
        partners: for each hidden layer, the unit of the reconstruction that each unit of the
            teacher is matched with, -1 for none.
        excess: for each hidden layer, units of the reconstruction without partner.
    """

    reconstruction: Stack
    teacher: Stack
    partners: tuple[tuple[int, ...], ...]
    excess: tuple[tuple[int, ...], ...]


def align_units(
    reconstruction: Stack, teacher: Stack, beta: float, inputs: Tensor, kept: Tensor | None = None
) -> AlignedNetworks:
    """Match units one to one, and give those of the reconstruction their partner's sign and length.

    From the first layer up, the sum of distances is minimized; units at more than the angle beta
    are no pair: one is missing, the other in excess; nor are units of length zero. Signs and
    lengths are those of weights from units that both have. Both networks compute what they did.

    Args:
        reconstruction: a stack of one.
        teacher: a stack of one, with as many layers.
        beta: in radians.
        inputs: (batch, features), what is not `kept` counts by its mean.
        kept: (features,) bool, inputs by which the first layer is compared; None for all.
    """
    partners: list[tuple[int, ...]] = []
    excess: list[tuple[int, ...]] = []
    for number in range(len(teacher.layers) - 1):
        width = teacher.widths[number]
        num_inputs = teacher.layers[number].blocks[0].shape[2] - (len(excess[-1]) if excess else 0)
        ours = unit_vectors(reconstruction, number, num_inputs, inputs, kept)
        theirs = unit_vectors(teacher, number, num_inputs, inputs, kept)
        pairs = _match(ours, theirs, reconstruction, beta)
        one, other = (_shared_weights(each, partners) for each in (ours, theirs))
        signs, scales = _signs_and_scales(one, other, pairs, reconstruction)
        reconstruction = rewrite_units(reconstruction, number, signs, scales)
        rest = [unit for unit in range(len(ours)) if unit not in pairs]
        partners.append(tuple(pairs))
        excess.append(tuple(rest))
        reconstruction = _reorder_units(reconstruction, number, [*pairs, *rest])
        teacher = _reorder_units(teacher, number, [*range(width), *[NOBODY] * len(rest)])
        reconstruction, teacher = _add_missing_units(
            reconstruction, teacher, number, pairs, len(rest)
        )
    last = _pad_blocks(reconstruction.layers[-1], teacher.layers[-1])
    reconstruction, teacher = (
        network.with_layer(len(network.layers) - 1, layer)
        for network, layer in zip((reconstruction, teacher), last, strict=True)
    )
    return AlignedNetworks(reconstruction, teacher, tuple(partners), tuple(excess))


def cosine_distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """(units,), 1 - cosine of the angle between rows; 1 where one has no length."""
    # Through the chord: of nearly parallel vectors, 1 - cosine would be rounding.
    one, other = (torch.nn.functional.normalize(each.double(), dim=1) for each in (ours, theirs))
    nonzero = (ours.norm(dim=1) > 0) & (theirs.norm(dim=1) > 0)
    return torch.where(nonzero, (one - other).square().sum(dim=1) / 2, 1.0)


def outgoing_distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """(units,), cosine distances; of single numbers, which have no angle, relative differences.

    1 where the teacher's weights have no length.

    Args:
        ours: (units, outputs).
        theirs: (units, outputs).
    """
    if ours.shape[1] != 1:
        return cosine_distances(ours, theirs)
    one, other = ours.double().flatten(), theirs.double().flatten()
    return torch.where(other == 0, 1.0, (one - other).abs() / other.abs())


@torch.no_grad()
def error_curve(
    aligned: AlignedNetworks, inputs: Tensor, targets: Tensor, alphas: Tensor, rows: int = 4096
) -> Tensor:
    """(points,) float64, mean squared error on the line from the reconstruction to the teacher.

    Args:
        aligned: both networks.
        inputs: (batch, features).
        targets: (batch, outputs).
        alphas: (points,) in [0, 1].
    """
    values = []
    pairs = list(zip(aligned.reconstruction.tensors(), aligned.teacher.tensors(), strict=True))
    for alpha in alphas.tolist():
        network = aligned.reconstruction.with_tensors(
            [one.lerp(other, alpha) for one, other in pairs]
        )
        errors = output_differences(network, inputs, targets, rows)
        values.append(errors.square().mean())
    return torch.stack(values)


@torch.no_grad()
def output_differences(network: Stack, inputs: Tensor, targets: Tensor, rows: int = 4096) -> Tensor:
    """(batch, outputs) float64, outputs of a network minus their targets."""
    outputs = torch.cat([network.outputs([part])[0] for part in inputs.split(rows)])
    return (outputs - targets).double()


def unit_vectors(
    network: Stack, number: int, num_inputs: int, inputs: Tensor, kept: Tensor | None = None
) -> Tensor:
    """(units, inputs), the incoming weights of the units of a layer, the bias last.

    Args:
        network: a stack of one.
        number: of the layer.
        num_inputs: number of the units before it that are the teacher's, which come first; others
            are left out.
        inputs: (batch, features), as in `align_units`.
        kept: as in `align_units`.
    """
    layer = network.layers[number]
    first = StackLayer((layer.blocks[0][:, :, :num_inputs],), layer.bias)
    return comparison_vectors(first, inputs, kept if number == 0 else None)[0]


def _shared_weights(vectors: Tensor, partners: Sequence[Sequence[int]]) -> Tensor:
    """The columns of incoming weights from units that both networks have, and the bias.

    Args:
        vectors: (units, inputs), from the teacher's units, the bias last.
        partners: of the layers before, as in `AlignedNetworks`.
    """
    if not partners:
        return vectors
    matched = [unit for unit, partner in enumerate(partners[-1]) if partner != NOBODY]
    return vectors[:, [*matched, -1]]


def _match(ours: Tensor, theirs: Tensor, network: Stack, beta: float) -> list[int]:
    """For each row of `theirs` the row of `ours` it is matched with, or NOBODY."""
    both = torch.cat([theirs, ours])
    costs = clustering.square_distances(both, network.symmetry)[: len(theirs), len(theirs) :]
    angles = clustering.angles(both, network.symmetry)[: len(theirs), len(theirs) :]
    rows, columns = linear_sum_assignment(costs.numpy())
    pairs = [NOBODY] * len(theirs)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if angles[row, column] <= beta and costs[row, column] < clustering.FARTHEST:
            pairs[row] = column
    return pairs


def _signs_and_scales(
    ours: Tensor, theirs: Tensor, pairs: Sequence[int], network: Stack
) -> tuple[Tensor, Tensor]:
    """(1, units) each, signs and scales that give our units those of their partners."""
    signs, scales = torch.ones(len(ours)).to(ours), torch.ones(len(ours)).to(ours)
    for unit, partner in enumerate(pairs):
        if partner != NOBODY:
            if network.symmetry.sign is not None and theirs[unit] @ ours[partner] < 0:
                signs[partner] = -1
            if network.symmetry.scales:
                lengths = ours[partner].norm(), theirs[unit].norm()
                if min(lengths) > 0:
                    scales[partner] = lengths[0] / lengths[1]
    return signs.unsqueeze(0), scales.unsqueeze(0)


def _reorder_units(network: Stack, number: int, places: Sequence[int]) -> Stack:
    """The same network with the units of a layer in other places, NOBODY for one of zeros."""
    index = torch.tensor(places)
    is_unit = index >= 0
    index = index.clamp(min=0)
    layer = network.layers[number]
    blocks = tuple(block[:, index] * is_unit.view(1, -1, 1) for block in layer.blocks)
    network = network.with_layer(number, StackLayer(blocks, layer.bias[:, index] * is_unit))
    for later in range(number + 1, len(network.layers)):
        reader, place = network.layers[later], later - number - 1
        if place < len(reader.blocks):
            read = reader.blocks[place][:, :, index] * is_unit
            parts = (*reader.blocks[:place], read, *reader.blocks[place + 1 :])
            network = network.with_layer(later, StackLayer(parts, reader.bias))
    return network


def _add_missing_units(
    reconstruction: Stack, teacher: Stack, number: int, pairs: Sequence[int], num_excess: int
) -> tuple[Stack, Stack]:
    """Give each network the units that only the other one has; nothing reads them."""
    missing = torch.tensor([partner == NOBODY for partner in pairs] + [False] * num_excess)
    excess = torch.tensor([False] * len(pairs) + [True] * num_excess)
    ours, theirs = _pad_blocks(reconstruction.layers[number], teacher.layers[number])
    return (
        reconstruction.with_layer(number, _with_units(ours, theirs, missing)),
        teacher.with_layer(number, _with_units(theirs, ours, excess)),
    )


def _with_units(layer: StackLayer, other: StackLayer, which: Tensor) -> StackLayer:
    """A layer with some of the units of another one."""
    blocks = tuple(
        torch.where(which.view(1, -1, 1), b, a)
        for a, b in zip(layer.blocks, other.blocks, strict=True)
    )
    return StackLayer(blocks, torch.where(which, other.bias, layer.bias))


def _pad_blocks(one: StackLayer, other: StackLayer) -> tuple[StackLayer, StackLayer]:
    """Two layers with as many blocks each; added blocks are zeros."""
    blocks, others = list(one.blocks), list(other.blocks)
    blocks += [torch.zeros_like(block) for block in others[len(blocks) :]]
    others += [torch.zeros_like(block) for block in blocks[len(others) :]]
    return StackLayer(tuple(blocks), one.bias), StackLayer(tuple(others), other.bias)


def teacher_rows(
    aligned: AlignedNetworks, inputs: Tensor, kept: Tensor | None
) -> list[tuple[Any, ...]]:
    """One row per hidden unit of the teacher, with the columns `results.COMPARISON`.

    Distances are 1 - cosine of incoming weights (with the bias) and of outgoing weights, after the
    partner got the teacher's sign; of a single outgoing weight, the relative difference. Lengths
    are those of the reconstruction over the teacher's.
    Weights from or to units that one of the two lacks are left out.
    """
    rows: list[tuple[Any, ...]] = []
    for number, partners in enumerate(aligned.partners):
        (ours, theirs), (ours_out, theirs_out) = (
            _incoming_weights(aligned, number, inputs, kept),
            _outgoing_weights(aligned, number),
        )
        into = cosine_distances(ours, theirs).tolist()
        out = outgoing_distances(ours_out, theirs_out).tolist()
        lengths_in = (ours.norm(dim=1) / theirs.norm(dim=1)).tolist()
        lengths_out = (ours_out.norm(dim=1) / theirs_out.norm(dim=1)).tolist()
        for unit, partner in enumerate(partners):
            values = (into[unit], out[unit], lengths_in[unit], lengths_out[unit])
            missing = partner == NOBODY
            cells = (None, *[None] * 4) if missing else (partner, *values)
            rows.append((number + 1, unit, *cells))
    return rows


def excess_rows(
    aligned: AlignedNetworks, inputs: Tensor, kept: Tensor | None
) -> list[tuple[Any, ...]]:
    """One row per hidden unit in excess, with the columns `results.EXCESS`.

    Its nearest unit of the teacher, the cosine distance to it, and the length of its outgoing
    weights over the mean of the teacher's units.
    """
    rows: list[tuple[Any, ...]] = []
    for number, rest in enumerate(aligned.excess):
        width, num_inputs = len(aligned.partners[number]), _num_teacher_inputs(aligned, number)
        into = unit_vectors(aligned.reconstruction, number, num_inputs, inputs, kept)
        theirs = unit_vectors(aligned.teacher, number, num_inputs, inputs, kept)[:width]
        outgoing = aligned.reconstruction.layers[number + 1].blocks[0][0].norm(dim=0)
        usual = aligned.teacher.layers[number + 1].blocks[0][0].norm(dim=0)[:width].mean()
        for place, unit in enumerate(rest, start=width):
            both = torch.cat([into[place : place + 1], theirs])
            angles = clustering.angles(both, aligned.reconstruction.symmetry)[0, 1:]
            near = int(angles.argmin())
            distance = 1 - float(angles[near].cos())
            rows.append((number + 1, unit, near, distance, float(outgoing[place] / usual)))
    return rows


def summarize_layers(
    aligned: AlignedNetworks, rows: list[tuple[Any, ...]], held_out: Tensor
) -> list[dict[str, Any]]:
    """Summaries of the comparison, one per hidden layer.

    Args:
        aligned: both networks.
        rows: as `teacher_rows` returns them.
        held_out: (batch, features), on which activations of partners are compared.
    """
    summaries = []
    count = len(aligned.partners)
    ours, theirs = (
        each.sources([held_out], count) for each in (aligned.reconstruction, aligned.teacher)
    )
    for number, partners in enumerate(aligned.partners):
        matched = torch.tensor([partner != NOBODY for partner in partners])
        one, other = (
            each[number + 1][0, :, : len(partners)][:, matched].double() for each in (ours, theirs)
        )
        layer_rows = [row for row in rows if row[0] == number + 1]
        summaries.append(
            {
                "layer": number + 1,
                "num_teacher": len(partners),
                "num_found": int(matched.sum()),
                "num_missing": int((~matched).sum()),
                "num_excess": len(aligned.excess[number]),
                "max_distance_in": largest_or_none([row[3] for row in layer_rows]),
                "max_distance_out": largest_or_none([row[4] for row in layer_rows]),
                "mse": float((one - other).square().mean()) if matched.any() else None,
            }
        )
    return summaries


def largest_or_none(values: list[float | None]) -> float | None:
    """The largest number; None if there is none."""
    return max((value for value in values if value is not None), default=None)


def _num_teacher_inputs(aligned: AlignedNetworks, number: int) -> int:
    """Number of the units before a layer that are the teacher's; they come first."""
    if number == 0:
        return aligned.teacher.layers[0].blocks[0].shape[2]
    return len(aligned.partners[number - 1])


def _incoming_weights(
    aligned: AlignedNetworks, number: int, inputs: Tensor, kept: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(units, inputs) of both networks, for the teacher's units, from those that both have."""
    num_inputs, width = _num_teacher_inputs(aligned, number), len(aligned.partners[number])
    ours, theirs = (
        unit_vectors(network, number, num_inputs, inputs, kept)[:width]
        for network in (aligned.reconstruction, aligned.teacher)
    )
    before = aligned.partners[:number]
    return _shared_weights(ours, before), _shared_weights(theirs, before)


def _outgoing_weights(aligned: AlignedNetworks, number: int) -> tuple[Tensor, Tensor]:
    """(units, outputs) of both networks, from the teacher's units to matched units after them."""
    width = len(aligned.partners[number])
    ours, theirs = (
        network.layers[number + 1].blocks[0][0][:, :width].T
        for network in (aligned.reconstruction, aligned.teacher)
    )
    if number + 1 < len(aligned.partners):
        after = [unit for unit, p in enumerate(aligned.partners[number + 1]) if p != NOBODY]
        return ours[:, after], theirs[:, after]
    return ours, theirs
