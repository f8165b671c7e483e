"""Histograms of a share of epochs over validation examples: a panel a setting."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import epochs, models, style, trained
from isthmus.plots.trained import Predictions

COLUMNS = ["setting", "model", "measure", "low", "high"]
COLUMNS += ["value", "std", "lowest", "highest", "num_seeds", "seeds", "num_examples"]
BINS = 25  # at most


def counted(one: Predictions, model: str, measure: str, marked: np.ndarray) -> pd.DataFrame:
    """The histogram of one model of one training.

    An example is marked in k of n epochs, so bins are as many values of k wide as leave at most
    `BINS` of them: no bin is fuller because more values fall into it, but for the last.

    Args:
        one: the training.
        model: of it.
        measure: what is counted, in words.
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


def table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean, range and spread over seeds of the share of examples in each bin.

    Args:
        parts: by `counted`.

    Raises:
        ValueError: trainings of one setting differ in their number of epochs.
    """
    found = pd.concat(parts, ignore_index=True)
    lengths = found.groupby("setting")["num_epochs"].agg(lambda n: sorted(set(n)))
    for setting, numbers in lengths.items():
        if len(numbers) > 1:
            raise ValueError(
                f"runs of {setting or 'one setting'} have {', '.join(map(str, numbers))} epochs: "
                "draw those that all have, epochs=[1,...]"
            )
    keys = ["setting", "model", "measure", "low", "high", "num_examples"]
    return trained.over_seeds(found, keys)[COLUMNS]


def draw(drawn: pd.DataFrame) -> Figure:
    """Steps, a model each, on a logarithmic axis that ends below one example, where 0 is drawn.

    Args:
        drawn: by `table`.
    """
    settings, looks = list(dict.fromkeys(drawn["setting"])), models.looks(drawn["model"])
    floor = 0.5 / drawn["num_examples"].max()
    with style.look():
        figure, panels = style.grid(len(settings))
        for setting, axes in zip(settings, panels, strict=True):
            panel = drawn[drawn["setting"] == setting]
            for model in models.ordered(panel["model"]):
                bins = panel[panel["model"] == model].sort_values("low")
                edges = [*bins["low"], bins["high"].iloc[-1]]
                heights = bins["value"].clip(lower=floor)
                steps = [*heights, heights.iloc[-1]]
                axes.plot(edges, steps, drawstyle="steps-post", label=model, **looks[model])
            axes.set_title(style.wrapped(setting))
            axes.set_yscale("log")
        panels[0].set_ylim(bottom=floor)
        figure.supxlabel(drawn["measure"].iloc[0])
        style.label_rows(panels, "validation examples (fraction)")
        style.legend(figure, panels, title=epochs.heading(drawn))
    return figure
