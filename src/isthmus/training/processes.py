"""Several processes that train one network together, started by `torchrun`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from isthmus import torchrun
from isthmus.runs import Run
from isthmus.training.evaluation import Evaluation

PATIENCE = timedelta(days=7)  # for a folder that another job holds


class Processes:
    """All processes of one training; each takes its share of every batch and of every split.

    Args:
        rank: number of this one, from 0.
        size: how many there are.
        device: on which this one computes.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    def share(self, count: int) -> slice:
        """Which of `count` examples are this process's; shares differ by at most one."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, values: Tensor) -> Tensor:
        """`values`, of any shape and on the device, summed over the processes."""
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    def whole(self, part: Evaluation, count: int) -> Evaluation:
        """What a network makes of a split, from what it makes of each process's share.

        Args:
            part: of the examples in `share(count)`, at least one.
            count: examples of the split.
        """
        own = part.correct.shape[1]
        width = -(-count // self.size)
        padded = torch.nn.functional.pad(part.correct.to(torch.uint8), (0, width - own))
        shares = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(shares, padded.contiguous())
        others = (Processes(rank, self.size, self.device).share(count) for rank in range(self.size))
        lengths = [other.stop - other.start for other in others]
        correct = torch.cat(
            [share[:, :n] for share, n in zip(shares, lengths, strict=True)], dim=1
        ).bool()
        loss = self.total(part.loss * own) / count
        accuracy = correct.double().mean(dim=1)
        accuracy[part.accuracy.isnan()] = torch.nan  # labels are numbers
        return Evaluation(loss, accuracy, correct)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes | None]:
    """The processes that torchrun started, in touch with each other; None if there is only one."""
    if not torchrun.is_on():
        yield None
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(torchrun.rank(), torchrun.size(), device)
    finally:
        dist.destroy_process_group()


@contextmanager
def locked(run: Run, processes: Processes | None) -> Iterator[Run]:
    """A run's folder, held; processes after the first get a copy, which is thrown away.

    So every process reads the same state, whatever there is to go on from, and only what the first
    one writes lasts.
    """
    if processes is None:
        with run.locked():
            yield run
    elif processes.rank == 0:
        with run.locked():
            dist.barrier()  # the folder is held
            dist.barrier()  # the others have their copies
            yield run
    else:
        dist.barrier()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "run"
            shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns("tensorboard", ".*"))
            dist.barrier()
            yield Run(copy)
