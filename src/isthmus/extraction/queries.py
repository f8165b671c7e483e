"""Teachers, and the inputs with which they are queried."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import rng
from isthmus.config.parts import Part, load_data
from isthmus.data import batches
from isthmus.data.splits import DataSet, Split, StreamedSplit
from isthmus.extraction.options import Extraction
from isthmus.extraction.stacks import Stack, StackLayer
from isthmus.models.mlp import MLP
from isthmus.store import files, reading
from isthmus.training import rebuild, weight_files
from isthmus.vocabulary import Activation

DATA_SETS = {
    "mnist": "isthmus.data.torchvision_files.MNIST",
    "fashion_mnist": "isthmus.data.torchvision_files.FashionMNIST",
    "cifar10": "isthmus.data.torchvision_files.CIFAR10",
    "digits": "isthmus.data.digits.Digits",
}
NPY = b"\x93NUMPY"  # how a file of a single array begins
DRAWN = 10_000  # default number of drawn inputs
HELD_OUT = 10_000  # largest number of held-out inputs of a source


@dataclass(frozen=True, eq=False)
class Queries:
    """Flattened inputs of a teacher, with outputs and labels where these are known.

    Args:
        inputs: (batch, features), to train on.
        held_out: (batch, features), to measure on.
        outputs: (batch, outputs) of `inputs`, where they come with them.
        held_out_outputs: (batch, outputs) of `held_out`, where they come with them.
        labels: (batch,) int64, the class of each input, -1 where there is none.
        is_data: (batch,) bool, which inputs come from a data set or a file; others are drawn.
    """

    inputs: Tensor
    held_out: Tensor
    is_data: Tensor
    outputs: Tensor | None = None
    held_out_outputs: Tensor | None = None
    labels: Tensor | None = None


def collect_queries(options: Extraction, root: str, num_inputs: int | None, seed: int) -> Queries:
    """Inputs of all sources, one after the other.

    Args:
        options: the section `extraction`; samples are shared evenly among its sources.
        root: folder of the data sets.
        num_inputs: features that the teacher takes; None takes what the file has.
        seed: of what is drawn, and of which images are taken if not all are.

    Raises:
        ValueError: a source has inputs of another size, or fewer than requested.
        OSError: a file cannot be read.
    """
    parts = []
    for place, name in enumerate(options.sources):
        share = _share(options.num_samples, place, len(options.sources))
        if name in DATA_SETS:
            part = _query_data_set(name, share, root, seed)
        elif name == "file":
            part = _query_file(str(options.file), share, seed)
        else:
            part = _draw_queries(name, share or DRAWN, num_inputs or 0, options.span, seed)
        if num_inputs not in (None, part.inputs.shape[1]):
            raise ValueError(
                f"extraction.datagen={name}: has inputs of {part.inputs.shape[1]} features, and "
                f"the teacher takes {num_inputs}"
            )
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    none = [torch.full((len(part.inputs),), -1) for part in parts]
    labels = [n if p.labels is None else p.labels for p, n in zip(parts, none, strict=True)]
    return Queries(
        inputs=torch.cat([part.inputs for part in parts]),
        held_out=torch.cat([part.held_out for part in parts]),
        is_data=torch.cat([part.is_data for part in parts]),
        labels=torch.cat(labels),
    )


def _share(num_samples: int | None, place: int, count: int) -> int | None:
    if num_samples is None:
        return None
    return num_samples // count + (place < num_samples % count)


def _query_data_set(name: str, num: int | None, root: str, seed: int) -> Queries:
    arguments = {"root": root, "val_fraction": 0.0, "augment": False}
    data = load_data(Part("dataset", DATA_SETS[name], arguments), label_noise_seed=0)
    chosen = _choose(len(data.train), num, name, seed)
    train = data.train.take(chosen)
    test = data.splits["test"]
    held_out = test.take(torch.arange(min(HELD_OUT, len(test))))
    is_data = torch.ones(len(chosen)).bool()
    return Queries(_flat(train, data), _flat(held_out, data), is_data, labels=train.labels)


def _flat(split: Split | StreamedSplit, data: DataSet) -> Tensor:
    """(examples, features), normalized."""
    parts = batches.eval_batches(split, data.normalization, 1024, "cpu")
    return torch.cat([inputs.flatten(1) for inputs, _ in parts])


def _choose(available: int, num: int | None, name: str, seed: int) -> Tensor:
    """Positions, in their order: all, or `num` of one permutation."""
    if num is None:
        return torch.arange(available)
    if num > available:
        raise ValueError(f"extraction.num_samples: {num} of {name}, which has {available}")
    order = torch.randperm(available, generator=rng.generator(seed, "queries", name))
    return order[:num].sort().values


def _query_file(path: str, num: int | None, seed: int) -> Queries:
    """The pairs of a file; a tenth of them is held out."""
    pairs = read_pairs(path)
    inputs, outputs = pairs["inputs"], pairs.get("outputs")
    order = torch.randperm(len(inputs), generator=rng.generator(0, "held_out", "file"))
    num_held_out = max(1, len(inputs) // 10)
    held_out, rest = order[:num_held_out], order[num_held_out:].sort().values
    train = rest[_choose(len(rest), num, f"the {len(rest)} not held out of {path}", seed)]
    queries = Queries(inputs[train], inputs[held_out], is_data=torch.ones(len(train)).bool())
    if outputs is None:
        return queries
    return replace(queries, outputs=outputs[train], held_out_outputs=outputs[held_out])


def read_pairs(path: str) -> dict[str, Tensor]:
    """The arrays `inputs` and `outputs` of an .npz file, if it has outputs.

    Args:
        path: as typed.

    Returns:
        (examples, features) and (examples, outputs) float32, finite.

    Raises:
        ValueError: they are not numbers of this form; the message names the file.
        FileNotFoundError: there is no such file.
    """
    typed = f"extraction.file={path}"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{typed}: there is no such file")
    with Path(path).open("rb") as file:
        if file.read(len(NPY)) == NPY:
            raise ValueError(
                f"{typed}: holds one array without a name; inputs have a name in an .npz file, "
                "np.savez(file, inputs=...)"
            )
    try:
        arrays = reading.read_arrays(Path(path))
    except ValueError as error:
        raise ValueError(f"extraction.file={error}") from error
    if "inputs" not in arrays:
        raise ValueError(f"{typed}: has no inputs; it has {', '.join(arrays) or 'no arrays'}")
    pairs = dict[str, Tensor]()
    for name in ("inputs", "outputs"):
        if name in arrays:
            pairs[name] = _numbers_of_examples(arrays[name], f"{typed}: {name}")
    sizes = {name: len(array) for name, array in pairs.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"{typed}: one output per input, got {sizes['outputs']} for {sizes['inputs']}"
        )
    if sizes["inputs"] < 2:
        raise ValueError(
            f"{typed}: must have at least 2 inputs, one of which is held out, has {sizes['inputs']}"
        )
    return pairs


def _numbers_of_examples(array: np.ndarray, name: str) -> Tensor:
    """(examples, numbers) float32."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers, are {array.dtype}")
    if array.ndim < 2 or 0 in array.shape[1:]:
        raise ValueError(
            f"{name} must have the shape (examples, numbers of each), have {array.shape}; one "
            "number of each is array[:, None]"
        )
    numbers = torch.from_numpy(array).float().flatten(1)
    rows = (~numbers.isfinite()).any(dim=1).nonzero().flatten()
    if len(rows):
        raise ValueError(
            f"{name} must be finite in float32, are not in {len(rows)} of {len(numbers)} rows, "
            f"row {int(rows[0])} first"
        )
    return numbers


def _draw_queries(name: str, num: int, num_inputs: int, span: float, seed: int) -> Queries:
    """Inputs that are drawn at random, or are on a grid."""
    generator, other = (rng.generator(seed, part, name) for part in ("queries", "held_out"))
    is_data = torch.zeros(num).bool()
    if name == "gaussian":
        inputs = torch.randn(num, num_inputs, generator=generator)
        return Queries(inputs, torch.randn(HELD_OUT, num_inputs, generator=other), is_data)
    held_out = span * (2 * torch.rand(HELD_OUT, num_inputs, generator=other) - 1)
    if name == "uniform":
        inputs = span * (2 * torch.rand(num, num_inputs, generator=generator) - 1)
        return Queries(inputs, held_out, is_data)
    return Queries(_grid(num, num_inputs, span), held_out, is_data)


def _grid(num: int, num_inputs: int, span: float) -> Tensor:
    """(num, features), evenly spaced with both ends."""
    side = round(num ** (1 / num_inputs))
    if side < 2 or side**num_inputs != num:
        fitting = [k**num_inputs for k in (max(2, side), max(2, side) + 1)]
        raise ValueError(
            f"extraction.num_samples={num}: a grid of {num_inputs} dimensions has "
            f"{fitting[0]}, {fitting[1]} or another {num_inputs}-th power of points"
        )
    return torch.cartesian_prod(*[torch.linspace(-span, span, side)] * num_inputs).view(num, -1)


LENGTH = 2.0  # of the incoming weights of a synthetic teacher's unit, without its bias


@dataclass(frozen=True, eq=False)
class Teacher:
    """A fully connected network that is queried.

    Args:
        network: its weights, a stack of one.
        metadata: of the file that it was read from; None for a synthetic one.
    """

    network: Stack
    metadata: dict[str, Any] | None = None

    @property
    def num_inputs(self) -> int:
        return self.network.layers[0].blocks[0].shape[2]

    @torch.no_grad()
    def outputs(self, inputs: Tensor, rows: int = 4096) -> Tensor:
        """(batch, outputs), without noise."""
        return torch.cat([self.network.outputs([part])[0] for part in inputs.split(rows)])


def read_teacher(path: str) -> Teacher:
    """The teacher in a weights file that `train.py` wrote.

    Raises:
        ValueError: it is no MLP with a hidden layer.
        FileNotFoundError: naming the weights that are there.
    """
    metadata = files.load_metadata(Path(path))
    model = rebuild.build_model(metadata)
    if not isinstance(model, MLP):
        raise ValueError(
            f"teacher={path}: is a {type(model).__name__}; only an MLP can be recovered, such as "
            f"those of train.py model=mlp"
        )
    if len(model.hidden) == 0:
        raise ValueError(f"teacher={path}: has no hidden layer, so no units to recover")
    weights = weight_files.load(Path(path), model)
    names = [*(f"hidden.{number}" for number in range(len(model.hidden))), "output"]
    layers = []
    for name in names:
        weight = weights[f"{name}.weight"].float()
        bias = weights.get(f"{name}.bias", torch.zeros(len(weight))).float()
        layers.append(StackLayer((weight.unsqueeze(0),), bias.unsqueeze(0)))
    activation = metadata["config"]["model"].get("activation", "relu")
    return Teacher(Stack(tuple(layers), activation), metadata)


def synthetic_teacher(sizes: Sequence[int], activation: Activation, seed: int) -> Teacher:
    """A random teacher whose units all matter and differ from each other.

    The incoming weights of a unit have a uniform random direction and length 2; its bias is uniform
    in [-1, 1]. Outgoing weights have a random sign and a size uniform in [1/2, 1], over the square
    root of the number of units. So no unit is negligible, and none is linear on inputs of
    variance 1.

    Args:
        sizes: features of the inputs, units of each hidden layer, outputs.
        activation: of the hidden layers.
        seed: of what is drawn.
    """
    generator = rng.generator(seed, "teacher")

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    layers = []
    for inputs, units in pairwise(sizes[:-1]):
        directions = torch.randn(units, inputs, generator=generator)
        weight = LENGTH * torch.nn.functional.normalize(directions, dim=1)
        layers.append(StackLayer((weight.unsqueeze(0),), (2 * uniform(units) - 1).unsqueeze(0)))
    shape = (sizes[-1], sizes[-2])
    signs = torch.where(uniform(*shape) < 0.5, -1.0, 1.0)
    weight = signs * (0.5 + 0.5 * uniform(*shape)) / math.sqrt(sizes[-2])
    layers.append(StackLayer((weight.unsqueeze(0),), (2 * uniform(sizes[-1]) - 1).unsqueeze(0)))
    return Teacher(Stack(tuple(layers), activation))
