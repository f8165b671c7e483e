"""Barriers between children of one network, dense or sparse, against the step they part at."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import pairs, rows, style, tickets

MEASURES = list(pairs.DEFINITIONS)
STUDY = ["study", "strategy", "rewind", "rewind_step", "seed", "level", "density", "vary"]
COLUMNS = [*STUDY, "seeds", "bn", "split", "metric", *MEASURES]
METRICS = ("error", "loss")
STABLE = 0.02  # barrier_frankle of the error below which Frankle et al. (2020) speak of stability
DENSE: dict[str, Any] = {"color": "0.1", "marker": "o", "linewidth": 1.6, "zorder": 3}
MARKERS = "s^vDPX*"
STEP = "rewind step (iterations)"


def table(found: pd.DataFrame, split: str = "test", bn: str = "reset") -> pd.DataFrame:
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
    rows.check_columns(found, COLUMNS)
    found = rows.where(rows.where(found, "split", split), "bn", bn)
    found = pairs.select_grid(pairs.fill_columns(found))
    along = "rewind_step" if found["rewind_step"].nunique() > 1 else "density"
    found = found.assign(curve=_curves(found, along), along=along, seed=found["seed"].astype(str))
    order = {curve: n for n, curve in enumerate(dict.fromkeys(found.sort_values("level")["curve"]))}
    keys = ["curve", "along", "split", "bn", "metric", "measure", "rewind_step", "level", "density"]
    melted = found.melt([k for k in (*keys, "seed") if k != "measure"], MEASURES, "measure")
    drawn = melted.groupby(keys, as_index=False, sort=False).agg(
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_pairs=("value", "size"),
        seeds=("seed", lambda seeds: rows.listed(set(seeds))),
    )
    drawn = drawn.assign(place=drawn["curve"].map(order))
    by = ["metric", "measure", "place", "rewind_step", "level"]
    return drawn.sort_values(by, ignore_index=True).drop(columns="place")


def _curves(found: pd.DataFrame, along: str) -> list[str]:
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


def draw(drawn: pd.DataFrame) -> Figure:
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
            row[0].set_ylabel(f"barrier of the {metric} ({pairs.UNITS[metric]})")
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
    return "\n".join([words, *pairs.DEFINITIONS.values()])


def _looks(drawn: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of each curve: the dense network black, sparse ones from dark to light."""
    curves = drawn.groupby("curve", sort=False)["level"].max()
    against_step = drawn["along"].iloc[0] == "rewind_step"
    dense = [curve for curve, level in curves.items() if against_step and level == 0]
    others = [curve for curve in curves.index if curve not in dense]
    looks: dict[str, dict[str, Any]] = {str(curve): dict(DENSE) for curve in dense}
    for place, (curve, colour) in enumerate(
        zip(others, style.sequential(len(others)), strict=True)
    ):
        looks[str(curve)] = {"color": colour, "marker": MARKERS[place % len(MARKERS)]}
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
        tickets.density_axis(axes, drawn["density"])
        return
    style.step_axis(axes, drawn["rewind_step"], None)
    axes.set_xlabel(STEP)
