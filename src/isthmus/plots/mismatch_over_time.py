"""How many validation examples a network and its average differ on, over the epochs."""

from collections.abc import Sequence

import pandas as pd

from isthmus.plots import epochs, predicted
from isthmus.plots.epochs import draw  # noqa: F401
from isthmus.plots.trained import Predictions

MEASURE = "plain and average differ\nin being correct (fraction)"


def table(predictions: Sequence[Predictions], wanted: predicted.Range = None) -> pd.DataFrame:
    """What the figure shows: the mismatch of each averaged model with the network as trained.

    Args:
        predictions: of trainings.
        wanted: first and last epoch; by default all but the untrained network's.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there is no averaged model.
    """
    parts = []
    for model in predicted.averages(predictions):
        for one in predictions:
            if model in one.correct:
                when, differ = predicted.beside(one, model, wanted)
                parts.append(predicted.points(one, model, MEASURE, when, differ.mean(axis=1)))
    return epochs.of_seeds(pd.concat(parts, ignore_index=True))
