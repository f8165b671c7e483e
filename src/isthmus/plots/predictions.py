"""Figures of predictions: stability, mismatch and misclassification of validation examples.

In all functions, `wanted` is the first and the last epoch, by default all except the untrained
network's, and `window` the number of epochs that a point over time is the mean over.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import epochs as plots_epochs
from isthmus.plots import runs, style
from isthmus.plots.epochs import PANELS
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_legend, make_grid, shorten_settings, split_pages
from isthmus.plots.runs import Predictions, Range, TrainingRuns


def epoch_range(one: Predictions, model: str, wanted: Range) -> tuple[np.ndarray, np.ndarray]:
    """The epochs of a range, (epochs,), and correctness after each, (epochs, examples).

    Raises:
        ValueError: there are none; names the existing ones.
    """
    epochs = one.epochs[model]
    selected = epochs > 0 if wanted is None else (epochs >= wanted[0]) & (epochs <= wanted[1])
    if not selected.any():
        present = f"{epochs.min():g} to {epochs.max():g}" if len(epochs) else "none"
        span = "after 0" if wanted is None else f"from {wanted[0]:g} to {wanted[1]:g}"
        raise ValueError(f"nothing to draw: no epochs {span} of model {model}; there are {present}")
    return epochs[selected], one.correct[model][selected]


def averaged_models(predictions: Sequence[Predictions]) -> list[str]:
    """Names of the averaged models.

    Raises:
        ValueError: there are none.
    """
    names = style.order_models(name for one in predictions for name in one.correct)
    averaged = [name for name in names if name != style.PLAIN]
    if not averaged:
        raise ValueError("nothing to draw: no averaged model was tracked in these runs")
    return averaged


def disagreement(one: Predictions, model: str, wanted: Range) -> tuple[np.ndarray, np.ndarray]:
    """Examples on which only one of the network as trained and an averaged one is correct.

    Returns:
        The epochs of both, (epochs,), and for each epoch and example whether exactly one of the two
        is correct, (epochs, examples).
    """
    epochs, correct = epoch_range(one, style.PLAIN, wanted)
    others, averaged = epoch_range(one, model, wanted)
    both, rows, other_rows = np.intersect1d(epochs, others, return_indices=True)
    return both, correct[rows] != averaged[other_rows]


def unchanged_share(correct: np.ndarray) -> np.ndarray:
    """Fraction of examples whose correctness did not change since the last epoch, (epochs - 1,)."""
    return (correct[1:] == correct[:-1]).mean(axis=1)


def changes(correct: np.ndarray) -> np.ndarray:
    """Number of changes of each example's correctness from epoch to epoch, (examples,)."""
    return (correct[1:] != correct[:-1]).sum(axis=0)


def pair_points(
    one: Predictions,
    model: str,
    measure: str,
    epochs: np.ndarray,
    values: np.ndarray,
    window: int = 1,
) -> pd.DataFrame:
    """Rows of one curve of one training, each point a mean over some epochs that end with its own.

    Args:
        one: the training.
        model: of it.
        measure: name of the values, with their unit.
        epochs: (points,).
        values: (points,).
        window: number of points of each mean.

    Raises:
        ValueError: there are fewer points than that.
    """
    if window > 1:
        if len(values) < window:
            raise ValueError(f"window={window}: model {model} has only {len(values)} epochs")
        epochs = epochs[window - 1 :]
        values = np.convolve(values, np.full(window, 1 / window), mode="valid")
    curve = pd.DataFrame({"epoch": epochs, "value": values})
    return curve.assign(setting=one.setting, seed=one.seed, model=model, measure=measure)


COLUMNS = ["setting", "model", "measure", "low", "high"]
COLUMNS += ["value", "std", "lowest", "highest", "num_seeds", "seeds", "num_examples"]
BINS = 25  # at most


def count_values(one: Predictions, model: str, measure: str, marked: np.ndarray) -> pd.DataFrame:
    """The histogram of one model of one training.

    An example is marked in k of n epochs; all bins, except the last, have the same number of values
    of k, such that there are at most `BINS` bins.

    Args:
        one: the training.
        model: of it.
        measure: label of what is counted.
        marked: (epochs, examples), boolean.
    """
    num_epochs, num_examples = marked.shape
    width = -(-(num_epochs + 1) // BINS)
    counts = np.bincount(marked.sum(axis=0) // width, minlength=num_epochs // width + 1)
    low = (np.arange(len(counts)) * width - 0.5) / num_epochs
    bins = {"low": low, "high": low + width / num_epochs, "value": counts / num_examples}
    return pd.DataFrame(bins).assign(
        setting=one.setting,
        seed=one.seed,
        model=model,
        measure=measure,
        num_examples=num_examples,
        num_epochs=num_epochs,
    )


def histogram_table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean, range and spread over seeds of the fraction of examples in each bin.

    Args:
        parts: by `count_values`.

    Raises:
        ValueError: trainings of one setting differ in their number of epochs.
    """
    bins = pd.concat(parts, ignore_index=True)
    lengths = bins.groupby("setting")["num_epochs"].agg(lambda n: sorted(set(n)))
    for setting, numbers in lengths.items():
        if len(numbers) > 1:
            raise ValueError(
                f"runs of {setting or 'one setting'} have {', '.join(map(str, numbers))} epochs: "
                "draw those that all have, epochs=[1,...]"
            )
    keys = ["setting", "model", "measure", "low", "high", "num_examples"]
    return runs.mean_over_seeds(bins, keys)[COLUMNS]


def draw_histogram(drawn: pd.DataFrame) -> Figure:
    """Draw histograms as steps, one per model, with the ranges of seeds as bands.

    The axis is logarithmic; 0 is drawn at its foot, which is below one example of one seed.
    """
    settings, looks = list(dict.fromkeys(drawn["setting"])), style.looks(drawn["model"])
    floor = 0.5 / (drawn["num_examples"] * drawn["num_seeds"]).max()
    titles, common = shorten_settings(settings)
    labels = drawn["measure"].iloc[0], "validation examples (fraction)"
    figure, panels = make_grid(len(settings), labels=labels)
    for setting, axes in zip(settings, panels, strict=True):
        panel = drawn[drawn["setting"] == setting]
        for model in style.order_models(panel["model"]):
            bins = panel[panel["model"] == model].sort_values("low")
            draw_steps(axes, bins, floor, label=model, **looks[model])
        axes.set_title(titles[setting])
        axes.set_yscale("log")
    panels[0].set_ylim(bottom=floor)
    add_legend(figure, panels, title=plots_epochs.heading(drawn, common), order=looks)
    return figure


def draw_steps(axes: Axes, bins: pd.DataFrame, floor: float, **look: Any) -> None:
    """Draw the histogram of one model, and the range of seeds of each bin."""
    edges = [*bins["low"], bins["high"].iloc[-1]]
    mean, lowest, highest = (
        [*heights, heights.iloc[-1]]
        for heights in (bins[name].clip(lower=floor) for name in ("value", "lowest", "highest"))
    )
    axes.plot(edges, mean, drawstyle="steps-post", **look)
    if (bins["num_seeds"] > 1).any():
        axes.fill_between(
            edges, lowest, highest, step="post", color=look["color"], alpha=0.15, linewidth=0
        )


STABILITY = "unchanged since the epoch\nbefore (fraction)"
ACCURACY = "validation accuracy\n(fraction)"


def stability_table(
    predictions: Sequence[Predictions], wanted: Range = None, window: int = 1
) -> pd.DataFrame:
    """Table of the figure: stability and accuracy over epochs, without the first.

    Returns:
        The columns `epochs.COLUMNS`.

    Raises:
        ValueError: there are no two epochs.
    """
    parts = []
    for one in predictions:
        for model in one.correct:
            when, correct = epoch_range(one, model, wanted)
            stable, accuracy = unchanged_share(correct), correct[1:].mean(axis=1)
            parts.append(pair_points(one, model, STABILITY, when[1:], stable, window))
            parts.append(pair_points(one, model, ACCURACY, when[1:], accuracy, window))
    points = pd.concat(parts, ignore_index=True)
    if points.empty:
        raise ValueError("nothing to draw: stability needs two epochs or more")
    points = points.sort_values("measure", key=lambda m: m != STABILITY, kind="stable")
    return plots_epochs.curves_over_seeds(points)


def make_stability(study: TrainingRuns) -> Iterator[Drawing]:
    """Stability and accuracy over epochs."""
    shown = stability_table(study.predictions, study.options.epochs, study.options.window)
    for end, rows in split_pages(shown, "setting", PANELS // 2):
        yield Drawing(f"stability{end}", rows, plots_epochs.draw_epochs)


def mismatch_table(predictions: Sequence[Predictions], wanted: Range = None) -> pd.DataFrame:
    """Table of the figure: histograms of the examples' mismatch, see `histogram_table`.

    Raises:
        ValueError: there is no averaged model.
    """
    averaged = averaged_models(predictions)
    measure = f"plain and average differ in being correct\n({epochs_label(wanted)})"
    return histogram_table(
        [
            count_values(one, model, measure, disagreement(one, model, wanted)[1])
            for one in predictions
            for model in averaged
            if model in one.correct
        ]
    )


def make_mismatch(study: TrainingRuns) -> Iterator[Drawing]:
    """Histograms of the examples' mismatch."""
    shown = mismatch_table(study.predictions, study.options.epochs)
    for end, rows in split_pages(shown, "setting", PANELS):
        yield Drawing(f"mismatch{end}", rows, draw_histogram)


def epochs_label(wanted: Range) -> str:
    """Label of the axis: the epochs that are counted."""
    if wanted is None:
        return "fraction of all epochs"
    return f"fraction of the epochs {wanted[0]:g} to {wanted[1]:g}"


MEASURE = "plain and average differ\nin being correct (fraction)"


def mismatch_over_time_table(
    predictions: Sequence[Predictions], wanted: Range = None, window: int = 1
) -> pd.DataFrame:
    """Table of the figure: the mismatch of each averaged model with the network as trained.

    Returns:
        The columns `epochs.COLUMNS`.

    Raises:
        ValueError: there is no averaged model.
    """
    parts = []
    averaged = averaged_models(predictions)
    for one in predictions:
        for model in averaged:
            if model in one.correct:
                when, differ = disagreement(one, model, wanted)
                parts.append(pair_points(one, model, MEASURE, when, differ.mean(axis=1), window))
    return plots_epochs.curves_over_seeds(pd.concat(parts, ignore_index=True))


def make_mismatch_over_time(study: TrainingRuns) -> Iterator[Drawing]:
    """Mismatch of each averaged model over epochs."""
    shown = mismatch_over_time_table(study.predictions, study.options.epochs, study.options.window)
    for end, rows in split_pages(shown, "setting", PANELS):
        yield Drawing(f"mismatch_over_time{end}", rows, plots_epochs.draw_epochs)


def misclassification_table(
    predictions: Sequence[Predictions], wanted: Range = None
) -> pd.DataFrame:
    """Table of the figure: histograms of the examples' error rate, see `histogram_table`."""
    measure = f"misclassified ({epochs_label(wanted)})"
    return histogram_table(
        [
            count_values(one, model, measure, ~epoch_range(one, model, wanted)[1])
            for one in predictions
            for model in one.correct
        ]
    )


def make_misclassification(study: TrainingRuns) -> Iterator[Drawing]:
    """Histograms of the examples' error rate."""
    shown = misclassification_table(study.predictions, study.options.epochs)
    for end, rows in split_pages(shown, "setting", PANELS):
        yield Drawing(f"misclassification{end}", rows, draw_histogram)


MISCLASSIFICATION_OVER_TIME_MEASURE = "misclassified validation\nexamples (fraction)"


def misclassification_over_time_table(
    predictions: Sequence[Predictions], wanted: Range = None, window: int = 1
) -> pd.DataFrame:
    """Table of the figure: the validation error of each model over epochs.

    Returns:
        The columns `epochs.COLUMNS`.
    """
    parts = []
    for one in predictions:
        for model in one.correct:
            when, correct = epoch_range(one, model, wanted)
            wrong, measure = 1 - correct.mean(axis=1), MISCLASSIFICATION_OVER_TIME_MEASURE
            parts.append(pair_points(one, model, measure, when, wrong, window))
    return plots_epochs.curves_over_seeds(pd.concat(parts, ignore_index=True))


def make_misclassification_over_time(study: TrainingRuns) -> Iterator[Drawing]:
    """Validation error of each model over epochs."""
    shown = misclassification_over_time_table(
        study.predictions, study.options.epochs, study.options.window
    )
    for end, rows in split_pages(shown, "setting", PANELS):
        yield Drawing(f"misclassification_over_time{end}", rows, plots_epochs.draw_epochs)
