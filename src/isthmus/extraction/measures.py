"""A comparison as tables: a row a unit, and a summary a layer."""

from typing import Any

import torch
from torch import Tensor

from isthmus.extraction import distances
from isthmus.extraction.comparison import NOBODY, Aligned, cosine_distances, vectors

UNITS = ("layer", "unit", "found_unit", "distance_in", "distance_out", "length_in", "length_out")
EXCESS = ("layer", "found_unit", "nearest_unit", "distance_in", "length_out")


def units(aligned: Aligned, inputs: Tensor, kept: Tensor | None) -> list[tuple[Any, ...]]:
    """A row for each hidden unit of the teacher, in the order of `UNITS`.

    Distances are 1 - cosine of what goes in (its bias too) and of what goes out, after the
    partner's sign was settled; lengths are those of the reconstruction over the teacher's. What
    goes to or comes from units that one of the two lacks takes no part.
    """
    rows: list[tuple[Any, ...]] = []
    for number, partners in enumerate(aligned.partners):
        (ours, theirs), (ours_out, theirs_out) = (
            _in(aligned, number, inputs, kept),
            _out(aligned, number),
        )
        into = cosine_distances(ours, theirs).tolist()
        out = cosine_distances(ours_out, theirs_out).tolist()
        lengths_in = (ours.norm(dim=1) / theirs.norm(dim=1)).tolist()
        lengths_out = (ours_out.norm(dim=1) / theirs_out.norm(dim=1)).tolist()
        for unit, partner in enumerate(partners):
            values = (into[unit], out[unit], lengths_in[unit], lengths_out[unit])
            missing = partner == NOBODY
            found = (None, *[None] * 4) if missing else (partner, *values)
            rows.append((number + 1, unit, *found))
    return rows


def excess(aligned: Aligned, inputs: Tensor, kept: Tensor | None) -> list[tuple[Any, ...]]:
    """A row for each hidden unit in excess, in the order of `EXCESS`.

    Its nearest unit of the teacher, the cosine distance to it, and the length of what goes out of
    it, over the mean of the teacher's units.
    """
    rows: list[tuple[Any, ...]] = []
    for number, rest in enumerate(aligned.excess):
        width, own = len(aligned.partners[number]), _own(aligned, number)
        into = vectors(aligned.found, number, own, inputs, kept)
        theirs = vectors(aligned.teacher, number, own, inputs, kept)[:width]
        outgoing = aligned.found.layers[number + 1].blocks[0][0].norm(dim=0)
        usual = aligned.teacher.layers[number + 1].blocks[0][0].norm(dim=0)[:width].mean()
        for place, unit in enumerate(rest, start=width):
            both = torch.cat([into[place : place + 1], theirs])
            angles = distances.angles(both, aligned.found.symmetry)[0, 1:]
            near = int(angles.argmin())
            distance = 1 - float(angles[near].cos())
            rows.append((number + 1, unit, near, distance, float(outgoing[place] / usual)))
    return rows


def layers(aligned: Aligned, rows: list[tuple[Any, ...]], held_out: Tensor) -> list[dict[str, Any]]:
    """A summary for each hidden layer.

    Args:
        aligned: both networks.
        rows: by `units`.
        held_out: (batch, features), on which activations of partners are compared.
    """
    summaries = []
    count = len(aligned.partners)
    ours, theirs = (each.sources([held_out], count) for each in (aligned.found, aligned.teacher))
    for number, partners in enumerate(aligned.partners):
        there = torch.tensor([partner != NOBODY for partner in partners])
        one, other = (
            each[number + 1][0, :, : len(partners)][:, there].double() for each in (ours, theirs)
        )
        own = [row for row in rows if row[0] == number + 1]
        summaries.append(
            {
                "layer": number + 1,
                "num_teacher": len(partners),
                "num_found": int(there.sum()),
                "num_missing": int((~there).sum()),
                "num_excess": len(aligned.excess[number]),
                "max_distance_in": largest([row[3] for row in own]),
                "max_distance_out": largest([row[4] for row in own]),
                "mse": float((one - other).square().mean()) if there.any() else None,
            }
        )
    return summaries


def largest(values: list[float | None]) -> float | None:
    """The largest number; None if there is none."""
    return max((value for value in values if value is not None), default=None)


def _own(aligned: Aligned, number: int) -> int:
    """How many units before a layer are the teacher's; they come first."""
    if number == 0:
        return aligned.teacher.layers[0].blocks[0].shape[2]
    return len(aligned.partners[number - 1])


def _in(
    aligned: Aligned, number: int, inputs: Tensor, kept: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(units, inputs) of both networks, for the teacher's units."""
    own, width = _own(aligned, number), len(aligned.partners[number])
    return (
        vectors(aligned.found, number, own, inputs, kept)[:width],
        vectors(aligned.teacher, number, own, inputs, kept)[:width],
    )


def _out(aligned: Aligned, number: int) -> tuple[Tensor, Tensor]:
    """(units, outputs) of both networks, for the teacher's units and those after them found."""
    width = len(aligned.partners[number])
    ours, theirs = (
        network.layers[number + 1].blocks[0][0][:, :width].T
        for network in (aligned.found, aligned.teacher)
    )
    if number + 1 < len(aligned.partners):
        after = [unit for unit, p in enumerate(aligned.partners[number + 1]) if p != NOBODY]
        return ours[:, after], theirs[:, after]
    return ours, theirs
