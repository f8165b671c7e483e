"""One extraction: queries, students, and the reconstructed network."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.extraction import cohorts, fitting, input_masks, reconstruction, results, stacks
from isthmus.extraction import options as extraction_options
from isthmus.extraction.fitting import Fit, FitSchedule, train_students
from isthmus.extraction.options import Extraction, ExtractRuntime
from isthmus.extraction.plan import ExtractionTree
from isthmus.extraction.queries import Queries, Teacher
from isthmus.extraction.reconstruction import Level, ReconstructionRules
from isthmus.extraction.stacks import Stack
from isthmus.store import files

log = logging.getLogger(__name__)

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
        is_data: (batch,) bool, which of `inputs` were not drawn at random.
        teacher: None where the outputs come from a file.
        activation: of the hidden layers.
    """

    inputs: Tensor
    targets: Tensor
    held_out: Tensor
    held_out_targets: Tensor
    labels: Tensor | None
    is_data: Tensor
    teacher: Teacher | None
    activation: Any


SOLVED = 1e-5  # loss of a student that imitates the teacher, over the variance of its outputs


@dataclass(frozen=True, eq=False)
class Students:
    """Trained students.

    Args:
        stack: their weights.
        losses: final mean squared errors.
        epochs: of their trainings.
        converged: whether the learning rate of each came down to `min_lr`.
        tolerance: the loss of a student that has solved its task, `SOLVED` of the variance.
    """

    stack: Stack
    losses: list[float]
    epochs: list[int]
    converged: list[bool]
    tolerance: float

    @property
    def solved_tasks(self) -> list[bool]:
        """Whether the loss of each is within the tolerance."""
        return [loss <= self.tolerance for loss in self.losses]


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
        ValueError: there is no teacher and no outputs, or outputs of the teacher are not finite.
    """
    if teacher is not None:
        network = teacher.network.to(device)
        teacher = replace(teacher, network=network)
        inputs, held_out = queries.inputs.to(device), queries.held_out.to(device)
        targets, held_out_targets = teacher.outputs(inputs), teacher.outputs(held_out)
        if not bool(targets.isfinite().all() & held_out_targets.isfinite().all()):
            raise ValueError("teacher: its outputs are not finite on all queries")
        if queries.outputs is not None:
            log.info("extraction.file: its outputs are not used; the teacher's are")
        used = activation or network.activation
        outputs = inputs, targets, held_out, held_out_targets
        return Task(*outputs, queries.labels, queries.is_data, teacher, used)
    if queries.outputs is None or queries.held_out_outputs is None:
        raise ValueError("extraction.file: has no outputs, and teacher=null has none either")
    known = (queries.inputs, queries.outputs, queries.held_out, queries.held_out_outputs)
    inputs, targets, held_out, held_out_targets = (tensor.to(device) for tensor in known)
    return Task(
        inputs, targets, held_out, held_out_targets, None, queries.is_data, None, activation
    )


def unused_options(task: Task, options: Extraction) -> list[str]:
    """One line for each option that changes nothing, as only the teacher from a file can say."""
    unused, is_shallow = [], task.teacher and len(task.teacher.network.layers) == 2
    if options.affine != "fold" and task.activation not in extraction_options.EVEN_LINEAR:
        reason = f"signs of {task.activation} leave no affine path"
        unused.append(f"extraction.affine={options.affine}: has no effect, {reason}")
    if options.refit_epochs != Extraction.refit_epochs and is_shallow:
        reason = "the teacher has one hidden layer"
        unused.append(f"extraction.refit_epochs={options.refit_epochs}: has no effect, {reason}")
    return unused


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
    """Train the students as far as requested, and write the tables of their losses."""
    names = ("lr", "batch_size", "epochs", "factor", "patience", "cooldown", "min_lr")
    schedule = FitSchedule(**{name: getattr(options, name) for name in names})
    layers = layer_sizes(task, options)

    def make_fit(students: range) -> Fit:
        stack = fitting.initialize_students(students, layers, task.activation, seed)
        return Fit(stack.to(task.inputs.device), [task.inputs], task.targets, schedule, seed)

    trained = cohorts.train_cohorts(make_fit, tree, options, running)
    losses = fitting.student_losses(trained.stack, [task.inputs], task.targets)
    last = {student: (epoch, lr) for epoch, student, _, lr in trained.rows}
    epochs = [last[n][0] for n in range(len(losses))]
    tolerance = SOLVED * float(task.targets.double().var(dim=0, unbiased=False).mean())
    students = Students(trained.stack, losses, epochs, trained.converged, tolerance)
    rates = [last[n][1] for n in range(len(losses))]
    facts = zip(epochs, losses, rates, students.converged, students.solved_tasks, strict=True)
    rows = [(n, *each) for n, each in enumerate(facts)]
    results.write_students(tree, rows, [(*row, tolerance) for row in trained.rows])
    return students


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
        cache: folder of Boruta masks.

    Raises:
        ValueError: see `reconstruction.reconstruct`.
    """
    kept = input_mask(task, options.mask, cache)
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


def save_network(task: Task, network: Stack, path: Path, kind: str = "reconstruction") -> None:
    """Write a network as weights that other scripts read.

    Args:
        task: whose teacher says of which data it is.
        network: a stack of one.
        path: of the file.
        kind: of weights, in the metadata.
    """
    metadata = {} if task.teacher is None else task.teacher.metadata or {}
    shape = metadata.get("input_shape", [task.inputs.shape[1]])
    config = metadata.get("config", NO_DATA) | {"model": stacks.model_node(network)}
    kept = {"config": config, "input_shape": shape, "num_classes": network.widths[-1]}
    kept |= {key: metadata[key] for key in ("classes", "normalization") if key in metadata}
    weights = stacks.stack_state_dict(network)
    files.save_weights(path, weights, {**kept, "kind": kind})


def input_mask(task: Task, name: str | None, cache: Path) -> Tensor | None:
    """(features,) bool, inputs by which units of the first layer are compared; None for all.

    Args:
        task: with the inputs.
        name: "variance", of inputs that were not drawn, if there are some; "boruta"; or None.
        cache: folder of Boruta masks.
    """
    if name == "variance":
        data = task.inputs[task.is_data.to(task.inputs.device)]  # noise varies in every pixel
        return input_masks.variance_mask(data if len(data) else task.inputs)
    if name == "boruta":
        return input_masks.boruta_mask(task.inputs.cpu(), task.labels, cache)
    return None
