"""Runs commands one after another in one process, and takes digests of what each leaves behind.

Many small commands: an import of torch for each, and Hydra's first composition of each (which only
asks whether it is a multirun), would take most of the time.
"""

import contextlib
import copy
import csv
import gc
import hashlib
import io
import json
import os
import re
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scripts import FORKS, REPOSITORY, _leave_figures_empty

SECONDS = 300  # until a command hangs
UNREAD = {".hydra", "tensorboard", "sweeps", ".tables", ".summaries"}  # folders
UNREAD_KINDS = {".log", ".pdf", ".lock", ".pt", ".db", ".txt"}
# Columns of tables, and keys of summaries, that repeat what was typed or say where and how fast.
ECHOES = {
    *("align", "alphas", "refine", "bn", "folder", "branch", "seeds", "requests", "grid"),
    *("num_threads", "seconds", "number", "study", "settings", "strategy", "checkpoint"),
    *("config", "command", "request", "gamma", "beta", "teacher", "state", "start", "end"),
}
TIMES = {"seconds", "images_per_second"}  # values of the column `metric`

Digests = dict[str, str]  # by path in the working directory, and "@" for what is no file


class Worker:
    """A process that runs commands one after another."""

    def __init__(self) -> None:
        self.pipe, child = FORKS.Pipe()
        self.process = FORKS.Process(target=_serve, args=(child,), daemon=False)
        self.process.start()

    def run(self, typed: list[str], cwd: Path) -> Digests:
        """Run a command, the script first, in a folder; what it left there, and "@..."."""
        self.pipe.send((typed, str(cwd), dict(os.environ)))
        assert self.pipe.poll(SECONDS), f"{typed} hangs"
        return self.pipe.recv()

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join(10)
        self.process.kill()


def _serve(pipe: Any) -> None:
    """Run what comes by the pipe until that is None."""
    from isthmus.plots import files as plots_files

    render = plots_files.render
    _leave_figures_empty()
    empty = plots_files.render
    _compose_faster()
    written = _note_files()
    while (command := pipe.recv()) is not None:
        typed, cwd, environment = command
        os.environ.clear()
        os.environ.update(environment)
        plots_files.render = _only_png(render) if typed[0] == "plots" else empty
        pipe.send(_run(typed, cwd, written))


def _run(typed: list[str], cwd: str, written: list[str]) -> Digests:
    import torch
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    os.chdir(cwd)
    flags = sorted(typed[1:], key=lambda word: not word.startswith("--"))
    sys.argv = [str(REPOSITORY / f"{typed[0]}.py"), *flags]
    if any(word.startswith("dataset=cifar") for word in typed):
        from isthmus.data.torchvision_import import datasets

        datasets().cifar.check_integrity = lambda path, md5=None: os.path.isfile(path)
    written.clear()
    code: Any = 0
    with _captured() as said, _counted() as seen:
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as exit:
            code = exit.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        except Exception:
            traceback.print_exc()
            code = 2
    outputs = Path(cwd)
    digests = {
        str(path.relative_to(outputs)): _digest(path)
        for path in sorted(outputs.rglob("*"))
        if path.is_file() and _is_read(path.relative_to(outputs))
    }
    files = sorted(
        re.sub(r"_[0-9a-f]{10}\b", "", str(p.relative_to(outputs))) for p in outputs.rglob("*")
    )
    return digests | {
        "@code": str(code),
        "@said": said(),
        "@threads": str(torch.get_num_threads()),
        "@processes": str(seen.processes),
        "@compiled": str(seen.compiled),
        "@format": str(sorted(seen.formats)),
        "@states": str(sum(path.endswith("state.pt") for path in written)),
        "@files": "\n".join(files),
        "@folders": "\n".join(
            sorted(str(p.relative_to(outputs)) for p in outputs.rglob("*") if p.is_dir())
        ),
    }


def _is_read(path: Path) -> bool:
    return path.suffix not in UNREAD_KINDS and not UNREAD & set(path.parts)


@contextlib.contextmanager
def _captured() -> Iterator[Callable[[], str]]:
    """What is written to the standard output and the standard error, which are a terminal."""
    sys.stdout.flush(), sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    reader, writer = os.openpty()
    said: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # at its end
            while chunk := os.read(reader, 1 << 16):
                said.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    os.dup2(writer, 1), os.dup2(writer, 2)
    os.close(writer)
    try:
        yield lambda: b"".join(said).decode(errors="replace")
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for number, each in enumerate(kept, start=1):
            os.dup2(each, number)
            os.close(each)
        thread.join(10)
        os.close(reader)


@dataclass
class Seen:
    """What a command did that leaves no file."""

    processes: int = 0
    compiled: int = 0
    formats: set[bool] = field(default_factory=set)  # whether images were channels_last


@contextlib.contextmanager
def _counted() -> Iterator[Seen]:
    """What is done in the meantime; nothing is compiled, which takes long."""
    from multiprocessing.process import BaseProcess

    import torch

    seen = Seen()
    patches = pytest.MonkeyPatch()
    start, convolve = BaseProcess.start, torch.nn.Conv2d.forward

    def note_start(self: Any) -> None:
        seen.processes += 1
        start(self)

    def note_compile(model: Any, **options: Any) -> Any:
        seen.compiled += 1
        return model

    def note_format(self: Any, inputs: Any) -> Any:
        seen.formats.add(inputs.is_contiguous(memory_format=torch.channels_last))
        return convolve(self, inputs)

    patches.setattr(BaseProcess, "start", note_start)
    patches.setattr(torch, "compile", note_compile)
    patches.setattr(torch.nn.Conv2d, "forward", note_format)
    try:
        yield seen
    finally:
        patches.undo()


def _note_files() -> list[str]:
    """A list that takes the path of every file that is put in its place."""
    written: list[str] = []
    sys.addaudithook(
        lambda event, args: written.append(str(args[1])) if event == "os.rename" else None
    )
    return written


def _compose_faster() -> None:
    """Compose each command once, read each YAML file once, and seldom look for garbage."""
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    load, loaded = OmegaConf.load, {}

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> RunMode:
        return RunMode.MULTIRUN if config_name == "tune" else RunMode.RUN

    def load_once(file: Any) -> Any:
        content = file.read() if hasattr(file, "read") else Path(file).read_text()
        if content not in loaded:
            loaded[content] = load(io.StringIO(content))
        return copy.deepcopy(loaded[content])

    Hydra.get_mode = mode  # type: ignore[method-assign]
    OmegaConf.load = load_once  # type: ignore[method-assign]
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _only_png(render: Callable[[Any, str], bytes]) -> Callable[[Any, str], bytes]:
    return lambda figure, kind: render(figure, kind) if kind == "png" else b""


def _digest(path: Path) -> str:
    kind = path.suffix
    content = path.read_bytes()
    if kind == ".safetensors":
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
        content = json.dumps(header, sort_keys=True).encode() + content[8 + size :]
    elif kind == ".csv":
        content = repr(_rows(content.decode())).encode()
    elif kind == ".json":
        content = repr(_measured(json.loads(content))).encode()
    elif kind == ".npz":
        with np.load(path) as arrays:
            content = repr(
                {
                    name: (a.shape, hashlib.md5(a.tobytes()).hexdigest())
                    for name, a in arrays.items()
                }
            ).encode()
    elif kind == ".png":
        from PIL import Image

        with Image.open(path) as image:
            content = repr(image.size).encode() + image.convert("RGB").tobytes()
    return hashlib.md5(content).hexdigest()


def _rows(text: str) -> list[list[str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    return [
        [_plain(value) for name, value in row.items() if name not in ECHOES]
        for row in rows
        if row.get("metric") not in TIMES
    ]


def _measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(k): _measured(v) for k, v in value.items() if k not in ECHOES}
    if isinstance(value, list):
        return [_measured(item) for item in value]
    return value


def _plain(value: str) -> str:
    """A text without the names of averaged models and of runs."""
    value = re.sub(r"ema_[0-9.]+|swa|latest_[0-9]+|latest", "averaged", str(value))
    return re.sub(r"_[0-9a-f]{10}\b", "", value)


def matching(digests: Digests, pattern: str) -> set[str]:
    """The contents of what matches a pattern, or one of several joined by |."""
    return {
        digest
        for path, digest in digests.items()
        if any(fnmatch(path, one) for one in pattern.split("|"))
    }
