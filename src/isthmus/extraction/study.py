"""One extraction: queries, students, and the reconstructed network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.extraction import fitting, input_masks, reconstruction, results, stacks
from isthmus.extraction import options as extraction_options
from isthmus.extraction.fitting import Fit, FitSchedule, train_students
from isthmus.extraction.options import Extraction, ExtractRuntime
from isthmus.extraction.plan import ExtractionTree
from isthmus.extraction.queries import Queries, Teacher
from isthmus.extraction.reconstruction import Level, ReconstructionRules
from isthmus.extraction.stacks import Stack
from isthmus.store import files

SMALL = (
    2**24
)  # multiplications of a forward pass, up to which one thread was as fast (bench/README.md)
NO_DATA = {"seeds": {"label_noise": 0}, "global_seed": 0, "precision": "fp32"}


@dataclass(frozen=True, eq=False)
class Task:
    """The inputs and outputs that students imitate, on one device.

    Args:
        inputs: (batch, features), to train on.
        targets: (batch, outputs).
        held_out: (batch, features), to measure on.
        held_out_targets: (batch, outputs).
        labels: (batch,) int64, classes of `inputs` where they have some.
        teacher: None where the outputs come from a file.
        activation: of the hidden layers.
    """

    inputs: Tensor
    targets: Tensor
    held_out: Tensor
    held_out_targets: Tensor
    labels: Tensor | None
    teacher: Teacher | None
    activation: Any


@dataclass(frozen=True, eq=False)
class Students:
    """Trained students and their final losses."""

    stack: Stack
    losses: list[float]
    epochs: list[int]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A network reconstructed from the units that students agree on.

    Args:
        network: a stack of one, tuned.
        before: the same before it was tuned.
        levels: one per hidden layer.
        left: share of the affine path around each hidden layer, as in `SignFolding`.
        kept: (features,) bool, inputs by which units of the first layer were compared.
    """

    network: Stack
    before: Stack
    levels: list[Level]
    left: tuple[float, ...]
    kept: Tensor | None


def make_task(
    teacher: Teacher | None, queries: Queries, activation: str | None, device: torch.device
) -> Task:
    """Queries with the outputs of the teacher, or with those that came with them.

    Raises:
        ValueError: there is no teacher and no outputs.
    """
    if teacher is not None:
        network = teacher.network.to(device)
        teacher = replace(teacher, network=network)
        inputs, held_out = queries.inputs.to(device), queries.held_out.to(device)
        targets, held_out_targets = teacher.outputs(inputs), teacher.outputs(held_out)
        used = activation or network.activation
        return Task(inputs, targets, held_out, held_out_targets, queries.labels, teacher, used)
    if queries.outputs is None or queries.held_out_outputs is None:
        raise ValueError("extraction.file: has no outputs, and teacher=null has none either")
    known = (queries.inputs, queries.outputs, queries.held_out, queries.held_out_outputs)
    inputs, targets, held_out, held_out_targets = (tensor.to(device) for tensor in known)
    return Task(inputs, targets, held_out, held_out_targets, None, None, activation)


def layer_sizes(task: Task, options: Extraction) -> list[int]:
    """Features of the inputs, units of each hidden layer of a student, outputs.

    Raises:
        ValueError: students have another number of layers than the teacher.
    """
    depth = 1 if task.teacher is None else len(task.teacher.network.layers) - 1
    if options.width is not None:
        hidden = extraction_options.hidden_widths(options.width, depth)
    else:
        assert task.teacher is not None  # else the option width is needed
        widths = task.teacher.network.widths[:-1]
        hidden = [round(options.expansion * units) for units in widths]
    if task.teacher is not None and len(hidden) != depth:
        raise ValueError(
            f"extraction.width={hidden}: {len(hidden)} hidden layers, and the teacher has {depth}"
        )
    return [task.inputs.shape[1], *hidden, task.targets.shape[1]]


def is_small(task: Task, options: Extraction) -> bool:
    """Whether a training step is too small to gain from a second thread."""
    products = sum(a * b for a, b in pairwise(layer_sizes(task, options)))
    return options.num_students * products * options.batch_size < SMALL


def train(
    task: Task, options: Extraction, seed: int, tree: ExtractionTree, running: ExtractRuntime
) -> Students:
    """Train the students to the end, and write the tables of their losses."""
    names = ("lr", "batch_size", "epochs", "factor", "patience", "cooldown", "min_lr")
    schedule = FitSchedule(**{name: getattr(options, name) for name in names})
    many, layers = options.num_students, layer_sizes(task, options)
    stack = fitting.initialize_students(many, layers, task.activation, seed).to(task.inputs.device)
    fit = Fit(stack, [task.inputs], task.targets, schedule, seed)
    fit = train_students(fit, tree.students_state, running, f"{many} students")
    losses = fitting.student_losses(fit.stack, [task.inputs], task.targets)
    last = {student: (epoch, lr) for epoch, student, _, lr in fit.rows}
    rows = [(n, last[n][0], losses[n], last[n][1]) for n in range(many)]
    results.write_tables(tree, {"losses": fit.rows, "students": rows})
    return Students(fit.stack, losses, [last[n][0] for n in range(many)])


def recover(
    task: Task,
    students: Students,
    options: Extraction,
    tree: ExtractionTree,
    running: ExtractRuntime,
    cache: Path,
) -> Reconstruction:
    """Reconstruct one network from trained students, and finetune it.

    Args:
        task: see `Task`.
        students: trained.
        options: the section `extraction`.
        tree: with the states of its trainings.
        running: runtime options of these trainings.
        cache: file of a Boruta mask.

    Raises:
        ValueError: see `reconstruction.reconstruct`.
    """
    kept = _mask(task, options.mask, cache)
    rules = ReconstructionRules(options.gamma, options.beta, kept)
    names = ("batch_size", "factor", "patience", "cooldown", "min_lr")
    common = {name: getattr(options, name) for name in names} | {"lr": options.finetune_lr}
    schedule = FitSchedule(**common, epochs=options.refit_epochs)

    def refit(upper: Stack, sources: list[Tensor], number: int) -> tuple[Stack, list[float]]:
        fit = Fit(upper, sources, task.targets, schedule, seed=number)
        name = f"students from layer {number} on"
        upper = train_students(fit, tree.layer_state(number), running, name).stack
        return upper, fitting.student_losses(upper, sources, task.targets)

    network, levels = reconstruction.reconstruct(
        students.stack, task.inputs, task.targets, students.losses, rules, refit
    )
    left: Sequence[float]
    if options.affine == "fold":
        folded = reconstruction.fold_signs(network, task.inputs[: reconstruction.EXAMPLES])
        network, left = folded.network, folded.left
    else:
        few = task.inputs[: reconstruction.EXAMPLES]
        left = [reconstruction.share_of_path(network, number, few) for number in range(len(levels))]
    schedule = FitSchedule(**common, epochs=options.finetune_epochs)
    fit = Fit(network, [task.inputs], task.targets, schedule, seed=0)
    tuned = train_students(fit, tree.finetuning_state, running, "reconstruction").stack
    return Reconstruction(tuned, network, levels, tuple(left), kept)


def save_network(task: Task, network: Stack, path: Path) -> None:
    """Write a network as weights that other scripts read."""
    metadata = {} if task.teacher is None else task.teacher.metadata or {}
    shape = metadata.get("input_shape", [task.inputs.shape[1]])
    config = metadata.get("config", NO_DATA) | {"model": stacks.model_node(network)}
    kept = {"config": config, "input_shape": shape, "num_classes": network.widths[-1]}
    kept |= {key: metadata[key] for key in ("classes", "normalization") if key in metadata}
    weights = stacks.stack_state_dict(network)
    files.save_weights(path, weights, {**kept, "kind": "reconstruction"})


def _mask(task: Task, name: str | None, cache: Path) -> Tensor | None:
    if name == "variance":
        return input_masks.variance_mask(task.inputs)
    if name == "boruta":
        return input_masks.boruta_mask(task.inputs.cpu(), task.labels, cache)
    return None
