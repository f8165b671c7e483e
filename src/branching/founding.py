"""A family made from the values of a configuration."""

from collections.abc import Callable
from typing import Any

from torch import nn

from src import config
from src.branching.family import Family, Origins
from src.branching.tree import Tree
from src.training import pretrained
from src.training.loop import Constraint
from src.training.recipe import Recipe, Runtime, Seeds


def family(
    values: dict[str, Any],
    tree: Tree,
    together: bool | str = "auto",
    constraint: Callable[[nn.Module], Constraint] | None = None,
) -> Family:
    """The parent and the children that lie, or will lie, in a tree.

    Args:
        values: of the schema `Family`, as plain Python.
        tree: where they lie.
        together: whether to train children as one stack, see `Family`.
        constraint: what keeps all of them where they have to be, see `Recipe`.

    Raises:
        ValueError: a part refuses its values, the pretraining has inputs of another shape, or there
            is no such device.
        FileNotFoundError: the weights to begin with, or the data, are not there.
    """
    seeds, training = config.seeds(values), config.training(values)
    recipe = Recipe(**config.recipe(training), constraint=constraint)
    recipe.check()
    data = config.load(training["dataset"], seeds.pop("label_noise"))
    data.require_accuracy("dataset")
    runtime = Runtime(**config.runtime(values))
    weights = pretrained.origin(tree.pretrain, values, runtime, data.input_shape)
    origins = Origins(recipe, data, Seeds(**seeds), values["vary"], weights)
    return Family(tree, origins, runtime, values["save_predictions"], together)
