"""A function of one variable as a trained network has it, as a table."""

import torch

from isthmus.runs import write_csv
from isthmus.training.evaluation import evaluating
from isthmus.training.loop import Callback, Training, at
from isthmus.training.metrics import Metrics
from isthmus.training.session import Session

COLUMNS = ("x", "target", "value")
FILE = "function.csv"  # in the folder of the run


def callbacks(session: Session, metrics: Metrics) -> list[Callback]:
    """Write what the network makes of the test set when it is trained; of other data nothing."""
    if session.data.loss != "squared" or session.data.input_shape != (1,):
        return []

    @torch.no_grad()
    def write(training: Training) -> None:
        rows: list[tuple[float, ...]] = []
        with evaluating(training.model):
            for inputs, labels in session.evaluator.batches("test"):
                values = training.model(inputs)[:, 0].tolist()
                rows += zip(inputs[:, 0].tolist(), labels.tolist(), values, strict=True)
        write_csv(metrics.path.with_name(FILE), COLUMNS, rows)

    return [Callback(at([session.end]), write)]
