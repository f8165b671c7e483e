"""Figures of `prune.py`: accuracy by density, sparsity of layers, instability."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from isthmus.plots import frames, style
from isthmus.plots.barriers import draw_definitions
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, draw_band, make_grid, make_panel
from isthmus.vocabulary import split_to_show

TICKETS_COLUMNS = ["study", "strategy", "rewind", "rewind_step", "seed", "level", "branch"]
TICKETS_COLUMNS += ["density", "model", "split", "loss", "accuracy", "best_step"]
UNITS = style.UNITS | {"best_step": "iterations"}
WORDS = {"best_step": "step of lowest validation loss"}
DENSE: dict[str, Any] = {"color": "0.4", "linewidth": 1.0, "linestyle": "--"}
MARKERS = "os^vDPX*"


def tickets_table(
    levels: pd.DataFrame, metric: str = "accuracy", split: str = "test", model: str = "plain"
) -> pd.DataFrame:
    """Table of the figure: mean and range over seeds of each line at each level.

    Args:
        levels: tables that `prune.py` writes, with the `study` of each row.
        metric: accuracy (fraction), loss (nats), or best_step (iteration of lowest validation
            loss).
        split: train, val or test.
        model: plain, best, or an averaged model tracked in training: ema_0.999, swa, latest_5.

    Returns:
        One row per point: `curve` is its name in the legend, `seeds` lists the networks that
        `value` is the mean over, and `lowest` and `highest` are the ends of their range.

    Raises:
        ValueError: there is nothing to draw.
    """
    if metric not in UNITS:
        raise ValueError(f"metric: must be {', '.join(UNITS)}, got {metric}")
    frames.check_columns(levels, TICKETS_COLUMNS)
    rows = frames.rows_where(frames.rows_where(levels, "split", split), "model", model)
    branch = rows["branch"].astype(object)  # numbers if all are nan
    rows = rows.assign(branch=branch.where(branch.notna(), ""), value=rows[metric])
    rows = rows.dropna(subset="value")
    if rows.empty:
        raise ValueError(f"nothing to draw: no {metric} of split {split}, model {model}")
    rows = rows.assign(metric=metric, curve=_curve_names(rows), seeds=rows["seed"].astype(str))
    keys = ["curve", "branch", "study", "level", "metric", "split", "model"]
    drawn = rows.groupby(keys, as_index=False, sort=False).agg(
        density=("density", "mean"),
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        seeds=("seeds", frames.join_seeds),
    )
    positions = {curve: place for place, curve in enumerate(dict.fromkeys(drawn["curve"]))}
    order = drawn.assign(place=drawn["curve"].map(positions)).sort_values(["place", "level"])
    return order.drop(columns="place").reset_index(drop=True)


def _curve_names(rows: pd.DataFrame) -> list[str]:
    """The name of each row's line, as short as the lines remain distinct."""
    parts = [rows["strategy"].astype(str)]
    by_strategy = rows.groupby("strategy")["study"].transform("nunique")
    if (by_strategy > 1).any():  # distinguished by what they rewind, then by their folder
        rewound = rows["rewind"].astype(str) + " " + rows["rewind_step"].astype(str) + "it"
        parts.append(", rewind " + rewound)
        joined = parts[0] + parts[1]
        if (rows.groupby(joined)["study"].transform("nunique") > 1).any():
            parts.append(", " + rows["study"].astype(str))
    parts.append((", " + rows["branch"]).where(rows["branch"] != "", ""))
    return ["".join(pieces) for pieces in zip(*parts, strict=True)]


def draw_tickets(drawn: pd.DataFrame) -> Figure:
    """Draw lines over the fraction of remaining weights; bands are ranges of seeds."""
    first, colours = drawn.iloc[0], style.COLOURS
    figure, (axes,) = make_grid(1)
    for place, (curve, points) in enumerate(drawn.groupby("curve", sort=False)):
        look: dict[str, Any] = {
            "color": colours[place % len(colours)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        if points["branch"].iloc[0]:
            look["linestyle"] = ":"
        draw_band(axes, "density", points, str(curve), **look, markersize=4)
    dense = drawn.loc[(drawn["level"] == 0) & (drawn["branch"] == ""), "value"]
    if len(dense) and first["metric"] != "best_step":
        axes.axhline(dense.mean(), **DENSE, label="dense", zorder=1)
    density_axis(axes, drawn["density"])
    label = WORDS.get(first["metric"], f"{first['split']} {first['metric']}")
    axes.set_ylabel(f"{label} ({UNITS[first['metric']]})")
    add_legend(figure, [axes], title=f"model {first['model']}")
    return figure


def density_axis(axes: Axes, densities: pd.Series) -> None:
    """Set the x axis to remaining weights: logarithmic, the dense network at the left."""
    axes.set_xscale("log")
    ticks = density_ticks(densities)
    axes.set_xticks(ticks, [f"{density:.3g}" for density in ticks])
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()
    axes.set_xlabel("weights remaining (fraction)")


def density_ticks(densities: Iterable[float]) -> list[float]:
    """Measured densities in decreasing order, as many as their labels fit."""
    measured = sorted(set(densities), reverse=True)
    apart = max(math.log10(measured[0] / measured[-1]) / 9, 0.01)
    ticks = measured[:1]
    for density in measured[1:]:
        if math.log10(ticks[-1] / density) > apart:
            ticks.append(density)
    return ticks


SPARSITY_COLUMNS = ["level", "layer", "density"]
LEGEND_MOST = 12  # levels in the legend


def sparsity_table(kept: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: the density of each layer at each level.

    Args:
        kept: level, layer and density, "total" for all layers together.

    Raises:
        ValueError: there is nothing to draw, or the table has other columns.
    """
    frames.check_columns(kept, SPARSITY_COLUMNS)
    drawn = kept.loc[kept["layer"] != "total", SPARSITY_COLUMNS].reset_index(drop=True)
    if drawn.empty:
        raise ValueError("nothing to draw: the table of sparsity has no layers")
    return drawn


def draw_sparsity(drawn: pd.DataFrame) -> Figure:
    """Draw one line per level, from dark to light, over the layers from input to output."""
    layers, levels = list(dict.fromkeys(drawn["layer"])), sorted(set(drawn["level"]))
    named = [levels[place] for place in style.spread(len(levels), LEGEND_MOST)]
    width = min(max(0.35 * len(layers) + 2.5, 4.5), 12)
    figure, axes = make_panel(width, 4.6)
    for colour, level in zip(style.sequential(len(levels)), levels, strict=True):
        points = drawn[drawn["level"] == level].set_index("layer").reindex(layers).dropna()
        positions = [layers.index(layer) for layer in points.index]
        label = f"{level}" if level in named else None
        axes.plot(positions, points["density"], "o-", color=colour, markersize=3, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_yticks([], minor=True)
    axes.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 6 else 0)
    axes.set_xlabel("layer")
    axes.set_ylabel("weights remaining (fraction)")
    figure.legend(loc="outside right upper", title="level")
    return figure


MEASURES = list(frames.DEFINITIONS)
STUDY = ["study", "strategy", "rewind", "rewind_step", "seed", "level", "density", "vary"]
INSTABILITY_COLUMNS = [*STUDY, "seeds", "bn", "split", "metric", *MEASURES]
METRICS = ("error", "loss")
STABLE = 0.02  # barrier_frankle of the error below which Frankle et al. (2020) speak of stability
INSTABILITY_DENSE: dict[str, Any] = {"color": "0.1", "marker": "o", "linewidth": 1.6, "zorder": 3}
INSTABILITY_MARKERS = "s^vDPX*"
STEP = "rewind step (iterations)"


def instability_table(lines: pd.DataFrame, split: str = "test", bn: str = "reset") -> pd.DataFrame:
    """Table of the figure: mean and range, over seeds and pairs of children, of both barriers.

    With several rewind steps, a curve is the dense network, or that of one density, against the
    rewind step; with only one, a curve has all densities.

    Args:
        lines: tables of barriers that `prune.py` writes, with the `study` of each row; of lines on
            several grids, the most frequent is used.
        split: train, val or test.
        bn: batch-norm statistics: reset, average, keep or repair.

    Returns:
        One row per point: `curve` is its name in the legend, `along` its x axis, `num_pairs` the
        number of lines that `value` is the mean over, `seeds` those of their studies, and `lowest`
        and `highest` are the ends of their range.

    Raises:
        ValueError: there is nothing to draw.
    """
    frames.check_columns(lines, INSTABILITY_COLUMNS)
    lines = frames.rows_where(frames.rows_where(lines, "split", split), "bn", bn)
    lines = frames.select_grid(frames.fill_columns(lines))
    along = "rewind_step" if lines["rewind_step"].nunique() > 1 else "density"
    lines = lines.assign(
        curve=_instability_curves(lines, along), along=along, seed=lines["seed"].astype(str)
    )
    order = {curve: n for n, curve in enumerate(dict.fromkeys(lines.sort_values("level")["curve"]))}
    keys = ["curve", "along", "split", "bn", "metric", "measure", "rewind_step", "level", "density"]
    melted = lines.melt([k for k in (*keys, "seed") if k != "measure"], MEASURES, "measure")
    drawn = melted.groupby(keys, as_index=False, sort=False).agg(
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_pairs=("value", "size"),
        seeds=("seed", lambda seeds: frames.join_seeds(set(seeds))),
    )
    drawn = drawn.assign(place=drawn["curve"].map(order))
    by = ["metric", "measure", "place", "rewind_step", "level"]
    return drawn.sort_values(by, ignore_index=True).drop(columns="place")


def _instability_curves(lines: pd.DataFrame, along: str) -> list[str]:
    """The name of each row's line: its density, and what else distinguishes the lines."""
    strategy = lines["strategy"].astype(str)
    names = strategy
    if along == "rewind_step":
        left = lines["density"].map(lambda density: f"{density:.3g} of the weights")
        names = left.where(lines["level"] > 0, "dense")
        names = names + (", " + strategy if strategy.nunique() > 1 else "")
    if lines["rewind"].nunique() > 1:
        names = names + ", rewind=" + lines["rewind"].astype(str)
    if lines["vary"].nunique() > 1:
        names = names + ", vary=[" + lines["vary"].str.replace(" ", ",") + "]"
    place = [names, lines["rewind_step"], lines["level"]]
    if (lines.groupby(place)["study"].transform("nunique") > 1).any():
        names = names + ", " + lines["study"].astype(str)  # they differ in no column
    return list(names)


def draw_instability(drawn: pd.DataFrame) -> Figure:
    """Draw one row of panels per metric, one column per definition, with ranges as bands."""
    first, looks = drawn.iloc[0], _looks(drawn)

    def draw_panel(axes: Axes, panel: pd.DataFrame) -> None:
        _draw_panel(axes, panel, first["along"], looks)

    height = 6.0 + 0.1 * len(looks)
    figure, panels = draw_definitions(drawn, draw_panel, height, METRICS)
    _x_axis(panels[1, 0], drawn)
    for axes in panels[1, 1:]:
        axes.set_xlabel(panels[1, 0].get_xlabel())
    add_legend(figure, panels.ravel(), title=_heading(drawn))
    return figure


def _heading(drawn: pd.DataFrame) -> str:
    """Title of the legend: split, batch norm, rewind step and number of lines."""
    first, numbers = drawn.iloc[0], drawn["num_pairs"]
    label = f"{first['split']}, batch norm: {first['bn']}"
    if first["along"] == "density":
        label += f", children part at {first['rewind_step']}it"
    if numbers.max() > 1:
        label += f"; mean and range of {style.span(numbers.min(), numbers.max())} lines"
    return "\n".join([label, *frames.DEFINITIONS.values()])


def _looks(drawn: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of each curve: the dense network black, sparse ones dark to light."""
    curves = drawn.groupby("curve", sort=False)["level"].max()
    against_step = drawn["along"].iloc[0] == "rewind_step"
    dense = [curve for curve, level in curves.items() if against_step and level == 0]
    others = [curve for curve in curves.index if curve not in dense]
    looks: dict[str, dict[str, Any]] = {str(curve): dict(INSTABILITY_DENSE) for curve in dense}
    for place, (curve, colour) in enumerate(
        zip(others, style.sequential(len(others)), strict=True)
    ):
        looks[str(curve)] = {
            "color": colour,
            "marker": INSTABILITY_MARKERS[place % len(INSTABILITY_MARKERS)],
        }
    return looks


def _draw_panel(
    axes: Axes, panel: pd.DataFrame, along: str, looks: dict[str, dict[str, Any]]
) -> None:
    """Draw all curves of one metric and one definition."""
    for curve, look in looks.items():
        points = panel[panel["curve"] == curve].sort_values(along)
        draw_band(axes, along, points, curve, **look, markersize=4)
    if list(panel[["metric", "measure"]].iloc[0]) == ["error", "barrier_frankle"]:
        label = f"{STABLE:g}: stable below (Frankle et al., 2020)"
        axes.axhline(STABLE, color="0.5", linewidth=0.8, linestyle="--", label=label, zorder=1)


def _x_axis(axes: Axes, drawn: pd.DataFrame) -> None:
    """Set the x axis that all panels share."""
    if drawn["along"].iloc[0] == "density":
        density_axis(axes, drawn["density"])
        return
    style.step_axis(axes, drawn["rewind_step"], None)
    axes.set_xlabel(STEP)


def make_accuracy(levels: pd.DataFrame) -> Iterator[Drawing]:
    """Accuracy by density, for each model."""
    split = split_to_show(levels["split"])
    for model in dict.fromkeys(levels["model"]):
        shown = tickets_table(levels, "accuracy", split, model)
        yield Drawing(f"accuracy_{model}", shown, draw_tickets)


def make_best_step(levels: pd.DataFrame) -> Iterator[Drawing]:
    """The step of lowest validation loss by density, if there is one."""
    if levels["best_step"].notna().any():
        shown = tickets_table(levels, "best_step", split_to_show(levels["split"]), "plain")
        yield Drawing("best_step", shown, draw_tickets)


def make_instability(pairs: pd.DataFrame) -> Iterator[Drawing]:
    """Barriers between children, for each treatment of batch norm."""
    for bn in dict.fromkeys(pairs["bn"]):
        split = split_to_show(pairs.loc[pairs["bn"] == bn, "split"])
        name = "instability" if bn == "reset" else f"instability_{bn}"
        yield Drawing(name, instability_table(pairs, split, bn), draw_instability)


def make_sparsity(kept: pd.DataFrame) -> Iterator[Drawing]:
    """The density of layers of each study."""
    by_folder = list(kept.groupby("folder", sort=False)) if "folder" in kept else [("", kept)]
    for folder, rows in by_folder:
        name = "sparsity" if len(by_folder) == 1 else f"sparsity_{folder}"
        yield Drawing(name, sparsity_table(rows), draw_sparsity)
