"""Figures of `spawn.py`: accuracy along children, gain of averages, distances."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from isthmus.plots import frames, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, draw_cells, make_grid, make_panels
from isthmus.vocabulary import split_to_show

EACH_CHILD, MEAN_CHILD, ONLY_CHILD = "each child", "mean child", "child"
CHILD_STEPS_COLUMNS = ["curve", "kind", "num_models", *frames.MOMENT]
CHILD_STEPS_COLUMNS += ["model", "bn", "split", "metric", "seeds", "value"]


def child_steps_table(
    averages: pd.DataFrame,
    split: str = "test",
    metric: str = "accuracy",
    model: str = "plain",
    bn: str = "reset",
) -> pd.DataFrame:
    """Table of the figure: each child, and means over children and over averages of one kind.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        metric: accuracy (fraction) or loss (nats).
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: batch-norm statistics of averages: reset, average or keep.

    Returns:
        One row per point. `curve` is its name in the legend, and `seeds` lists the networks that
        `value` is the mean over: "1 2 3" are three children, "1-2-3" is one average of three.

    Raises:
        ValueError: there is nothing to draw; with what there is.
    """
    if metric not in style.UNITS:
        raise ValueError(f"metric: must be {' or '.join(style.UNITS)}, got {metric}")
    rows = frames.select_averages(averages, split, model, bn)
    rows = rows.assign(metric=metric, value=rows[metric])
    if rows["value"].isna().all():
        raise ValueError(
            f"nothing to draw: no {metric} of split {split}, model {model} is a number"
        )
    curves = curve_names(rows)
    sorts = zip(rows["kind"], rows["num_models"], strict=True)
    rows = rows.assign(curve=[curves[sort] for sort in sorts])
    keys = [column for column in CHILD_STEPS_COLUMNS if column not in ("seeds", "value")]
    means = rows.groupby(keys, as_index=False).agg(
        {"seeds": frames.join_seeds, "value": mean_curve}
    )
    each = rows[rows["curve"] == MEAN_CHILD].assign(curve=EACH_CHILD)
    drawn = pd.concat([each, means])[CHILD_STEPS_COLUMNS]
    names = pd.Categorical(drawn["curve"], list(dict.fromkeys([EACH_CHILD, *curves.values()])))
    order = ["spawn_step", "curve", "child_step", "seeds"]
    drawn = drawn.assign(curve=names).sort_values(order, ignore_index=True)
    return drawn.astype({"curve": str})


def mean_curve(values: pd.Series) -> float:
    """The mean of all values; nan if one of them is nan."""
    return float(values.mean(skipna=False))


def curve_names(rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Name of the curve of each kind and number of networks, in the order of the legend."""
    names, children = {}, rows.loc[rows["kind"] == "child", "seeds"].nunique()
    for kind in ("child", "across", *style.BACK):
        counts = sorted(set(rows.loc[rows["kind"] == kind, "num_models"]))
        for count in counts:
            if kind == "child":
                names[kind, count] = MEAN_CHILD if children > 1 else ONLY_CHILD
            elif kind == "across":
                names[kind, count] = f"across (n = {count})"
            else:  # the number may grow with the child step
                names[kind, count] = f"{kind} (m = {style.span(counts[0], counts[-1])})"
    return names


def draw_child_steps(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per spawn step: children thin, their mean bold, averages by kind."""
    first, per_epoch = drawn.iloc[0], style.iterations_per_epoch(drawn)
    spawn_steps = sorted(set(drawn["spawn_step"]))
    what = f"{first['split']} {first['metric']} ({style.UNITS[first['metric']]})"
    figure, panels = make_grid(len(spawn_steps), labels=(style.CHILD_STEP, what))
    for axes, spawn_step in zip(panels, spawn_steps, strict=True):
        draw_child_curves(axes, drawn[drawn["spawn_step"] == spawn_step])
        axes.set_title(f"spawn step {style.moment(spawn_step, per_epoch)}")
        style.step_axis(axes, drawn["child_step"], per_epoch)
    if first["metric"] == "loss" and (drawn["value"] > 0).any():
        style.loss_axis(panels[0])  # the y axes are one
    add_legend(figure, panels, title=child_step_label(drawn))
    return figure


def draw_child_curves(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw the curves of one spawn step."""
    for curve, points in panel.groupby("curve", sort=False):
        if curve == EACH_CHILD:
            for _, child in points.groupby("seeds"):
                axes.plot(child["child_step"], child["value"], **style.EACH_CHILD, label=curve)
        else:
            look = style.line(points["kind"].iloc[0], points["num_models"].iloc[0])
            axes.plot(points["child_step"], points["value"], **look, label=curve)


def child_step_label(drawn: pd.DataFrame) -> str:
    """Title of the legend: model and batch-norm statistics."""
    averages = drawn.loc[drawn["kind"] != "child", "bn"]
    bn = averages.iloc[0] if len(averages) else drawn["bn"].iloc[0]
    return f"model {drawn['model'].iloc[0]}, batch norm: {bn}"


GAIN_COLUMNS = [*frames.MOMENT, "kind", "num_models", "model", "bn", "split", "seeds"]
GAIN_COLUMNS += ["average", "mean_child", "gain"]
LINEAR_UP_TO = 0.01  # colours are linear in gains below, and logarithmic above
CELL = 0.45  # inches, as long as there is room
CHILD_LABELS, SPAWN_LABELS = 17, 40  # that there is room for
NO_AVERAGE = "0.75"
ZERO_LINE: dict[str, Any] = {"color": "black", "linewidth": 1.6}


def gain_table(
    averages: pd.DataFrame,
    split: str = "test",
    model: str = "plain",
    bn: str = "reset",
    kind: str = "across",
    num_models: int | None = None,
) -> pd.DataFrame:
    """Table of the figure: accuracy of the average minus mean accuracy of its children.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: batch-norm statistics of averages: reset, average or keep.
        kind: of average.
        num_models: in an average; by default the largest number for across, and any for the
            others, whose number is fixed or grows with the child step.

    Returns:
        One row per cell, all accuracies fractions. A cell of several averages (of other children)
        has their mean, and `seeds` lists them: "1-2 1-3".

    Raises:
        ValueError: there is nothing to draw; or an average has a child that is not in the table.
    """
    rows = frames.select_averages(averages, split, model, bn)
    chosen = frames.rows_where(rows[rows["kind"] != "child"], "kind", kind)
    if num_models is None and kind == "across":
        num_models = chosen["num_models"].max()
    if num_models is not None:
        chosen = frames.rows_where(chosen, "num_models", num_models)
    chosen = chosen.rename(columns={"accuracy": "average"})
    chosen = chosen.assign(mean_child=mean_children(chosen, rows[rows["kind"] == "child"]))
    merged: dict[str, Any] = {"seeds": frames.join_seeds, "average": "mean", "mean_child": "mean"}
    keys = [column for column in GAIN_COLUMNS if column not in [*merged, "gain"]]
    cells = chosen.groupby(keys, as_index=False).agg(merged)
    gains = (cells["average"] - cells["mean_child"]).round(12)  # so that 0 has no sign by rounding
    return cells.assign(gain=gains + 0.0)[GAIN_COLUMNS]  # not -0.0


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


def draw_gain(drawn: pd.DataFrame) -> Figure:
    """Draw a heat map with cells of equal size: blue where the average is better, red where worse.

    The zero line is between cells where the average is no worse and cells where it is worse.
    Cells without an average are grey.
    """
    gains = drawn.pivot(index="spawn_step", columns="child_step", values="gain").to_numpy()
    height, width = (min(max(CELL * count, 1.5), 8) for count in gains.shape)
    figure = Figure(figsize=(max(width, 3.6) + 1.6, height + 2), layout="constrained")
    scale, axes = figure.subplots(2, height_ratios=(0.15, height))
    mesh = draw_gain_cells(axes, gains)
    label_gain_cells(axes, drawn)
    figure.colorbar(mesh, cax=scale, orientation="horizontal")
    label_scale(scale)
    scale.set_xlabel(gain_label(drawn))
    signs = axes.get_legend_handles_labels()
    figure.legend(*signs, loc="outside lower right", ncols=2)
    return figure


def draw_gain_cells(axes: Axes, gains: np.ndarray) -> QuadMesh:
    """Draw coloured cells, that of row i and column j centred on (j, i), and the zero line."""
    largest = float(np.nanmax(np.abs(gains))) or LINEAR_UP_TO
    norm = AsinhNorm(linear_width=LINEAR_UP_TO, vmin=-largest, vmax=largest)
    mesh = draw_cells(axes, gains, "RdBu", norm, NO_AVERAGE)
    edges = zero_line(gains)
    if edges:
        look = {**ZERO_LINE, "capstyle": "projecting", "snap": True}
        axes.add_collection(LineCollection(edges, **look, label="zero line"))
    if np.isnan(gains).any():
        axes.fill([], [], color=NO_AVERAGE, label="no average")
    return mesh


def zero_line(gains: np.ndarray) -> list[list[tuple[float, float]]]:
    """Edges between neighbouring cells of which one is negative and the other is not.

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


def label_gain_cells(axes: Axes, drawn: pd.DataFrame) -> None:
    """Label both axes, and as many of their cells as fit."""
    per_epoch = style.iterations_per_epoch(drawn)
    children, spawns = (sorted(set(drawn[step])) for step in ("child_step", "spawn_step"))
    positions = style.spread(len(children), CHILD_LABELS)
    axes.set_xticks(
        positions, [style.step_label(children[position], per_epoch) for position in positions]
    )
    positions = style.spread(len(spawns), SPAWN_LABELS)
    axes.set_yticks(
        positions, [style.moment(spawns[position], per_epoch) for position in positions]
    )
    axes.set_xlabel(style.CHILD_STEP)
    axes.set_ylabel(style.SPAWN_STEP)


def label_scale(axes: Axes) -> None:
    """Label the colour scale with gains, and mark 0 as in the map."""
    largest = axes.get_xlim()[1]
    steps = [step for step in (0.01, 0.03, 0.1, 0.3, 1.0) if step <= largest] or [largest]
    ticks = [*(-step for step in reversed(steps)), 0.0, *steps]
    axes.set_xticks(ticks, [f"{tick:+.2g}" if tick else "0" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.axvline(0, **ZERO_LINE)


def gain_label(drawn: pd.DataFrame) -> str:
    """Label of the colour scale: kind of average, model, batch norm and split."""
    first, counts = drawn.iloc[0], drawn["num_models"]
    number = style.span(counts.min(), counts.max())
    letter = "n" if first["kind"] == "across" else "m"
    return (
        f"{first['kind']} ({letter} = {number}) minus mean child\n"
        f"model {first['model']}, batch norm: {first['bn']}\n"
        f"{first['split']} accuracy (fraction)"
    )


MEASURES = {"l2": "L2 distance", "cosine": "cosine similarity"}
OTHERS = {
    "origin": "origin (norm of the weights)",
    "initialization": "initialization",
    "parent": "parent at the spawn step",
    "siblings": "siblings (mean)",
}
QUANTITIES = [f"l2_{other}" for other in OTHERS]
QUANTITIES += [f"cosine_{other}" for other in OTHERS if other != "origin"]
LEGEND_MOST = 11  # names that fit into a panel's legend


def distances_table(distance: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: each distance and cosine, averaged over the children.

    Args:
        distance: as `spawn.py` writes it; without siblings if there is one child.

    Returns:
        One row per point: its `measure` (l2 or cosine), the other network (`to`), and `seeds`, the
        children that `value` is the mean over.

    Raises:
        ValueError: there is nothing to draw, or the table has other columns.
    """
    frames.check_columns(distance, [*frames.MOMENT, "seed", *QUANTITIES])
    if distance[QUANTITIES].isna().all(axis=None):
        raise ValueError("nothing to draw: the table of distances has no numbers")
    long = distance.melt([*frames.MOMENT, "seed"], QUANTITIES, "quantity").dropna(subset="value")
    long[["measure", "to"]] = long["quantity"].str.split("_", expand=True)
    long["quantity"] = pd.Categorical(long["quantity"], QUANTITIES)
    long["seeds"] = long["seed"].astype(str)
    keys = ["quantity", "measure", "to", *frames.MOMENT]
    means = long.groupby(keys, as_index=False, observed=True).agg(
        {"seeds": frames.join_seeds, "value": "mean"}
    )
    return means.drop(columns="quantity")


def draw_distances(drawn: pd.DataFrame) -> Figure:
    """Draw distances above cosines, one panel each; one curve per spawn step, dark to light."""
    others = [other for other in OTHERS if (drawn["to"] == other).any()]
    size = (2.5 * len(others) + 0.6, 5.2)
    figure, panels = make_panels(2, len(others), size, sharey="row", labels=(style.CHILD_STEP, ""))
    draw_row(list(panels[0]), drawn, "l2", others)
    draw_row(list(panels[1, 1:]), drawn, "cosine", others[1:])
    panels[0, 0].tick_params(labelbottom=True)
    panels[1, 1].tick_params(labelleft=True)
    panels[1, 0].set_axis_off()  # nothing has a cosine to the origin: room for the legend
    curves = panels[0, 0].get_lines()
    named = [curves[place] for place in style.spread(len(curves), LEGEND_MOST)]
    panels[1, 0].legend(handles=named, title="spawn step", alignment="left", loc="upper left")
    return figure


def draw_row(panels: list[Axes], drawn: pd.DataFrame, measure: str, others: list[str]) -> None:
    """Draw the panels of one measure."""
    spawn_steps = sorted(set(drawn["spawn_step"]))
    per_epoch = style.iterations_per_epoch(drawn)
    colours = style.sequential(len(spawn_steps))
    for axes, other in zip(panels, others, strict=True):
        points = drawn[(drawn["measure"] == measure) & (drawn["to"] == other)]
        for colour, spawn_step in zip(colours, spawn_steps, strict=True):
            curve = points[points["spawn_step"] == spawn_step]
            label = style.moment(spawn_step, per_epoch)
            axes.plot(curve["child_step"], curve["value"], ".-", color=colour, label=label)
        axes.set_title(f"to {OTHERS[other]}")
        style.step_axis(axes, drawn["child_step"], per_epoch)
    panels[0].set_ylabel(MEASURES[measure])


def make_accuracy(averages: pd.DataFrame) -> Iterator[Drawing]:
    """Accuracy along children, for each model and each treatment of batch norm."""
    for rows, split, model, bn, end in _treatments(averages):
        shown = child_steps_table(rows, split, "accuracy", model, bn)
        yield Drawing(f"accuracy_{end}", shown, draw_child_steps)


def make_gain(averages: pd.DataFrame) -> Iterator[Drawing]:
    """Gain of each kind of average, for each model and each treatment of batch norm."""
    for rows, split, model, bn, end in _treatments(averages):
        combined = rows[(rows["kind"] != "child") & (rows["model"] == model) & (rows["bn"] == bn)]
        for kind in sorted(set(combined["kind"])):
            shown = gain_table(rows, split, model, bn, kind)
            yield Drawing(f"gain_{kind}_{end}", shown, draw_gain)


def make_distances(distances: pd.DataFrame) -> Iterator[Drawing]:
    """Distances between networks, if they were measured."""
    if not distances.empty:
        yield Drawing("distances", distances_table(distances), draw_distances)


def _treatments(averages: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str, str, str]]:
    """The rows of one split, the split, a model, a treatment of batch norm, a name of both."""
    if averages.empty:
        return
    split = split_to_show(averages["split"])
    rows = averages[averages["split"] == split]
    for model in sorted(set(rows["model"])):
        combined = rows[(rows["kind"] != "child") & (rows["model"] == model)]
        for bn in sorted(set(combined["bn"])) or ["reset"]:
            yield rows, split, model, bn, model if bn == "reset" else f"{model}_{bn}"
