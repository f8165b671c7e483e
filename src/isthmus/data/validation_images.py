"""Validation images of a data set, as stored, for figures."""

import numpy as np
import torch

from isthmus.data import torchvision_files
from isthmus.data.recipe import DataRecipe
from isthmus.data.splits import Split
from isthmus.data.torchvision_import import datasets


def read_validation_images(recipe: DataRecipe, indices: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Read images of the training set as stored, and their classes.

    Args:
        recipe: of the data set; nothing is downloaded.
        indices: (images,), position of each in the data set's own training set.

    Returns:
        (images, channels, height, width), in [0, 1], and the name of each one's class.

    Raises:
        FileNotFoundError: the files of the data set are not there.
        ValueError: its examples are no images in memory.
    """
    name = type(recipe).__name__
    if type(recipe).__module__ == torchvision_files.__name__:
        try:
            getattr(datasets(), name)(recipe.root, train=True)
        except torchvision_files.UNREADABLE as error:
            raise FileNotFoundError(f"{name} is not in dataset.root={recipe.root}") from error
    data = recipe.read()
    if not isinstance(data.train, Split) or data.train.inputs.ndim != 4:
        raise ValueError(f"the examples of {name} are no images in memory")
    if not np.isin(indices, data.train.indices.numpy()).all():
        raise ValueError(f"the training set in dataset.root={recipe.root} is another one")
    order = torch.argsort(data.train.indices)
    positions = order[torch.searchsorted(data.train.indices[order], torch.from_numpy(indices))]
    chosen = data.train.take(positions)
    pixels = (chosen.inputs.float() / data.normalization.scale).clamp(0, 1)
    return pixels.numpy(), [data.class_names[label] for label in chosen.labels.tolist()]
