"""Figures of `prune.py`: accuracy by density, sparsity of layers, instability."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from isthmus.plots import files, frames, style
from isthmus.plots.files import Drawing

TICKETS_COLUMNS = [
    "study",
    "strategy",
    "rewind",
    "rewind_step",
    "seed",
    "level",
    "branch",
    "density",
]
TICKETS_COLUMNS += ["model", "split", "loss", "accuracy", "best_step"]
UNITS = style.UNITS | {"best_step": "iterations"}
WORDS = {"best_step": "step of lowest validation loss"}
DENSE: dict[str, Any] = {"color": "0.4", "linewidth": 1.0, "linestyle": "--"}
MARKERS = "os^vDPX*"


def tickets_table(
    levels: pd.DataFrame, metric: str = "accuracy", split: str = "test", model: str = "plain"
) -> pd.DataFrame:
    """What the figure shows: the mean over seeds of each line at each level, and its range.

    Args:
        levels: tables that `prune.py` writes, with the `study` that each row is of.
        metric: accuracy (fraction), loss (nats), or best_step (iteration of lowest validation
            loss).
        split: train, val or test.
        model: plain, best, or an averaged model tracked in training: ema_0.999, swa, latest_5.

    Returns:
        A row a point: `curve` is its name in the legend, `seeds` lists the networks that `value`
        is the mean of, and `lowest` and `highest` are the ends of their range.

    Raises:
        ValueError: there is nothing to draw; with what there is.
    """
    if metric not in UNITS:
        raise ValueError(f"metric: must be {', '.join(UNITS)}, got {metric}")
    frames.check_columns(levels, TICKETS_COLUMNS)
    found = frames.rows_where(frames.rows_where(levels, "split", split), "model", model)
    branch = found["branch"].astype(object)  # of numbers, where all are nan
    found = found.assign(branch=branch.where(branch.notna(), ""), value=found[metric])
    found = found.dropna(subset="value")
    if found.empty:
        raise ValueError(f"nothing to draw: no {metric} of split {split}, model {model}")
    found = found.assign(metric=metric, curve=_curves(found), seeds=found["seed"].astype(str))
    keys = ["curve", "branch", "study", "level", "metric", "split", "model"]
    drawn = found.groupby(keys, as_index=False, sort=False).agg(
        density=("density", "mean"),
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        seeds=("seeds", frames.join_seeds),
    )
    places = {curve: place for place, curve in enumerate(dict.fromkeys(drawn["curve"]))}
    order = drawn.assign(place=drawn["curve"].map(places)).sort_values(["place", "level"])
    return order.drop(columns="place").reset_index(drop=True)


def _curves(found: pd.DataFrame) -> list[str]:
    """The name of each row's line: as much as tells it from the others."""
    parts = [found["strategy"].astype(str)]
    by_strategy = found.groupby("strategy")["study"].transform("nunique")
    if (by_strategy > 1).any():  # told apart by what they rewind, then by their folder
        rewound = found["rewind"].astype(str) + " " + found["rewind_step"].astype(str) + "it"
        parts.append(", rewind " + rewound)
        joined = parts[0] + parts[1]
        if (found.groupby(joined)["study"].transform("nunique") > 1).any():
            parts.append(", " + found["study"].astype(str))
    parts.append((", " + found["branch"]).where(found["branch"] != "", ""))
    return ["".join(words) for words in zip(*parts, strict=True)]


def draw_tickets(drawn: pd.DataFrame) -> Figure:
    """Lines over the share of weights left, from the dense network on; bands are ranges of seeds.

    Args:
        drawn: by `table`.
    """
    first, colours = drawn.iloc[0], style.COLOURS
    with style.look():
        figure, (axes,) = style.grid(1)
        for place, (curve, points) in enumerate(drawn.groupby("curve", sort=False)):
            look: dict[str, Any] = {
                "color": colours[place % len(colours)],
                "marker": MARKERS[place % len(MARKERS)],
            }
            if points["branch"].iloc[0]:
                look["linestyle"] = ":"
            axes.plot(points["density"], points["value"], **look, markersize=4, label=curve)
            ends = points["lowest"], points["highest"]
            axes.fill_between(points["density"], *ends, color=look["color"], alpha=0.15, lw=0)
        dense = drawn.loc[(drawn["level"] == 0) & (drawn["branch"] == ""), "value"]
        if len(dense) and first["metric"] != "best_step":
            axes.axhline(dense.mean(), **DENSE, label="dense", zorder=1)
        density_axis(axes, drawn["density"])
        words = WORDS.get(first["metric"], f"{first['split']} {first['metric']}")
        axes.set_ylabel(f"{words} ({UNITS[first['metric']]})")
        style.legend(figure, [axes], title=f"model {first['model']}")
    return figure


def density_axis(axes: Axes, densities: pd.Series) -> None:
    """Make the x axis one of weights remaining: logarithmic, the dense network at the left."""
    axes.set_xscale("log")
    ticks = density_ticks(densities)
    axes.set_xticks(ticks, [f"{density:.3g}" for density in ticks])
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()
    axes.set_xlabel("weights remaining (fraction)")


def density_ticks(densities: Iterable[float]) -> list[float]:
    """Densities that were measured, from the largest on, as many as have room for their labels."""
    measured = sorted(set(densities), reverse=True)
    apart = max(math.log10(measured[0] / measured[-1]) / 9, 0.01)
    ticks = measured[:1]
    for density in measured[1:]:
        if math.log10(ticks[-1] / density) > apart:
            ticks.append(density)
    return ticks


SPARSITY_COLUMNS = ["level", "layer", "density"]
LEGEND_MOST = 12  # levels that are named


def sparsity_table(kept: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: the density of each layer at each level.

    Args:
        kept: level, layer and density, "total" for all layers together.

    Raises:
        ValueError: there is nothing to draw, or the table is another one.
    """
    frames.check_columns(kept, SPARSITY_COLUMNS)
    drawn = kept.loc[kept["layer"] != "total", SPARSITY_COLUMNS].reset_index(drop=True)
    if drawn.empty:
        raise ValueError("nothing to draw: the table of sparsity has no layers")
    return drawn


def draw_sparsity(drawn: pd.DataFrame) -> Figure:
    """A line a level, from dark to light, over the layers from input to output.

    Args:
        drawn: by `table`.
    """
    layers, levels = list(dict.fromkeys(drawn["layer"])), sorted(set(drawn["level"]))
    named = [levels[place] for place in style.spread(len(levels), LEGEND_MOST)]
    with style.look():
        width = min(max(0.35 * len(layers) + 2.5, 4.5), 12)
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        axes = figure.subplots()
        for colour, level in zip(style.sequential(len(levels)), levels, strict=True):
            points = drawn[drawn["level"] == level].set_index("layer").reindex(layers).dropna()
            places = [layers.index(layer) for layer in points.index]
            label = f"{level}" if level in named else None
            axes.plot(places, points["density"], "o-", color=colour, markersize=3, label=label)
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


def instability_table(found: pd.DataFrame, split: str = "test", bn: str = "reset") -> pd.DataFrame:
    """What the figure shows: mean and range, over seeds and pairs of children, of both barriers.

    With several rewind steps a curve is the dense network, or that of one density, against the
    rewind step; with a single one a curve has all densities.

    Args:
        found: tables of barriers that `prune.py` writes, with the `study` that each row is of; of
            lines on several grids, those on the one that most have.
        split: train, val or test.
        bn: what became of the batch-norm statistics: reset, average, keep or repair.

    Returns:
        A row a point: `curve` is its name in the legend, `along` its x axis, `num_pairs` says how
        many lines `value` is the mean of, `seeds` of which studies they are, and `lowest` and
        `highest` are the ends of their range.

    Raises:
        ValueError: there is nothing to draw; with what there is.
    """
    frames.check_columns(found, INSTABILITY_COLUMNS)
    found = frames.rows_where(frames.rows_where(found, "split", split), "bn", bn)
    found = frames.select_grid(frames.fill_columns(found))
    along = "rewind_step" if found["rewind_step"].nunique() > 1 else "density"
    found = found.assign(
        curve=_instability_curves(found, along), along=along, seed=found["seed"].astype(str)
    )
    order = {curve: n for n, curve in enumerate(dict.fromkeys(found.sort_values("level")["curve"]))}
    keys = ["curve", "along", "split", "bn", "metric", "measure", "rewind_step", "level", "density"]
    melted = found.melt([k for k in (*keys, "seed") if k != "measure"], MEASURES, "measure")
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


def _instability_curves(found: pd.DataFrame, along: str) -> list[str]:
    """The name of each row's line: its density, and as much else as tells it from the others."""
    strategy = found["strategy"].astype(str)
    names = strategy
    if along == "rewind_step":
        left = found["density"].map(lambda density: f"{density:.3g} of the weights")
        names = left.where(found["level"] > 0, "dense")
        names = names + (", " + strategy if strategy.nunique() > 1 else "")
    if found["rewind"].nunique() > 1:
        names = names + ", rewind=" + found["rewind"].astype(str)
    if found["vary"].nunique() > 1:
        names = names + ", vary=[" + found["vary"].str.replace(" ", ",") + "]"
    place = [names, found["rewind_step"], found["level"]]
    if (found.groupby(place)["study"].transform("nunique") > 1).any():
        names = names + ", " + found["study"].astype(str)  # they differ in what no column says
    return list(names)


def draw_instability(drawn: pd.DataFrame) -> Figure:
    """A row of panels a metric and a column a definition; bands are ranges of pairs and seeds.

    Args:
        drawn: by `table`.
    """
    first, looks = drawn.iloc[0], _looks(drawn)
    with style.look():
        figure = Figure(figsize=(7.2, 6.0 + 0.1 * len(looks)), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey="row")
        for metric, row in zip(METRICS, panels, strict=True):
            for measure, axes in zip(MEASURES, row, strict=True):
                here = (drawn["metric"] == metric) & (drawn["measure"] == measure)
                _draw_panel(axes, drawn[here], first["along"], looks)
                axes.set_title(measure)
            row[0].set_ylabel(f"barrier of the {metric} ({frames.UNITS[metric]})")
            row[1].tick_params(labelleft=True)
        _x_axis(panels[1, 0], drawn)
        panels[1, 1].set_xlabel(panels[1, 0].get_xlabel())
        style.legend(figure, list(panels.ravel()), title=_heading(drawn))
    return figure


def _heading(drawn: pd.DataFrame) -> str:
    """What all panels show, in words."""
    first, numbers = drawn.iloc[0], drawn["num_pairs"]
    words = f"{first['split']}, batch norm: {first['bn']}"
    if first["along"] == "density":
        words += f", children part at {first['rewind_step']}it"
    if numbers.max() > 1:
        words += f"; mean and range of {style.span(numbers.min(), numbers.max())} lines"
    return "\n".join([words, *frames.DEFINITIONS.values()])


def _looks(drawn: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of each curve: the dense network black, sparse ones from dark to light."""
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
    """All curves of one metric and one definition."""
    for curve, look in looks.items():
        points = panel[panel["curve"] == curve].sort_values(along)
        axes.plot(points[along], points["value"], **look, markersize=4, label=curve)
        ends = points["lowest"], points["highest"]
        axes.fill_between(points[along], *ends, color=look["color"], alpha=0.15, lw=0)
    if list(panel[["metric", "measure"]].iloc[0]) == ["error", "barrier_frankle"]:
        label = f"{STABLE:g}: stable below (Frankle et al., 2020)"
        axes.axhline(STABLE, color="0.5", linewidth=0.8, linestyle="--", label=label, zorder=1)


def _x_axis(axes: Axes, drawn: pd.DataFrame) -> None:
    """The axis that all panels share."""
    if drawn["along"].iloc[0] == "density":
        density_axis(axes, drawn["density"])
        return
    style.step_axis(axes, drawn["rewind_step"], None)
    axes.set_xlabel(STEP)


SPLITS = ("test", "val", "train")  # the first that was evaluated is drawn


def save_levels(
    levels: pd.DataFrame, kept: pd.DataFrame, folder: Path, pairs: pd.DataFrame | None = None
) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        levels: of one study or several, see `tickets.table`.
        kept: of one study, see `sparsity.table`.
        folder: made when absent.
        pairs: of one study or several, see `instability.table`; None where there is none.

    Returns:
        The files, see `files.save`.
    """
    drawings = [*level_drawings(levels), *mask_drawings(kept)]
    if pairs is not None:
        drawings += instability_drawings(pairs)
    return files.save_all(drawings, folder)


def level_drawings(levels: pd.DataFrame) -> Iterator[Drawing]:
    """Accuracy of each model, and the step of its lowest validation loss; see `save`."""
    split = next(split for split in SPLITS if split in set(levels["split"]))
    for model in dict.fromkeys(levels["model"]):
        curves = tickets_table(levels, "accuracy", split, model)
        yield Drawing(f"accuracy_{model}", curves, draw_tickets)
    if levels["best_step"].notna().any():
        best = tickets_table(levels, "best_step", split, "plain")
        yield Drawing("best_step", best, draw_tickets)


def mask_drawings(kept: pd.DataFrame) -> Iterator[Drawing]:
    """What layers keep; see `save`."""
    yield Drawing("sparsity", sparsity_table(kept), draw_sparsity)


def instability_drawings(pairs: pd.DataFrame) -> Iterator[Drawing]:
    """Instability by treatment of batch norm; where it is estimated anew, "instability"."""
    for bn in dict.fromkeys(pairs["bn"]):
        there = set(pairs.loc[pairs["bn"] == bn, "split"])
        split = next(split for split in SPLITS if split in there)
        name = "instability" if bn == "reset" else f"instability_{bn}"
        yield Drawing(name, instability_table(pairs, split, bn), draw_instability)
