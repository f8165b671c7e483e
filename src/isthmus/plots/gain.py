"""What an average gains over the networks in it, for every spawn step and child step."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from isthmus.plots import rows, style

COLUMNS = [*rows.MOMENT, "kind", "num_models", "model", "bn", "split", "seeds"]
COLUMNS += ["average", "mean_child", "gain"]
LINEAR_UP_TO = 0.01  # gains of less than a hundredth are told apart like larger ones by their ratio
CELL = 0.45  # inches, as long as there is room
CHILD_LABELS, SPAWN_LABELS = 17, 40  # that there is room for
NO_AVERAGE = "0.75"
ZERO_LINE: dict[str, Any] = {"color": "black", "linewidth": 1.6}


def table(
    averages: pd.DataFrame,
    split: str = "test",
    model: str = "plain",
    bn: str = "reset",
    kind: str = "across",
    num_models: int | None = None,
) -> pd.DataFrame:
    """What the figure shows: accuracy of the average minus mean accuracy of its children.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: what became of the batch-norm statistics of averages: reset, average or keep.
        kind: of average.
        num_models: in an average; by default the largest number for across, and any for the
            others, which have one number or one that grows with the child step.

    Returns:
        A row a cell, all accuracies fractions. Where a cell has several averages (of other
        children) it is their mean, and `seeds` lists them: "1-2 1-3".

    Raises:
        ValueError: there is nothing to draw, with what there is; or an average has a child that
            is not in the table.
    """
    found = rows.select(averages, split, model, bn)
    chosen = rows.where(found[found["kind"] != "child"], "kind", kind)
    if num_models is None and kind == "across":
        num_models = chosen["num_models"].max()
    if num_models is not None:
        chosen = rows.where(chosen, "num_models", num_models)
    chosen = chosen.rename(columns={"accuracy": "average"})
    chosen = chosen.assign(mean_child=mean_children(chosen, found[found["kind"] == "child"]))
    merged: dict[str, Any] = {"seeds": rows.listed, "average": "mean", "mean_child": "mean"}
    keys = [column for column in COLUMNS if column not in [*merged, "gain"]]
    cells = chosen.groupby(keys, as_index=False).agg(merged)
    gains = (cells["average"] - cells["mean_child"]).round(12)  # so that 0 has no sign by rounding
    return cells.assign(gain=gains + 0.0)[COLUMNS]  # not -0.0


def mean_children(averages: pd.DataFrame, children: pd.DataFrame) -> list[float]:
    """Mean accuracy of exactly the children that are in each average, at its own child step.

    Raises:
        ValueError: one of them is not in the table.
    """
    cell = ["spawn_step", "child_step", "seeds"]
    accuracies = children.set_index(cell)["accuracy"].to_dict()
    means = []
    for spawn_step, child_step, seeds in averages[cell].itertuples(index=False, name=None):
        members = {seed: (spawn_step, child_step, seed) for seed in seeds.split("-")}
        missing = [seed for seed, child in members.items() if child not in accuracies]
        if missing:
            raise ValueError(
                f"no accuracy of child {', '.join(missing)} alone, which is in average {seeds} "
                f"of spawn step {spawn_step}, child step {child_step}"
            )
        means.append(float(np.mean([accuracies[child] for child in members.values()])))
    return means


def draw(drawn: pd.DataFrame) -> Figure:
    """A heat map, its cells equal in size: blue where the average is better, red where worse.

    The zero line lies between cells where the average is no worse and cells where it is worse.
    Cells without an average are grey.

    Args:
        drawn: by `table`.
    """
    gains = drawn.pivot(index="spawn_step", columns="child_step", values="gain").to_numpy()
    height, width = (min(max(CELL * count, 1.5), 8) for count in gains.shape)
    with style.look():
        figure = Figure(figsize=(max(width, 3.6) + 1.6, height + 2), layout="constrained")
        scale, axes = figure.subplots(2, height_ratios=(0.15, height))
        mesh = draw_cells(axes, gains)
        label_cells(axes, drawn)
        figure.colorbar(mesh, cax=scale, orientation="horizontal")
        label_scale(scale)
        scale.set_xlabel(about(drawn))
        signs = axes.get_legend_handles_labels()
        figure.legend(*signs, loc="outside lower right", ncols=2)
    return figure


def draw_cells(axes: Axes, gains: np.ndarray) -> QuadMesh:
    """Coloured cells, the one of row i and column j centred on (j, i), and the zero line."""
    largest = float(np.nanmax(np.abs(gains))) or LINEAR_UP_TO
    norm = AsinhNorm(linear_width=LINEAR_UP_TO, vmin=-largest, vmax=largest)
    row_edges, column_edges = (np.arange(count + 1) - 0.5 for count in gains.shape)
    mesh = axes.pcolormesh(column_edges, row_edges, gains, cmap="RdBu", norm=norm)
    axes.grid(False)
    edges = zero_line(gains)
    if edges:
        look = {**ZERO_LINE, "capstyle": "projecting", "snap": True}
        axes.add_collection(LineCollection(edges, **look, label="zero line"))
    if np.isnan(gains).any():
        axes.set_facecolor(NO_AVERAGE)
        axes.fill([], [], color=NO_AVERAGE, label="no average")
    return mesh


def zero_line(gains: np.ndarray) -> list[list[tuple[float, float]]]:
    """The edges between neighbouring cells of which one is negative and the other is not.

    Args:
        gains: (rows, columns); nan has no sign and no edge.

    Returns:
        Both ends (x, y) of each edge, the cell of row i and column j being centred on (j, i).
    """
    signs = np.where(np.isnan(gains), np.nan, np.where(gains < 0, -1.0, 1.0))
    beside = np.argwhere(signs[:, :-1] * signs[:, 1:] < 0)
    above = np.argwhere(signs[:-1] * signs[1:] < 0)
    upright = [[(j + 0.5, i - 0.5), (j + 0.5, i + 0.5)] for i, j in beside.tolist()]
    level = [[(j - 0.5, i + 0.5), (j + 0.5, i + 0.5)] for i, j in above.tolist()]
    return upright + level


def label_cells(axes: Axes, drawn: pd.DataFrame) -> None:
    """Name both axes, and as many of their cells as there is room for."""
    per_epoch = style.iterations_per_epoch(drawn)
    children, spawns = (sorted(set(drawn[step])) for step in ("child_step", "spawn_step"))
    places = style.spread(len(children), CHILD_LABELS)
    axes.set_xticks(places, [style.step_label(children[place], per_epoch) for place in places])
    places = style.spread(len(spawns), SPAWN_LABELS)
    axes.set_yticks(places, [style.moment(spawns[place], per_epoch) for place in places])
    axes.set_xlabel(style.CHILD_STEP)
    axes.set_ylabel(style.SPAWN_STEP)


def label_scale(axes: Axes) -> None:
    """Mark the gains that the colours stand for above them, and 0 like in the map."""
    largest = axes.get_xlim()[1]
    steps = [step for step in (0.01, 0.03, 0.1, 0.3, 1.0) if step <= largest] or [largest]
    ticks = [*(-step for step in reversed(steps)), 0.0, *steps]
    axes.set_xticks(ticks, [f"{tick:+.2g}" if tick else "0" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.axvline(0, **ZERO_LINE)


def about(drawn: pd.DataFrame) -> str:
    """What the colours mean, in words."""
    first, counts = drawn.iloc[0], drawn["num_models"]
    number = style.span(counts.min(), counts.max())
    letter = "n" if first["kind"] == "across" else "m"
    return (
        f"{first['kind']} ({letter} = {number}) minus mean child\n"
        f"model {first['model']}, batch norm: {first['bn']}\n"
        f"{first['split']} accuracy (fraction)"
    )
