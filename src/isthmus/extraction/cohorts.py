"""Trains students in cohorts: those requested later join the ones that are there.

Student n does not depend on the number of students, so neither their number nor the number of
epochs is in the name of their folder. Each cohort has a state of its own.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isthmus.extraction import fitting
from isthmus.extraction.fitting import Fit
from isthmus.extraction.options import Extraction, ExtractRuntime
from isthmus.extraction.plan import ExtractionTree
from isthmus.extraction.stacks import Stack
from isthmus.store import files

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainedStudents:
    """Students after their training.

    Args:
        stack: their weights.
        rows: epoch, student, loss, learning rate, as in the table of losses.
        converged: whether the learning rate of each came down to `min_lr`.
    """

    stack: Stack
    rows: list[tuple[int, int, float, float]]
    converged: list[bool]


def train_cohorts(
    make_fit: Callable[[range], Fit],
    tree: ExtractionTree,
    options: Extraction,
    running: ExtractRuntime,
) -> TrainedStudents:
    """Train the first `num_students` students for at most `epochs`, from where they are.

    Students that were trained for more epochs than are requested now, and had not converged by
    then, are trained again in a state of their own: what they would have been is not kept.

    Args:
        make_fit: the training of some students, before their first epoch.
        tree: of the files of states.
        options: the section `extraction`.
        running: see `ExtractRuntime`.
    """
    fits: list[tuple[range, Fit]] = []
    first, many = 0, options.num_students
    while first < many:
        state = _state_file(tree, first, options.epochs)
        students = _students_of_cohort(state, range(first, many), options.epochs, tree)
        is_only = len(students) >= many
        name = f"{many} students" if is_only else f"students {first} to {students.stop - 1}"
        fits.append((students, fitting.train_students(make_fit(students), state, running, name)))
        first = students.stop
    tensors = zip(*(fit.stack.tensors() for _, fit in fits), strict=True)
    stack = fits[0][1].stack.with_tensors([torch.cat(parts)[:many] for parts in tensors])
    rows, converged = [], []
    for students, fit in fits:
        for epoch, place, loss, lr in fit.rows:
            if students[place] < many:
                rows.append((epoch, students[place], loss, lr))
        converged += [place not in fit.active for place in range(len(students))]
    return TrainedStudents(stack, rows, converged[:many])


def _state_file(tree: ExtractionTree, first: int, epochs: int) -> Path:
    """The state of the cohort that begins with a student."""
    longest = tree.students_state(first)
    if longest.exists() and int(files.load_state(longest)["epoch"]) > epochs:
        log.info("students were trained for more than extraction.epochs=%d; trained again", epochs)
        return tree.students_state(first, epochs)
    return longest


def _students_of_cohort(file: Path, needed: range, epochs: int, tree: ExtractionTree) -> range:
    """The students of a cohort; one in which more have begun than are needed is parted."""
    if not file.exists():
        return needed
    state = files.load_state(file)
    students = range(needed.start, needed.start + len(state["plateaus"]))
    if students.stop <= needed.stop or not state["active"] or state["epoch"] >= epochs:
        return students
    rest = tree.students_state(needed.stop)
    if not rest.exists():
        files.save_state(rest, select_students(state, range(len(needed), len(students))))
    files.save_state(file, select_students(state, range(len(needed))))
    return needed


def select_students(state: dict[str, Any], chosen: range) -> dict[str, Any]:
    """The state of some of the students of a training.

    Args:
        state: what `Fit.state_dict` returns.
        chosen: which of its students, one after the other.
    """
    part = slice(chosen.start, chosen.stop)
    places = [place for place, student in enumerate(state["active"]) if student in chosen]
    return state | {
        "tensors": [tensor[part].clone() for tensor in state["tensors"]],
        "moments": [[tensor[places] for tensor in each] for each in state["moments"]],
        "active": [state["active"][place] - chosen.start for place in places],
        "plateaus": state["plateaus"][part],
        "rows": [
            [epoch, student - chosen.start, *numbers]
            for epoch, student, *numbers in state["rows"]
            if student in chosen
        ],
    }
