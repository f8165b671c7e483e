"""Comparisons of runs: one option against a result, and tables of final accuracies."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from isthmus.plots import frames, runs, style
from isthmus.plots.files import Drawing
from isthmus.plots.options import Compare
from isthmus.plots.panels import (
    add_heading,
    add_legend,
    draw_band,
    draw_bars,
    make_grid,
    make_panel,
    shorten_settings,
    split_pages,
)
from isthmus.plots.runs import FINAL, TrainingRuns, TrainingTables

OVER_SEEDS = ["value", "std", "lowest", "highest", "num_seeds", "seeds"]
COMPARE_COLUMNS = ["x_name", "x", "curve", "model", "metric", "split", *OVER_SEEDS]
FINAL_COLUMNS = ["along", "row", "model", "metric", "split", *OVER_SEEDS]
DECAY = "averaged.decay"  # each averaged model of a training has its own
MODEL = "model"  # as hue: a curve each
UNITS = {**style.UNITS, "seconds": "of an epoch"}
UNITS |= {"images_per_second": "1/s", "weight_norm": "L2", "weight_distance": "L2"}
MARKERS = "osD^v<>P"
RATIO = 12  # of the largest to the smallest number, beyond which an axis is logarithmic


def compare_table(study: TrainingRuns, options: Compare) -> pd.DataFrame:
    """Table of the figure: mean, range and spread over seeds of a metric at the last step.

    Args:
        study: trainings.
        options: `x` is a parameter such as optimizer.lr or scheduler; `model` is ignored if x is
            averaged.decay; `hue` is a parameter, a list of them, or model: curves differ in these.

    Returns:
        One row per point; `curve` is its name in the legend.

    Raises:
        ValueError: a name does not exist in these runs; or trainings differ in more than x, hue and
            their seed.
    """
    x, hue = options.x or "", [options.hue] if isinstance(options.hue, str) else options.hue or []
    parameters = [run.parameters for run in study.runs]
    _check(parameters, x, hue)
    parts = [part for run in study.runs for part in _points_of_run(run, options, hue)]
    if not parts:
        raise ValueError(_nothing_message(study, options))
    return _sort_points(
        runs.mean_over_seeds(pd.concat(parts), COMPARE_COLUMNS[:6])[COMPARE_COLUMNS]
    )


def _points_of_run(
    run: TrainingTables, options: Compare, hue: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """The point of each model of a training."""
    x, last_values = options.x or "", _last(run, options.metric, options.split)
    named = [name for name in hue if name != MODEL]
    for model in last_values["model"]:
        if _is_wanted(model, x, hue, options.model):
            curve_parts = [runs.setting_label(run.parameters, named)] if named else []
            if MODEL in hue or not curve_parts:
                curve_parts.append("averages" if x == DECAY else model)
            yield last_values[last_values["model"] == model].assign(
                x_name=x,
                x=style.decay_of_model(model) if x == DECAY else run.parameters.get(x),
                curve=", ".join(curve_parts),
                metric=options.metric,
                model="" if x == DECAY else model,
                seed=run.seed,
            )


def _check(parameters: Sequence[runs.Parameters], x: str, hue: Sequence[str]) -> None:
    differ = runs.differing_settings(parameters)
    known = list(dict.fromkeys(name for run in parameters for name in run))
    for option, name in (("x", x), *(("hue", name) for name in hue if name != MODEL)):
        if name not in known and name != DECAY:
            listed = ", ".join(differ) or "in their seeds only"
            raise ValueError(
                f"compare.{option}={name}: these runs do not say it; they differ in {listed}"
            )
    others = [name for name in differ if name not in (x, *hue) and name not in runs.OF_AVERAGES]
    if others:
        raise ValueError(
            f"compare: these runs differ in {', '.join(others)} too: add "
            f"compare.hue=[{','.join([*hue, *others])}], or name fewer runs"
        )


def _last(run: TrainingTables, metric: str, split: str) -> pd.DataFrame:
    """The last value of a metric of each model; that of the final evaluation if there is one."""
    numbers = run.metrics
    final = (numbers["metric"] == FINAL + metric) & (numbers["split"] == split)
    if not final.any():
        final = (numbers["metric"] == metric) & numbers["split"].isin([split, ""])
    last = numbers[final].groupby("model", as_index=False, sort=False).tail(1)
    return last[["model", "split", "value"]]


def _is_wanted(model: str, x: str, hue: Sequence[str], wanted: str) -> bool:
    if x == DECAY:
        return style.decay_of_model(model) is not None
    return MODEL in hue or model == wanted


def _nothing_message(study: TrainingRuns, options: Compare) -> str:
    """Message that there is nothing to draw, with the existing metrics, splits and models."""
    numbers = study.metrics
    metrics = dict.fromkeys(name.removeprefix(FINAL) for name in numbers["metric"])
    splits = [split for split in dict.fromkeys(numbers["split"]) if split]
    request = f"metric {options.metric}, split {options.split}, model {options.model}"
    names = [", ".join(each) for each in (metrics, splits, style.order_models(numbers["model"]))]
    return (
        f"nothing to draw: no {request}; the runs have metrics {names[0]}; splits {names[1]}; "
        f"models {names[2]}"
    )


def _sort_points(drawn: pd.DataFrame) -> pd.DataFrame:
    """Points sorted by x if it is numeric; else in their order, x as text."""
    if not _is_numeric(drawn):
        return drawn.assign(x=drawn["x"].astype(str))
    return drawn.sort_values(["curve", "x"], kind="stable", ignore_index=True)


def _is_numeric(drawn: pd.DataFrame) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in drawn["x"])


def make_compare(study: TrainingRuns) -> Iterator[Drawing]:
    """A result against one parameter, if one is chosen."""
    if study.options.compare.x is not None:
        yield Drawing("compare", compare_table(study, study.options.compare), draw_compare)


def draw_compare(drawn: pd.DataFrame) -> Figure:
    """Draw means with the range of seeds: curves over numbers, marks over other values."""
    first, curves = drawn.iloc[0], list(dict.fromkeys(drawn["curve"]))
    unit = UNITS.get(first["metric"], "as in metrics.csv")
    figure, (axes,) = make_grid(1)
    if _is_numeric(drawn):
        draw_numbers(axes, drawn, curves)
    else:
        draw_names(axes, drawn, curves)
    axes.set_xlabel(axis_label(first["x_name"]))
    what = f"{first['split']} {first['metric']}".strip()
    axes.set_ylabel(f"{what} ({unit})")
    counts = drawn["num_seeds"]
    alone = drawn["model"].nunique() == 1 and first["model"] not in ("", *curves)
    model_label = f"model {first['model']}, " if alone else ""
    span = style.span(counts.min(), counts.max())
    seeds_label = "one seed" if counts.max() == 1 else f"mean and range of {span} seeds"
    add_legend(figure, [axes], model_label + seeds_label)
    return figure


def axis_label(name: str) -> str:
    """Label of the axis of a parameter."""
    return f"{name} (per step)" if name == DECAY else name


def draw_numbers(axes: Axes, drawn: pd.DataFrame, curves: Sequence[str]) -> None:
    """Draw curves with bands; the axis is logarithmic if numbers span more than a decade.

    Decays are evenly spaced, as their distance from 1 matters.
    """
    numbers, looks = np.unique(drawn["x"].astype(float)), looks_of_models(drawn)
    of_decays = drawn["x_name"].iloc[0] == DECAY
    for place, curve in enumerate(curves):
        points = drawn[drawn["curve"] == curve]
        look: dict[str, Any] = {
            "color": style.COLOURS[place % len(style.COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "markersize": 4,
            **looks.get(curve, {}),
        }
        x = points["x"].to_numpy(dtype=float)
        if of_decays:
            x = np.searchsorted(numbers, x).astype(float)
        draw_band(axes, x, points, curve or "_", **look)
    if of_decays:
        axes.set_xticks(range(len(numbers)), [f"{number:.5g}" for number in numbers])
    elif numbers[0] > 0 and numbers[-1] > RATIO * numbers[0]:
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number:.5g}" for number in numbers])
        axes.set_xticks([], minor=True)


def draw_names(axes: Axes, drawn: pd.DataFrame, curves: Sequence[str]) -> None:
    """Draw marks side by side at each value, with bars for the range of seeds."""
    names, looks = list(dict.fromkeys(drawn["x"])), looks_of_models(drawn)
    for place, curve in enumerate(curves):
        points = drawn[drawn["curve"] == curve]
        aside = (place - (len(curves) - 1) / 2) * min(0.12, 0.6 / len(curves))
        positions = np.array([names.index(name) for name in points["x"]]) + aside
        colour = looks.get(curve, {"color": style.COLOURS[place % len(style.COLOURS)]})["color"]
        draw_bars(axes, positions, points, ("lowest", "highest"), colour, capsize=2.5)
        marks = MARKERS[place % len(MARKERS)]
        axes.plot(positions, points["value"], marks, color=colour, markersize=5, label=curve or "_")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)


def looks_of_models(drawn: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The look of each curve that is one model: the same as in other figures."""
    return style.looks(set(drawn["curve"]) & set(drawn["model"]))


CELL, HEIGHT = 1.15, 0.34  # inches
NARROW, COLUMNS = 0.62, 5  # inches of a cell of two lines; more columns have these
LINE = 0.15  # inches of a line of text
ROWS = 40  # of one figure
SCALE = 3.0  # inches of the scale of colours
NAME = 40  # letters of a line of a row's name
MAP = "cividis"


def final_table(study: TrainingRuns, along: str, split: str = "test") -> pd.DataFrame:
    """Table of the figure: mean and standard deviation of the final accuracy over seeds.

    Args:
        study: trainings; unfinished ones are left out.
        along: the parameter of the rows: scheduler, or optimizer.lr; rows also differ in whatever
            else the trainings differ in.
        split: train, val or test.

    Returns:
        One row per cell: `row` is its row in the figure.

    Raises:
        ValueError: no training is done, or none has `along`.
    """
    parameters = [run.parameters for run in study.runs]
    if not any(along in run for run in parameters):
        raise ValueError(f"nothing to draw: none of {len(parameters)} runs says its {along}")
    differing = runs.differing_settings(parameters, runs.OF_AVERAGES)
    names = [along, *(name for name in differing if name != along)]
    names = [along, *(n for n in runs.distinguishing(parameters, names) if n != along)]
    digits, key = runs.label_digits(parameters, names), runs.sort_key(parameters, names)
    trainings = sorted(study.runs, key=lambda run: key(run.parameters))
    rows = pd.concat(
        run.metrics.assign(row=runs.setting_label(run.parameters, names, digits), seed=run.seed)
        for run in trainings
    )
    rows = frames.rows_where(frames.rows_where(rows, "metric", "final_accuracy"), "split", split)
    rows = rows.assign(along=along, metric="accuracy")
    keys = ["along", "row", "model", "metric", "split"]
    return runs.mean_over_seeds(rows, keys)[FINAL_COLUMNS]


def final_cell(value: float, std: float) -> str:
    """Text of a mean with its standard deviation, which a single seed does not have."""
    return f"{value:.4f}" if np.isnan(std) else f"{value:.4f} ± {std:.4f}"


def markdown(drawn: pd.DataFrame) -> str:
    """The table in Markdown."""
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


def make_schedule_table(study: TrainingRuns) -> Iterator[Drawing]:
    """Final accuracies by schedule and model, as a figure and in Markdown."""
    yield from _make_final_table("schedule_decay_table", study, "scheduler")


def make_lr_table(study: TrainingRuns) -> Iterator[Drawing]:
    """Final accuracies by learning rate; in a report, if there is more than one."""
    rates = {str(run.parameters.get("optimizer.lr")) for run in study.runs}
    if len(rates) > 1 or not study.options.is_report:
        yield from _make_final_table("lr_table", study, "optimizer.lr")


def _make_final_table(name: str, study: TrainingRuns, along: str) -> Iterator[Drawing]:
    for end, shown in split_pages(final_table(study, along), "row", ROWS):
        yield Drawing(f"{name}{end}", shown, draw_final_table, markdown(shown))


def draw_final_table(drawn: pd.DataFrame) -> Figure:
    """Draw cells with mean ± standard deviation, light where the accuracy is high."""
    first, names = drawn.iloc[0], list(dict.fromkeys(drawn["row"]))
    columns = style.order_models(drawn["model"])
    means, spreads = (
        drawn.pivot(index="row", columns="model", values=values).reindex(names, columns=columns)
        for values in ("value", "std")
    )
    is_narrow = len(columns) > COLUMNS
    titles, common = shorten_settings(names)
    wrapped = [textwrap.fill(title, NAME, break_long_words=False) for title in titles.values()]
    num_lines = max(name.count("\n") for name in wrapped) + 1
    width = (NARROW if is_narrow else CELL) * len(columns)
    height = max(HEIGHT, LINE * max(num_lines, 1 + is_narrow) + 0.08) * len(names)
    size = (width + 2.6, height + 1.4)
    figure, axes = make_panel(*size, least=(width, height))
    mesh = axes.pcolormesh(np.ma.masked_invalid(means.to_numpy()), cmap=MAP)
    shades = mesh.to_rgba(means.to_numpy())[..., :3]
    for row, column in np.argwhere(np.isfinite(means.to_numpy())).tolist():
        axes.text(
            column + 0.5,
            row + 0.5,
            final_cell(means.to_numpy()[row, column], spreads.to_numpy()[row, column]).replace(
                " ", "\n" if is_narrow else " ", 1
            ),
            color="black"
            if style.contrast(to_rgb(shades[row, column]), (0, 0, 0)) > 7
            else "white",
            ha="center",
            va="center",
            fontsize="small",
        )
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(names)) + 0.5, wrapped)
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_xlabel("model")
    axes.set_ylabel(first["along"])
    look: dict[str, Any] = {"shrink": min(1.0, SCALE / height), "anchor": (0.0, 1.0), "aspect": 16}
    scale = figure.colorbar(mesh, ax=axes, format="{x:.3f}", **look)
    scale.set_label(f"{first['split']} {first['metric']}\n(fraction)")
    add_heading(figure, "\n".join(filter(None, [final_heading(drawn), common])))
    return figure


def final_heading(drawn: pd.DataFrame) -> str:
    """Heading of the table: split, metric and number of seeds."""
    counts = drawn["num_seeds"]
    what = f"{drawn['split'].iloc[0]} {drawn['metric'].iloc[0]} (fraction)"
    if counts.max() == 1:
        return f"{what}, one seed"
    return f"{what}, mean ± standard deviation of {style.span(counts.min(), counts.max())} seeds"
