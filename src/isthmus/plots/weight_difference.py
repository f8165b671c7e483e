"""How far averaged weights are from those as trained, over the epochs of training."""

import pandas as pd

from isthmus.plots import epochs, rows
from isthmus.plots.epochs import draw  # noqa: F401

MEASURE = "plain minus averaged weights\n(L2 norm)"


def table(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: mean, range and spread over seeds after every epoch.

    Args:
        metrics: of all trainings, see `trained.Study.metrics`; distances are of parameters, those
            of batch norm too, and without its statistics.

    Returns:
        See `epochs.COLUMNS`.

    Raises:
        ValueError: there is no averaged model; with the metrics that there are.
    """
    found = rows.where(metrics, "metric", "weight_distance").assign(measure=MEASURE)
    return epochs.of_seeds(found)
