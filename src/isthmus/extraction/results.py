"""Tables of `extract.py`, whether an extraction is complete, and its summary. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from isthmus import tables
from isthmus.extraction.plan import ExtractionTree

LOSSES = ("epoch", "student", "loss", "lr")
STUDENTS = ("student", "epochs", "loss", "lr")
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
    lines = []
    for layer in result["layers"]:
        head = f"layer {layer['layer']}: {layer['num_units']} units"
        if "num_teacher" in layer:
            head += (
                f"; of the teacher's {layer['num_teacher']}: {layer['num_found']} found, "
                f"{layer['num_missing']} missing, {layer['num_excess']} in excess"
            )
        if layer.get("max_distance_in") is not None:
            head += (
                f"; cosine distances up to {layer['max_distance_in']:.1e} (in), "
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
