"""Trainings as tables: settings, metrics and predictions of each run."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isthmus.config import schema
from isthmus.plots import folders
from isthmus.store import reading

Parameters = dict[str, Any]  # by the names under which they are typed: scheduler, optimizer.lr

GROUPS = [*schema.SUPPLIED, "hparams"]
SEED = "global_seed"
UNNAMED = schema.UNNAMED | {"save_predictions", "pretrain.fingerprint"}
OF_AVERAGES = {"averaged", "averaged.decay"}  # models of these have names of their own


def read_settings(folder: Path) -> Parameters:
    """What the run in a folder was made of; of one within a study, that has none told, where it is.

    Args:
        folder: the last of its names may be that of a seed: seed_1.

    Raises:
        OSError, ValueError: a file of it is damaged; with its name.
    """
    files = [folder / ".hydra" / name for name in ("config.yaml", "hydra.yaml")]
    if not all(file.exists() for file in files):
        parts = folder.absolute().parts
        end = len(parts) - parts[-1].startswith("seed_")
        return {"folder": "/".join(parts[max(end - 2, 0) : end])}
    config, hydra = (reading.read_yaml(file) for file in files)
    choices = _within(hydra, files[1], "hydra", "runtime", "choices")
    return {name: choices[name] for name in GROUPS if name in choices} | _flat(config)


def read_command(folder: Path) -> str | None:
    """The command line that made what is in a folder or below; None where none is kept.

    Raises:
        OSError, ValueError: a file that says it is damaged; with its name.
    """
    kept = [place / ".hydra" for place in (folder, folder.parent, *folder.glob("seed_*"))]
    for place in kept:
        if (place / "hydra.yaml").exists():
            hydra = reading.read_yaml(place / "hydra.yaml")
            script = _within(hydra, place / "hydra.yaml", "hydra", "job").get("name")
            typed = reading.read_yaml_list(place / "overrides.yaml")
            return " ".join(["python", *map(_quoted, [f"{script}.py", *typed])])
    return None


def differing_settings(
    runs: Sequence[Mapping[str, Any]], without: Set[str] = frozenset()
) -> list[str]:
    """Names of the parameters in which runs differ, but for seeds and for how they ran.

    Of a group of which runs have different options, the option is named; its values only if they
    differ among runs of one option.

    Args:
        runs: parameters of each.
        without: names that are not looked at.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    chosen = [name for name in names if name in GROUPS and not _same(runs, name)]
    found = []
    for name in names:
        group, _, rest = name.partition(".")
        if name in without or {name, group} & UNNAMED or rest in _unnamed(group):
            continue
        if name in chosen:
            found.append(name)
        elif group in chosen:
            options = {str(run.get(group)) for run in runs}
            alike = [[run for run in runs if str(run.get(group)) == each] for each in options]
            if not all(_same(some, name) for some in alike):
                found.append(name)
        elif not _same(runs, name):
            found.append(name)
    return found


def setting_words(run: Mapping[str, Any], names: Sequence[str]) -> str:
    """Some parameters of a run as a person would say them: "constant, optimizer.lr=0.1"."""
    return ", ".join(
        str(run[name]) if name in GROUPS else f"{name}={run[name]}" for name in names if name in run
    )


def _within(content: Any, file: Path, *keys: str) -> dict[str, Any]:
    """What lies below some keys of what a file holds."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: does not say {'.'.join(keys)}")
    return content


def _flat(values: Mapping[str, Any], prefix: str = "") -> Parameters:
    flat: Parameters = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in GROUPS:  # a group that is off
            flat[f"{prefix}{key}"] = value
    return flat


def _same(runs: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({json.dumps(run.get(name), default=str) for run in runs}) < 2


def _unnamed(group: str) -> set[str]:
    own = schema.UNNAMED_IN_PARTS.get(group, set()) | {"_target_", "_partial_"}
    return own | ({"fingerprint"} if group == "dataset" else set())  # of names, not of contents


def _quoted(argument: str) -> str:
    """As one would type it in a shell."""
    is_plain = all(c.isalnum() or c in "@%+=:,./-_~[]" for c in argument)
    return argument if is_plain else "'" + argument.replace("'", "'\"'\"'") + "'"


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
class TrainingTables:
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
        return str(self.parameters.get(SEED, self.folder.name.removeprefix("seed_")))

    @property
    def iterations_per_epoch(self) -> float:
        """Optimizer steps of an epoch; 1 where there is no step yet."""
        step, epoch = (float(self.metrics[name].max()) for name in ("step", "epoch"))
        return step / epoch if epoch else 1.0


@dataclass(frozen=True, eq=False)
class TrainingRuns:
    """Several trainings that are drawn together.

    Args:
        runs: one or more.
        damaged: by file, why predictions of a run are left out; filled as they are read.
    """

    runs: Sequence[TrainingTables]
    damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> list[str]:
        """In what each training differs from others, but for its seed and its averaged models."""
        parameters = [run.parameters for run in self.runs]
        names = differing_settings(parameters, OF_AVERAGES)
        return [setting_words(run, names) for run in parameters]

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


def read_training(folder: Path) -> TrainingTables:
    """The training in a folder.

    Raises:
        OSError, ValueError: a file is damaged, or its metrics.csv has no rows; with its name.
    """
    metrics = folders.read(
        folder / "metrics.csv",
        whole_lines=True,  # of a run that goes on, the last line is not
        keep_default_na=False,
        na_values={"value": "nan"},
    )
    if metrics.empty:
        raise ValueError(f"nothing to draw: {folder / 'metrics.csv'} has no rows")
    return TrainingTables(folder, read_settings(folder), metrics)


def mean_over_seeds(points: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
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
        seeds=("seed", join_numbers),
    )
    return found[[*keys, "value", "std", "lowest", "highest", "num_seeds", "seeds"]]


def join_numbers(seeds: pd.Series) -> str:
    """Seeds in order: "1 2 10"."""
    return " ".join(sorted(map(str, seeds), key=lambda seed: (len(seed), seed)))


def _read_predictions(run: TrainingTables, setting: str) -> Predictions:
    path = run.folder / "predictions.npz"
    arrays = reading.read_arrays(path)
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
