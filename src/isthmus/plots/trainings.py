"""All figures of trainings: of what they measured, and of what they predicted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from isthmus.plots import (
    compare,
    ema_study,
    final_table,
    misclassification,
    misclassification_over_time,
    mismatch,
    mismatch_over_time,
    persistence,
    persistence_images,
    stability,
    weight_difference,
)
from isthmus.plots.files import Drawing
from isthmus.plots.persistence_images import Images
from isthmus.plots.predicted import Range
from isthmus.plots.trained import Study

Make = Callable[[], Drawing]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of figures of trainings.

    Args:
        compare: see `compare.table`; its x is None where nothing is to be compared.
        epochs: first and last one of figures of predictions; None: all but the untrained one.
        images: of the validation examples; called when they are needed, None where they are not
            wanted.
    """

    compare: Mapping[str, Any]
    epochs: Range
    images: Callable[[Study], Images] | None


def figures(study: Study, asked: Asked) -> dict[str, Make]:
    """What makes each figure, by its name; a figure is made only when its function is called."""
    of_metrics = {"ema_study": ema_study, "weight_difference": weight_difference}
    of_predictions = {
        "stability": stability,
        "mismatch": mismatch,
        "mismatch_over_time": mismatch_over_time,
        "misclassification": misclassification,
        "misclassification_over_time": misclassification_over_time,
        "persistence_barcode": persistence,
    }
    found: dict[str, Make] = {}
    for name, module in of_metrics.items():
        found[name] = partial(_of_metrics, name, module, study)
    for name, along in (("schedule_decay_table", "scheduler"), ("lr_table", "optimizer.lr")):
        found[name] = partial(_of_table, name, study, along)
    for name, module in of_predictions.items():
        found[name] = partial(_of_predictions, name, module, study, asked.epochs)
    if asked.images is not None:
        found["persistence_images"] = partial(_of_images, study, asked.images, asked.epochs)
    if asked.compare["x"] is not None:
        found["compare"] = partial(_of_comparison, study, asked.compare)
    return found


def worth_drawing(study: Study, names: list[str]) -> Iterator[str]:
    """Those of the figures that say something: no table of learning rates if there is one only."""
    rates = {str(run.parameters.get("optimizer.lr")) for run in study.runs}
    for name in names:
        if name != "lr_table" or len(rates) > 1:
            yield name


def _of_metrics(name: str, module: Any, study: Study) -> Drawing:
    return Drawing(name, module.table(study.metrics), module.draw)


def _of_predictions(name: str, module: Any, study: Study, epochs: Range) -> Drawing:
    return Drawing(name, module.table(study.predictions, epochs), module.draw)


def _of_images(study: Study, images: Callable[[Study], Images], epochs: Range) -> Drawing:
    found = images(study)
    drawn = persistence_images.table(study.predictions, found, epochs)
    return Drawing("persistence_images", drawn, partial(persistence_images.draw, images=found))


def _of_table(name: str, study: Study, along: str) -> Drawing:
    drawn = final_table.table(study, along)
    return Drawing(name, drawn, final_table.draw, final_table.markdown(drawn))


def _of_comparison(study: Study, asked: Mapping[str, Any]) -> Drawing:
    return Drawing("compare", compare.table(study, asked), compare.draw)
