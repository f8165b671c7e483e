"""Fixtures for the tests of more than one module."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from src import signatures


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes `signatures` read given modules, by path below `src`, and the schemas.

    Each call makes a tree of its own, because what was read once is remembered.
    """
    num_trees = 0

    def write(modules: dict[str, str]) -> None:
        nonlocal num_trees
        num_trees += 1
        root = tmp_path / f"tree_{num_trees}"
        names = ("schemas.py", "schemas_of_studies.py", "schemas_of_training.py", "steps.py")
        for name in names:
            (root / "src").mkdir(parents=True, exist_ok=True)
            shutil.copy(signatures.__file__.replace("signatures.py", name), root / "src")
        for path, text in modules.items():
            (root / "src" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "src" / path).write_text(text)
        monkeypatch.setattr(signatures, "ROOT", root)

    return write
