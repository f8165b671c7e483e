"""Fixtures for the tests of more than one module."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.config import signatures

SOURCES = Path(__file__).parents[1] / "src"

# Files that take longest begin first, so that no worker is alone with one of them at the end.
LONG = (
    "scripts/test_every_option.py",
    *("slurm/test_sweep.py", "scripts/test_spawn.py", "scripts/test_interpolate.py"),
    *("scripts/test_torchrun.py", "scripts/test_checkouts.py", "scripts/test_prune_options.py"),
    *("scripts/test_images.py", "scripts/test_weight_files.py", "scripts/test_train.py"),
    *("scripts/test_prune.py", "scripts/test_damaged_folders.py", "scripts/test_tune.py"),
    *("config/test_launch.py", "plots/test_barriers.py"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Let processes that tests start import the package; give each of several workers own cores.

    Torch is slow where threads share cores.
    """
    paths = [str(SOURCES), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # else xdist begins with the files of most tests
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores, number = sorted(os.sched_getaffinity(0)), int(worker.removeprefix("gw"))
        own = cores[number :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
        os.sched_setaffinity(0, own or cores)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with long files, and skip long studies, saying so, unless they are asked for."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))
    if "slow" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="a long study: pytest -m slow"))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes `signatures` read given modules, by path below the package.

    Each call makes a tree of its own, because what was read once is remembered.
    """
    num_trees = 0

    def write(modules: dict[str, str]) -> None:
        nonlocal num_trees
        num_trees += 1
        root = tmp_path / f"tree_{num_trees}"
        package = Path(signatures.__file__).parents[1]
        for file in (package / "steps.py", *package.glob("*/options.py")):
            copy = root / "isthmus" / file.relative_to(package)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        for path, text in modules.items():
            (root / "isthmus" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "isthmus" / path).write_text(text)
        monkeypatch.setattr(signatures, "ROOT", root)

    return write
