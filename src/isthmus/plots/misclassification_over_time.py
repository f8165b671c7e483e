"""How many validation examples are classified wrongly, over the epochs."""

from collections.abc import Sequence

import pandas as pd

from isthmus.plots import epochs, predicted
from isthmus.plots.epochs import draw  # noqa: F401
from isthmus.plots.trained import Predictions

MEASURE = "misclassified validation\nexamples (fraction)"


def table(predictions: Sequence[Predictions], wanted: predicted.Range = None) -> pd.DataFrame:
    """What the figure shows: the validation error of each model.

    Args:
        predictions: of trainings.
        wanted: first and last epoch; by default all but the untrained network's.

    Returns:
        See `epochs.COLUMNS`.
    """
    parts = []
    for one in predictions:
        for model in one.correct:
            when, correct = predicted.within(one, model, wanted)
            parts.append(predicted.points(one, model, MEASURE, when, 1 - correct.mean(axis=1)))
    return epochs.of_seeds(pd.concat(parts, ignore_index=True))
