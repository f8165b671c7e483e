"""Several processes that train one network: batches, batch norm and dropout shared among them."""

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
def init_processes(device: torch.device) -> Iterator[Processes | None]:
    """The processes that torchrun started, in touch with each other; None if there is only one."""
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
    """A run's folder, held; processes after the first get a copy, which is thrown away.

    So every process reads the same state, whatever there is to go on from, and only what the first
    one writes lasts.
    """
    if processes is None:
        with run.lock():
            yield run
    elif processes.rank == 0:
        with run.lock():
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


_OPTIONS = inspect.signature(DistributedDataParallel).parameters
NO_SYNC = "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"


class Sharing:
    """How the batches of one training are shared among processes.

    Args:
        processes: all of them.
        batch_size: examples in a batch of all processes together.
        num_examples: in an epoch; the last batch has what is left.
    """

    def __init__(self, processes: Processes, batch_size: int, num_examples: int) -> None:
        self.processes, self.batch_size, self.num_examples = processes, batch_size, num_examples
        self.whole = batch_size  # examples in the batch of all processes that is being computed

    @property
    def part(self) -> slice:
        """This process's examples of that batch."""
        return self.processes.share(self.whole)

    def begin(self, iteration: int) -> None:
        """From now on the batch of an iteration is computed."""
        first = iteration * self.batch_size % self._rounded
        self.whole = min(self.batch_size, self.num_examples - first)

    @property
    def _rounded(self) -> int:
        return -(-self.num_examples // self.batch_size) * self.batch_size

    def network(self, model: nn.Module) -> nn.Module:
        """A model that shares its tensors with `model`, and its batches with other processes.

        Its gradients are those of the whole batch; batch norm normalizes by the whole batch, and
        dropout takes its part of the mask that a single process would draw.
        """
        shared = [*model.parameters(), *model.buffers()]
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in shared}).train()
        holder = nn.Sequential(twin)  # so that the model itself can be replaced, too
        for module, name, child in list(_children(holder)):
            if isinstance(child, _BatchNorm):
                setattr(module, name, SharedBatchNorm(child, self))
            elif isinstance(child, _DropoutNd):
                setattr(module, name, SharedDropout(child, self))
        twin = holder[0]
        ids = [self.processes.device] if self.processes.device.type == "cuda" else None
        alike: dict[str, Any] = {NO_SYNC: False}  # buffers are the same in all processes as it is
        return DistributedDataParallel(twin, ids, gradient_as_bucket_view=True, **alike)

    def scaled(self, loss: Tensor) -> Tensor:
        """A mean over this process's part, made such that the mean of all processes' gradients is
        that of the whole batch."""
        return loss * ((self.part.stop - self.part.start) * self.processes.size / self.whole)

    def mean(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of the whole batch and how many of it were classified correctly."""
        count = self.part.stop - self.part.start
        summed = loss.detach().double() * count if count else loss.new_zeros((), dtype=torch.double)
        loss_sum, hits = self.processes.total(torch.stack([summed, correct.double()])).unbind()
        return (loss_sum / self.whole).to(loss), hits.to(correct)


class SharedBatchNorm(nn.Module):
    """Batch norm in training mode by the mean and variance of the batch of all processes.

    Unlike `nn.SyncBatchNorm` it also works on CPUs.

    Args:
        layer: whose parameters and running statistics are used.
        sharing: says how large the whole batch is.
    """

    def __init__(self, layer: _BatchNorm, sharing: Sharing) -> None:
        super().__init__()
        self.layer, self.sharing = layer, sharing

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, ...), normalized."""
        values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
        axes = [axis for axis in range(values.dim()) if axis != 1]
        count = self.sharing.whole * values.shape[2:].numel()  # values of a channel in all
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
    """Dropout by this process's part of the mask of the whole batch, which all of them draw.

    Args:
        layer: `nn.Dropout` or one of its kind, on values whose first axis is the batch.
        sharing: says how large the whole batch is, and which part of it is here.
    """

    def __init__(self, layer: _DropoutNd, sharing: Sharing) -> None:
        super().__init__()
        self.layer, self.sharing = layer, sharing

    def forward(self, inputs: Tensor) -> Tensor:
        """Values of any shape, times a mask of that shape."""
        ones = inputs.new_ones(self.sharing.whole, *inputs.shape[1:], requires_grad=False)
        if inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(
                memory_format=torch.channels_last
            )  # masks are drawn in its order
        return inputs * self.layer(ones)[self.sharing.part]


class _Total(torch.autograd.Function):
    """The sum over processes, and of gradients likewise."""

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


def _children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for module in model.modules():
        for name, child in module.named_children():
            yield module, name, child
