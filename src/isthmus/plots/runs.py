"""Trainings as tables: settings, metrics and predictions of each run."""

import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from isthmus.config import schema
from isthmus.config.parts import GROUPS
from isthmus.plots import folders
from isthmus.plots.options import Compare, Persistence
from isthmus.store import reading
from isthmus.training.options import TrainScript

if TYPE_CHECKING:
    from isthmus.plots.persistence import Images

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
    run = record_folder(folder)
    if run is None:
        return None
    record = run / ".hydra"
    hydra = reading.read_yaml(record / "hydra.yaml")
    script = _select_keys(hydra, record / "hydra.yaml", "hydra", "job").get("name")
    typed = reading.read_yaml_list(record / "overrides.yaml")
    return " ".join(["python", *map(_shell_quote, [f"{script}.py", *typed])])


def record_folder(folder: Path) -> Path | None:
    """The run that made a folder or its content: itself, the one above, or one of its seeds."""
    several = (folder, folder.parent, *sorted(folder.glob("seed_*")))
    return next((run for run in several if (run / ".hydra" / "hydra.yaml").exists()), None)


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
    names = [
        *GROUPS,
        *(n for n in dict.fromkeys(n for run in runs for n in run) if n not in GROUPS),
    ]
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


def setting_label(
    run: Mapping[str, Any], names: Sequence[str], digits: Mapping[str, int] | None = None
) -> str:
    """Readable text of some parameters of a run: "constant, optimizer.lr=0.1".

    Args:
        run: its parameters.
        names: of the parameters.
        digits: significant digits of the numbers of a parameter, see `label_digits`; else 3.
    """
    texts = {
        name: value_text(run[name], (digits or {}).get(name, 3)) for name in names if name in run
    }
    return ", ".join(text if name in GROUPS else f"{name}={text}" for name, text in texts.items())


def value_text(value: Any, digits: int = 3) -> str:
    """Text of the value of a parameter, numbers with some significant digits."""
    if isinstance(value, list):
        return f"[{','.join(value_text(each, digits) for each in value)}]"
    is_rounded = isinstance(value, float) and math.isfinite(value)
    return f"{value:.{digits}g}" if is_rounded else str(value)


def label_digits(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """Significant digits of numbers by parameter: 3, or more if numbers would look equal."""
    digits = {}
    for name in names:
        values = {str(run[name]): run[name] for run in runs if name in run}.values()
        digits[name] = next(
            n
            for n in (3, 5, 17)
            if n == 17 or len({value_text(v, n) for v in values}) == len(values)
        )
    return digits


def distinguishing(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The first of some parameters that tell all runs apart which all of them tell apart.

    Others follow from these: of runs on two data sets, the number of classes.
    """
    chosen: list[str] = []
    for name in names:
        if _num_different(runs, [*chosen, name]) > _num_different(runs, chosen):
            chosen.append(name)
    return chosen


def _num_different(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    return len({json.dumps([run.get(name) for name in names], default=str) for run in runs})


def sort_key(
    runs: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Callable[[Mapping[str, Any]], list[tuple[float, int]]]:
    """A key that sorts runs by parameters: numbers by value, other values as first met in `runs`.

    Args:
        runs: parameters of all, in the order in which they were typed.
        names: of the parameters, the first first.
    """
    places = {
        name: {
            text: place for place, text in enumerate(dict.fromkeys(str(r.get(name)) for r in runs))
        }
        for name in names
    }

    def key(run: Mapping[str, Any]) -> list[tuple[float, int]]:
        values = [(name, run.get(name)) for name in names]
        return [
            (float(value), 0)
            if isinstance(value, int | float) and not isinstance(value, bool)
            else (math.inf, places[name][str(value)])
            for name, value in values
        ]

    return key


def _read_job_number(folder: Path) -> int:
    file = folder / ".hydra" / "hydra.yaml"
    job = reading.read_yaml(file).get("hydra", {}).get("job", {}) if file.exists() else {}
    number = job.get("num")
    return number if isinstance(number, int) else 0


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
        job: its number in the sweep that it was first typed in; 0 outside of sweeps.
    """

    folder: Path
    parameters: Parameters
    metrics: pd.DataFrame
    job: int = 0

    @property
    def seed(self) -> str:
        """Its global seed; the name of its folder if that is not recorded."""
        return str(self.parameters.get(SEED, self.folder.name.removeprefix("seed_")))

    @property
    def iterations_per_epoch(self) -> float:
        """Optimizer steps of an epoch; 1 if there is no step yet."""
        step, epoch = (float(self.metrics[name].max()) for name in ("step", "epoch"))
        return step / epoch if epoch else 1.0


Range = Sequence[float] | None  # first and last epoch; None: all except the untrained network's


@dataclass(frozen=True, eq=False)
class TrainingOptions:
    """Options of figures of trainings.

    Args:
        compare: options of the figure of this name; without `x` it is not drawn.
        epochs: of figures of predictions.
        window: epochs that a point of a figure over time is the mean over.
        persistence: which examples are shown.
        images: reads the images of validation examples when they are needed; None for no images.
        is_report: whether all figures are drawn, so that those that say nothing are left out.
    """

    compare: Compare = field(default_factory=Compare)
    epochs: Range = None
    window: int = 1
    persistence: Persistence = field(default_factory=Persistence)
    images: "Callable[[TrainingRuns], Images] | None" = None
    is_report: bool = False


@dataclass(frozen=True, eq=False)
class TrainingRuns:
    """Several trainings that are drawn together.

    Args:
        runs: one or more.
        options: of their figures.
        damaged: errors of predictions that are left out, by file; filled when they are read.
    """

    runs: Sequence[TrainingTables]
    options: TrainingOptions = field(default_factory=TrainingOptions)
    damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> list[str]:
        """How each training differs from others, except in its seed and averaged models."""
        parameters = [run.parameters for run in self.runs]
        names = distinguishing(parameters, differing_settings(parameters, OF_AVERAGES))
        digits = label_digits(parameters, names)
        return [setting_label(run, names, digits) for run in parameters]

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
    return TrainingTables(folder, read_settings(folder), metrics, _read_job_number(folder))


def sort_trainings(runs: Sequence[TrainingTables]) -> list[TrainingTables]:
    """Trainings by what they differ in: numbers by value, other values in the order typed."""
    typed = [run.parameters for run in sorted(runs, key=lambda run: run.job)]
    key = sort_key(typed, differing_settings(typed, OF_AVERAGES))
    return sorted(runs, key=lambda run: (key(run.parameters), len(run.seed), run.seed))


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


COLUMNS_OF_OPTIONS = {  # of columns
    "model.width": "width",
    "model.depth": "depth",
    "model.activation": "activation",
    "optimizer.lr": "lr",
    "global_seed": "seed",
}

Jobs = Sequence[dict[str, Any]]


def typed_values(job: dict[str, Any]) -> dict[str, Any]:
    """The typed options of a job, by name of a column: numbers as numbers.

    Args:
        job: an entry of the ledger of a sweep.
    """
    pairs = (text.lstrip("+~").partition("=")[::2] for text in job["overrides"])
    return {COLUMNS_OF_OPTIONS.get(key, key): _number(value) for key, value in pairs}


def job_rows(jobs: Jobs, file: str) -> pd.DataFrame:
    """The rows of one table of all finished jobs, with the typed options of each.

    Args:
        jobs: of a sweep.
        file: its name in the folder of a run, such as metrics.csv.
    """
    tables = [
        reading.read_table(Path(job["folder"]) / file).assign(**typed_values(job))
        for job in jobs
        if job["status"] == "done"
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def job_results(jobs: Jobs) -> pd.DataFrame:
    """One row per job: its typed options, its status, and its final evaluation.

    Columns `<split>_<metric>` are of the network as trained, and empty if it diverged.
    """
    rows = []
    for job in jobs:
        row = typed_values(job) | {"status": job["status"], "folder": job["folder"]}
        if job["status"] == "done":
            result = reading.read_json(Path(job["folder"]) / "result.json")
            for split, numbers in result["evaluation"]["plain"].items():
                row |= {f"{split}_{metric}": value for metric, value in numbers.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def require_rows(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuse a sweep without the options that a table needs.

    Raises:
        ValueError: naming the options that are missing.
    """
    options = {column: option for option, column in COLUMNS_OF_OPTIONS.items()}
    missing = [options.get(name, name) for name in columns if name not in table]
    if missing:
        raise ValueError(f"{what}: the sweep gives its jobs no {', '.join(missing)}")


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
