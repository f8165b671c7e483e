"""One network out of many students: layer by layer, from the inputs up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.extraction import affine, clusters
from isthmus.extraction.clusters import Clustering
from isthmus.extraction.collapse import collapse, output_of_winners
from isthmus.extraction.stacks import Layer, Stack

EXAMPLES = 10_000  # on which affine paths, and what units do, are estimated
SILENT = 1e-6  # of the variance of what the next layer reads

# Trains the upper layers of all students on what they read, for a level; with their losses then.
Refit = Callable[[Stack, list[Tensor], int], tuple[Stack, list[float]]]


@dataclass(frozen=True)
class Rules:
    """How a network is put together.

    Args:
        gamma: part of the students that have to agree on a unit.
        beta: largest median angle within a cluster, in radians.
        kept_inputs: of the first layer, those by which units are compared, or None for all.
    """

    gamma: float
    beta: float
    kept_inputs: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Level:
    """What became of one hidden layer.

    Args:
        vectors: (students, units, inputs), by which units were clustered.
        clustering: of these.
        winners: the student that each unit of the reconstruction was taken from.
    """

    vectors: Tensor
    clustering: Clustering
    winners: tuple[int, ...]


def reconstruct(
    students: Stack,
    inputs: Tensor,
    targets: Tensor,
    losses: Sequence[float],
    rules: Rules,
    refit: Refit | None = None,
) -> tuple[Stack, list[Level]]:
    """Put one network together of what students agree on.

    The units of a layer are clustered and collapsed, and every student is written with the units
    that are left; what it then lacks is made up for by an affine path or a bias, by least squares,
    and by training its upper layers further. Only then is its next layer clustered.

    Args:
        students: all with the same layers.
        inputs: (batch, features), that they were trained on.
        targets: (batch, outputs), of the teacher.
        losses: one a student.
        rules: see there.
        refit: trains upper layers further; None leaves them.

    Returns:
        A stack of one network, and a level for each hidden layer.

    Raises:
        ValueError: in one of the layers no cluster was found; the message names it.
    """
    sources, few = [inputs], [inputs[:EXAMPLES]]
    upper, layers = students, []
    levels: list[Level] = []
    while len(upper.layers) > 1:
        number = len(levels) + 1
        vectors = compared(upper.layers[0], inputs, rules.kept_inputs if number == 1 else None)
        clustering = _clustered(vectors, heard(upper, few), upper, rules, number)
        known = upper.layers[1].pre_activations(upper.sources(few, 1))  # (students, batch, units)
        collapsed = collapse(upper, clustering, losses)
        common, upper = collapsed.common, collapsed.upper
        if len(upper.layers) == 1:
            upper = output_of_winners(upper, collapsed.winners, losses)
            known = targets[: len(few[0])].unsqueeze(0)
        upper = affine.fitted(upper, _above(common, upper, few), list(known))
        if refit is not None and len(upper.layers) > 1:
            upper, losses = refit(upper, _above(common, upper, sources), number + 1)
        sources, few = _above(common, upper, sources), _above(common, upper, few)
        layers.append(common)
        levels.append(Level(vectors, clustering, collapsed.winners))
    return Stack((*layers, *upper.layers), upper.activation), levels


def compared(layer: Layer, inputs: Tensor, kept: Tensor | None) -> Tensor:
    """(students, units, inputs), the vectors by which units are compared.

    What the inputs that are not kept add on average counts as bias: the weights of an input that
    never changes are one with it.

    Args:
        layer: of the students.
        inputs: (batch, features).
        kept: (features,) bool, for the first layer; None keeps all.
    """
    vectors = layer.vectors()
    if kept is None:
        return vectors
    kept = kept.to(vectors.device)
    added = layer.blocks[0][:, :, ~kept] @ inputs.mean(dim=0)[~kept].to(vectors)
    return torch.cat([layer.blocks[0][:, :, kept], (layer.bias + added).unsqueeze(2)], dim=2)


def _above(common: Layer, upper: Stack, sources: list[Tensor]) -> list[Tensor]:
    """What the layer after `common` can read."""
    below = Stack((common,), upper.activation).sources(sources, 1)
    return [*sources, below[-1][0]]  # of one network: (batch, units)


def heard(upper: Stack, sources: Sequence[Tensor]) -> Tensor:
    """(students, units) bool, units of the first layer whose changes reach the next one.

    Those that add less than a thousandth of the standard deviation of what it reads do not.
    """
    first, second = upper.layers[:2]
    units = upper.sources(sources, 1)[-1]  # (students, batch, units)
    read = second.pre_activations([*sources, units]).var(dim=1).sum(dim=1)  # (students,)
    added = second.blocks[0].square().sum(dim=1) * units.var(dim=1)  # (students, units)
    return (added > SILENT * read.unsqueeze(1)).cpu()


def _clustered(
    vectors: Tensor, heard: Tensor, upper: Stack, rules: Rules, number: int
) -> Clustering:
    try:
        return clusters.find(vectors.cpu(), heard, upper.symmetry, rules.gamma, rules.beta)
    except ValueError as error:
        if str(error) != clusters.NOTHING:
            raise
        num_students = upper.num_students
        raise ValueError(
            f"extraction.gamma={rules.gamma:g}: in hidden layer {number} no cluster has units of "
            f"{rules.gamma * num_students:g} of {num_students} students within "
            f"extraction.beta={rules.beta:g}; train the students longer, or lower gamma"
        ) from error
