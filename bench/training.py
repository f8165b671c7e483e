"""Training steps: a plain loop as one would write it, against this toolkit's.

    python -m bench.training resnet20        python -m bench.training lenet_300_100

The plain loop reads PIL images through a DataLoader, computes in float32 without compiling, and
keeps timm's ModelEmaV2. Real data is used if DATA_ROOT has it, else noise of the same shape.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bench import measure
from isthmus.averaging.ema import EMA
from isthmus.data.image_folder import ImageFolder
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split
from isthmus.data.torchvision_files import MNIST
from isthmus.data.torchvision_import import datasets
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training import loop
from isthmus.training.optimizers import sgd
from isthmus.training.options import Hparams, Runtime, StreamSeeds
from isthmus.training.recipe import Recipe
from isthmus.training.schedulers import Constant
from isthmus.training.session import Session

BATCH, DECAY = 128, 0.999
STEPS = {"resnet20": 10, "lenet_300_100": 200}  # in one measurement
GPU_STEPS = 200


def data(model: str) -> DataSet:
    root = os.environ.get("DATA_ROOT", "")
    if model == "resnet20":
        if (Path(root) / "cifar10-jpeg").is_dir():
            cache = str(Path(tempfile.gettempdir()) / "isthmus_bench_cache")
            recipe = ImageFolder(root=root, folder="cifar10-jpeg", cache_dir=cache)
            return recipe.load(label_noise_seed=0)
        return noise((3, 32, 32), Augmentation(padding=4, flip=True))
    if (Path(root) / "MNIST").is_dir():
        return MNIST(root=root).load(label_noise_seed=0)
    return noise((1, 28, 28), None)


def noise(shape: tuple[int, ...], augmentation: Augmentation | None) -> DataSet:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (5000, *shape), generator=generator).to(torch.uint8)
    split = Split(inputs, torch.arange(5000) % 10, torch.arange(5000))
    names = tuple(map(str, range(10)))
    return DataSet(split, None, split, names, Normalization((0.5,), (0.25,)), augmentation)


def network(model: str, images: DataSet) -> torch.nn.Module:
    torch.manual_seed(0)
    if model == "resnet20":
        return ResNetCifar(images.input_shape, 10)
    return MLP(images.input_shape, 10, width=[300, 100])


class PILDataset(torch.utils.data.Dataset):
    """Training images as torchvision's own data sets give them."""

    def __init__(self, images: DataSet) -> None:
        datasets()  # so that torchvision can be imported
        from torchvision import transforms

        channels = images.input_shape[0]
        self.images = images.train.inputs.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.train.labels.tolist()
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(
            [
                *(augment if images.augmentation else []),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * channels, [0.25] * channels),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(np.squeeze(self.images[index]))), self.labels[index]


def plain(model: str, images: DataSet, steps: int, workers: int) -> Callable[[], None]:
    datasets()  # so that timm can import torchvision
    from timm.utils import ModelEmaV2

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = network(model, images).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    ema = ModelEmaV2(net, decay=DECAY)
    loader = torch.utils.data.DataLoader(
        PILDataset(images), BATCH, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def run() -> None:
        total, correct = 0.0, 0
        net.train()
        for inputs, labels in itertools.islice(batches, steps):
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            logits = net(inputs)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            ema.update(net)
            total += loss.item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()

    return run


def ours(model: str, images: DataSet, steps: int, **how: object) -> Callable[[], None]:
    precision, compiled = how.get("precision", "fp32"), how.get("compile", False)
    session = Session(
        Recipe(
            model=lambda *_: network(model, images),
            optimizer=lambda parameters: sgd(parameters, 0.1, 0.9, 1e-4),
            scheduler=Constant,
            averages=lambda: EMA(DECAY),
            hparams=Hparams(epochs=1000, batch_size=BATCH),
            precision=str(precision),
        ),
        images,
        StreamSeeds(1, 1, 1, 1),
        Runtime(compile=bool(compiled), progress=False, tensorboard=False),
    )
    assert session.averages is not None
    update = session.averages.update
    callbacks = [loop.Callback(loop.after_every_step, lambda t: update(t.iteration))]

    def run() -> None:
        end = session.training.iteration + steps
        loop.train(session.training, session.batches, end, callbacks)
        session.training.check_losses()

    return run


WAYS: dict[str, dict[str, dict[str, object]]] = {
    "resnet20": {
        "ours, fp32 eager": {},
        "ours, bf16 eager": {"precision": "bf16"},
        "ours, bf16 compiled": {"precision": "bf16", "compile": True},
    },
    "lenet_300_100": {"ours, fp32 eager": {}},
}


def peak_memory(model: str, way: str) -> float:
    """Highest resident memory, in MiB, of a process that trains in one way only."""
    command = [sys.executable, "-m", "bench.training", model, "--only", way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def make(model: str, way: str, images: DataSet, steps: int, workers: int) -> Callable[[], None]:
    if way == "plain":
        return plain(model, images, steps, workers)
    return ours(model, images, steps, **WAYS[model][way])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=WAYS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=0, help="of the plain DataLoader")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    model, ways = arguments.model, ["plain", *WAYS[arguments.model]]
    if arguments.memory:
        for way in ways:
            print(f"| {way} | {peak_memory(model, way):.0f} MiB |")
        return
    images = data(model)
    steps = GPU_STEPS if torch.cuda.is_available() else STEPS[model]
    if arguments.only:
        make(model, arguments.only, images, 3 * STEPS[model], arguments.workers)()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    made = {way: make(model, way, images, steps, arguments.workers) for way in ways}
    seconds = measure.medians(made, arguments.rounds)
    print(measure.table(f"Training {model}, batch {BATCH}", seconds, steps, "step"))
    for way, value in seconds.items():
        print(f"{way}: {BATCH * steps / value:.0f} images/s")


if __name__ == "__main__":
    main()
