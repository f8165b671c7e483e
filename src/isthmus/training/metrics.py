"""The numbers of a training: one tidy table, and the same in TensorBoard."""

import csv
import io
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.runs import write_bytes

log = logging.getLogger(__name__)

COLUMNS = ("step", "epoch", "split", "model", "metric", "value")


@dataclass(frozen=True)
class Number:
    """One row of metrics.csv, apart from its moment."""

    metric: str
    value: float
    split: str = ""  # train, val, test; empty for what belongs to no split
    model: str = "plain"

    @property
    def tag(self) -> str:
        """Name in TensorBoard, which groups by what comes before the first slash."""
        return "/".join(part for part in (self.metric, self.split, self.model) if part)


class Metrics:
    """Appends to a run's metrics.csv and to its TensorBoard events.

    What a killed job wrote after its last state is cut off when the run goes on, so that no row
    is there twice or in part.

    Args:
        path: the table.
        tensorboard: folder of the event files, or None for none.
        iterations_per_epoch: optimizer steps in one epoch.
    """

    def __init__(self, path: Path, tensorboard: Path | None, iterations_per_epoch: int) -> None:
        self.path, self.tensorboard = path, tensorboard
        self.iterations_per_epoch = iterations_per_epoch
        self.size = 0  # bytes of the table
        self._writer: Any = None

    def write(self, iteration: int, numbers: list[Number]) -> None:
        """Append the numbers of one moment.

        Raises:
            OSError: the table cannot be written.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if self.size == 0:
            rows.writerow(COLUMNS)
        epoch = round(iteration / self.iterations_per_epoch, 6)
        for n in numbers:
            rows.writerow([iteration, f"{epoch:g}", n.split, n.model, n.metric, repr(n.value)])
        self._append(text.getvalue().encode())
        writer = self._events(purge_step=None)
        if writer is not None:
            for n in numbers:
                writer.add_scalar(n.tag, n.value, iteration)
            writer.flush()

    def write_hparams(self, hparams: dict[str, Any], numbers: list[Number]) -> None:
        """Enter the run into TensorBoard's hparams tab, which compares the runs of a sweep.

        Args:
            hparams: numbers, texts and booleans by name.
            numbers: written before, by which runs are to be compared.
        """
        writer = self._events(purge_step=None)
        if writer is not None:
            from torch.utils.tensorboard.summary import hparams as summaries

            for summary in summaries(hparams, {n.tag: n.value for n in numbers}):
                writer.file_writer.add_summary(summary)

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._writer is not None:
            self._writer.close()

    def state_dict(self) -> dict[str, Any]:
        """The part of the table that belongs to the state it is saved with."""
        content = self.path.read_bytes()[: self.size] if self.size else b""
        return {"size": self.size, "content": zlib.compress(content)}

    def load_state_dict(self, state: dict[str, Any], iteration: int) -> None:
        """Cut off what was written after the state of an iteration; write anew what is lost.

        Raises:
            ValueError: the table is lost in whole or part, and the state, of an older version,
                does not have it.
        """
        self.size = state["size"]
        there = self.path.read_bytes() if self.path.exists() else b""
        if "content" in state:
            whole = zlib.decompress(state["content"])
            if there[: self.size] != whole:
                log.warning("%s: %s; written anew from state.pt", self.path, self._lack(there))
                write_bytes(self.path, whole)
        elif len(there) < self.size:
            raise ValueError(
                f"{self.path}: {self._lack(there)}; to train again from the beginning, remove "
                f"{self.path.with_name('state.pt')} and result.json, if it is there"
            )
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(self.size)
        self._events(purge_step=iteration + 1)

    def _lack(self, there: bytes) -> str:
        """What is wrong with the table that is there, in words."""
        if not self.path.exists():
            return "is not there"
        if len(there) < self.size:
            return f"has {len(there)} of the {self.size} bytes that it had"
        return "was changed since"

    def _append(self, content: bytes) -> None:
        try:
            with self.path.open("ab" if self.size else "wb") as file:
                file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.size += len(content)

    def _events(self, purge_step: int | None) -> Any:
        if self._writer is None and self.tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter  # a second to import

            self._writer = SummaryWriter(str(self.tensorboard), purge_step=purge_step)
        return self._writer
