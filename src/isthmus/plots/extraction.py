"""All figures of one extraction."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from isthmus.plots import (
    cluster_angles,
    cluster_counts,
    cluster_tree,
    files,
    student_losses,
    teacher_distances,
    unit_distances,
)
from isthmus.plots.files import Drawing


def save(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        tables: as in `drawings`.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(drawings(tables), folder)


def drawings(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawing]:
    """What the tables allow.

    Args:
        tables: by the names under which `extract.py` writes them; comparison and excess are there
            only if there is a teacher.
    """
    yield Drawing("losses", student_losses.table(tables["losses"]), student_losses.draw)
    yield Drawing("dendrogram", cluster_tree.table(tables["merges"]), cluster_tree.draw)
    yield Drawing("cluster_counts", cluster_counts.table(tables["counts"]), cluster_counts.draw)
    yield Drawing("distances", unit_distances.table(tables["matrix"]), unit_distances.draw)
    yield Drawing("angles", cluster_angles.table(tables["clusters"]), cluster_angles.draw)
    if "comparison" in tables:
        marks = teacher_distances.table(tables["comparison"], tables["excess"])
        yield Drawing("teacher", marks, teacher_distances.draw)
