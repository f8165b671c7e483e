"""The tables of a run's folder as they are read for figures, with the columns that these need."""

from pathlib import Path
from typing import Any

import pandas as pd

from isthmus import safe_reading

MOMENT = ("spawn_step", "child_step", "spawn_epoch", "child_epoch")
PAIR = ("k1", "k2", "total", "k1_step", "k2_step", "total_step")
TREATED = ("align", "bn", "split")
RANKS = (("step", "value"), ("kind", "parametrization", "layer", "rank"))

# By file: columns of numbers, then columns of texts.
COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "metrics.csv": (("step", "epoch", "value"), ("split", "model", "metric")),
    "averages.csv": (
        (*MOMENT, "num_models", "loss", "accuracy"),
        ("seeds", "kind", "model", "bn", "split"),
    ),
    "distance.csv": ((*MOMENT, "seed", "l2_origin"), ()),
    "lines.csv": ((*PAIR, "alpha", "loss", "accuracy"), ("child_seed", *TREATED)),
    "barriers.csv": (
        (*PAIR, "barrier", "barrier_frankle", "midpoint_gap", "distance", "cosine"),
        ("child_seed", *TREATED, "metric"),
    ),
    "intervals.csv": (
        (*PAIR, "num_children", "mean", "low", "high"),
        (*TREATED, "metric", "measure"),
    ),
    "plane.csv": (("x", "y", "loss", "accuracy"), ("split",)),
    "plane_networks.csv": (("x", "y", "distance", "loss", "accuracy"), ("name", "split")),
    "levels.csv": (
        ("seed", "level", "density", "loss", "accuracy", "best_step"),
        ("strategy", "rewind", "rewind_step", "branch", "model", "split"),
    ),
    "sparsity.csv": (("density",), ("layer",)),
    "instability.csv": (
        ("seed", "level", "density", "barrier", "barrier_frankle"),
        ("strategy", "rewind", "vary", "seeds", "bn", "split", "metric"),
    ),
    "losses.csv": (("epoch", "student", "loss", "lr"), ()),
    "merges.csv": (("left", "right", "left_height", "right_height", "height", "layer"), ()),
    "counts.csv": (("height", "large", "cut", "layer"), ()),
    "matrix.csv": (("row", "column", "distance", "layer"), ()),
    "clusters.csv": (("cluster", "size", "num_students", "angle", "beta", "layer"), ()),
    "comparison.csv": (("layer", "unit", "distance_in", "distance_out"), ()),
    "excess.csv": (("layer", "found_unit", "distance_in", "length_out"), ()),
    "trials.csv": (("number", "value", "seconds"), ("state",)),
    "importance.csv": (("importance",), ("option",)),
    "coordinate_check.csv": (
        ("depth", "width", "step", "value", "slope", "theory"),
        ("parametrization", "metric"),
    ),
    "lr_transfer.csv": (("width", "lr", "value"), ("parametrization", "metric", "is_best")),
    "function_fits.csv": (("seed", "x", "target", "value"), ("parametrization",)),
    "wide_curves.csv": (("step", "value", "lowest", "highest"), ("metric", "parametrization")),
    "ranks_trace.csv": RANKS,
    "ranks_frobenius.csv": RANKS,
}


def read(path: Path, **options: Any) -> pd.DataFrame:
    """A table that a script wrote.

    Args:
        path: of the file, by whose name it is known.
        options: see `safe_reading.read_table`.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: it is damaged, or lacks a column; with its name.
    """
    numbers, texts = COLUMNS.get(path.name, ((), ()))
    return safe_reading.read_table(path, numbers, texts, **options)
