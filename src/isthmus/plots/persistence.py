"""Figures of the persistence of misclassified validation examples: barcodes and images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from isthmus.plots import epochs, style
from isthmus.plots import predictions as plots_predictions
from isthmus.plots.files import Drawing
from isthmus.plots.panels import add_heading, add_legend, make_panels, wrap_title
from isthmus.plots.runs import Predictions, Range, TrainingRuns

COUNT = 10  # examples to draw
PERSISTENCE_COLUMNS = ["setting", "seed", "model", "rank", "index", "changes", "epoch", "correct"]
WRONG, RIGHT = "#d55e00", "#cfe8f7"  # they differ in lightness, too


def persistence_table(predictions: Sequence[Predictions], wanted: Range = None) -> pd.DataFrame:
    """Table of the barcodes: ten examples of one training per setting, that of its first seed.

    Returns:
        One row per example, model and epoch. `index` is the example's position in the data set's
        own training set, `rank` its position here, `changes` how often the network as trained
        became correct or wrong on it.
    """
    parts = []
    for one in first_of_each(predictions):
        chosen, changes = most_unstable(one, wanted)
        for model in style.order_models(one.correct):
            when, correct = plots_predictions.epoch_range(one, model, wanted)
            for rank, place in enumerate(chosen, start=1):
                bars = pd.DataFrame({"epoch": when, "correct": correct[:, place].astype(int)})
                parts.append(
                    bars.assign(
                        setting=one.setting,
                        seed=one.seed,
                        model=model,
                        rank=rank,
                        index=int(one.indices[place]),
                        changes=int(changes[place]),
                    )
                )
    return pd.concat(parts, ignore_index=True)[PERSISTENCE_COLUMNS]


def first_of_each(predictions: Sequence[Predictions]) -> list[Predictions]:
    """The training of the smallest seed of each setting."""
    by_setting: dict[str, Predictions] = {}
    for one in predictions:
        other = by_setting.get(one.setting)
        if other is None or (len(one.seed), one.seed) < (len(other.seed), other.seed):
            by_setting[one.setting] = one
    return list(by_setting.values())


def most_unstable(one: Predictions, wanted: Range) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the ten examples that change most often, and the changes of all examples.

    Of equally many changes the first in the data set comes first.
    """
    changes = plots_predictions.changes(plots_predictions.epoch_range(one, style.PLAIN, wanted)[1])
    return np.lexsort((one.indices, -changes))[:COUNT], changes


def make_barcode(study: TrainingRuns) -> Iterator[Drawing]:
    """Barcodes of the examples that change most often."""
    shown = persistence_table(study.predictions, study.options.epochs)
    yield Drawing("persistence_barcode", shown, draw_persistence)


def draw_persistence(drawn: pd.DataFrame) -> Figure:
    """Draw barcodes: one row of panels per setting, one column per model, one bar per example."""
    settings, names = list(dict.fromkeys(drawn["setting"])), style.order_models(drawn["model"])
    size = (max(2.1 * len(names) + 1.0, 4.6), 2.2 * len(settings) + 1.1)
    labels = epochs.LABEL, "validation example\n(index in the training set)"
    figure, panels = make_panels(len(settings), len(names), size, labels=labels)
    for setting, row in zip(settings, panels, strict=True):
        for name, axes in zip(names, row, strict=True):
            here = (drawn["setting"] == setting) & (drawn["model"] == name)
            draw_bars(axes, drawn[here])
            if axes is not row[0]:
                axes.tick_params(labelleft=False)
        row[0].set_title("\n".join(word for word in (wrap_title(setting), names[0]) if word))
    for name, axes in zip(names[1:], panels[0, 1:], strict=True):
        axes.set_title(name)
    bars = [Patch(color=RIGHT, label="correct"), Patch(color=WRONG, label="wrong")]
    add_legend(figure, bars, columns=2)
    return figure


def draw_bars(axes: Axes, bars: pd.DataFrame) -> None:
    """Draw the bars of one model, the example that changes most at the top."""
    axes.grid(False)
    if bars.empty:
        axes.set_axis_off()
        return
    cells = bars.pivot(index="rank", columns="epoch", values="correct")
    when = cells.columns.to_numpy(dtype=float)
    edges = np.concatenate([when[:1] - 1, when]) if len(when) == 1 else _edges(when)
    rows = np.arange(len(cells) + 1) + 0.5
    axes.pcolormesh(edges, rows, cells, cmap=ListedColormap([WRONG, RIGHT]), vmin=0, vmax=1)
    axes.invert_yaxis()
    indices = bars.drop_duplicates("rank").sort_values("rank")
    axes.set_yticks(indices["rank"], [str(index) for index in indices["index"]])


def _edges(when: np.ndarray) -> np.ndarray:
    """Edges half-way between epochs, and as far beyond the first and the last."""
    middle = (when[1:] + when[:-1]) / 2
    return np.concatenate([[2 * when[0] - middle[0]], middle, [2 * when[-1] - middle[-1]]])


IMAGES_COLUMNS = ["setting", "seed", "rank", "index", "label", "changes", "model", "share"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images and labels of validation examples.

    Args:
        indices: (examples,), position of each in the data set's own training set.
        pixels: (examples, channels, height, width), in [0, 1].
        labels: (examples,), the name of each one's class.
    """

    indices: np.ndarray
    pixels: np.ndarray
    labels: Sequence[str]

    def find(self, index: int) -> tuple[np.ndarray, str]:
        """The image of an example, (height, width, channels), and its class."""
        place = int(np.flatnonzero(self.indices == index)[0])
        return self.pixels[place].transpose(1, 2, 0), self.labels[place]


def persistence_images_table(
    predictions: Sequence[Predictions], images: Images, wanted: Range = None
) -> pd.DataFrame:
    """Table of the images' captions, see `persistence_table`.

    Returns:
        One row per example and model; `share` is the fraction of epochs in which it is correct.
    """
    bars = persistence_table(predictions, wanted)
    keys = [name for name in IMAGES_COLUMNS if name not in ("label", "share")]
    drawn = bars.groupby(keys, as_index=False, sort=False).agg(share=("correct", "mean"))
    return drawn.assign(label=[images.find(index)[1] for index in drawn["index"]])[IMAGES_COLUMNS]


def make_images(study: TrainingRuns) -> Iterator[Drawing]:
    """Images of the examples that change most often, where they can be read."""
    if study.options.images is not None:
        images = study.options.images(study)
        shown = persistence_images_table(study.predictions, images, study.options.epochs)
        draw = partial(draw_persistence_images, images=images)
        yield Drawing("persistence_images", shown, draw)


def draw_persistence_images(drawn: pd.DataFrame, images: Images) -> Figure:
    """Draw one row of images per setting, the one that changes most first.

    Args:
        drawn: the table of this figure.
        images: all that are in it.
    """
    settings = list(dict.fromkeys(drawn["setting"]))
    examples_by_setting = [
        drawn[drawn["setting"] == setting].drop_duplicates("rank") for setting in settings
    ]
    columns = max(map(len, examples_by_setting))
    size = (1.05 * columns + 0.4, 1.75 * len(settings) + 0.7)
    figure, panels = make_panels(len(settings), columns, size, sharex=False)
    for row, examples in zip(panels, examples_by_setting, strict=True):
        for axes in row[len(examples) :]:
            axes.remove()
        for axes, example in zip(
            row, examples.rename(columns={"index": "index_"}).itertuples(), strict=False
        ):
            pixels, label = images.find(example.index_)
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(f"{label}", loc="center")
            axes.set_xlabel(f"{example.index_}\n{example.changes} changes")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
        row[0].set_ylabel(examples["setting"].iloc[0])
    add_heading(figure, persistence_heading(drawn))
    return figure


def persistence_heading(drawn: pd.DataFrame) -> str:
    """Heading that explains the captions of images."""
    captions = "class; index in the training set; changes of correctness from epoch to epoch"
    return f"{captions} ({style.PLAIN}, seed {', '.join(dict.fromkeys(drawn['seed'].astype(str)))})"
