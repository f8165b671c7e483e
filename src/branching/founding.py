"""A family made from the values of a configuration."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from src import config, pretraining
from src.branching.family import Family, Origins, pretrained
from src.branching.tree import Tree
from src.data.splits import DataSet
from src.runs import load_weights
from src.state_dicts import StateDict
from src.training.recipe import Recipe, Runtime, Seeds
from src.training.session import Session


def family(values: dict[str, Any], tree: Tree, together: bool | str = "auto") -> Family:
    """The parent and the children that lie, or will lie, in a tree.

    Args:
        values: of the schema `Family`, as plain Python.
        tree: where they lie.
        together: whether to train children as one stack, see `Family`.

    Raises:
        ValueError: a part refuses its values, the pretraining has inputs of another shape, or there
            is no such device.
        FileNotFoundError: the weights to begin with, or the data, are not there.
    """
    recipe, data, seeds = _parts(config.training(values), values)
    weights = _beginning(values, tree, data)
    origins = Origins(recipe, data, seeds, values["vary"], weights)
    runtime = Runtime(**config.runtime(values))
    return Family(tree, origins, runtime, values["save_predictions"], together)


def _parts(training: dict[str, Any], values: dict[str, Any]) -> tuple[Recipe, DataSet, Seeds]:
    """How a network is trained, what on, and by which chance."""
    seeds, recipe = config.seeds(values), Recipe(**config.recipe(training))
    recipe.check()
    data = config.load(training["dataset"], seeds.pop("label_noise"))
    return recipe, data, Seeds(**seeds)


def _beginning(values: dict[str, Any], tree: Tree, data: DataSet) -> Callable[[], StateDict] | None:
    """What makes the weights that the parent begins from; None: those of its initialization."""
    path, is_pretrained = values["pretrain"]["weights"], pretraining.is_on(values)
    if path is not None:
        weights, _ = load_weights(Path(path))
        return lambda: weights
    if not is_pretrained:
        return None
    if tree.parent.read_result() is not None:
        return partial(pretrained, tree.pretrain, None)
    recipe, other, seeds = _parts(pretraining.merged(values), values)
    if other.input_shape != data.input_shape:
        raise ValueError(
            f"pretrain.dataset: has inputs of shape {list(other.input_shape)}, and dataset of "
            f"shape {list(data.input_shape)}"
        )
    make = partial(Session, recipe, other, seeds, Runtime(**config.runtime(values)))
    return partial(pretrained, tree.pretrain, make)
