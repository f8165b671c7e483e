"""Figures of wide networks: coordinate checks, transfer of learning rates, fits, ranks.

A callback of Hydra calls a function `write_...` after the last job of a sweep, to write a table of
all jobs, and its figure.
"""

import logging
import math
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import files, frames, runs, style
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, draw_band, make_grid, make_panels
from isthmus.store.files import write_bytes

log = logging.getLogger(__name__)

COORDINATES_COLUMNS = ["parametrization", "depth", "width", "seed", "step", "metric", "value"]
WORDS = {"output": "|f|", "output_change": "|f - f0|"}
KEYS = ["parametrization", "depth", "metric", "step"]


def coordinates_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: initial outputs, and their changes at all later steps.

    Args:
        metrics: rows of metrics.csv of networks of several widths, with their options.

    Returns:
        One row per network: `value` is the mean of |f| or of |f - f0|; `slope` that of its
        logarithm in log m over all widths and seeds, `theory` the predicted slope, empty after the
        first step.

    Raises:
        ValueError: there is nothing to draw, or only one width.
    """
    frames.check_columns(metrics, COORDINATES_COLUMNS)
    at_start = (metrics["metric"] == "output") & (metrics["step"] == 0)
    later = (metrics["metric"] == "output_change") & (metrics["step"] > 0)
    rows = metrics.loc[at_start | later, COORDINATES_COLUMNS]
    if rows.empty or rows["width"].nunique() < 2:
        raise ValueError("nothing to draw: slopes need outputs of networks of several widths")
    slopes = metrics[metrics["metric"].str.startswith("slope_")]
    predicted = {
        (name, depth, metric.removeprefix("slope_")): value
        for name, depth, metric, value in zip(
            *(slopes[key] for key in ("parametrization", "depth", "metric", "value")), strict=True
        )
    }
    parts = []
    for (name, depth, metric, step), part in rows.groupby(KEYS, sort=False):
        theory = predicted.get((name, depth, metric)) if step in (0, 1) else None
        parts.append(part.assign(slope=fit_slope(part), theory=theory))
    return pd.concat(parts).sort_values([*KEYS, "width", "seed"]).reset_index(drop=True)


def fit_slope(part: pd.DataFrame) -> float:
    """Slope of the logarithm of the values in the logarithm of the width, by least squares."""
    return float(np.polyfit(np.log(part["width"]), np.log(part["value"]), 1)[0])


def slope_summary(drawn: pd.DataFrame) -> pd.DataFrame:
    """One row per slope: parametrization, depth, metric, step, slope, theory."""
    return drawn[[*KEYS, "slope", "theory"]].drop_duplicates().reset_index(drop=True)


def draw_coordinates(drawn: pd.DataFrame) -> Figure:
    """Draw one column per depth; a row of initial outputs, then one per step of their change."""
    depths = sorted(drawn["depth"].unique())
    kinds = sorted(set(zip(drawn["metric"], drawn["step"], strict=True)))
    names = list(dict.fromkeys(drawn["parametrization"]))
    colours = style.COLOURS
    size = (3.1 * len(depths), 2.4 * len(kinds) + 0.6)
    figure, panels = make_panels(len(kinds), len(depths), size)
    for (row, (metric, step)), (column, depth) in product(enumerate(kinds), enumerate(depths)):
        axes, here = panels[row, column], drawn[drawn["depth"] == depth]
        here = here[(here["metric"] == metric) & (here["step"] == step)]
        for name, points in here.groupby("parametrization", sort=False):
            colour = colours[names.index(name) % len(colours)]
            _draw_line(axes, points, str(name), colour)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.legend(fontsize="small", title="slope (theory)", title_fontsize="small")
        axes.set_title(f"{depth} hidden layers, {style.moment(int(step), None)}")
        axes.set_xticks(sorted(here["width"].unique()), sorted(here["width"].unique()))
        axes.set_xticks([], minor=True)
        axes.set_ylabel(f"mean {WORDS[metric]}" if column == 0 else "")
        axes.set_xlabel("width" if row == len(kinds) - 1 else "")
    return figure


def _draw_line(axes: Axes, points: pd.DataFrame, name: str, colour: Any) -> None:
    theory = points["theory"].iloc[0]
    label = f"{name} {points['slope'].iloc[0]:.2f}"
    label += f" ({theory:g})" if pd.notna(theory) else ""
    axes.plot(points["width"], points["value"], ".", color=colour, alpha=0.4)
    means = np.log(points.set_index("width")["value"]).groupby(level=0).mean()
    fit = np.polyfit(np.log(means.index), means, 1)
    axes.plot(means.index, np.exp(np.polyval(fit, np.log(means.index))), color=colour, label=label)


LR_TRANSFER_COLUMNS = ["parametrization", "width", "lr", "status"]


def lr_transfer_table(results: pd.DataFrame, metric: str = "train_loss") -> pd.DataFrame:
    """Table of the figure: the mean over seeds at each learning rate, and the best rates.

    Args:
        results: one row per training, by `runs.job_results`.
        metric: column to minimize.

    Returns:
        One row per learning rate: `value` is empty if one of the seeds diverged (`num_diverged`
        counts them); `is_best` marks the lowest of a width.

    Raises:
        ValueError: there is nothing to draw.
    """
    frames.check_columns(results, [*LR_TRANSFER_COLUMNS, metric])
    rows = results[results["status"] != "failed"]
    if rows[metric].isna().all():
        raise ValueError(f"nothing to draw: no {metric} of any training")
    keys = ["parametrization", "width", "lr"]
    drawn = rows.groupby(keys, as_index=False).agg(
        value=(metric, lambda values: values.mean(skipna=False)),
        num_seeds=("status", "size"),
        num_diverged=("status", lambda status: int((status == "diverged").sum())),
    )
    lowest = drawn.groupby(keys[:2])["value"].transform("min")
    return drawn.assign(metric=metric, is_best=drawn["value"] == lowest)


def shifts(drawn: pd.DataFrame) -> pd.Series:
    """Largest log2 ratio of the best learning rates of two widths, by parametrization."""
    best = drawn[drawn["is_best"]].groupby("parametrization")["lr"]
    return best.agg(lambda lrs: math.log2(lrs.max() / lrs.min()))


def draw_lr_transfer(drawn: pd.DataFrame) -> Figure:
    """Draw one panel per parametrization; stars are the best rates, crosses diverged trainings."""
    names = list(dict.fromkeys(drawn["parametrization"]))
    widths = sorted(drawn["width"].unique())
    top = drawn["value"].max()
    figure, panels = make_grid(len(names))
    for axes, name in zip(panels, names, strict=True):
        here = drawn[drawn["parametrization"] == name]
        for width, colour in zip(widths, style.sequential(len(widths)), strict=True):
            points = here[here["width"] == width].sort_values("lr")
            label = f"width {width}"
            axes.plot(points["lr"], points["value"], "o-", color=colour, label=label)
            best = points[points["is_best"]]
            axes.plot(best["lr"], best["value"], "*", color=colour, markersize=11)
            gone = points[points["value"].isna()]
            axes.plot(gone["lr"], [top] * len(gone), "x", color=colour, markersize=5)
        axes.set_xscale("log", base=2)
        style.loss_axis(axes)
        axes.set_title(str(name))
        axes.set_xlabel("learning rate")
    metric_label = drawn["metric"].iloc[0].replace("_", " ")
    panels[0].set_ylabel(f"{metric_label} (nats)")
    add_legend(figure, panels, title="best: star; diverged: cross")
    return figure


FUNCTION_FITS_COLUMNS = ["parametrization", "seed", "x", "target", "value"]


def function_fits_table(functions: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: the values of every network, and the target.

    Args:
        functions: rows of function.csv of several networks, with their options.

    Raises:
        ValueError: the table has other columns, or is empty.
    """
    frames.check_columns(functions, FUNCTION_FITS_COLUMNS)
    order = functions[FUNCTION_FITS_COLUMNS].sort_values(["seed", "x"])
    return order.sort_values("parametrization", kind="stable").reset_index(drop=True)


def draw_function_fits(drawn: pd.DataFrame) -> Figure:
    """Draw one line per seed, with equal colours for equal Gaussians; the target is grey."""
    names, seeds = list(dict.fromkeys(drawn["parametrization"])), sorted(drawn["seed"].unique())
    colours = style.sequential(len(seeds))
    figure, panels = make_grid(len(names))
    for axes, name in zip(panels, names, strict=True):
        here = drawn[drawn["parametrization"] == name]
        target = here[here["seed"] == here["seed"].iloc[0]]
        axes.plot(target["x"], target["target"], color="0.7", linewidth=3, label="target")
        for seed, colour in zip(seeds, colours, strict=True):
            points = here[here["seed"] == seed]
            axes.plot(points["x"], points["value"], color=colour, label=f"seed {seed}")
        axes.set_title(str(name))
        axes.set_xlabel("x")
    panels[0].set_ylabel("f(x)")
    add_legend(figure, panels, title="")
    return figure


WIDE_CURVES_COLUMNS = ["parametrization", "seed", "step", "metric", "value"]
WIDE_CURVES_WORDS = {"examples_loss": "train loss (nats)", "output": "mean |f|"}


def wide_curves_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Table of the figure: means and ranges over seeds of loss and outputs at each step.

    Args:
        metrics: rows of metrics.csv of several networks, with their options; different activations
            are separate curves.

    Raises:
        ValueError: there is nothing to draw.
    """
    frames.check_columns(metrics, WIDE_CURVES_COLUMNS)
    if "activation" not in metrics:
        metrics = metrics.assign(activation="")
    rows = metrics[metrics["metric"].isin(list(WIDE_CURVES_WORDS))]
    if rows.empty:
        raise ValueError("nothing to draw: no diagnostics.steps were measured")
    keys = ["metric", "activation", "parametrization", "step"]
    return rows.groupby(keys, as_index=False).agg(
        value=("value", "mean"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_seeds=("seed", "nunique"),
    )


def draw_wide_curves(drawn: pd.DataFrame) -> Figure:
    """Draw two rows, loss and outputs; bands are ranges of seeds."""
    activations = list(dict.fromkeys(drawn["activation"]))
    names = list(dict.fromkeys(drawn["parametrization"]))
    colours = style.COLOURS
    size = (3.0 * len(activations) + 1.5, 5.0)
    figure, panels = make_panels(2, len(activations), size, sharey="row")
    keys = ["metric", "activation", "parametrization"]
    for (metric, activation, name), points in drawn.groupby(keys, sort=False):
        row, column = list(WIDE_CURVES_WORDS).index(str(metric)), activations.index(activation)
        axes: Axes = panels[row, column]
        colour = colours[names.index(name) % len(colours)]
        draw_band(axes, "step", points, str(name), color=colour)
    for column, activation in enumerate(activations):
        panels[0, column].set_title(str(activation))
        panels[1, column].set_xlabel("step (iterations)")
        panels[1, column].set_yscale("log")
    for row, label in enumerate(WIDE_CURVES_WORDS.values()):
        panels[row, 0].set_ylabel(label)
    add_legend(figure, panels.ravel(), title="")
    return figure


LAYER_RANKS_COLUMNS = ["parametrization", "seed", "step", "metric", "value"]
KINDS = ("weight", "change", "activation")
RANKS = {"trace": "squared-trace", "frobenius": "Frobenius/spectral"}


def layer_ranks_table(metrics: pd.DataFrame, rank: str = "trace") -> pd.DataFrame:
    """Table of the figure: means over seeds of each layer's effective ranks at each step.

    Args:
        metrics: rows of metrics.csv of several networks, with their options.
        rank: trace or frobenius.

    Raises:
        ValueError: there is nothing to draw, or `rank` is unknown.
    """
    if rank not in RANKS:
        raise ValueError(f"rank: must be {', '.join(RANKS)}, got {rank}")
    frames.check_columns(metrics, LAYER_RANKS_COLUMNS)
    pattern = rf"rank_{rank}_(?P<kind>{'|'.join(KINDS)})_(?P<layer>.+)"
    parts = metrics["metric"].str.extract(pattern)
    rows = metrics.assign(kind=parts["kind"], layer=parts["layer"]).dropna(subset="kind")
    if rows.empty:
        raise ValueError("nothing to draw: no diagnostics.ranks were measured")
    if "activation" not in rows:
        rows = rows.assign(activation="")
    keys = ["kind", "activation", "parametrization", "step", "layer"]
    drawn = rows.groupby(keys, as_index=False, sort=False).agg(value=("value", "mean"))
    return drawn.assign(rank=rank)


def draw_layer_ranks(drawn: pd.DataFrame) -> Figure:
    """Draw one row per activation, panels for weights, changes and activations, and one line per
    parametrization and step.
    """
    kinds = [kind for kind in KINDS if (drawn["kind"] == kind).any()]
    activations = list(dict.fromkeys(drawn["activation"]))
    layers = list(dict.fromkeys(drawn["layer"]))
    positions = {layer: place for place, layer in enumerate(layers)}
    names, all_steps = list(dict.fromkeys(drawn["parametrization"])), sorted(drawn["step"].unique())
    lines, colours = ["-", "--", ":", "-."], style.COLOURS
    figure, panels = make_grid(len(activations) * len(kinds), len(kinds))
    for number, axes in enumerate(panels):
        activation, kind = activations[number // len(kinds)], kinds[number % len(kinds)]
        here = drawn[(drawn["kind"] == kind) & (drawn["activation"] == activation)]
        here = here[here["value"] > 0]  # nothing has changed yet at the initialization
        for (name, step), points in here.groupby(["parametrization", "step"], sort=False):
            axes.plot(
                points["layer"].map(positions),
                points["value"],
                lines[all_steps.index(step) % 4],
                marker="o",
                color=colours[names.index(name) % len(colours)],
                label=f"{name} step {step}",
            )
        axes.set_yscale("log")
        axes.set_title(" ".join(word for word in (str(activation), kind) if word))
        axes.set_xticks(range(len(layers)), layers, rotation=60)
    for axes in panels[:: len(kinds)]:
        axes.set_ylabel(f"{RANKS[drawn['rank'].iloc[0]]} rank")
    add_legend(figure, panels, title="")
    return figure


def make_coordinate_check(shown: pd.DataFrame) -> Iterator[Drawing]:
    """Outputs against the width; all figures of sweeps are drawn of exactly their tables."""
    yield Drawing("coordinate_check", shown, draw_coordinates)


def make_lr_transfer(shown: pd.DataFrame) -> Iterator[Drawing]:
    """Loss against the learning rate."""
    yield Drawing("lr_transfer", shown, draw_lr_transfer)


def make_function_fits(shown: pd.DataFrame) -> Iterator[Drawing]:
    """Functions of one variable."""
    yield Drawing("function_fits", shown, draw_function_fits)


def make_wide_curves(shown: pd.DataFrame) -> Iterator[Drawing]:
    """Loss and outputs over steps."""
    yield Drawing("wide_curves", fill_activations(shown), draw_wide_curves)


def make_layer_ranks(shown: pd.DataFrame) -> Iterator[Drawing]:
    """Effective ranks of layers, by either definition."""
    yield Drawing(f"ranks_{shown['rank'].iloc[0]}", fill_activations(shown), draw_layer_ranks)


def fill_activations(shown: pd.DataFrame) -> pd.DataFrame:
    """A table with empty text in place of missing activations, in a sweep that varies none."""
    return shown.assign(activation=shown["activation"].astype(object).fillna("").astype(str))


def write_coordinate_check(jobs: runs.Jobs, folder: Path) -> None:
    """Write table and figure of the coordinate check: slopes in the width, and those of theory.

    Args:
        jobs: of a sweep over parametrizations, widths, depths and seeds.
        folder: of the sweep.
    """
    metrics = runs.job_rows(jobs, "metrics.csv")
    runs.require_rows(metrics, ["parametrization", "width", "depth", "seed"], "coordinate_check")
    drawn = coordinates_table(metrics)
    log.info("%s", slope_summary(drawn).round(3).to_string(index=False, na_rep=""))
    _save(make_coordinate_check(drawn), folder)


def write_lr_transfer(jobs: runs.Jobs, folder: Path) -> None:
    """Write table and figure of learning-rate transfer: loss against learning rate by width.

    Args:
        jobs: of a sweep over parametrizations, widths, learning rates and perhaps seeds.
        folder: of the sweep.
    """
    results = runs.job_results(jobs)
    runs.require_rows(results, ["parametrization", "width", "lr"], "lr_transfer")
    drawn = lr_transfer_table(results)
    wide = drawn.pivot(index=["parametrization", "width"], columns="lr", values="value")
    log.info("train loss\n%s", wide.round(4).to_string(na_rep="diverged"))
    for name, shift in shifts(drawn).items():
        log.info("%s: the best learning rates differ by a factor of %g", name, 2**shift)
    _save(make_lr_transfer(drawn), folder)


def write_function_fits(jobs: runs.Jobs, folder: Path) -> None:
    """Write table and figure of functions of one variable as networks fit them.

    Args:
        jobs: of a sweep over parametrizations and seeds.
        folder: of the sweep.
    """
    functions = runs.job_rows(jobs, "function.csv")
    runs.require_rows(functions, ["parametrization", "seed"], "function_1d")
    drawn = function_fits_table(functions)
    _save(make_function_fits(drawn), folder)


def write_wide_curves(jobs: runs.Jobs, folder: Path) -> None:
    """Write results, curves and measured ranks of a sweep over parametrizations.

    Args:
        jobs: of the sweep; with activations and seeds, or without.
        folder: of the sweep.
    """
    results = runs.job_results(jobs)
    runs.require_rows(results, ["parametrization", "seed"], "wide")
    log.info("%s", mean_accuracies(results).to_string(index=False))
    write_bytes(folder / "results.csv", results.to_csv(index=False).encode())
    metrics = runs.job_rows(jobs, "metrics.csv")
    if metrics.empty:  # all have diverged
        return
    drawn = wide_curves_table(metrics)
    _save(make_wide_curves(drawn), folder)
    if metrics["metric"].str.startswith("rank_").any():
        for rank in RANKS:
            ranks = layer_ranks_table(metrics, rank)
            _save(make_layer_ranks(ranks), folder)


def mean_accuracies(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, loss and number of diverged trainings by parametrization and activation.

    Args:
        results: by `runs.job_results`.
    """
    keys = [key for key in ("parametrization", "activation") if key in results]
    spread = {
        "test_accuracy": ("test_accuracy", "mean"),
        "lowest": ("test_accuracy", "min"),
        "highest": ("test_accuracy", "max"),
        "train_loss": ("train_loss", "mean"),
    }
    known = {name: how for name, how in spread.items() if how[0] in results}
    counts = {"seeds": ("status", "size"), "diverged": ("status", _num_diverged)}
    return results.groupby(keys, as_index=False, sort=False).agg(**known, **counts).round(4)


def _num_diverged(status: pd.Series) -> int:
    return int((status == "diverged").sum())


def _save(drawings: Iterable[Drawing], folder: Path) -> None:
    for path in files.save_all(drawings, folder):
        if path.suffix == ".png":
            log.info("figure %s", path)
