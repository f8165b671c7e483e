"""Figures of the persistence of misclassified validation examples: barcodes and images."""

import math
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
from isthmus.plots.options import Persistence, Sort
from isthmus.plots.panels import add_heading, add_legend, make_panels, shorten_settings, split_pages
from isthmus.plots.runs import Predictions, Range, TrainingRuns

DEFAULT = Persistence()
SHOWN = 12  # examples in a message
PERSISTENCE_COLUMNS = ["setting", "seed", "model", "rank", "index", "changes", "epoch", "correct"]
BLOCK = 5  # panels side by side
PANELS = 6  # settings in one figure
IMAGES = 10  # side by side
HEIGHT = 0.16  # inches of a bar
INDEX = "index in the data set"
WRONG, RIGHT = "#d55e00", "#cfe8f7"  # they differ in lightness, too


def persistence_table(
    predictions: Sequence[Predictions], wanted: Range = None, options: Persistence = DEFAULT
) -> pd.DataFrame:
    """Table of the barcodes: examples of one training per setting, that of its first seed.

    Args:
        predictions: of trainings.
        wanted: first and last epoch.
        options: which examples.

    Returns:
        One row per example, model and epoch. `index` is the example's position in the data
        set, `rank` its position here, `changes` how often the network as trained
        became correct or wrong on it.
    """
    parts = []
    for one in first_of_each(predictions):
        chosen = choose_examples(one, wanted, options)
        _, correct = plots_predictions.epoch_range(one, style.PLAIN, wanted)
        changes = plots_predictions.changes(correct)
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


def choose_examples(one: Predictions, wanted: Range, options: Persistence) -> np.ndarray:
    """Positions of the examples that are shown, (examples,), the first first.

    Of equal examples the first in the data set comes first.

    Raises:
        ValueError: an example that is named is no validation example of the training.
    """
    if options.examples is not None:
        positions = {int(index): place for place, index in enumerate(one.indices)}
        unknown = [index for index in options.examples if index not in positions]
        if unknown:
            known = sorted(positions)
            shown = ", ".join(map(str, known[:SHOWN])) + (", ..." if len(known) > SHOWN else "")
            typed = ",".join(map(str, options.examples))
            raise ValueError(
                f"persistence.examples=[{typed}]: {unknown[0]} is no validation example; "
                f"the {len(known)} of seed {one.seed} are {shown}"
            )
        return np.array([positions[index] for index in options.examples])
    order = np.lexsort((one.indices, -sort_scores(one, wanted, options.sort)))
    return order[: options.num_examples]


def sort_scores(one: Predictions, wanted: Range, sort: Sort) -> np.ndarray:
    """By how much each example is to be shown, (examples,).

    Args:
        one: a training.
        wanted: first and last epoch.
        sort: stability, the changes of correctness of the network as trained; mismatch, the mean
            fraction of epochs in which only one of it and an average is correct; misclassification,
            the fraction in which it is wrong; random, the same for all models and runs.

    Raises:
        ValueError: mismatch without an averaged model.
    """
    _, correct = plots_predictions.epoch_range(one, style.PLAIN, wanted)
    if sort == "stability":
        return plots_predictions.changes(correct)
    if sort == "misclassification":
        return (~correct).mean(axis=0)
    if sort == "random":
        return np.random.default_rng(0).permutation(len(one.indices))
    averaged = plots_predictions.averaged_models([one])
    parts = [plots_predictions.disagreement(one, model, wanted)[1] for model in averaged]
    return np.mean([part.mean(axis=0) for part in parts], axis=0)


def make_barcode(study: TrainingRuns) -> Iterator[Drawing]:
    """Barcodes of the chosen examples."""
    shown = persistence_table(study.predictions, study.options.epochs, study.options.persistence)
    for end, rows in split_pages(shown, "setting", PANELS):
        yield Drawing(f"persistence_barcode{end}", rows, draw_persistence)


def draw_persistence(drawn: pd.DataFrame) -> Figure:
    """Draw barcodes: rows of panels per setting, one panel per model, one bar per example."""
    settings, names = list(dict.fromkeys(drawn["setting"])), style.order_models(drawn["model"])
    titles, common = shorten_settings(settings)
    columns = min(len(names), BLOCK)
    num_rows = math.ceil(len(names) / columns)  # of each setting
    height = max(2.2, HEIGHT * drawn["rank"].max())
    size = (max(2.1 * columns + 1.0, 4.6), height * len(settings) * num_rows + 1.1)
    labels = epochs.LABEL, f"validation example ({INDEX})"
    least = 1.2, 0.82 * height
    figure, rows = make_panels(len(settings) * num_rows, columns, size, labels=labels, least=least)
    for place, setting in enumerate(settings):
        panels = rows[place * num_rows : (place + 1) * num_rows].ravel()
        for axes in panels[len(names) :]:
            axes.remove()
        for name, axes in zip(names, panels, strict=False):
            here = (drawn["setting"] == setting) & (drawn["model"] == name)
            draw_bars(axes, drawn[here])
            axes.set_title(f"{titles[setting]}\n{name}" if setting and name == names[0] else name)
            axes.tick_params(labelleft=axes in rows[:, 0])
    bars = [Patch(color=RIGHT, label="correct"), Patch(color=WRONG, label="wrong")]
    add_legend(figure, bars, common, columns=2)
    return figure


def draw_bars(axes: Axes, bars: pd.DataFrame) -> None:
    """Draw the bars of one model, the first example at the top."""
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
        indices: (examples,), position of each in the data set.
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
    predictions: Sequence[Predictions],
    images: Images,
    wanted: Range = None,
    options: Persistence = DEFAULT,
) -> pd.DataFrame:
    """Table of the images' captions, see `persistence_table`.

    Returns:
        One row per example and model; `share` is the fraction of epochs in which it is correct.
    """
    bars = persistence_table(predictions, wanted, options)
    keys = [name for name in IMAGES_COLUMNS if name not in ("label", "share")]
    drawn = bars.groupby(keys, as_index=False, sort=False).agg(share=("correct", "mean"))
    return drawn.assign(label=[images.find(index)[1] for index in drawn["index"]])[IMAGES_COLUMNS]


def make_images(study: TrainingRuns) -> Iterator[Drawing]:
    """Images of the chosen examples, where they can be read."""
    if study.options.images is not None:
        images = study.options.images(study)
        shown = persistence_images_table(
            study.predictions, images, study.options.epochs, study.options.persistence
        )
        draw = partial(draw_persistence_images, images=images)
        for end, rows in split_pages(shown, "setting", PANELS):
            yield Drawing(f"persistence_images{end}", rows, draw)


def draw_persistence_images(drawn: pd.DataFrame, images: Images) -> Figure:
    """Draw rows of images per setting, the first example first.

    Args:
        drawn: the table of this figure.
        images: all that are in it.
    """
    settings = list(dict.fromkeys(drawn["setting"]))
    several = [drawn[drawn["setting"] == s].drop_duplicates("rank") for s in settings]
    titles, common = shorten_settings(settings)
    most = max(map(len, several))
    columns = min(most, IMAGES)
    num_rows = math.ceil(most / columns)  # of each setting
    size = (1.05 * columns + 0.4, 1.75 * len(settings) * num_rows + 0.7)
    figure, rows = make_panels(len(settings) * num_rows, columns, size, False)
    for place, examples in enumerate(several):
        row = rows[place * num_rows : (place + 1) * num_rows].ravel()
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
        row[0].set_ylabel(titles[examples["setting"].iloc[0]])
    add_heading(figure, "\n".join(filter(None, [common, persistence_heading(drawn)])))
    return figure


def persistence_heading(drawn: pd.DataFrame) -> str:
    """Heading that explains the captions of images."""
    captions = f"class; {INDEX}; changes of correctness from epoch to epoch"
    return f"{captions} ({style.PLAIN}, seed {', '.join(dict.fromkeys(drawn['seed'].astype(str)))})"
