"""How many validation examples are as correct as they were an epoch before."""

from collections.abc import Sequence

import pandas as pd

from isthmus.plots import epochs, predicted
from isthmus.plots.epochs import draw  # noqa: F401
from isthmus.plots.trained import Predictions

STABILITY = "unchanged since the epoch\nbefore (fraction)"
ACCURACY = "validation accuracy\n(fraction)"


def table(predictions: Sequence[Predictions], wanted: predicted.Range = None) -> pd.DataFrame:
    """What the figure shows: stability above accuracy, over the epochs that have one before.

    Args:
        predictions: of trainings.
        wanted: first and last epoch; by default all but the untrained network's.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there are no two epochs.
    """
    parts = []
    for one in predictions:
        for model in one.correct:
            when, correct = predicted.within(one, model, wanted)
            stable, accuracy = predicted.unchanged(correct), correct[1:].mean(axis=1)
            parts.append(predicted.points(one, model, STABILITY, when[1:], stable))
            parts.append(predicted.points(one, model, ACCURACY, when[1:], accuracy))
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise ValueError("nothing to draw: stability needs two epochs or more")
    found = found.sort_values("measure", key=lambda m: m != STABILITY, kind="stable")
    return epochs.of_seeds(found)
