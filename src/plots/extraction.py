"""All figures of one extraction."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.plots import (
    cluster_angles,
    cluster_counts,
    cluster_tree,
    files,
    student_losses,
    teacher_distances,
    unit_distances,
)


def save(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        tables: as in `drawn`.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return [
        path
        for name, figure, table in drawn(tables)
        for path in files.save(figure, table, folder, name)
    ]


def drawn(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Name, figure and drawn table of each figure.

    Args:
        tables: by the names under which `extract.py` writes them; comparison and excess are there
            only if there is a teacher.
    """
    losses = student_losses.table(tables["losses"])
    yield "losses", student_losses.draw(losses), losses
    merges = cluster_tree.table(tables["merges"])
    yield "dendrogram", cluster_tree.draw(merges), merges
    counts = cluster_counts.table(tables["counts"])
    yield "cluster_counts", cluster_counts.draw(counts), counts
    matrix = unit_distances.table(tables["matrix"])
    yield "distances", unit_distances.draw(matrix), matrix
    clusters = cluster_angles.table(tables["clusters"])
    yield "angles", cluster_angles.draw(clusters), clusters
    if "comparison" in tables:
        marks = teacher_distances.table(tables["comparison"], tables["excess"])
        yield "teacher", teacher_distances.draw(marks), marks
