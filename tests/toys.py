"""A data set and a recipe small enough that a test trains in milliseconds."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.averaging.ema import EMA
from isthmus.config.parts import Part
from isthmus.data.splits import Augmentation, DataSet, Normalization, Split
from isthmus.pruning.options import Prune
from isthmus.training.optimizers import sgd
from isthmus.training.options import Hparams, ModelOptions, Runtime, StreamSeeds
from isthmus.training.recipe import Recipe
from isthmus.training.schedulers import Constant

SEEDS = StreamSeeds(initialization=1, data_order=1, augmentation=1, dropout=1)
RUNTIME = Runtime(device="cpu", progress=False, tensorboard=False)


def split(num_examples: int, seed: int, first_index: int = 0) -> Split:
    """Images of 2 x 4 x 4 whose class, of three, shifts their brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num_examples,), generator=generator)
    noise = torch.randint(120, (num_examples, 2, 4, 4), generator=generator)
    inputs = (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return Split(inputs, labels, torch.arange(first_index, first_index + num_examples))


def data(num_train: int = 40, num_val: int = 15, augment: bool = True) -> DataSet:
    """Training, validation and test examples of three classes."""
    return DataSet(
        train=split(num_train, seed=0),
        val=split(num_val, seed=1, first_index=num_train) if num_val else None,
        test=split(20, seed=2),
        class_names=("a", "b", "c"),
        normalization=Normalization(mean=(0.5,), std=(0.25,)),
        augmentation=Augmentation(padding=1, flip=True) if augment else None,
    )


class Small(nn.Module):
    """A convolution, batch norm, dropout and a linear layer."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(4 * input_shape[1] * input_shape[2], num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.dropout(torch.relu(self.bn(self.conv(inputs))))
        return self.output(torch.flatten(hidden, 1))


def recipe(**changes: Any) -> Recipe:
    """SGD with momentum and two averaged models, three epochs in batches of 16."""
    values: dict[str, Any] = {
        "model": Small,
        "optimizer": lambda parameters: sgd(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
        "scheduler": Constant,
        "averages": lambda: EMA(decay=[0.5, 0.9]),
        "hparams": Hparams(epochs=3, batch_size=16),
    }
    return Recipe(**(values | section_changes(changes)))


def section_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of a toy recipe, with those of its sections as one object each."""
    sections = {"hparams": Hparams(epochs=3, batch_size=16), "model_options": ModelOptions()}
    changes = dict(changes)
    for name, section in sections.items():
        known = {key: changes.pop(key) for key in vars(section) if key in changes}
        if known:
            changes[name] = replace(section, **known)
    return changes


def options(cls: type, **changes: Any) -> Any:
    """Options of a script that trains, of which only these values matter."""
    parts = {name: Part(name, f"isthmus.{name}") for name in ("dataset", "model", "optimizer")}
    if issubclass(cls, Prune):
        parts["pruning"] = Part("pruning", "isthmus.pruning.strategies.SparseGlobal")
    return cls(**(parts | {"scheduler": Part("scheduler", "isthmus.scheduler")} | changes))


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two networks are the same, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
