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
from isthmus.config.parts import GROUPS
from isthmus.plots import folders
from isthmus.store import reading
from isthmus.training.options import TrainScript

Parameters = dict[str, Any]  # by the names under which they are typed: scheduler, optimizer.lr

PARTS = [*GROUPS, "hparams"]
SEED = "global_seed"
UNNAMED = {"save_predictions", "pretrain.fingerprint"} | {
    name for name, field in schema.fields(TrainScript).items() if field.metadata["in_name"] is None
}
OF_AVERAGES = {"averaged", "averaged.decay"}  # models of these have names of their own


def read_settings(folder: Path) -> Parameters:
    """Settings of the run in a folder; for a run inside a study, which has none, its folder.

    Args:
        folder: its last name may be that of a seed: seed_1.

    Raises:
        OSError, ValueError: a file of it is damaged; names it.
    """
    files = [folder / ".hydra" / name for name in ("config.yaml", "hydra.yaml")]
    if not all(file.exists() for file in files):
        parts = folder.absolute().parts
        end = len(parts) - parts[-1].startswith("seed_")
        return {"folder": "/".join(parts[max(end - 2, 0) : end])}
    config, hydra = (reading.read_yaml(file) for file in files)
    choices = _select_keys(hydra, files[1], "hydra", "runtime", "choices")
    return {name: choices[name] for name in GROUPS if name in choices} | _flat(config)


def read_command(folder: Path) -> str | None:
    """The command line that made a folder or its content; None if it is not recorded.

    Raises:
        OSError, ValueError: a file of the record is damaged; names it.
    """
    records = [path / ".hydra" for path in (folder, folder.parent, *folder.glob("seed_*"))]
    for record in records:
        if (record / "hydra.yaml").exists():
            hydra = reading.read_yaml(record / "hydra.yaml")
            script = _select_keys(hydra, record / "hydra.yaml", "hydra", "job").get("name")
            typed = reading.read_yaml_list(record / "overrides.yaml")
            return " ".join(["python", *map(_shell_quote, [f"{script}.py", *typed])])
    return None


def differing_settings(
    runs: Sequence[Mapping[str, Any]], without: Set[str] = frozenset()
) -> list[str]:
    """Names of the parameters in which runs differ, except seeds and runtime options.

    If runs have different options of a group, the group is named; its values only if they differ
    among runs of one option.

    Args:
        runs: parameters of each.
        without: names to ignore.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    chosen = [name for name in names if name in GROUPS and not _same(runs, name)]
    differing = []
    for name in names:
        group, _, rest = name.partition(".")
        if name in without or {name, group} & UNNAMED or rest in _names_left_out(group):
            continue
        if name in chosen:
            differing.append(name)
        elif group in chosen:
            options = {str(run.get(group)) for run in runs}
            by_option = [[run for run in runs if str(run.get(group)) == each] for each in options]
            if not all(_same(some, name) for some in by_option):
                differing.append(name)
        elif not _same(runs, name):
            differing.append(name)
    return differing


def setting_label(run: Mapping[str, Any], names: Sequence[str]) -> str:
    """Readable text of some parameters of a run: "constant, optimizer.lr=0.1"."""
    return ", ".join(
        str(run[name]) if name in GROUPS else f"{name}={run[name]}" for name in names if name in run
    )


def _select_keys(content: Any, file: Path, *keys: str) -> dict[str, Any]:
    """The mapping under some keys of the content of a file."""
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
        elif f"{prefix}{key}" not in PARTS:  # a group that is off
            flat[f"{prefix}{key}"] = value
    return flat


def _same(runs: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({json.dumps(run.get(name), default=str) for run in runs}) < 2


def _names_left_out(group: str) -> set[str]:
    names = {"_target_", "_partial_"}
    if group == "dataset":  # of the names of runs, not of contents
        return names | GROUPS["dataset"].unnamed | {"fingerprint"}
    return names | ({"weights"} if group == "pretrain" else set())


def _shell_quote(argument: str) -> str:
    """An argument quoted for a shell."""
    is_plain = all(c.isalnum() or c in "@%+=:,./-_~[]" for c in argument)
    return argument if is_plain else "'" + argument.replace("'", "'\"'\"'") + "'"


FINAL = "final_"  # prefix of the metrics of the last evaluation


@dataclass(frozen=True, eq=False)
class Predictions:
    """Correctness of each model on each validation example after every epoch of one training.

    Args:
        setting: of the training, see `TrainingRuns.settings`.
        seed: of the training.
        indices: (examples,), position of each in the data set's own training set.
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
    """Tables and settings of one training.

    Args:
        folder: of `train.py`.
        parameters: its settings, see `read_settings`.
        metrics: metrics.csv.
    """

    folder: Path
    parameters: Parameters
    metrics: pd.DataFrame

    @property
    def seed(self) -> str:
        """Its global seed; the name of its folder if that is not recorded."""
        return str(self.parameters.get(SEED, self.folder.name.removeprefix("seed_")))

    @property
    def iterations_per_epoch(self) -> float:
        """Optimizer steps of an epoch; 1 if there is no step yet."""
        step, epoch = (float(self.metrics[name].max()) for name in ("step", "epoch"))
        return step / epoch if epoch else 1.0


@dataclass(frozen=True, eq=False)
class TrainingRuns:
    """Several trainings that are drawn together.

    Args:
        runs: one or more.
        damaged: errors of predictions that are left out, by file; filled when they are read.
    """

    runs: Sequence[TrainingTables]
    damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> list[str]:
        """How each training differs from others, except in its seed and averaged models."""
        parameters = [run.parameters for run in self.runs]
        names = differing_settings(parameters, OF_AVERAGES)
        return [setting_label(run, names) for run in parameters]

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
        """Predictions of the trainings that have them; merged for equal setting and seed.

        Damaged ones are left out, see `damaged`.

        Raises:
            ValueError: there are none.
        """
        by_run: dict[tuple[str, str], Predictions] = {}
        for run, setting in zip(self.runs, self.settings, strict=True):
            file = run.folder / "predictions.npz"
            if file.exists():
                try:
                    one = _read_predictions(run, setting)
                except (ValueError, OSError) as error:
                    self.damaged[str(file)] = str(error)
                    continue
                same = by_run.setdefault((setting, run.seed), one)
                same.epochs.update(one.epochs)  # the same training with averages of other decays
                same.correct.update(one.correct)
        if not by_run and self.damaged:
            raise ValueError("; ".join(self.damaged.values()))
        if not by_run:
            raise ValueError(f"nothing to draw: none of {len(self.runs)} runs has predictions.npz")
        return list(by_run.values())


def read_training(folder: Path) -> TrainingTables:
    """Read the training in a folder.

    Raises:
        OSError, ValueError: a file is damaged, or metrics.csv has no rows; names the file.
    """
    metrics = folders.read(
        folder / "metrics.csv",
        whole_lines=True,  # the last line of a running training may be incomplete
        keep_default_na=False,
        na_values={"value": "nan"},
    )
    if metrics.empty:
        raise ValueError(f"nothing to draw: {folder / 'metrics.csv'} has no rows")
    return TrainingTables(folder, read_settings(folder), metrics)


def mean_over_seeds(points: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean, spread and range of `value` over seeds, for each combination of `keys`.

    A seed counts once, even if several trainings have it: those that differ only in the decay of
    their averages have the same plain network.

    Args:
        points: with `keys`, `seed` and `value`.
        keys: columns; combinations stay in the order of their first appearance.

    Returns:
        One row each: `keys`, `value` (the mean), `std` (of a sample; nan for a single seed),
        `lowest`, `highest`, `num_seeds` and `seeds`.
    """
    once = points.groupby([*keys, "seed"], as_index=False, sort=False).agg(value=("value", "mean"))
    table = once.groupby(keys, as_index=False, sort=False).agg(
        value=("value", "mean"),
        std=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
        num_seeds=("value", "size"),
        seeds=("seed", join_numbers),
    )
    return table[[*keys, "value", "std", "lowest", "highest", "num_seeds", "seeds"]]


def join_numbers(seeds: pd.Series) -> str:
    """Text of seeds in order: "1 2 10"."""
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
