"""Small tables of lines and planes, as `interpolate.py` writes them."""

import math

import numpy as np
import pandas as pd

from isthmus.connectivity import barriers as connectivity_barriers
from isthmus.connectivity.barriers import BARRIERS, barrier_names

PER_EPOCH = 8  # iterations
ALPHAS = tuple(np.linspace(0, 1, 9))
MEASURES = [*barrier_names(), "distance", "cosine"]


def moment(k1: float | None, k2: float | None) -> dict:
    """The columns of a pair; of two files, all empty."""
    if k1 is None or k2 is None:
        return dict.fromkeys(["k1", "k2", "total", "k1_step", "k2_step", "total_step"], math.nan)
    numbers = {"k1": k1, "k2": k2, "total": k1 + k2}
    return numbers | {f"{name}_step": round(n * PER_EPOCH) for name, n in numbers.items()}


def line(
    k1: float | None = 0.0,
    k2: float | None = 1.0,
    seed: int | None = 1,
    align: str = "none",
    bn: str = "reset",
    split: str = "test",
    alphas=ALPHAS,
    loss=None,
    accuracy=None,
) -> pd.DataFrame:
    """One line; by default a bump on a slope that is lower for a larger k1 and for alignment."""
    alphas = np.asarray(alphas, dtype=float)
    height = (1 if align == "none" else 0.3) * (k2 or 1) * (1 + 0.1 * (seed or 0))
    height *= 2 * math.exp(-1.5 * (k1 or 0))
    bump = height * 4 * alphas * (1 - alphas)
    offset = {"train": 0.2, "val": 0.4, "test": 0.5}[split]
    if loss is None:
        loss = offset + 0.2 * alphas + bump
    if accuracy is None:
        accuracy = np.exp(-0.4 * np.asarray(loss, dtype=float))
    pair = {**moment(k1, k2), "child_seed": math.nan if seed is None else seed}
    curve = pd.DataFrame({"alpha": alphas, "loss": loss, "accuracy": accuracy})
    table = curve.assign(**pair, align=align, bn=bn, split=split)
    first = [*pair, "align", "bn", "split"]
    return table[[*first, "alpha", "loss", "accuracy"]]


def study(
    k1=(0.0, 1.0, 2.0, 5.0), k2=(1.0, 3.0, 5.0), seeds=(1, 2, 3), splits=("train", "test"), **others
) -> pd.DataFrame:
    """The lines of a grid of pairs."""
    return pd.concat(
        [line(i, j, seed, split=split, **others) for i in k1 for j in k2 for seed in seeds
         for split in splits],
        ignore_index=True,
    )  # fmt: skip


def barriers(lines: pd.DataFrame) -> pd.DataFrame:
    """Of each line, by the definitions of `isthmus.connectivity`; distances grow with k2."""
    keys = [name for name in lines.columns if name not in ("alpha", "loss", "accuracy")]
    found: list[dict] = []
    for names, points in lines.groupby(keys, dropna=False, sort=False):
        alphas = points["alpha"]
        row = dict(zip(keys, names, strict=True))
        further = 0 if math.isnan(row["k2"]) else row["k2"]
        for metric, values in (("loss", points["loss"]), ("error", 1 - points["accuracy"])):
            measured = {
                **{each.name: float(each.measure(values, alphas)) for each in BARRIERS},
                "distance": 3 * further + names[keys.index("child_seed")] / 10,
                "cosine": 1 / (1 + further),
            }
            found.append({**row, "metric": metric, **measured})
    return pd.DataFrame(found)


def intervals(per_child: pd.DataFrame) -> pd.DataFrame:
    """Over the children of each pair, or, where there are several, over their main branches."""
    seeds = ["global_seed", "child_seed"]
    keys = [name for name in per_child.columns if name not in (*seeds, *MEASURES)]
    found = []
    for names, group in per_child.groupby(keys, dropna=False, sort=False):
        for measure in MEASURES:
            values = group[measure]
            if "global_seed" in group:
                values = group.groupby("global_seed")[measure].mean()
            over = connectivity_barriers.interval(values)
            numbers = (len(group), measure, *map(float, (over.mean, over.low, over.high)))
            found.append([*names, *numbers])
    return pd.DataFrame(found, columns=[*keys, "num_children", "measure", "mean", "low", "high"])


def tables(lines: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Lines, barriers and intervals."""
    per_child = barriers(lines)
    return lines, per_child, intervals(per_child)


def plane(points: int = 5, splits=("train", "test"), scale: float = 1.0) -> pd.DataFrame:
    """A grid on which the loss is the distance from (0, 0), times `scale`."""
    places = np.linspace(-1, 5, points)
    y, x = (axis.ravel() for axis in np.meshgrid(places - 0.5, places, indexing="ij"))
    loss = scale * np.hypot(x, y)
    table = pd.DataFrame({"x": x, "y": y, "loss": loss, "accuracy": np.exp(-loss)})
    both = pd.concat([table.assign(split=split) for split in splits], ignore_index=True)
    return both[["x", "y", "split", "loss", "accuracy"]]


def networks(projected=(("swa_9", 1.5, 1.0, 2.25),), splits=("train", "test")) -> pd.DataFrame:
    """A, B and C, and others by name, x, y and distance."""
    spanning = [("A", 0.0, 0.0, 0.0), ("B", 4.0, 0.0, 0.0), ("C", 1.0, 3.0, 0.0)]
    found = [
        (*network, split, 0.5, 0.75) for network in (*spanning, *projected) for split in splits
    ]
    columns = ["name", "x", "y", "distance", "split", "loss", "accuracy"]
    return pd.DataFrame(found, columns=columns)
