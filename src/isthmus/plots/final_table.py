"""Final accuracy of every model of every setting as a table: a figure, and words for a text."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from isthmus.plots import colours, models, rows, settings, style, trained
from isthmus.plots.trained import Study

COLUMNS = ["along", "row", "model", "metric", "split"]
COLUMNS += ["value", "std", "lowest", "highest", "num_seeds", "seeds"]
CELL, HEIGHT = 1.15, 0.34  # inches
MAP = "cividis"


def table(study: Study, along: str, split: str = "test") -> pd.DataFrame:
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
    names = settings.differing(parameters, settings.OF_AVERAGES)
    names = [along, *(name for name in names if name != along)]
    found = pd.concat(
        run.metrics.assign(row=settings.words(run.parameters, names), seed=run.seed, place=place)
        for run, place in zip(study.runs, _order(parameters, along), strict=True)
    )
    found = rows.where(rows.where(found, "metric", "final_accuracy"), "split", split)
    found = found.sort_values("place", kind="stable").assign(along=along, metric="accuracy")
    keys = ["along", "row", "model", "metric", "split"]
    return trained.over_seeds(found, keys)[COLUMNS]


def _order(parameters: Sequence[settings.Parameters], along: str) -> list[int]:
    """Place of each training's row: numbers by value, anything else as it comes."""
    values = [run.get(along) for run in parameters]
    numbers = sorted({value for value in values if isinstance(value, int | float)}, reverse=True)
    others = list(dict.fromkeys(str(value) for value in values))
    return [
        numbers.index(value) if value in numbers else len(numbers) + others.index(str(value))
        for value in values
    ]


def cell(value: float, std: float) -> str:
    """A mean with its standard deviation, which a single seed does not have."""
    return f"{value:.4f}" if np.isnan(std) else f"{value:.4f} ± {std:.4f}"


def markdown(drawn: pd.DataFrame) -> str:
    """The same table for a text.

    Args:
        drawn: by `table`.
    """
    columns = models.ordered(drawn["model"])
    lines = [[drawn["along"].iloc[0], *columns], ["---"] * (len(columns) + 1)]
    cells = {
        (row, model): cell(value, std)
        for row, model, value, std in drawn[["row", "model", "value", "std"]].itertuples(
            index=False
        )
    }
    for row in dict.fromkeys(drawn["row"]):
        lines.append([row, *(cells.get((row, model), "") for model in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(drawn: pd.DataFrame) -> Figure:
    """Cells with mean ± standard deviation, light where the accuracy is high.

    Args:
        drawn: by `table`.
    """
    first, names = drawn.iloc[0], list(dict.fromkeys(drawn["row"]))
    columns = models.ordered(drawn["model"])
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
                cell(means.to_numpy()[row, column], spreads.to_numpy()[row, column]),
                color="black"
                if colours.contrast(to_rgb(shades[row, column]), (0, 0, 0)) > 7
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
        figure.suptitle(heading(drawn), fontsize=9, x=0.01, ha="left")
    return figure


def heading(drawn: pd.DataFrame) -> str:
    """What a cell is, in words."""
    counts = drawn["num_seeds"]
    what = f"{drawn['split'].iloc[0]} {drawn['metric'].iloc[0]} (fraction)"
    if counts.max() == 1:
        return f"{what}, one seed"
    return f"{what}, mean ± standard deviation of {style.span(counts.min(), counts.max())} seeds"
