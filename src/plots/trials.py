"""All figures of one search by `tune.py`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.plots import files, trial_history, trial_importance, trial_parallel, trial_slices


def save(trials: pd.DataFrame, importance: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        trials: as `tune.py` writes it.
        importance: likewise; empty where nothing can be said.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return [
        path
        for name, figure, table in _drawn(trials, importance)
        for path in files.save(figure, table, folder, name)
    ]


def _drawn(
    trials: pd.DataFrame, importance: pd.DataFrame
) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    if (trials["state"] != "complete").all():
        return
    history = trial_history.table(trials)
    yield "history", trial_history.draw(history), history
    if len(importance):
        shares = trial_importance.table(importance)
        yield "importance", trial_importance.draw(shares), shares
    if trial_slices.options(trials):
        slices = trial_slices.table(trials)
        yield "slices", trial_slices.draw(slices), slices
        lines = trial_parallel.table(trials)
        yield "parallel", trial_parallel.draw(lines), lines
