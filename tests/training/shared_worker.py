"""What one of several processes computes; `torchrun` starts it for test_sharing.py."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

from isthmus import rng
from isthmus.store.files import Run
from isthmus.training.distributed import Sharing, init_processes, lock_run
from isthmus.training.evaluation import measure_network

SIZES = [16, 9, 1]  # of the batches; the last one leaves a process without an example
CPU = torch.device("cpu")


class Layers(nn.Module):
    """Batch norm with and without parameters, with a cumulative mean, and dropout of two kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, momentum=None)]
        )
        self.channels, self.dropout = nn.Dropout2d(0.3), nn.Dropout(0.4)
        self.output = nn.Linear(4 * 25, 3)
        self.last = nn.BatchNorm1d(3, affine=False, track_running_stats=False)

    def forward(self, inputs):
        hidden = self.conv(inputs)
        for norm in self.norms:
            hidden = torch.tanh(norm(hidden))
        hidden = self.dropout(self.channels(hidden).relu())
        logits = self.output(hidden.flatten(1))
        return self.last(logits) if len(inputs) > 1 else logits


def model():
    torch.manual_seed(1)
    return Layers().double().to(memory_format=torch.channels_last)


def batches():
    """One epoch of 26 examples in batches of 16 at most, of which the second has 9 and then 1."""
    generator = torch.Generator().manual_seed(2)
    for size in SIZES:
        inputs = torch.randn(size, 2, 5, 5, generator=generator, dtype=torch.float64)
        yield inputs, torch.randint(3, (size,), generator=generator)


def gradients(network):
    return [parameter.grad.clone() for parameter in network.parameters()]


def alone():
    """Losses, correct, gradients and statistics of one process that computes whole batches."""
    network, found = model().train(), []
    for number, (inputs, labels) in enumerate(batches()):
        rng.start_stream(CPU, 3, "dropout", number)
        network.zero_grad()
        logits = network(inputs)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        hits = (logits.argmax(dim=1) == labels).sum()
        found.append((loss.detach(), hits, gradients(network)))
    return found, network.state_dict()


def together(processes):
    """The same of several processes."""
    own, found = model(), []
    for number, (inputs, labels) in enumerate(batches()):
        sharing = Sharing(processes, len(labels), len(labels))
        network = sharing.network(own)
        rng.start_stream(CPU, 3, "dropout", number)
        sharing.begin(0)
        own.zero_grad()
        logits = network(inputs[sharing.part])
        loss = F.cross_entropy(logits, labels[sharing.part])
        hits = (logits.argmax(dim=1) == labels[sharing.part]).sum()
        mean, correct = sharing.mean(loss, hits)
        sharing.scale_loss(loss).backward()
        found.append((mean, correct, gradients(own)))
    return found, own.state_dict()


def evaluated(processes):
    """Loss, accuracy and correctness of 11 examples by logits that are given."""
    logits, labels = (
        torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(4)),
        torch.arange(11) % 3,
    )
    own = processes.share(11)
    part = measure_network(lambda inputs: logits[:, inputs], [(torch.arange(11)[own], labels[own])])
    whole = measure_network(lambda inputs: logits[:, inputs], [(torch.arange(11), labels)])
    return processes.gather_evaluation(part, 11), whole


def main(folder):
    run = Run(folder)
    with init_processes(CPU) as processes, lock_run(run, processes) as own:
        made = together(processes)
        part, whole = evaluated(processes)
        read = (own.folder / "note.txt").read_text()
        (own.folder / "note.txt").write_text(f"written by {processes.rank}")
        checked = [
            torch.equal(getattr(part, n), getattr(whole, n)) for n in ("accuracy", "correct")
        ]
        closest = (part.loss - whole.loss).abs().max()
        torch.save((made, checked, closest, read), folder / f"{processes.rank}.pt")


if __name__ == "__main__":
    from pathlib import Path

    main(Path(sys.argv[1]))
