"""Masks of the inputs of a teacher that matter, by variance or by Boruta."""

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus import rng
from isthmus.store import files, reading

VARYING = 0.1  # of the largest standard deviation among the inputs
EXAMPLES = 10_000  # on which forests are grown
TREE_DEPTH, MOST_FORESTS = 5, 100  # as Martinelli et al. (2024)


def variance_mask(inputs: Tensor) -> Tensor:
    """(features,) bool, inputs whose standard deviation is a tenth of the largest, or more.

    Args:
        inputs: (batch, features).
    """
    spread = inputs.double().std(dim=0)
    return spread >= VARYING * spread.max()


def boruta_mask(inputs: Tensor, labels: Tensor | None, folder: Path) -> Tensor:
    """(features,) bool, inputs that random forests find relevant for the class.

    By BorutaPy (Kursa & Rudnicki, 2010), on 10,000 labelled examples at most; takes minutes for
    images, so that it is kept in a file named by the examples.

    Args:
        inputs: (batch, features).
        labels: (batch,) int64, -1 where there is no class; None if there is none at all.
        folder: of the files of masks.

    Raises:
        ValueError: no example has a class, or the package `boruta` is not installed.
    """
    if labels is None or not bool((labels >= 0).any()):
        raise ValueError(
            "extraction.mask=boruta: needs inputs with classes, extraction.datagen=mnist, "
            "fashion_mnist, cifar10 or digits"
        )
    labelled = (labels >= 0).nonzero().flatten()
    order = torch.randperm(len(labelled), generator=rng.generator(0, "boruta"))
    chosen = labelled[order[:EXAMPLES]]
    examples = inputs[chosen].numpy(), labels[chosen].numpy()
    digest = hashlib.blake2b(digest_size=5)
    for array in examples:
        digest.update(np.ascontiguousarray(array).tobytes())
    cache = folder / f"boruta_{digest.hexdigest()}.npz"
    if cache.exists():
        return torch.from_numpy(reading.read_arrays(cache)["kept"])
    kept = _run_boruta(*examples)
    content = io.BytesIO()
    np.savez(content, kept=kept)
    files.write_bytes(cache, content.getvalue())
    return torch.from_numpy(kept)


def _run_boruta(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    try:
        from boruta import BorutaPy
    except ImportError as error:
        raise ValueError(
            "extraction.mask=boruta: needs the package boruta, pip install boruta; "
            "extraction.mask=variance does without"
        ) from error
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(max_depth=TREE_DEPTH, n_jobs=-1, random_state=0)
    selector = BorutaPy(forest, n_estimators="auto", max_iter=MOST_FORESTS, random_state=0)
    selector.fit(inputs, labels)
    return np.asarray(selector.support_, dtype=bool)
