"""Finds the checkpoints that `average.py` takes, and checks that they are of one architecture."""

import glob
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus import steps
from isthmus.averaging.options import Average
from isthmus.paths import expand_glob
from isthmus.steps import Step
from isthmus.store import files as store_files
from isthmus.store.files import Run
from isthmus.training import rebuild

NOT_IN_OLD_FILES = ("classes", "normalization")  # of metadata
TAKEN_BY = {"weights": "weighted", "decay": "ema", "num": "latest"}


def find_files(
    checkpoints: Sequence[str] | None,
    run: str | None,
    requested: Sequence[Step] | None,
    kind: str | None = None,
) -> list[Path]:
    """The files of a request, in its order; those of a glob sorted, numbers by their value.

    Args:
        checkpoints: files or globs.
        run: folder of a training, instead of them.
        requested: steps of that training, or None for all that were kept.
        kind: of the weights that are taken, as in their metadata; None for all of `checkpoints`,
            and the plain ones of `run`.

    Raises:
        FileNotFoundError: a file is not there, naming what is; a glob matches nothing.
        ValueError: not exactly one of `checkpoints` and `run` is given, or `steps` without `run`;
            or no file is of that kind.
    """
    if (checkpoints is None) == (run is None):
        got = "neither" if run is None else "both"
        raise ValueError(f"checkpoints=[...] or run=DIR says what to average, got {got}")
    if run is None and requested is not None:
        raise ValueError(f"steps=[{','.join(map(str, requested))}]: only run=DIR takes them")
    if run is not None:
        files = _files_of_run(Run(Path(run)), requested, kind or "plain")
    else:
        files = [file for text in checkpoints or [] for file in _expand_glob(text)]
    if not files:
        raise ValueError(f"{'checkpoints' if run is None else 'steps'}=[]: nothing to average")
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(store_files.missing_weights_message(file))
    return files if kind is None or run is not None else _files_of_kind(files, kind)


def kinds_message(files: Sequence[Path], kind: str | None) -> str:
    """Which kinds of weights are averaged, and how to take one of several alone, as text.

    Args:
        files: that are averaged.
        kind: that was asked for; None for all.
    """
    kinds = list(map(_kind, files))
    hint = f" (kind={kinds[0]} takes those alone)" if kind is None and len({*kinds}) > 1 else ""
    return f"average of {_count_kinds(kinds)}{hint}"


def _count_kinds(kinds: Sequence[str]) -> str:
    """How many files have each kind of weights: "3 plain, 2 ema_0.99"."""
    return ", ".join(f"{number} {kind}" for kind, number in Counter(kinds).items())


def _files_of_kind(files: Sequence[Path], kind: str) -> list[Path]:
    kinds = list(map(_kind, files))
    if kind not in kinds:
        raise ValueError(
            f"kind={kind}: none of {len(files)} files; there are {_count_kinds(kinds)}"
        )
    return [file for file, each in zip(files, kinds, strict=True) if each == kind]


def _kind(file: Path) -> str:
    return str(store_files.load_metadata(file).get("kind", "of unknown kind"))


def select_files(files: Sequence[Path], options: Average) -> list[Path]:
    """The files that a method averages: all, or for "latest" the last `num`.

    Args:
        files: in the order given.
        options: with the method, and `weights`, `decay` or `num`.

    Raises:
        ValueError: the method needs an option that is not set, or does not use one that is, or
            its value does not fit the files.
    """
    method, weights, decay, num = options.method, options.weights, options.decay, options.num
    for name, taker in TAKEN_BY.items():
        value = getattr(options, name)
        if value is None and method == taker:
            raise ValueError(f"{name}: method={method} needs a value, {name}=...")
        if value is not None and method != taker:
            raise ValueError(f"{name}={value}: only method={taker} uses it, not {method}")
    if weights is not None and len(weights) != len(files):
        raise ValueError(
            f"weights={weights}: must be one per checkpoint, got {len(weights)} for {len(files)}"
        )
    if weights is not None and not 0 < sum(weights) < math.inf:
        raise ValueError(f"weights={weights}: their sum must be positive, got {sum(weights):g}")
    if decay is not None and not 0 <= decay < 1:
        raise ValueError(f"decay={decay}: must be in [0, 1)")
    if num is not None and not 1 <= num <= len(files):
        raise ValueError(f"num={num}: must be from 1 to {len(files)}, the number of checkpoints")
    return list(files if num is None else files[-num:])


def check_architectures(files: Sequence[Path]) -> dict[str, Any]:
    """Metadata of the first file, once theirs show that all are of one architecture.

    Raises:
        ValueError: naming the file, and the first key that differs.
    """
    first = store_files.load_metadata(files[0])
    for file in dict.fromkeys(files[1:]):
        _check_same(file, rebuild.architecture(store_files.load_metadata(file)), files[0], first)
    return first


def file_digests(files: Sequence[Path]) -> list[str]:
    """A digest of the contents of each file, 32 hexadecimal digits."""
    digests = {
        file: hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in set(files)
    }
    return [digests[file] for file in files]


def kept_message(ingredients: Sequence[Mapping[str, Any]]) -> str:
    """Which ingredients a soup kept, as text.

    Args:
        ingredients: of `result.json`.
    """
    kept = [f"  {part['checkpoint']}" for part in ingredients if part["kept"]]
    return "\n".join([f"the soup kept {len(kept)} of {len(ingredients)} files:", *kept])


def is_done(run: Run, digests: Sequence[str]) -> bool:
    """Whether a folder holds the average of files of these contents."""
    result = run.read_result() if run.average.exists() else None
    return result is not None and [i["digest"] for i in result["ingredients"]] == digests


def _expand_glob(text: str) -> list[Path]:
    if Path(text).is_file() or not glob.has_magic(text):
        return [Path(text)]
    matches = [path for path in expand_glob(text) if path.is_file()]
    if not matches:
        raise FileNotFoundError(f"checkpoints={text}: no file matches")
    return sorted(matches, key=_natural_order)


def _natural_order(path: Path) -> list[Any]:
    """A key that sorts step_20 before step_100."""
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]


def _files_of_run(run: Run, requested: Sequence[Step] | None, kind: str) -> list[Path]:
    ending = "" if kind == "plain" else f".{kind}"
    kept = [
        file
        for file in sorted((run.folder / "weights").glob("step_*.safetensors"), key=_natural_order)
        if re.fullmatch(rf"step_\d+{re.escape(ending)}", file.stem)
    ]
    if not kept:
        raise FileNotFoundError(
            f"run={run.folder}: {store_files.missing_weights_message(run.weights(0, kind))}"
        )
    if requested is None:
        return kept
    per_epoch = store_files.load_metadata(kept[0])["iterations_per_epoch"]
    return [run.weights(steps.to_iteration(step, per_epoch), kind) for step in requested]


def _check_same(
    file: Path, architecture: dict[str, Any], first: Path, metadata: dict[str, Any]
) -> None:
    expected = rebuild.architecture(metadata)
    for key in [*expected, *architecture]:
        if key in NOT_IN_OLD_FILES and not (key in expected and key in architecture):
            continue
        if architecture.get(key) != expected.get(key):
            got, other = (
                f"is {values[key]}" if key in values else "is not there"
                for values in (architecture, expected)
            )
            raise ValueError(
                f"{file} is not of the architecture of {first}: {key} {got}, there it {other}"
            )
