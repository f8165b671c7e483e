"""The validation examples that change most often, as images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import models, persistence, predicted, style
from isthmus.plots.trained import Predictions

COLUMNS = ["setting", "seed", "rank", "index", "label", "changes", "model", "share"]


@dataclass(frozen=True, eq=False)
class Images:
    """Examples of the training set that a study was validated on.

    Args:
        indices: (examples,), where each stands in the data set's own training set.
        pixels: (examples, channels, height, width), in [0, 1].
        labels: (examples,), the class of each in words.
    """

    indices: np.ndarray
    pixels: np.ndarray
    labels: Sequence[str]

    def of(self, index: int) -> tuple[np.ndarray, str]:
        """One image, (height, width, channels), and its class."""
        place = int(np.flatnonzero(self.indices == index)[0])
        return self.pixels[place].transpose(1, 2, 0), self.labels[place]


def table(
    predictions: Sequence[Predictions], images: Images, wanted: predicted.Range = None
) -> pd.DataFrame:
    """What the figure shows besides the images, see `persistence.table`.

    Returns:
        A row an example and model; `share` is the fraction of epochs in which it is correct.
    """
    bars = persistence.table(predictions, wanted)
    keys = [name for name in COLUMNS if name not in ("label", "share")]
    drawn = bars.groupby(keys, as_index=False, sort=False).agg(share=("correct", "mean"))
    return drawn.assign(label=[images.of(index)[1] for index in drawn["index"]])[COLUMNS]


def draw(drawn: pd.DataFrame, images: Images) -> Figure:
    """A row of images a setting, the one that changes most first.

    Args:
        drawn: by `table`.
        images: all that are in it.
    """
    settings = list(dict.fromkeys(drawn["setting"]))
    shown = [drawn[drawn["setting"] == setting].drop_duplicates("rank") for setting in settings]
    columns = max(map(len, shown))
    with style.look():
        size = (1.05 * columns + 0.4, 1.75 * len(settings) + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(settings), columns, squeeze=False)
        for row, examples in zip(panels, shown, strict=True):
            for axes in row[len(examples) :]:
                axes.remove()
            for axes, example in zip(
                row, examples.rename(columns={"index": "index_"}).itertuples(), strict=False
            ):
                pixels, label = images.of(example.index_)
                axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes.set_title(f"{label}", loc="center")
                axes.set_xlabel(f"{example.index_}\n{example.changes} changes")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
            row[0].set_ylabel(examples["setting"].iloc[0])
        figure.suptitle(heading(drawn), fontsize=9, x=0.01, ha="left")
    return figure


def heading(drawn: pd.DataFrame) -> str:
    """What is above and below each image, in words."""
    words = "class; index in the training set; changes of correctness from epoch to epoch"
    return f"{words} ({models.PLAIN}, seed {', '.join(dict.fromkeys(drawn['seed'].astype(str)))})"
