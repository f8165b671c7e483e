"""In how many epochs a network and its average differ on a validation example."""

from collections.abc import Sequence

import pandas as pd

from isthmus.plots import histogram, predicted
from isthmus.plots.histogram import draw  # noqa: F401
from isthmus.plots.trained import Predictions


def table(predictions: Sequence[Predictions], wanted: predicted.Range = None) -> pd.DataFrame:
    """What the figure shows: histograms of the examples' mismatch, see `histogram.table`.

    Args:
        predictions: of trainings.
        wanted: first and last epoch; by default all but the untrained network's.

    Raises:
        ValueError: there is no averaged model.
    """
    measure = f"plain and average differ in being correct\n({words(wanted)})"
    return histogram.table(
        [
            histogram.counted(one, model, measure, predicted.beside(one, model, wanted)[1])
            for model in predicted.averages(predictions)
            for one in predictions
            if model in one.correct
        ]
    )


def words(wanted: predicted.Range) -> str:
    """What the axis counts, and of which epochs."""
    if wanted is None:
        return "fraction of all epochs"
    return f"fraction of the epochs {wanted[0]:g} to {wanted[1]:g}"
