"""Numbers that describe an extraction: rows of its tables, and its summary."""

from typing import Any

import numpy as np
import torch
from scipy.cluster import hierarchy

from isthmus.connectivity import barriers
from isthmus.connectivity import line as connectivity_line
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.extraction import clustering, comparison, stacks
from isthmus.extraction.comparison import AlignedNetworks
from isthmus.extraction.options import Extract
from isthmus.extraction.reconstruction import Level
from isthmus.extraction.stacks import SYMMETRIES, Stack, Symmetry
from isthmus.extraction.study import Reconstruction, Students, Task
from isthmus.training import evaluator as training_evaluator
from isthmus.training.options import Runtime, SavedOptions

MOST_LEAVES, MOST_ROWS = (
    1000,
    120,
)  # leaves and rows in figures; of more, as many evenly from all students
MIXED = -1  # units of several clusters, or of none

Rows = list[tuple[Any, ...]]


def cluster_rows(number: int, level: Level, beta: float) -> Rows:
    """One row per large cluster of a layer, with the columns `results.CLUSTERS`."""
    rows: Rows = []
    for place, each in enumerate(level.clustering.large):
        winner = level.winners[place] if each.kept else None
        label = place if each.kept else MIXED
        size = (each.size, each.num_students, each.angle, beta, each.kept)
        rows.append((number, label, *size, winner))
    return rows


def unit_rows(number: int, level: Level) -> Rows:
    """One row per unit of each student, with the columns `results.UNITS`."""
    layer = level.clustering
    students, width = layer.labels.shape
    columns = [each.flatten().tolist() for each in (layer.labels, layer.signs, layer.active)]
    places = [(student, unit) for student in range(students) for unit in range(width)]
    return [
        (number, *place, label, int(sign), active)
        for place, label, sign, active in zip(places, *columns, strict=True)
    ]


def count_rows(number: int, level: Level) -> Rows:
    """Heights where the number of large clusters changes, with the columns `results.COUNTS`."""
    layer, cut = level.clustering, level.clustering.cut
    heights, large = layer.counts.heights, layer.counts.large
    last = np.flatnonzero(np.append(heights[:-1] < heights[1:], True))  # of equal heights
    changes = last[np.diff(large[last], prepend=0) != 0]
    limit = layer.tree.limit
    return [
        (number, float(heights[k]), int(large[k]), cut.height, *cut.plateau, limit) for k in changes
    ]


def merge_rows(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """The tree of a layer as it is drawn, with the columns `results.MERGES`.

    A merge joins two clusters, at `left` and `right` among the leaves, that were made at
    `left_height` and `right_height`. Leaves are at 0, 1, ...
    """
    vectors, labels, count = _subsample(level, MOST_LEAVES)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(clustering.condensed_distances(vectors, symmetry), "average")
    leaves = hierarchy.leaves_list(linkage)
    places = np.empty(2 * len(leaves) - 1)
    places[leaves] = np.arange(len(leaves))
    heights, owners = np.zeros_like(places), np.append(labels, np.full(len(linkage), MIXED))
    rows: Rows = []
    for node, (first, second, height, _) in enumerate(linkage, start=len(leaves)):
        left, right = int(first), int(second)  # the leaves of the first are left of the second's
        owners[node] = owners[left] if owners[left] == owners[right] else MIXED
        places[node], heights[node] = (places[left] + places[right]) / 2, height
        ends = [float(v) for each in (left, right) for v in (places[each], heights[each])]
        where = (int(owners[node]), level.clustering.cut.height, len(vectors), count)
        rows.append((number, *ends, float(height), *where))
    return rows


def matrix_rows(number: int, level: Level, symmetry: Symmetry) -> Rows:
    """Distances between units in the order of the tree, with the columns `results.MATRIX`."""
    vectors, labels, count = _subsample(level, MOST_ROWS)
    if len(vectors) < 2:
        return []
    linkage = hierarchy.linkage(clustering.condensed_distances(vectors, symmetry), "average")
    leaves = hierarchy.leaves_list(linkage)
    ordered = clustering.square_distances(vectors, symmetry)[leaves][:, leaves].tolist()
    return [
        (number, row, column, value, int(labels[leaves[row]]), len(leaves), count)
        for row, values in enumerate(ordered)
        for column, value in enumerate(values)
    ]


def summarize_clustering(level: Level, left: float) -> dict[str, Any]:
    """Numbers of kept and left-out units and clusters of a layer."""
    layer = level.clustering
    return {
        "num_units": layer.num_kept,
        "cut_height": layer.cut.height,
        "num_large_clusters": len(layer.large),
        "num_clusters_not_kept": len(layer.large) - layer.num_kept,
        "num_student_units": layer.labels.numel(),
        "num_in_no_cluster": int((layer.labels < 0).sum()),
        "num_silent": int((~layer.active).sum()),
        "affine_path": left,
    }


def _subsample(level: Level, most: int) -> tuple[torch.Tensor, np.ndarray, int]:
    """Vectors and clusters of at most `most` units, and the number of all that were clustered."""
    active = level.clustering.active
    vectors, labels = level.vectors[active].cpu(), level.clustering.labels[active].numpy()
    count = len(vectors)
    if count > most:
        chosen = np.linspace(0, count - 1, most).round().astype(int)
        vectors, labels = vectors[chosen], labels[chosen]
    return vectors, labels, count


TOTALS = ("num_teacher", "num_found", "num_missing", "num_excess")
LARGEST = ("max_distance_in", "max_distance_out")


def layer_rows(task: Task, result: Reconstruction, beta: float) -> dict[str, Rows]:
    """Rows of the tables of the students' units and their clusters, by the name of the table."""
    symmetry, rows = SYMMETRIES[task.activation], dict[str, Rows]()
    for number, level in enumerate(result.levels, start=1):
        for name, of_level in (
            ("clusters", cluster_rows(number, level, beta)),
            ("units", unit_rows(number, level)),
            ("counts", count_rows(number, level)),
            ("merges", merge_rows(number, level, symmetry)),
            ("matrix", matrix_rows(number, level, symmetry)),
        ):
            rows.setdefault(name, []).extend(of_level)
    return rows


def comparison_rows(
    task: Task, result: Reconstruction, aligned: AlignedNetworks
) -> dict[str, Rows]:
    """Rows of the tables of how units compare with the teacher's, by the name of the table."""
    return {
        "comparison": comparison.teacher_rows(aligned, task.inputs, result.kept),
        "excess": comparison.excess_rows(aligned, task.inputs, result.kept),
    }


def align_to_teacher(
    task: Task, result: Reconstruction, network: Stack, beta: float
) -> AlignedNetworks:
    """A reconstruction and the teacher in one order of units."""
    assert task.teacher is not None
    return comparison.align_units(network, task.teacher.network, beta, task.inputs, result.kept)


def summarize(
    task: Task, students: Students, result: Reconstruction, gamma: float, beta: float
) -> dict[str, Any]:
    """Summary of an extraction, of each layer and of the whole, as numbers.

    It is `solved` if as many students as have to agree on a unit have solved their task.
    """
    num_solved, many = sum(students.solved_tasks), len(students.losses)
    levels = [
        {"layer": number} | summarize_clustering(level, left)
        for number, (level, left) in enumerate(zip(result.levels, result.left, strict=True), 1)
    ]
    tuned = _measure_network(task, result, result.network, beta)
    for level, layer in zip(levels, tuned.pop("layers", []), strict=False):
        level.update(layer)
    before = _measure_network(task, result, result.before, beta)
    before.pop("layers", None)
    return {
        **tuned,
        "num_units": [level.clustering.num_kept for level in result.levels],
        "num_inputs_compared": None if result.kept is None else int(result.kept.sum()),
        "before_finetuning": before,
        "layers": levels,
        "solved": num_solved >= gamma * many,
        "num_students": many,
        "num_solved": num_solved,
        "num_converged": sum(students.converged),
        "students": {
            "losses": students.losses,
            "epochs": students.epochs,
            "converged": students.converged,
            "solved": students.solved_tasks,
            "tolerance": students.tolerance,
        },
    }


def _measure_network(
    task: Task, result: Reconstruction, network: Stack, beta: float
) -> dict[str, Any]:
    """Functional error of a network and, if there is a teacher, how its units compare."""
    errors = comparison.output_differences(network, task.held_out, task.held_out_targets)
    spread = task.held_out_targets.double().var(dim=0, unbiased=False).mean()
    function = {
        "mse": float(errors.square().mean()),
        "mse_over_variance": float(errors.square().mean() / spread),
        "max_difference": float(errors.abs().max()),
    }
    if task.teacher is None:
        return function
    with torch.no_grad():
        aligned = align_to_teacher(task, result, network, beta)
        rows = comparison.teacher_rows(aligned, task.inputs, result.kept)
        layers = comparison.summarize_layers(aligned, rows, task.held_out)
    totals = {name: sum(layer[name] for layer in layers) for name in TOTALS}
    largest = {
        name: comparison.largest_or_none([layer[name] for layer in layers]) for name in LARGEST
    }
    return {**totals, **largest, **function, "layers": layers}


NUM_ALPHAS = 25


def measure_barriers(
    options: Extract, task: Task, aligned: AlignedNetworks
) -> dict[str, float | None]:
    """Barriers on the line from the reconstruction to the teacher, by every definition.

    Of the mean squared error, `barrier_mse` and so on; and of the loss on the test set,
    `barrier_loss`, None unless the teacher was trained on labelled data.

    Args:
        options: for the data set, the device and the folder of the cache.
        task: see `Task`.
        aligned: both networks.
    """
    alphas = barriers.parse_alphas(NUM_ALPHAS)
    points = torch.from_numpy(alphas)
    errors = comparison.error_curve(aligned, task.held_out, task.held_out_targets, points)
    curves = {"mse": errors.cpu().numpy(), "loss": None}
    if task.teacher is not None and task.teacher.metadata is not None:
        metadata = task.teacher.metadata
        config = metadata["config"] | {"model": stacks.model_node(aligned.reconstruction)}
        saved = SavedOptions(
            dataset=options.dataset,
            runtime=Runtime(device=options.runtime.device),
            precision="fp32",
            output_dir=options.output_dir,
        )
        evaluator = training_evaluator.saved_evaluator(metadata | {"config": config}, saved)
        line_points = InterpolationEvaluator(evaluator, ["test"], NUM_ALPHAS)
        ends = (
            stacks.stack_state_dict(aligned.reconstruction),
            stacks.stack_state_dict(aligned.teacher),
        )
        curve = connectivity_line.evaluate_line(line_points, *ends, points, bn="keep")["test"]
        curves["loss"] = curve.loss.numpy()
    return {
        f"{each.name}_{what}": None if values is None else float(each.measure(values, alphas))
        for what, values in curves.items()
        for each in barriers.BARRIERS
    }
