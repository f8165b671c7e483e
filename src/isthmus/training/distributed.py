"""Training in several processes (torchrun): shared batches, batch norm, dropout, evaluations."""

import copy
import inspect
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from isthmus import machine
from isthmus.store.files import Run
from isthmus.training.evaluation import Evaluation

PATIENCE = timedelta(days=7)  # for a folder that another job holds


class Processes:
    """All processes of one training; each takes its share of every batch and of every split.

    Args:
        rank: number of this one, from 0.
        size: number of processes.
        device: on which this one computes.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    def share(self, count: int) -> slice:
        """This process's slice of `count` examples; slices differ by at most one in length."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, values: Tensor) -> Tensor:
        """Sum of `values`, of any shape and on the device, over the processes."""
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    def gather_evaluation(self, part: Evaluation, count: int) -> Evaluation:
        """The evaluation of a whole split, from those of each process's share.

        Args:
            part: of the examples in `share(count)`, at least one.
            count: examples of the split.
        """
        num_here = part.correct.shape[1]
        width = -(-count // self.size)
        padded = torch.nn.functional.pad(part.correct.to(torch.uint8), (0, width - num_here))
        shares = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(shares, padded.contiguous())
        others = (Processes(rank, self.size, self.device).share(count) for rank in range(self.size))
        lengths = [other.stop - other.start for other in others]
        correct = torch.cat(
            [share[:, :n] for share, n in zip(shares, lengths, strict=True)], dim=1
        ).bool()
        numbers = {
            name: self.total(value * num_here) / count for name, value in part.numbers.items()
        }
        accuracy = correct.double().mean(dim=1)  # exact
        accuracy[part.accuracy.isnan()] = torch.nan  # labels are numbers
        return Evaluation(numbers | {"accuracy": accuracy}, correct)


@contextmanager
def init_processes(device: torch.device) -> Iterator[Processes | None]:
    """Initialize the process group of torchrun; None if there is only one process."""
    if not machine.is_distributed():
        yield None
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(machine.rank(), machine.num_processes(), device)
    finally:
        dist.destroy_process_group()


@contextmanager
def lock_run(run: Run, processes: Processes | None) -> Iterator[Run]:
    """Lock a run's folder; processes after the first get a copy, which is removed afterwards.

    So every process resumes from the same state, and only files of the first one are kept.
    """
    if processes is None:
        with run.lock():
            yield run
    elif processes.rank == 0:
        with run.lock():
            dist.barrier()  # the folder is locked
            dist.barrier()  # the others have their copies
            yield run
    else:
        dist.barrier()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "run"
            shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns("tensorboard", ".*"))
            dist.barrier()
            yield Run(copy)


_OPTIONS = inspect.signature(DistributedDataParallel).parameters
NO_SYNC = "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"


class Sharing:
    """Shares of processes in the batches of one training.

    Args:
        processes: all of them.
        batch_size: examples in a batch of all processes together.
        num_examples: in an epoch; the last batch has the remaining ones.
    """

    def __init__(self, processes: Processes, batch_size: int, num_examples: int) -> None:
        self.processes, self.batch_size, self.num_examples = processes, batch_size, num_examples
        self.num_in_batch = (
            batch_size  # examples in the batch of all processes that is being computed
        )

    @property
    def part(self) -> slice:
        """This process's examples of that batch."""
        return self.processes.share(self.num_in_batch)

    def begin(self, iteration: int) -> None:
        """Set the sizes for the batch of an iteration."""
        first = iteration * self.batch_size % self._rounded_epoch
        self.num_in_batch = min(self.batch_size, self.num_examples - first)

    @property
    def _rounded_epoch(self) -> int:
        return -(-self.num_examples // self.batch_size) * self.batch_size

    def network(self, model: nn.Module) -> nn.Module:
        """A network on the tensors of `model` that trains on batches shared with other processes.

        Its gradients are those of the whole batch; batch norm normalizes by the whole batch, and
        dropout applies its part of the mask that a single process would draw.
        """
        shared = [*model.parameters(), *model.buffers()]
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in shared}).train()
        holder = nn.Sequential(twin)  # so that the model itself can be replaced, too
        for module, name, child in list(_named_children(holder)):
            if isinstance(child, _BatchNorm):
                setattr(module, name, SharedBatchNorm(child, self))
            elif isinstance(child, _DropoutNd):
                setattr(module, name, SharedDropout(child, self))
        twin = holder[0]
        ids = [self.processes.device] if self.processes.device.type == "cuda" else None
        options: dict[str, Any] = {NO_SYNC: False}  # buffers are equal in all processes already
        return DistributedDataParallel(twin, ids, gradient_as_bucket_view=True, **options)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Scale the mean loss of this process's part such that the mean of all processes' gradients
        is that of the whole batch."""
        return loss * ((self.part.stop - self.part.start) * self.processes.size / self.num_in_batch)

    def mean(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of the whole batch and its number of correct classifications."""
        count = self.part.stop - self.part.start
        summed = loss.detach().double() * count if count else loss.new_zeros((), dtype=torch.double)
        loss_sum, hits = self.processes.total(torch.stack([summed, correct.double()])).unbind()
        return (loss_sum / self.num_in_batch).to(loss), hits.to(correct)


class SharedBatchNorm(nn.Module):
    """Batch norm in training mode by the mean and variance of the batch of all processes.

    Unlike `nn.SyncBatchNorm` it also works on CPUs.

    Args:
        layer: whose parameters and running statistics are used.
        sharing: has the size of the whole batch.
    """

    def __init__(self, layer: _BatchNorm, sharing: Sharing) -> None:
        super().__init__()
        self.layer, self.sharing = layer, sharing

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, ...), normalized."""
        values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
        axes = [axis for axis in range(values.dim()) if axis != 1]
        count = self.sharing.num_in_batch * values.shape[2:].numel()  # values of a channel in all
        mean = _Total.apply(values.sum(axes)) / count
        shape = [1, -1, *[1] * (values.dim() - 2)]
        centred = values - mean.view(shape)
        variance = _Total.apply(centred.square().sum(axes)) / count
        self._note(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        normalized = centred * (variance + self.layer.eps).rsqrt().view(shape)
        if self.layer.affine:
            normalized = normalized * self.layer.weight.view(shape) + self.layer.bias.view(shape)
        return normalized.to(inputs.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        layer = self.layer
        if layer.running_mean is None or layer.running_var is None:
            return
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked += 1
        weight = 1 / int(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
        layer.running_mean.lerp_(mean.to(layer.running_mean), weight)
        layer.running_var.lerp_(variance.to(layer.running_var), weight)


class SharedDropout(nn.Module):
    """Dropout with this process's part of the mask of the whole batch, which every process draws.

    Args:
        layer: `nn.Dropout` or one of its kind, on values whose first axis is the batch.
        sharing: has the size of the whole batch, and this process's part.
    """

    def __init__(self, layer: _DropoutNd, sharing: Sharing) -> None:
        super().__init__()
        self.layer, self.sharing = layer, sharing

    def forward(self, inputs: Tensor) -> Tensor:
        """Values of any shape, times a mask of that shape."""
        ones = inputs.new_ones(self.sharing.num_in_batch, *inputs.shape[1:], requires_grad=False)
        if inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(
                memory_format=torch.channels_last
            )  # masks are drawn in its order
        return inputs * self.layer(ones)[self.sharing.part]


class _Total(torch.autograd.Function):
    """The sum over processes; its gradients are summed, too."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone()
        dist.all_reduce(summed)
        return summed


def _named_children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for module in model.modules():
        for name, child in module.named_children():
            yield module, name, child
