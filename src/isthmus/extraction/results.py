"""Tables of `extract.py`, whether an extraction is complete, and its summary. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from isthmus import tables
from isthmus.extraction.plan import ExtractionTree

LOSSES = ("epoch", "student", "loss", "lr", "tolerance")
STUDENTS = ("student", "epochs", "loss", "lr", "converged", "solved")
CLUSTERS = ("layer", "cluster", "size", "num_students", "angle", "beta", "kept", "winner")
UNITS = ("layer", "student", "unit", "cluster", "sign", "heard")
COUNTS = ("layer", "height", "large", "cut", "plateau_start", "plateau_end", "limit")
MERGES = ("layer", "left", "left_height", "right", "right_height", "height", "cluster", "cut") + (
    "num_shown",
    "num_units",
)
MATRIX = ("layer", "row", "column", "distance", "row_cluster", "num_shown", "num_units")
COMPARISON = ("layer", "unit", "found_unit", "distance_in", "distance_out") + (
    *("length_in", "length_out"),
)
EXCESS = ("layer", "found_unit", "nearest_unit", "distance_in", "length_out")


# Columns by the name of the table: of the students, and of a clustering.
OF_STUDENTS = {"losses": LOSSES, "students": STUDENTS}
OF_CLUSTERING = {
    "clusters": CLUSTERS,
    "units": UNITS,
    "counts": COUNTS,
    "merges": MERGES,
    "matrix": MATRIX,
    "comparison": COMPARISON,
    "excess": EXCESS,
}


def write_tables(tree: ExtractionTree, rows: Mapping[str, Iterable[Sequence[Any]]]) -> None:
    """Write tables of the students or of the clustering.

    Args:
        tree: of the extraction.
        rows: by the name of the table.
    """
    for name, of_table in rows.items():
        columns = {**OF_STUDENTS, **OF_CLUSTERING}[name]
        tables.write(tree.table(name), columns, of_table)


def write_students(
    tree: ExtractionTree, students: Sequence[Sequence[Any]], losses: Iterable[Sequence[Any]]
) -> None:
    """Write the tables of students; the rows of others, and of longer trainings, stay.

    Args:
        tree: of the extraction.
        students: rows of `STUDENTS`.
        losses: rows of `LOSSES`.
    """
    epochs = {str(student): num for student, num, *_ in students}
    known = tables.read_keys(tree.table("students"), ("student", "epochs"))
    kept = {student for student, num in known if int(num) > epochs.get(student, 0)}
    new = {"students": students, "losses": losses}
    for name, columns in OF_STUDENTS.items():
        older: Any = tables.read(tree.table(name), columns).to_dict("records")
        rows = [row for row in older if row["student"] in kept]
        made = (dict(zip(columns, row, strict=True)) for row in new[name])
        rows += [row for row in made if str(row["student"]) not in kept]
        rows.sort(key=lambda row: (int(row.get("epoch", 0)), int(row["student"])))
        tables.write(tree.table(name), columns, rows)


def is_complete(tree: ExtractionTree) -> bool:
    """Whether a clustering has its result, which is written last, and its network."""
    return tree.clustering.read_result() is not None and tree.reconstruction.exists()


def summarize(tree: ExtractionTree) -> str:
    """Summary of an extraction as text; stored for the next time."""
    result = tree.clustering.read_result() or {}
    make = partial(summarize_result, result)
    return tables.summarize_once(tree.clustering.folder, {}, [tree.clustering.result], make)


def main_numbers(tree: ExtractionTree) -> dict[str, float]:
    """Units found and errors of an extraction, over all layers; by their names in its result."""
    result = tree.clustering.read_result() or {}
    counts = ("num_units", "num_teacher", "num_found", "num_missing", "num_excess")
    numbers = {
        name: float(sum(layer[name] for layer in result["layers"]))
        for name in counts
        if all(layer.get(name) is not None for layer in result["layers"])
    }
    others = ("mse", "mse_over_variance", "max_difference", "barrier_mse", "barrier_loss")
    return numbers | {name: result[name] for name in others if result.get(name) is not None}


def summarize_result(result: Mapping[str, Any]) -> str:
    """The summary of an extraction as text.

    Args:
        result: the numbers in its `result.json`.
    """
    students, converged = result["students"], result["num_converged"]
    lines = [
        f"of {result['num_students']} students, {result['num_solved']} solved their task (loss at "
        f"most {students['tolerance']:.1e}), {converged} converged (down to min_lr)"
    ]
    for layer in result["layers"]:
        head = f"layer {layer['layer']}: {layer['num_units']} units"
        if "num_teacher" in layer:
            head += (
                f"; of the teacher's {layer['num_teacher']}: {layer['num_found']} found, "
                f"{layer['num_missing']} missing, {layer['num_excess']} in excess"
            )
        if layer.get("max_distance_in") is not None:
            head += (
                f"; distances up to {layer['max_distance_in']:.1e} (in), "
                f"{layer['max_distance_out']:.1e} (out)"
            )
        lines.append(head)
        lines.append(
            f"  of the students' {layer['num_student_units']} units, "
            f"{layer['num_in_no_cluster']} are in no cluster that was kept "
            f"({layer['num_silent']} of them do nothing)"
        )
    mse = (
        f"mean squared error {result['mse']:.1e}, {result['mse_over_variance']:.1e} of the variance"
    )
    lines.append(f"{mse}; largest difference {result['max_difference']:.1e}")
    if "barrier_mse" in result:
        loss = result["barrier_loss"]
        loss_text = "" if loss is None else f", of the loss {loss:.1e} nats"
        lines.append(
            f"barrier to the teacher: of that error {result['barrier_mse']:.1e}{loss_text}"
        )
    return "\n".join(lines)


def unsolved_message(result: Mapping[str, Any], typed_epochs: int) -> str | None:
    """One line on students that did not learn to imitate the teacher; None if enough of them did.

    Args:
        result: the numbers in its `result.json`.
        typed_epochs: most epochs of the students.
    """
    if result["solved"]:
        return None
    many, converged = result["num_students"], result["num_converged"]
    advice = (
        f"extraction.epochs={2 * typed_epochs} continues from them"
        if converged < many
        else "more of them (extraction.num_students), or wider ones, may"
    )
    return (
        f"{many - result['num_solved']} of {many} students did not learn to imitate the teacher "
        f"({many - converged} had not converged after extraction.epochs={typed_epochs}), so units "
        f"may be missing or wrong; {advice}"
    )
