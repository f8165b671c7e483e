"""In how many epochs a validation example is classified wrongly."""

from collections.abc import Sequence

import pandas as pd

from isthmus.plots import histogram, mismatch, predicted
from isthmus.plots.histogram import draw  # noqa: F401
from isthmus.plots.trained import Predictions


def table(predictions: Sequence[Predictions], wanted: predicted.Range = None) -> pd.DataFrame:
    """What the figure shows: histograms of the examples' error rate, see `histogram.table`.

    Args:
        predictions: of trainings.
        wanted: first and last epoch; by default all but the untrained network's.
    """
    measure = f"misclassified ({mismatch.words(wanted)})"
    return histogram.table(
        [
            histogram.counted(one, model, measure, ~predicted.within(one, model, wanted)[1])
            for one in predictions
            for model in one.correct
        ]
    )
