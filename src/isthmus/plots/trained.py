"""Trainings read from their folders: numbers, parameters, and who was classified correctly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from isthmus import safe_reading
from isthmus.plots import folder_tables, settings
from isthmus.plots.settings import Parameters

FINAL = "final_"  # begins the metrics of the last evaluation


@dataclass(frozen=True, eq=False)
class Predictions:
    """Who classified which validation example correctly, after every epoch, in one training.

    Args:
        setting: of the training, see `Study`.
        seed: likewise.
        indices: (examples,), where each stands in the data set's own training set.
        epochs: by model, (epochs,), increasing.
        correct: by model, (epochs, examples), boolean.
    """

    setting: str
    seed: str
    indices: np.ndarray
    epochs: dict[str, np.ndarray]
    correct: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Trained:
    """One training.

    Args:
        folder: of `train.py`.
        parameters: what it was made of, see `settings.read`.
        metrics: metrics.csv.
    """

    folder: Path
    parameters: Parameters
    metrics: pd.DataFrame

    @property
    def seed(self) -> str:
        """That of all its streams of chance; the name of its folder where it is not told."""
        return str(self.parameters.get(settings.SEED, self.folder.name.removeprefix("seed_")))

    @property
    def iterations_per_epoch(self) -> float:
        """Optimizer steps of an epoch; 1 where there is no step yet."""
        step, epoch = (float(self.metrics[name].max()) for name in ("step", "epoch"))
        return step / epoch if epoch else 1.0


@dataclass(frozen=True, eq=False)
class Study:
    """Several trainings that are drawn together.

    Args:
        runs: one or more.
        damaged: by file, why predictions of a run are left out; filled as they are read.
    """

    runs: Sequence[Trained]
    damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> list[str]:
        """In what each training differs from others, but for its seed and its averaged models."""
        parameters = [run.parameters for run in self.runs]
        names = settings.differing(parameters, settings.OF_AVERAGES)
        return [settings.words(run, names) for run in parameters]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The numbers of all trainings, with the `setting` and `seed` of each row."""
        parts = [
            run.metrics.assign(setting=setting, seed=run.seed)
            for run, setting in zip(self.runs, self.settings, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def predictions(self) -> list[Predictions]:
        """Of those trainings that kept them; of equal setting and seed the first with all models.

        Those that are damaged are left out, see `damaged`.

        Raises:
            ValueError: there are none.
        """
        found: dict[tuple[str, str], Predictions] = {}
        for run, setting in zip(self.runs, self.settings, strict=True):
            file = run.folder / "predictions.npz"
            if file.exists():
                try:
                    one = _read_predictions(run, setting)
                except (ValueError, OSError) as error:
                    self.damaged[str(file)] = str(error)
                    continue
                same = found.setdefault((setting, run.seed), one)
                same.epochs.update(one.epochs)  # the same training with averages of other decays
                same.correct.update(one.correct)
        if not found and self.damaged:
            raise ValueError("; ".join(self.damaged.values()))
        if not found:
            raise ValueError(f"nothing to draw: none of {len(self.runs)} runs has predictions.npz")
        return list(found.values())


def read(folder: Path) -> Trained:
    """The training in a folder.

    Raises:
        OSError, ValueError: a file is damaged, or its metrics.csv has no rows; with its name.
    """
    metrics = folder_tables.read(
        folder / "metrics.csv",
        whole_lines=True,  # of a run that goes on, the last line is not
        keep_default_na=False,
        na_values={"value": "nan"},
    )
    if metrics.empty:
        raise ValueError(f"nothing to draw: {folder / 'metrics.csv'} has no rows")
    return Trained(folder, settings.read(folder), metrics)


def over_seeds(points: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean, spread and range of the `value` of all seeds, for each combination of `keys`.

    A seed counts once, however many of the trainings have it: those that differ only in the decay
    of their averages have the same plain network.

    Args:
        points: with `keys`, `seed` and `value`.
        keys: columns, in whose order the first appearance of each combination is kept.

    Returns:
        A row each: `keys`, `value` (the mean), `std` (of a sample; none of a single seed),
        `lowest`, `highest`, `num_seeds` and `seeds`.
    """
    once = points.groupby([*keys, "seed"], as_index=False, sort=False).agg(value=("value", "mean"))
    found = once.groupby(keys, as_index=False, sort=False).agg(
        value=("value", "mean"),
        std=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_seeds=("value", "size"),
        seeds=("seed", listed),
    )
    return found[[*keys, "value", "std", "lowest", "highest", "num_seeds", "seeds"]]


def listed(seeds: pd.Series) -> str:
    """Seeds in order: "1 2 10"."""
    return " ".join(sorted(map(str, seeds), key=lambda seed: (len(seed), seed)))


def _read_predictions(run: Trained, setting: str) -> Predictions:
    path = run.folder / "predictions.npz"
    arrays = safe_reading.read_arrays(path)
    names = [name.removeprefix("correct/") for name in arrays if name.startswith("correct/")]
    _check_predictions(arrays, names, path)
    epochs = {name: arrays[f"steps/{name}"] / run.iterations_per_epoch for name in names}
    correct = {name: arrays[f"correct/{name}"] for name in names}
    return Predictions(setting, run.seed, arrays["indices"], epochs, correct)


def _check_predictions(arrays: dict[str, np.ndarray], names: Sequence[str], path: Path) -> None:
    indices = arrays.get("indices", np.zeros((0, 0)))
    fits = bool(names) and indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    for name in names:
        steps, correct = arrays.get(f"steps/{name}", np.zeros(0)), arrays[f"correct/{name}"]
        fits &= np.issubdtype(steps.dtype, np.integer) and correct.dtype == bool
        fits &= correct.shape == (*steps.shape, *indices.shape)
    if not fits:
        raise ValueError(f"{path}: its arrays are not those of predictions")
