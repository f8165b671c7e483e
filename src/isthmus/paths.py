"""Folders of the package, its sources and `conf/`; paths and globs as typed."""

import glob
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE.parent  # has to be in `sys.path`: `src` of a checkout, or site-packages
IS_CHECKOUT = not (PACKAGE / "conf").is_dir()
CONF = SOURCES.parent / "conf" if IS_CHECKOUT else PACKAGE / "conf"


def display_path(path: Path) -> str:
    """A path as typed from the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def expand_glob(text: str) -> list[Path]:
    """The paths that a text stands for: a path that exists as it is written, else a glob's matches.

    Args:
        text: a path or a glob; `~` is the home of the user. Folders that exist as they are written
            are no patterns: in `runs[1]/train_*` only the last part is one.

    Returns:
        Existing paths, sorted by name.
    """
    parts = Path(os.path.expanduser(text)).parts
    existing = max(n for n in range(len(parts) + 1) if n == 0 or Path(*parts[:n]).exists())
    pattern = Path(glob.escape(str(Path(*parts[:existing]))), *parts[existing:])
    return sorted(map(Path, glob.glob(str(pattern), recursive=True)))
