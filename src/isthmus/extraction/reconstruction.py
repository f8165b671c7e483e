"""Reconstructs one network from units that students agree on (Expand-and-Cluster)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.extraction import clustering as extraction_clustering
from isthmus.extraction.clustering import Clustering
from isthmus.extraction.stacks import Stack, StackLayer, rewrite_units

ROWS = 4096  # examples at a time
SINGULAR = 1e-12  # of the largest eigenvalue of the moments; below it a direction is not there
NEGLIGIBLE = 1e-2  # of the variance of what a layer reads


def fit_affine_layer(upper: Stack, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Stack:
    """Fit the affine part of students' first layer to targets, by least squares.

    Where the activation is even-linear it is the bias and a path from all sources but the nearest,
    which the layer reads as it did; else it is the bias alone. The path of least norm is added.

    Args:
        upper: the students.
        sources: (batch, features) each, what their first layer reads, the nearest last.
        targets: one per student, (batch, units), target pre-activations.
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
        values = first.pre_activations([source[rows] for source in sources])
        missing = torch.stack([each[rows] for each in targets]).to(values) - values
        moments += known.T @ known
        products += known.T @ missing.double().cpu()
    path = (_pseudo_inverse(moments) @ products).transpose(1, 2).to(first.bias)
    sizes = [source.shape[1] for source in others]
    *added, bias = path.split([*sizes, 1], dim=2)
    blocks = list(first.blocks)
    for k, block in enumerate(added, start=1):
        if k < len(blocks):
            blocks[k] = blocks[k] + block
        else:
            blocks.append(block.contiguous())
    return upper.with_layer(0, StackLayer(tuple(blocks), first.bias + bias.squeeze(2)))


@dataclass(frozen=True, eq=False)
class SignFolding:
    """A network whose signs were chosen so that affine paths vanish.

    Args:
        network: of one student.
        left: for each hidden layer, the variance of what comes by the affine path around it, over
            that of all that the next layer reads.
    """

    network: Stack
    left: tuple[float, ...]


def fold_signs(network: Stack, inputs: Tensor) -> SignFolding:
    """Choose signs of units for which affine paths vanish, from the first layer up.

    The path around a layer is written as a sum of the rests that its units would leave if their
    signs changed, by least squares on the data; units whose share is nearer to 1 than to 0 change
    sign. If the path then has less than a hundredth of the variance of what the next layer reads,
    it is dropped; else all stays as it was.

    Args:
        network: of one student.
        inputs: (batch, features).
    """
    left = []
    for number in range(len(network.layers) - 1):
        if len(network.layers[number + 1].blocks) > 1:
            signs = torch.where(_shares(network, number, inputs) > 0.5, -1.0, 1.0)
            signs = signs.to(network.layers[number].bias).unsqueeze(0)
            turned = rewrite_units(network, number, signs, torch.ones_like(signs))
            if share_of_path(turned, number, inputs) <= NEGLIGIBLE:
                network = _without_path(turned, number, inputs)
        left.append(share_of_path(network, number, inputs))
    return SignFolding(network, tuple(left))


def share_of_path(network: Stack, number: int, inputs: Tensor) -> float:
    """Share of the affine path around a layer in the variance of what the next layer reads."""
    reader, sources = network.layers[number + 1], network.sources([inputs], number + 1)
    if len(reader.blocks) == 1:
        return 0.0
    whole = reader.pre_activations(sources).var(dim=1).sum()
    return float(_path(reader, sources).var(dim=1).sum() / whole)


def _without_path(network: Stack, number: int, inputs: Tensor) -> Stack:
    """The network without the affine path around a layer; its mean is added to the bias."""
    reader = network.layers[number + 1]
    mean = _path(reader, network.sources([inputs], number + 1)).mean(dim=1)
    return network.with_layer(number + 1, StackLayer(reader.blocks[:1], reader.bias + mean))


def _shares(network: Stack, number: int, inputs: Tensor) -> Tensor:
    """(units,), the share of each unit's rest in the affine path, 0 or 1 where exact."""
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


def _path(reader: StackLayer, sources: Sequence[Tensor]) -> Tensor:
    """(students, batch, units), what a layer reads from layers other than the one before it."""
    return StackLayer(reader.blocks[1:], torch.zeros_like(reader.bias)).pre_activations(
        sources[:-1]
    )


def _pseudo_inverse(matrix: Tensor) -> Tensor:
    """Pseudo-inverse of a symmetric matrix without negative eigenvalues, to rounding."""
    return torch.linalg.pinv(matrix, rtol=SINGULAR, hermitian=True)


@dataclass(frozen=True, eq=False)
class CollapsedLayer:
    """A layer that all students share, and the layers of each above it.

    Args:
        common: the layer, of one network; a unit for each cluster.
        upper: the other layers of every student, the first of which reads `common`.
        winners: the student that each unit was taken from.
    """

    common: StackLayer
    upper: Stack
    winners: tuple[int, ...]


def collapse_clusters(
    stack: Stack, clustering: Clustering, losses: Sequence[float]
) -> CollapsedLayer:
    """Put one unit in the place of each cluster of the first layer.

    It is taken from the student of lowest loss that has a unit in the cluster, the mean if it has
    several, up to sign and length. What students read from units of a cluster is summed. Units in
    no cluster are left out.

    Args:
        stack: the students.
        clustering: of the units of their first layer.
        losses: one per student.
    """
    signs, labels = (each.to(stack.layers[0].bias.device) for each in
                     (clustering.signs, clustering.labels))  # fmt: skip
    scales = torch.ones_like(signs)
    if stack.symmetry.scales:
        lengths = stack.layers[0].vectors().norm(dim=2).to(signs)
        scales = torch.where(lengths > 0, lengths, scales)
    signs, scales = signs.to(stack.layers[0].bias), scales.to(stack.layers[0].bias)
    alike = rewrite_units(stack, 0, signs, scales)
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
            upper = upper.with_layer(later, StackLayer(parts, layer.bias))
    return CollapsedLayer(StackLayer(blocks, bias), upper, tuple(winners.tolist()))


def average_output_layer(upper: Stack, winners: Sequence[int], losses: Sequence[float]) -> Stack:
    """One output layer from those of all students: weights of a unit are its student's.

    The bias, and weights from elsewhere, are those of the best student.

    Args:
        upper: of every student, only the output layer.
        winners: the student that each unit was taken from.
        losses: one per student.
    """
    (layer,) = upper.layers
    units = torch.arange(len(winners))
    columns = layer.blocks[0][list(winners), :, units].T.unsqueeze(0)  # (1, outputs, units)
    best = min(range(len(losses)), key=losses.__getitem__)
    others = tuple(block[best : best + 1] for block in layer.blocks[1:])
    output = StackLayer((columns.contiguous(), *others), layer.bias[best : best + 1])
    return Stack((output,), upper.activation)


def _winners(members: Tensor, losses: Sequence[float]) -> Tensor:
    """(clusters,), the student of lowest loss in each."""
    has_one = members.amax(dim=1) > 0  # (students, clusters)
    order = torch.tensor(sorted(range(len(losses)), key=losses.__getitem__), device=members.device)
    return order[has_one[order].to(torch.uint8).argmax(dim=0)]


EXAMPLES = 10_000  # on which affine paths and active units are estimated
SILENT = 1e-6  # as a fraction of the variance of what the next layer reads

# Trains the upper layers of all students on what they read, for a level; with their losses then.
Refit = Callable[[Stack, list[Tensor], int], tuple[Stack, list[float]]]


@dataclass(frozen=True)
class ReconstructionRules:
    """Rules of a reconstruction.

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
    """The result of one hidden layer.

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
    rules: ReconstructionRules,
    refit: Refit | None = None,
) -> tuple[Stack, list[Level]]:
    """Reconstruct one network from the units that students agree on.

    The units of a layer are clustered and collapsed, and every student is rewritten with the common
    units; the difference is compensated by an affine path or a bias, by least squares, and by
    training its upper layers further. Only then is its next layer clustered.

    Args:
        students: all with the same layers.
        inputs: (batch, features), that they were trained on.
        targets: (batch, outputs), of the teacher.
        losses: one per student.
        rules: see `ReconstructionRules`.
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
        vectors = comparison_vectors(
            upper.layers[0], inputs, rules.kept_inputs if number == 1 else None
        )
        clustering = _cluster_layer(vectors, is_active(upper, few), upper, rules, number)
        known = upper.layers[1].pre_activations(upper.sources(few, 1))  # (students, batch, units)
        collapsed = collapse_clusters(upper, clustering, losses)
        common, upper = collapsed.common, collapsed.upper
        if len(upper.layers) == 1:
            upper = average_output_layer(upper, collapsed.winners, losses)
            known = targets[: len(few[0])].unsqueeze(0)
        upper = fit_affine_layer(upper, _extend_sources(common, upper, few), list(known))
        if refit is not None and len(upper.layers) > 1:
            upper, losses = refit(upper, _extend_sources(common, upper, sources), number + 1)
        sources, few = _extend_sources(common, upper, sources), _extend_sources(common, upper, few)
        layers.append(common)
        levels.append(Level(vectors, clustering, collapsed.winners))
    return Stack((*layers, *upper.layers), upper.activation), levels


def comparison_vectors(layer: StackLayer, inputs: Tensor, kept: Tensor | None) -> Tensor:
    """(students, units, inputs), the vectors by which units are compared.

    The mean contribution of the inputs that are not kept counts as bias: the weights of a constant
    input cannot be distinguished from it.

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


def _extend_sources(common: StackLayer, upper: Stack, sources: list[Tensor]) -> list[Tensor]:
    """The sources, and the activations of `common` on them: what the layer after it can read."""
    below = Stack((common,), upper.activation).sources(sources, 1)
    return [*sources, below[-1][0]]  # of one network: (batch, units)


def is_active(upper: Stack, sources: Sequence[Tensor]) -> Tensor:
    """(students, units) bool, units of the first layer whose changes reach the next one.

    Those that add less than a thousandth of the standard deviation of what it reads do not.
    """
    first, second = upper.layers[:2]
    units = upper.sources(sources, 1)[-1]  # (students, batch, units)
    read = second.pre_activations([*sources, units]).var(dim=1).sum(dim=1)  # (students,)
    added = second.blocks[0].square().sum(dim=1) * units.var(dim=1)  # (students, units)
    return (added > SILENT * read.unsqueeze(1)).cpu()


def _cluster_layer(
    vectors: Tensor, active: Tensor, upper: Stack, rules: ReconstructionRules, number: int
) -> Clustering:
    try:
        return extraction_clustering.cluster_units(
            vectors.cpu(), active, upper.symmetry, rules.gamma, rules.beta
        )
    except ValueError as error:
        if str(error) != extraction_clustering.NOTHING:
            raise
        num_students = upper.num_students
        raise ValueError(
            f"extraction.gamma={rules.gamma:g}: in hidden layer {number} no cluster has units of "
            f"{rules.gamma * num_students:g} of {num_students} students within "
            f"extraction.beta={rules.beta:g}; train the students longer, or lower gamma"
        ) from error
