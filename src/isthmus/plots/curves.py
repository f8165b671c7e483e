"""Curves along lines between networks: their means over children, chords, and both barriers.

A definition of a barrier is that of `isthmus.connectivity.barriers`, here for numbers read from
tables.
"""

from collections import Counter
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from isthmus.plots import pairs, rows

EACH_CHILD, MEAN_CHILD, ONLY_CHILD, BETWEEN_FILES = "each child", "mean child", "child", "line"
EACH_MAIN, MEAN_MAIN = "each main branch", "mean main branch"
GROUP = [*pairs.PAIR, *pairs.TREATMENT, "split"]
LINES = [*GROUP, "child_seed", "alpha", "loss", "accuracy"]
MEASURED = ["alpha", "value", "chord", "excess", "barrier", "barrier_frankle"]
COLUMNS = [*GROUP, "metric", "curve", "seeds", *MEASURED]


def table(lines: pd.DataFrame, metrics: tuple[str, ...] = ("loss", "accuracy")) -> pd.DataFrame:
    """Each curve of each child, and the mean over the children, with what a figure marks on them.

    The mean is over children with equally many points, the most that there are, at the alphas that
    they have in common; where there are several main branches, over the mean of each.

    Args:
        lines: as `interpolate.py` writes it; one row or more.
        metrics: loss (nats), accuracy or error (fractions).

    Returns:
        A row a point of a curve. `curve` is its name in the legend, `seeds` lists the children that
        it is the mean of (with the seed of their main branch, "1-2", where there are several).
        `chord` is the straight line between the ends of the curve, and `excess` how much worse than
        that the curve is (above it; an accuracy below it). `barrier` and `barrier_frankle` are
        those of this very curve; of an accuracy, those of its error.

    Raises:
        ValueError: a curve does not go from alpha 0 to 1, or the table is another one.
    """
    rows.check_columns(lines, LINES)
    lines = lines.assign(error=1 - lines["accuracy"])
    parts = []
    for keys, group in lines.groupby(GROUP, dropna=False, sort=False):
        named: dict[str, Any] = dict(zip(GROUP, keys, strict=True))
        children = by_child(group)
        for metric in metrics:
            for curve in of_children(children, metric):
                parts.append(curve.assign(**named, metric=metric)[COLUMNS])
    return pd.concat(parts, ignore_index=True)


def by_child(group: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of each child by its seeds, alphas increasing; "" is the line between two files.

    Raises:
        ValueError: one does not go from alpha 0 to 1.
    """
    children = {}
    seeds = ["" if pd.isna(seed) else f"{int(seed)}" for seed in group["child_seed"]]
    if "global_seed" in group and group["global_seed"].nunique() > 1:
        mains = group["global_seed"].astype(int)
        seeds = [f"{main}-{child}" for main, child in zip(mains, seeds, strict=True)]
    for seed, points in group.assign(seeds=seeds).groupby("seeds", sort=False):
        name = str(seed)
        children[name] = points.sort_values("alpha")
        ends = tuple(children[name]["alpha"].iloc[[0, -1]])
        if ends != (0, 1):
            whose = f"child {name}" if name else "line"
            raise ValueError(
                f"{whose}, split {points['split'].iloc[0]}: alpha must go from 0 to 1, "
                f"got {ends[0]:g} to {ends[1]:g}"
            )
    return children


def of_children(children: dict[str, pd.DataFrame], metric: str) -> list[pd.DataFrame]:
    """The curve of each child and, where there are several, of their mean."""
    drawn = [
        measured(points["alpha"].to_numpy(), points[metric].to_numpy(), metric).assign(
            curve=EACH_CHILD, seeds=seed
        )
        for seed, points in children.items()
    ]
    if len(drawn) == 1:
        return [drawn[0].assign(curve=ONLY_CHILD if "" not in children else BETWEEN_FILES)]
    alike = _equally_long(drawn)
    if len(alike) == 1:
        return [*drawn, alike[0].assign(curve=ONLY_CHILD)]
    alphas = reduce(np.intersect1d, [curve["alpha"].to_numpy() for curve in alike])
    by_main: dict[str, list[np.ndarray]] = {}
    for curve in alike:
        values = curve.set_index("alpha")["value"].reindex(alphas).to_numpy()
        by_main.setdefault(main_seed(curve["seeds"].iloc[0]), []).append(values)
    means = [np.mean(several, axis=0) for several in by_main.values()]
    mean = measured(alphas, np.mean(means, axis=0), metric)
    seeds = rows.listed(curve["seeds"].iloc[0] for curve in alike)
    return [*drawn, mean.assign(curve=MEAN_MAIN if len(means) > 1 else MEAN_CHILD, seeds=seeds)]


def _equally_long(drawn: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The most curves that have equally many points, the finest of them if there are several."""
    counts = Counter(len(curve) for curve in drawn)
    chosen = max(counts, key=lambda length: (counts[length], length))
    return [curve for curve in drawn if len(curve) == chosen]


def main_seed(seeds: str) -> str:
    """The main branch that a child left, of several; "" of a single one."""
    return seeds.split("-")[0] if "-" in seeds else ""


def measured(alphas: np.ndarray, values: np.ndarray, metric: str) -> pd.DataFrame:
    """One curve with its chord and barriers.

    Args:
        alphas: (points,), increasing from 0 to 1.
        values: (points,), of `metric`.
        metric: loss, accuracy or error.
    """
    chord = values[0] + alphas * (values[-1] - values[0])
    chord[-1] = values[-1]  # exactly
    worse = -1 if metric == "accuracy" else 1
    excess = worse * (values - chord) + 0.0  # not -0.0
    frankle = (worse * values).max() - worse * (values[0] + values[-1]) / 2
    columns = (alphas, values, chord, excess, excess.max(), frankle)
    return pd.DataFrame(dict(zip(MEASURED, columns, strict=True)))


def main(drawn: pd.DataFrame) -> pd.DataFrame:
    """The curves on which barriers are marked: of a mean, or of the only child."""
    return drawn[~drawn["curve"].isin([EACH_CHILD, EACH_MAIN])]


def whose(drawn: pd.DataFrame) -> str:
    """What a curve is, in words: "mean of 3 children"; nothing for a line between two files."""
    first = main(drawn).iloc[0]
    if first["curve"] == BETWEEN_FILES:
        return ""
    seeds = str(first["seeds"]).split()
    if first["curve"] == MEAN_MAIN:
        return f"mean of {len(set(map(main_seed, seeds)))} main branches"
    return f"mean of {len(seeds)} children" if len(seeds) > 1 else "one child"
