"""One extraction from the first query to the network that is recovered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.extraction import fitting, input_masks, reconstruction, stacks
from isthmus.extraction import options as extraction_options
from isthmus.extraction.fitting import Fit, FitRuntime, FitSchedule, train_students
from isthmus.extraction.queries import Queries, Teacher
from isthmus.extraction.reconstruction import Level, ReconstructionRules
from isthmus.extraction.stacks import Stack
from isthmus.store import files

SMALL = 2**24  # multiplications of a forward pass; one thread was as fast (bench/README.md)
LOSSES = ("epoch", "student", "loss", "lr")
NO_DATA = {"seeds": {"label_noise": 0}, "global_seed": 0, "precision": "fp32"}
STUDENTS = ("student", "epochs", "loss", "lr")


@dataclass(frozen=True, eq=False)
class Task:
    """What students imitate, on one device.

    Args:
        inputs: (batch, features), to train on.
        targets: (batch, outputs).
        held_out: (batch, features), to measure on.
        held_out_targets: (batch, outputs).
        labels: (batch,) int64, classes of `inputs` where they have some.
        teacher: None where the outputs were given.
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
class Recovered:
    """What students agree on.

    Args:
        network: a stack of one, tuned.
        before: the same before it was tuned.
        levels: one a hidden layer.
        left: what comes by the affine path around each hidden layer, as in `affine.Folded`.
        kept: (features,) bool, inputs by which units of the first layer were compared.
    """

    network: Stack
    before: Stack
    levels: list[Level]
    left: tuple[float, ...]
    kept: Tensor | None


def task(
    teacher: Teacher | None, queries: Queries, activation: str | None, device: torch.device
) -> Task:
    """Queries with the answers of the teacher, or with those that came with them.

    Raises:
        ValueError: there is no teacher and no outputs.
    """
    if teacher is not None:
        network = teacher.network.to(device)
        teacher = replace(teacher, network=network)
        inputs, held_out = queries.inputs.to(device), queries.held_out.to(device)
        targets, more = teacher.outputs(inputs), teacher.outputs(held_out)
        used = activation or network.activation
        return Task(inputs, targets, held_out, more, queries.labels, teacher, used)
    if queries.outputs is None or queries.held_out_outputs is None:
        raise ValueError("extraction.file: has no outputs, and teacher=null has none either")
    given = (queries.inputs, queries.outputs, queries.held_out, queries.held_out_outputs)
    inputs, targets, held_out, more = (tensor.to(device) for tensor in given)
    return Task(inputs, targets, held_out, more, None, None, activation)


def sizes(task: Task, options: dict[str, Any]) -> list[int]:
    """Features of the inputs, units of each hidden layer of a student, outputs.

    Raises:
        ValueError: students have another number of layers than the teacher.
    """
    depth = 1 if task.teacher is None else len(task.teacher.network.layers) - 1
    if options["width"] is not None:
        hidden = extraction_options.hidden_widths(options["width"], depth)
    else:
        assert task.teacher is not None  # else a width was asked for
        own = task.teacher.network.widths[:-1]
        hidden = [round(options["expansion"] * units) for units in own]
    if task.teacher is not None and len(hidden) != depth:
        raise ValueError(
            f"extraction.width={hidden}: {len(hidden)} hidden layers, and the teacher has {depth}"
        )
    return [task.inputs.shape[1], *hidden, task.targets.shape[1]]


def is_small(task: Task, options: dict[str, Any]) -> bool:
    """Whether a step of training is over before a second thread has begun to help."""
    products = sum(a * b for a, b in pairwise(sizes(task, options)))
    return options["num_students"] * products * options["batch_size"] < SMALL


def train(
    task: Task, options: dict[str, Any], seed: int, folder: Path, running: FitRuntime
) -> Students:
    """Students trained to the end; their losses are written as tables."""
    names = ("lr", "batch_size", "epochs", "factor", "patience", "cooldown", "min_lr")
    schedule = FitSchedule(**{name: options[name] for name in names})
    many, layers = options["num_students"], sizes(task, options)
    stack = fitting.initialize_students(many, layers, task.activation, seed).to(task.inputs.device)
    fit = Fit(stack, [task.inputs], task.targets, schedule, seed)
    fit = train_students(fit, folder / "state.pt", running, f"{many} students")
    losses = fitting.student_losses(fit.stack, [task.inputs], task.targets)
    last = {student: (epoch, lr) for epoch, student, _, lr in fit.rows}
    rows = [(n, last[n][0], losses[n], last[n][1]) for n in range(many)]
    files.write_csv(folder / "losses.csv", LOSSES, fit.rows)
    files.write_csv(folder / "students.csv", STUDENTS, rows)
    return Students(fit.stack, losses, [last[n][0] for n in range(many)])


def recover(
    task: Task,
    students: Students,
    options: dict[str, Any],
    folder: Path,
    running: FitRuntime,
    cache: Path,
) -> Recovered:
    """One network of what students agree on, tuned.

    Args:
        task: see there.
        students: trained.
        options: the section `extraction` of the configuration.
        folder: of this clustering; trainings under way are kept in it.
        running: of these trainings.
        cache: file of a Boruta mask.

    Raises:
        ValueError: see `reconstruction.reconstruct`.
    """
    kept = _mask(task, options["mask"], cache)
    rules = ReconstructionRules(options["gamma"], options["beta"], kept)
    names = ("batch_size", "factor", "patience", "cooldown", "min_lr")
    common = {name: options[name] for name in names} | {"lr": options["finetune_lr"]}
    schedule = FitSchedule(**common, epochs=options["refit_epochs"])

    def refit(upper: Stack, sources: list[Tensor], number: int) -> tuple[Stack, list[float]]:
        fit = Fit(upper, sources, task.targets, schedule, seed=number)
        words = f"students from layer {number} on"
        upper = train_students(fit, folder / f"layer_{number}.pt", running, words).stack
        return upper, fitting.student_losses(upper, sources, task.targets)

    found, levels = reconstruction.reconstruct(
        students.stack, task.inputs, task.targets, students.losses, rules, refit
    )
    left: Sequence[float]
    if options["affine"] == "fold":
        folded = reconstruction.fold_signs(found, task.inputs[: reconstruction.EXAMPLES])
        found, left = folded.network, folded.left
    else:
        few = task.inputs[: reconstruction.EXAMPLES]
        left = [reconstruction.share_of_path(found, number, few) for number in range(len(levels))]
    schedule = FitSchedule(**common, epochs=options["finetune_epochs"])
    fit = Fit(found, [task.inputs], task.targets, schedule, seed=0)
    tuned = train_students(fit, folder / "finetune.pt", running, "reconstruction").stack
    return Recovered(tuned, found, levels, tuple(left), kept)


def save(task: Task, network: Stack, path: Path) -> None:
    """Write a network as weights that other scripts read."""
    metadata = {} if task.teacher is None else task.teacher.metadata or {}
    shape = metadata.get("input_shape", [task.inputs.shape[1]])
    config = metadata.get("config", NO_DATA) | {"model": stacks.model_node(network)}
    lasting = {"config": config, "input_shape": shape, "num_classes": network.widths[-1]}
    lasting |= {key: metadata[key] for key in ("classes", "normalization") if key in metadata}
    weights = stacks.stack_state_dict(network)
    files.save_weights(path, weights, {**lasting, "kind": "reconstruction"})


def _mask(task: Task, name: str | None, cache: Path) -> Tensor | None:
    if name == "variance":
        return input_masks.variance_mask(task.inputs)
    if name == "boruta":
        return input_masks.boruta_mask(task.inputs.cpu(), task.labels, cache)
    return None
