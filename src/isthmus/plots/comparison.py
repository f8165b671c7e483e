"""Comparisons of runs: one option against a result, and tables of final accuracies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from isthmus.plots import frames, restyle, runs, style
from isthmus.plots.runs import FINAL, TrainingRuns, TrainingTables

OVER_SEEDS = ["value", "std", "lowest", "highest", "num_seeds", "seeds"]
COMPARE_COLUMNS = ["x_name", "x", "curve", "model", "metric", "split", *OVER_SEEDS]
FINAL_COLUMNS = ["along", "row", "model", "metric", "split", *OVER_SEEDS]
DECAY = "averaged.decay"  # of which each model of a training has its own
MODEL = "model"  # as hue: a curve each
UNITS = {**style.UNITS, "seconds": "of an epoch"}
UNITS |= {"images_per_second": "1/s", "weight_norm": "L2", "weight_distance": "L2"}
MARKERS = "osD^v<>P"
RATIO = 12  # of the largest to the smallest number, beyond which an axis grows by ratios


def compare_table(study: TrainingRuns, asked: Mapping[str, Any]) -> pd.DataFrame:
    """What the figure shows: mean, range and spread over seeds of a metric at its last moment.

    Args:
        study: trainings.
        asked: `x`, a parameter such as optimizer.lr or scheduler; `metric`; `split` (test, val or
            train); `model`, which is not looked at if x is averaged.decay; `hue`, a parameter or
            a list of them, or model, or None: what curves are of.

    Returns:
        A row a point; `curve` is its name in the legend.

    Raises:
        ValueError: a name is not one of those that there are; or trainings differ in more than x,
            hue and their seed.
    """
    x, hue = asked["x"], [asked["hue"]] if isinstance(asked["hue"], str) else asked["hue"] or []
    parameters = [run.parameters for run in study.runs]
    _check(parameters, x, hue)
    parts = [part for run in study.runs for part in _of_run(run, asked, hue)]
    if not parts:
        raise ValueError(_nothing(study, asked))
    return _ordered(runs.mean_over_seeds(pd.concat(parts), COMPARE_COLUMNS[:6])[COMPARE_COLUMNS])


def _of_run(
    run: TrainingTables, asked: Mapping[str, Any], hue: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """The point of each model of a training."""
    x, found = asked["x"], _last(run, asked["metric"], asked["split"])
    named = [name for name in hue if name != MODEL]
    for model in found["model"]:
        if _is_wanted(model, x, hue, asked["model"]):
            words = [runs.setting_words(run.parameters, named)] if named else []
            if MODEL in hue or not words:
                words.append("averages" if x == DECAY else model)
            yield found[found["model"] == model].assign(
                x_name=x,
                x=style.decay_of_model(model) if x == DECAY else run.parameters.get(x),
                curve=", ".join(words),
                metric=asked["metric"],
                model="" if x == DECAY else model,
                seed=run.seed,
            )


def _check(parameters: Sequence[runs.Parameters], x: str, hue: Sequence[str]) -> None:
    differ = runs.differing_settings(parameters)
    known = list(dict.fromkeys(name for run in parameters for name in run))
    for option, name in (("x", x), *(("hue", name) for name in hue if name != MODEL)):
        if name not in known and name != DECAY:
            words = ", ".join(differ) or "in their seeds only"
            raise ValueError(
                f"compare.{option}={name}: these runs do not say it; they differ in {words}"
            )
    others = [name for name in differ if name not in (x, *hue) and name not in runs.OF_AVERAGES]
    if others:
        raise ValueError(
            f"compare: these runs differ in {', '.join(others)} too: add "
            f"compare.hue=[{','.join([*hue, *others])}], or name fewer runs"
        )


def _last(run: TrainingTables, metric: str, split: str) -> pd.DataFrame:
    """The last value of a metric of each model; that of the last evaluation, where there is one."""
    numbers = run.metrics
    final = (numbers["metric"] == FINAL + metric) & (numbers["split"] == split)
    if not final.any():
        final = (numbers["metric"] == metric) & numbers["split"].isin([split, ""])
    last = numbers[final].groupby("model", as_index=False, sort=False).tail(1)
    return last[["model", "split", "value"]]


def _is_wanted(model: str, x: str, hue: Sequence[str], asked: str) -> bool:
    if x == DECAY:
        return style.decay_of_model(model) is not None
    return MODEL in hue or model == asked


def _nothing(study: TrainingRuns, asked: Mapping[str, Any]) -> str:
    """Why there is nothing to draw: the metrics, splits and models that there are."""
    numbers = study.metrics
    metrics = dict.fromkeys(name.removeprefix(FINAL) for name in numbers["metric"])
    splits = [split for split in dict.fromkeys(numbers["split"]) if split]
    of = f"metric {asked['metric']}, split {asked['split']}, model {asked['model']}"
    there = [", ".join(names) for names in (metrics, splits, style.order_models(numbers["model"]))]
    return (
        f"nothing to draw: no {of}; the runs have metrics {there[0]}; splits {there[1]}; "
        f"models {there[2]}"
    )


def _ordered(drawn: pd.DataFrame) -> pd.DataFrame:
    """Along x, if it is of numbers; else as it comes, as text."""
    if not _is_numeric(drawn):
        return drawn.assign(x=drawn["x"].astype(str))
    return drawn.sort_values(["curve", "x"], kind="stable", ignore_index=True)


def _is_numeric(drawn: pd.DataFrame) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in drawn["x"])


def draw_compare(drawn: pd.DataFrame) -> Figure:
    """Means with the range of seeds: curves over numbers, marks over anything else.

    Args:
        drawn: by `table`.
    """
    first, curves = drawn.iloc[0], list(dict.fromkeys(drawn["curve"]))
    unit = UNITS.get(first["metric"], "as in metrics.csv")
    with style.look():
        figure, (axes,) = style.grid(1)
        if _is_numeric(drawn):
            draw_numbers(axes, drawn, curves)
        else:
            draw_names(axes, drawn, curves)
        axes.set_xlabel(axis_words(first["x_name"]))
        what = f"{first['split']} {first['metric']}".strip()
        axes.set_ylabel(f"{what} ({unit})")
        counts = drawn["num_seeds"]
        alone = drawn["model"].nunique() == 1 and first["model"] not in ("", *curves)
        whose = f"model {first['model']}, " if alone else ""
        span = style.span(counts.min(), counts.max())
        words = "one seed" if counts.max() == 1 else f"mean and range of {span} seeds"
        style.legend(figure, [axes], title=whose + words)
    return figure


def axis_words(name: str) -> str:
    """A parameter as the name of an axis."""
    return f"{name} (per step)" if name == DECAY else name


def draw_numbers(axes: Axes, drawn: pd.DataFrame, curves: Sequence[str]) -> None:
    """Curves with bands; the axis grows by ratios where numbers span more than a decade.

    Decays are evenly spaced: what counts is how far they are from 1.
    """
    numbers = np.unique(drawn["x"].astype(float))
    of_decays = drawn["x_name"].iloc[0] == DECAY
    for place, curve in enumerate(curves):
        points = drawn[drawn["curve"] == curve]
        colour = style.COLOURS[place % len(style.COLOURS)]
        look: dict[str, Any] = {
            "color": colour,
            "marker": MARKERS[place % len(MARKERS)],
            "markersize": 4,
        }
        x = points["x"].to_numpy(dtype=float)
        if of_decays:
            x = np.searchsorted(numbers, x).astype(float)
        axes.plot(x, points["value"], **look, label=curve or "_")
        axes.fill_between(x, points["lowest"], points["highest"], color=colour, alpha=0.15, lw=0)
    if of_decays:
        axes.set_xticks(range(len(numbers)), [f"{number:g}" for number in numbers])
    elif numbers[0] > 0 and numbers[-1] > RATIO * numbers[0]:
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        axes.set_xticks([], minor=True)


def draw_names(axes: Axes, drawn: pd.DataFrame, curves: Sequence[str]) -> None:
    """Marks side by side at each value, their bars the range of seeds."""
    names = list(dict.fromkeys(drawn["x"]))
    for place, curve in enumerate(curves):
        points = drawn[drawn["curve"] == curve]
        aside = (place - (len(curves) - 1) / 2) * min(0.12, 0.6 / len(curves))
        places = np.array([names.index(name) for name in points["x"]]) + aside
        spread = [points["value"] - points["lowest"], points["highest"] - points["value"]]
        colour = style.COLOURS[place % len(style.COLOURS)]
        axes.errorbar(places, points["value"], yerr=spread, fmt="none", ecolor=colour, capsize=2.5)
        marks = MARKERS[place % len(MARKERS)]
        axes.plot(places, points["value"], marks, color=colour, markersize=5, label=curve or "_")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)


CELL, HEIGHT = 1.15, 0.34  # inches
MAP = "cividis"


def final_table(study: TrainingRuns, along: str, split: str = "test") -> pd.DataFrame:
    """What the figure shows: mean and standard deviation of the final accuracy over seeds.

    Args:
        study: trainings that are done; others are not in the table.
        along: the parameter that rows are of: scheduler, or optimizer.lr; rows are told apart by
            whatever else the trainings differ in.
        split: train, val or test.

    Returns:
        A row a cell: `row` is its row in the figure.

    Raises:
        ValueError: no training is done, or none has `along`; with what there is.
    """
    parameters = [run.parameters for run in study.runs]
    if not any(along in run for run in parameters):
        raise ValueError(f"nothing to draw: none of {len(parameters)} runs says its {along}")
    names = runs.differing_settings(parameters, runs.OF_AVERAGES)
    names = [along, *(name for name in names if name != along)]
    found = pd.concat(
        run.metrics.assign(
            row=runs.setting_words(run.parameters, names), seed=run.seed, place=place
        )
        for run, place in zip(study.runs, _order(parameters, along), strict=True)
    )
    found = frames.rows_where(frames.rows_where(found, "metric", "final_accuracy"), "split", split)
    found = found.sort_values("place", kind="stable").assign(along=along, metric="accuracy")
    keys = ["along", "row", "model", "metric", "split"]
    return runs.mean_over_seeds(found, keys)[FINAL_COLUMNS]


def _order(parameters: Sequence[runs.Parameters], along: str) -> list[int]:
    """Place of each training's row: numbers by value, anything else as it comes."""
    values = [run.get(along) for run in parameters]
    numbers = sorted({value for value in values if isinstance(value, int | float)}, reverse=True)
    others = list(dict.fromkeys(str(value) for value in values))
    return [
        numbers.index(value) if value in numbers else len(numbers) + others.index(str(value))
        for value in values
    ]


def final_cell(value: float, std: float) -> str:
    """A mean with its standard deviation, which a single seed does not have."""
    return f"{value:.4f}" if np.isnan(std) else f"{value:.4f} ± {std:.4f}"


def markdown(drawn: pd.DataFrame) -> str:
    """The same table for a text.

    Args:
        drawn: by `table`.
    """
    columns = style.order_models(drawn["model"])
    lines = [[drawn["along"].iloc[0], *columns], ["---"] * (len(columns) + 1)]
    cells = {
        (row, model): final_cell(value, std)
        for row, model, value, std in drawn[["row", "model", "value", "std"]].itertuples(
            index=False
        )
    }
    for row in dict.fromkeys(drawn["row"]):
        lines.append([row, *(cells.get((row, model), "") for model in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw_final_table(drawn: pd.DataFrame) -> Figure:
    """Cells with mean ± standard deviation, light where the accuracy is high.

    Args:
        drawn: by `table`.
    """
    first, names = drawn.iloc[0], list(dict.fromkeys(drawn["row"]))
    columns = style.order_models(drawn["model"])
    means, spreads = (
        drawn.pivot(index="row", columns="model", values=values).reindex(names, columns=columns)
        for values in ("value", "std")
    )
    with style.look():
        size = (CELL * len(columns) + 2.6, HEIGHT * len(names) + 1.4)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        mesh = axes.pcolormesh(np.ma.masked_invalid(means.to_numpy()), cmap=MAP)
        shades = mesh.to_rgba(means.to_numpy())[..., :3]
        for row, column in np.argwhere(np.isfinite(means.to_numpy())).tolist():
            axes.text(
                column + 0.5,
                row + 0.5,
                final_cell(means.to_numpy()[row, column], spreads.to_numpy()[row, column]),
                color="black"
                if restyle.contrast(to_rgb(shades[row, column]), (0, 0, 0)) > 7
                else "white",
                ha="center",
                va="center",
                fontsize=8,
            )
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xlabel("model")
        axes.set_ylabel(first["along"])
        scale = figure.colorbar(mesh, ax=axes, format="{x:.3f}")
        scale.set_label(f"{first['split']} {first['metric']}\n(fraction)")
        figure.suptitle(final_heading(drawn), fontsize=9, x=0.01, ha="left")
    return figure


def final_heading(drawn: pd.DataFrame) -> str:
    """What a cell is, in words."""
    counts = drawn["num_seeds"]
    what = f"{drawn['split'].iloc[0]} {drawn['metric'].iloc[0]} (fraction)"
    if counts.max() == 1:
        return f"{what}, one seed"
    return f"{what}, mean ± standard deviation of {style.span(counts.min(), counts.max())} seeds"
