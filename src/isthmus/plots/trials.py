"""All figures of one search by `tune.py`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from isthmus.plots import files, trial_history, trial_importance, trial_parallel, trial_slices
from isthmus.plots.files import Drawing


def save(trials: pd.DataFrame, importance: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw what the tables allow, and write it.

    Args:
        trials: as `tune.py` writes it.
        importance: likewise; empty where nothing can be said.
        folder: made when absent.

    Returns:
        The files, see `files.save`.
    """
    return files.save_all(drawings(trials, importance), folder)


def drawings(trials: pd.DataFrame, importance: pd.DataFrame) -> Iterator[Drawing]:
    """What the tables allow, as in `save`."""
    if (trials["state"] != "complete").all():
        return
    yield Drawing("history", trial_history.table(trials), trial_history.draw)
    if len(importance):
        yield Drawing("importance", trial_importance.table(importance), trial_importance.draw)
    if trial_slices.options(trials):
        yield Drawing("slices", trial_slices.table(trials), trial_slices.draw)
        yield Drawing("parallel", trial_parallel.table(trials), trial_parallel.draw)
