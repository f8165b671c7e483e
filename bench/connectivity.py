"""Points of lines and planes: as one would write it plainly, against this toolkit's way.

    python -m bench.connectivity lenet_300_100       25 alphas on 10,000 images
    python -m bench.connectivity resnet20            25 alphas, in fp32, bf16 and compiled
    python -m bench.connectivity resnet20 --reset    a plane point, batch-norm statistics reset

The plain way, for each point: build a model, load the weights, go through a DataLoader whose data
set gives examples one by one, in float32: PIL images through torchvision's transforms, as its own
data sets do, or tensors that are ready ("plain, tensors"). To reset batch norm it first goes
through the calibration examples in training mode. Nothing is trained: images are noise, networks
are initialized.
"""

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bench import measure
from bench.training import PILDataset
from isthmus.connectivity import barriers, interpolation, line, plane
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.data.splits import DataSet, Normalization, Split
from isthmus.models.mlp import MLP
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.state_dicts import StateDict
from isthmus.training.evaluator import CALIBRATION_EXAMPLES, Evaluator
from isthmus.training.options import Runtime
from isthmus.training.recipe import resolve_device

MODELS: dict[str, Callable[[], nn.Module]] = {
    "lenet_300_100": lambda: MLP((1, 28, 28), 10, [300, 100]),
    "resnet20": lambda: ResNetCifar((3, 32, 32), 10),
}
SHAPES = {"lenet_300_100": (1, 28, 28), "resnet20": (3, 32, 32)}
PRECISIONS = {"lenet_300_100": ["fp32"], "resnet20": ["fp32", "bf16"]}


def noise(shape: tuple[int, ...], num_examples: int) -> DataSet:
    generator = torch.Generator().manual_seed(0)
    splits = []
    for size in (CALIBRATION_EXAMPLES, num_examples):
        inputs = torch.randint(256, (size, *shape), generator=generator).to(torch.uint8)
        splits.append(Split(inputs, torch.arange(size) % 10, torch.arange(size)))
    names = tuple(map(str, range(10)))
    return DataSet(splits[0], None, splits[1], names, Normalization((0.5,), (0.25,)))


def networks(model: str, num: int) -> list[dict[str, Tensor]]:
    made = []
    for seed in range(num):
        torch.manual_seed(seed)
        made.append({name: t.to(DEVICE) for name, t in MODELS[model]().state_dict().items()})
    return made


def tensors(data: DataSet) -> Dataset:
    assert isinstance(data.train, Split)
    return TensorDataset((data.train.inputs / 255 - 0.5) / 0.25, data.train.labels)


@torch.no_grad()
def plain(
    model: str,
    examples: Dataset,
    calibration: Dataset,
    ends: list[dict[str, Tensor]],
    shares: Tensor,
    bn: str,
    batch: int,
) -> Tensor:
    """(points, 2), loss and accuracy of each."""
    rows = []
    for row in shares:
        weights: StateDict = interpolation.combine(ends, row)
        net = MODELS[model]().to(DEVICE)
        net.load_state_dict(weights)
        if bn == "reset":
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.reset_running_stats()
                    module.momentum = None  # the mean over batches
            net.train()
            for inputs, _ in DataLoader(calibration, batch):
                net(inputs.to(DEVICE))
        net.eval()
        loss, correct, count = 0.0, 0, 0
        for inputs, labels in DataLoader(examples, batch):
            inputs, labels = inputs.to(DEVICE), labels.to(DEVICE)
            logits = net(inputs)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += (logits.argmax(dim=1) == labels).sum().item()
            count += len(labels)
        rows.append([loss / count, correct / count])
    return torch.tensor(rows, dtype=torch.float64)


def ours(
    model: str,
    data: DataSet,
    ends: list[dict[str, Tensor]],
    shares: Tensor,
    bn: str,
    precision: str,
    compiled: bool,
) -> Callable[[], Tensor]:
    runtime = Runtime(compile=compiled, progress=False)
    net = MODELS[model]().to(DEVICE)
    if len(data.input_shape) == 3:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    evaluator = Evaluator(net, data, DEVICE, runtime, precision)
    points = InterpolationEvaluator(evaluator, ["test"], len(shares))

    def run() -> Tensor:
        curve = points.evaluate(ends, shares, bn)["test"]
        return torch.stack([curve.loss, curve.accuracy], dim=1)

    return run


def difference(words: str, values: Tensor, plainly: Tensor) -> None:
    loss, accuracy = (values - plainly).abs().amax(dim=0).tolist()
    print(f"{words}: largest difference of loss {loss:.1e}, of accuracy {accuracy:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--reset", action="store_true", help="a plane point, statistics reset")
    parser.add_argument("--alphas", type=int, default=25)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=128, help="of the plain DataLoader")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="by default as many as torch takes")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled way")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = arguments.model
    data = noise(SHAPES[model], arguments.examples)
    if arguments.reset:
        ends, bn = networks(model, 3), "reset"
        names = [name for name, _ in MODELS[model]().named_parameters()]
        shares = plane.Plane(ends, names).shares(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    else:
        ends, bn = networks(model, 2), "average"
        shares = line.end_shares(torch.from_numpy(barriers.parse_alphas(arguments.alphas)))
    ways: dict[str, Callable[[], Tensor]] = {}
    for name, kind in (("plain", PILDataset), ("plain, tensors", tensors)):
        sets = [kind(part) for part in (dataclasses.replace(data, train=data.test), data)]
        ways[name] = partial(plain, model, *sets, ends, shares, bn, arguments.batch)
    for precision in PRECISIONS[model]:
        ways[f"ours, {precision}"] = ours(model, data, ends, shares, bn, precision, False)
    if model == "resnet20" and not arguments.no_compile:
        ways["ours, bf16 compiled"] = ours(model, data, ends, shares, bn, "bf16", True)
    seconds = measure.medians(ways, arguments.rounds)
    what = "A plane point" if arguments.reset else f"{arguments.alphas} alphas"
    title = f"{what} of {model} on {arguments.examples} images"
    print(measure.table(title, seconds, len(shares), "point"))
    plainly = ways.pop("plain")()
    for name, way in ways.items():
        difference(name, way(), plainly)


DEVICE = resolve_device("auto")

if __name__ == "__main__":
    main()
