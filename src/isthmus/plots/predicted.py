"""What can be told from who classified which validation example correctly, epoch after epoch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from isthmus.plots import models
from isthmus.plots.trained import Predictions

Range = Sequence[float] | None  # first and last epoch; None: all but the untrained network's


def within(one: Predictions, model: str, wanted: Range) -> tuple[np.ndarray, np.ndarray]:
    """The epochs of a range, (epochs,), and who was correct after each, (epochs, examples).

    Raises:
        ValueError: there are none; with those that there are.
    """
    epochs = one.epochs[model]
    kept = epochs > 0 if wanted is None else (epochs >= wanted[0]) & (epochs <= wanted[1])
    if not kept.any():
        there = f"{epochs.min():g} to {epochs.max():g}" if len(epochs) else "none"
        asked = "after 0" if wanted is None else f"from {wanted[0]:g} to {wanted[1]:g}"
        raise ValueError(f"nothing to draw: no epochs {asked} of model {model}; there are {there}")
    return epochs[kept], one.correct[model][kept]


def averages(predictions: Sequence[Predictions]) -> list[str]:
    """Names of the averaged models.

    Raises:
        ValueError: there are none.
    """
    names = models.ordered(name for one in predictions for name in one.correct)
    found = [name for name in names if name != models.PLAIN]
    if not found:
        raise ValueError("nothing to draw: no averaged model was tracked in these runs")
    return found


def beside(one: Predictions, model: str, wanted: Range) -> tuple[np.ndarray, np.ndarray]:
    """Where the network as trained and an averaged one differ in being correct.

    Returns:
        The epochs of both, (epochs,), and for each and every example whether one of the two is
        correct and the other is not, (epochs, examples).
    """
    epochs, correct = within(one, models.PLAIN, wanted)
    others, averaged = within(one, model, wanted)
    both, here, there = np.intersect1d(epochs, others, return_indices=True)
    return both, correct[here] != averaged[there]


def unchanged(correct: np.ndarray) -> np.ndarray:
    """Fraction of examples that are as correct as the epoch before, (epochs - 1,)."""
    return (correct[1:] == correct[:-1]).mean(axis=1)


def changes(correct: np.ndarray) -> np.ndarray:
    """How often each example became correct or wrong from one epoch to the next, (examples,)."""
    return (correct[1:] != correct[:-1]).sum(axis=0)


def points(
    one: Predictions, model: str, measure: str, epochs: np.ndarray, values: np.ndarray
) -> pd.DataFrame:
    """Rows of one curve of one training.

    Args:
        one: of which the curve is.
        model: likewise.
        measure: what the values are, with their unit.
        epochs: (points,).
        values: (points,).
    """
    curve = pd.DataFrame({"epoch": epochs, "value": values})
    return curve.assign(setting=one.setting, seed=one.seed, model=model, measure=measure)
