"""Paths and files of a run: weights, state, tables; each is written whole or not at all."""

import contextlib
import io
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import steps
from isthmus.store import locks, reading
from isthmus.vocabulary import BESTS, PRECISIONS

if TYPE_CHECKING:
    from torch import Tensor

RUN_FOLDER = re.compile(r"(?P<outputs>.*?)/[a-z]+_(?P<digits>[0-9a-f]{10})/(?P<run>seed_-?\d+.*)")
METADATA_KEY = "isthmus"  # one key of sorted JSON, so that equal weights are equal files


@dataclass(frozen=True)
class Run:
    """The folder of one training, and the names of the files in it."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def average(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def averages(self) -> Path:
        return self.folder / "averages.csv"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.npz"

    def weights(self, moment: int | str, model: str = "plain") -> Path:
        """File of the weights of one model at an iteration, or of the best one: "best"."""
        step = f"step_{moment}" if isinstance(moment, int) else moment
        suffix = "" if model == "plain" else f".{model}"
        return self.folder / "weights" / f"{step}{suffix}.safetensors"

    def snapshot_state(self, iteration: int) -> Path:
        """File of what training needs, besides the weights, to resume from an iteration."""
        return self.folder / "weights" / f"step_{iteration}.state.pt"

    def tensorboard(self, title: str) -> Path:
        """Folder of the events that TensorBoard reads.

        Those of all runs are in one folder beside them, where TensorBoard shows the names of
        folders: `tensorboard/<title>-seed_1-<digits of the run's name>`. A run keeps its folder if
        it resumes under another title. Of a folder with another name, they are in it.
        """
        match = RUN_FOLDER.fullmatch(self.folder.absolute().as_posix())
        if match is None:
            return self.folder / "tensorboard" / title
        folder = Path(match["outputs"]) / "tensorboard"
        name = f"{match['run'].replace('/', '-')}-{match['digits']}"
        earlier = (path for path in folder.glob(f"*{name}") if f"-{path.name}".endswith(f"-{name}"))
        return min(earlier, default=folder / "-".join(filter(None, [title, name])))

    @property
    def replay(self) -> Path:
        return self.folder / "replay.pt"

    def snapshots(self) -> list[int]:
        """Iterations from which training can be resumed, in order."""
        states = (self.folder / "weights").glob("step_*.state.pt")
        iterations = (int(path.name.split(".")[0].removeprefix("step_")) for path in states)
        return sorted(i for i in iterations if self.weights(i).exists())

    def read_result(self) -> dict[str, Any] | None:
        """The summary, or None while the run is not done.

        Raises:
            ValueError: it is damaged.
        """
        if not self.result.exists():
            return None
        try:
            result = reading.read_json(self.result)
            reading.check_parts(result, RESULT_PARTS, self.result)
            return result
        except ValueError as error:
            raise ValueError(f"{error}; remove it to have it made again") from error

    def missing_files(self) -> list[Path]:
        """Files that a finished run wrote and that are missing now.

        These are its table, and the weights at its end if it kept any; snapshots during training
        are requests, see `missing_snapshots`. Empty for a run that is not done, and for one of an
        older version, whose summary does not say what it kept.
        """
        result = self.read_result()
        if result is None or "save_weights" not in result:
            return []
        models = result["evaluation"] if result["save_weights"] else {}
        weights = (
            self.weights(model) if model in BESTS else self.weights(result["iteration"], model)
            for model in models
        )
        return [path for path in (self.metrics, *weights) if not path.exists()]

    def has_reached(self, end: int | None) -> bool:
        """Whether the run is done, and was trained to iteration `end` or stopped before it."""
        result = self.read_result()
        if result is None or end is None:
            return result is not None
        return result["iteration"] >= end or result["stopped_early"]

    def kept_models(self, iteration: int) -> list[str]:
        """Names of the networks whose weights are kept of an iteration: "plain" first."""
        prefix = f"step_{iteration}."
        files = (self.folder / "weights").glob(f"{prefix}*safetensors")
        names = (path.name.removeprefix(prefix).removesuffix("safetensors") for path in files)
        models = [name.removesuffix(".") or "plain" for name in names]
        return sorted(models, key=lambda name: (name != "plain", name))

    def is_complete(self, snapshots: steps.Snapshots, end: int | None = None) -> bool:
        """Whether the run is done, up to an iteration `end`, with every snapshot of a request."""
        is_done = self.has_reached(end) and not self.missing_files()
        return is_done and not self.missing_snapshots(snapshots, end)

    def missing_snapshots(self, request: steps.Snapshots, end: int | None = None) -> list[int]:
        """Iterations of a request that a finished run did not keep.

        Steps after an early stop do not count: there is nothing to keep.

        Args:
            request: several moments, see `steps.to_iterations`.
            end: the planned end of training, if it has changed since.

        Raises:
            ValueError: a requested step is after the planned end of training.
        """
        if request is None:
            return []
        result = self.read_result()
        assert result is not None  # it has finished
        end = result["end"] if end is None else max(end, result["end"])
        wanted = steps.to_iterations(request, result["iterations_per_epoch"], end)
        wanted = [iteration for iteration in wanted if iteration <= result["iteration"]]
        return sorted(set(wanted) - set(self.snapshots()))

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Lock the folder: another job that needs the same run waits, then finds it done."""
        # Not folders further down: one may be another run, which another job holds.
        return locks.exclusive(self.folder, [self.folder, self.folder / "weights"])


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: naming `path`; an earlier file there is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}_{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a summary, whole or not at all."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def save_weights(path: Path, state_dict: Mapping[str, "Tensor"], metadata: dict[str, Any]) -> None:
    """Write weights as safetensors, with what is needed to rebuild their model.

    Args:
        path: ends in .safetensors.
        state_dict: tensors on any device, in any memory format.
        metadata: numbers, texts, lists and dicts.
    """
    import safetensors.torch
    import torch

    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state_dict.items()
    }
    text = json.dumps(metadata, sort_keys=True)
    write_bytes(path, safetensors.torch.save(tensors, metadata={METADATA_KEY: text}))


def load_weights(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Weights and their metadata, on the CPU, as they are in the file.

    Raises:
        FileNotFoundError: naming the weights that are there.
        ValueError: the file is cut off, was not written by `save_weights`, or holds a mask.
    """
    tensors, metadata = load_tensors(path)
    _check_weights(path, metadata)
    return tensors, metadata


def load_metadata(path: Path) -> dict[str, Any]:
    """The metadata of weights, whose tensors are not read.

    Raises:
        FileNotFoundError: naming the weights that are there.
        ValueError: see `load_weights`.
    """
    with _open_safetensors(path) as file:
        metadata = _metadata(path, file)
    _check_weights(path, metadata)
    return metadata


def load_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors, weights or a mask, and their metadata, on the CPU.

    Raises:
        FileNotFoundError: naming the weights that are there.
        ValueError: the file is cut off, too large, or was not written by `save_weights`.
    """
    with _open_safetensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, _metadata(path, file)


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file."""
    import safetensors

    if not path.exists() or path.is_dir():
        raise FileNotFoundError(missing_weights_message(path))
    reading.check_safetensors(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _metadata(path: Path, file: Any) -> dict[str, Any]:
    text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        raise ValueError(f"{path} does not say how to rebuild its model: not saved by this toolkit")
    return parse_metadata(text, path)


def _check_weights(path: Path, metadata: Mapping[str, Any]) -> None:
    if metadata.get("kind") == "mask":
        raise ValueError(
            f"{path} holds a mask, not weights; the weights trained under it are in "
            f"{path.parent / 'weights'}"
        )


def parse_metadata(text: str, path: Path) -> dict[str, Any]:
    """The metadata of weights, each part checked for its type.

    Args:
        text: as `save_weights` writes it.
        path: of the weights.

    Raises:
        ValueError: it is no JSON, or a part of it is missing or of another type; names the file.
    """
    source = f"{path}: its metadata"
    metadata = reading.parse_json(text, source)
    reading.check_parts(metadata, METADATA_PARTS, source)
    if "config" in metadata:  # a mask has none
        config = reading.Values(metadata["config"], f"{source}: config")
        reading.check_parts(config, CONFIG_PARTS, f"{source}: config")
        metadata["config"] = config
    return metadata


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("_target_", ""), str)


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_mask(value: Any) -> bool:
    names = ("file", "digest")
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)


def _is_evaluation(value: Any) -> bool:
    """Whether it is loss and accuracy by model, then by split."""
    if not isinstance(value, dict) or not value:
        return False
    rows = [row for row in value.values() if isinstance(row, dict)]
    cells = [cell for row in rows for cell in row.values() if isinstance(cell, dict)]
    numbers = [number for cell in cells for number in cell.values()]
    is_whole = len(rows) == len(value) and len(cells) == sum(map(len, rows))
    return is_whole and all(isinstance(number, int | float) for number in numbers)


COUNT = (reading.is_count, "a whole number")
POSITIVE = (lambda value: reading.is_count(value) and value > 0, "a positive whole number")
# What a value of a summary, of metadata, or of the configuration in it must be, if there is one.
RESULT_PARTS: reading.Parts = {
    "iteration": COUNT,
    "end": COUNT,
    "iterations_per_epoch": POSITIVE,
    "evaluation": (_is_evaluation, "numbers by model, split and metric"),
}
METADATA_PARTS: reading.Parts = {
    "config": (lambda value: isinstance(value, dict), "named values"),
    "input_shape": (
        lambda value: (
            isinstance(value, list) and 1 <= len(value) <= 4 and all(map(reading.is_count, value))
        ),
        "one to four whole numbers",
    ),
    "num_classes": POSITIVE,
    "classes": (lambda value: _is_list(value, str), "a list of names"),
    "normalization": (
        lambda value: (
            isinstance(value, dict)
            and _is_list(value.get("mean"), int | float)
            and _is_list(value.get("std"), int | float)
            and isinstance(value.get("scale"), int | float)
        ),
        "mean, std and scale in numbers",
    ),
    "kind": (lambda value: isinstance(value, str), "a text"),
    "iteration": COUNT,
    "iterations_per_epoch": POSITIVE,
    "mask": (lambda value: value is None or _is_mask(value), "a file and its digest"),
}
CONFIG_PARTS: reading.Parts = {
    "model": (_is_part, "a part with a _target_"),
    "dataset": (_is_part, "a part with a _target_"),
    "precision": (lambda value: value in PRECISIONS, " or ".join(PRECISIONS)),
    "global_seed": (lambda value: isinstance(value, int), "a whole number"),
    "seeds": (lambda value: isinstance(value, dict) and "label_noise" in value, "named seeds"),
}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write training state: tensors, numbers, texts, and lists and dicts of these."""
    import torch

    buffer = io.BytesIO()  # torch.save to a full disk raises another error than OSError
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Training state, on the CPU.

    Raises:
        ValueError: the file is damaged, or holds more than `save_state` writes.
    """
    import torch

    reading.check_regular(path)
    with path.open("rb") as file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError(f"it holds a {type(state).__name__}")
            return state
        except Exception as error:  # nearly any of them, on the bytes of a damaged file
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{path} is damaged ({reason}); remove it to start over") from error


def missing_weights_message(path: Path) -> str:
    """Message that there are no weights at a path, with the weights that its folder has."""
    if not path.parent.is_dir():
        return f"no checkpoint {path}: there is no folder {path.parent}"
    files = sorted(path.parent.glob("*.safetensors"), key=lambda file: (len(file.name), file.name))
    names = ", ".join(file.name.removesuffix(".safetensors") for file in files)
    return f"no checkpoint {path}; that folder has {names or 'no weights'}"
