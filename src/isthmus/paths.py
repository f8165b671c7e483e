"""Folders of the package: its sources and `conf/`."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE.parent  # has to be in `sys.path`: `src` of a checkout, or site-packages
IS_CHECKOUT = not (PACKAGE / "conf").is_dir()
CONF = SOURCES.parent / "conf" if IS_CHECKOUT else PACKAGE / "conf"


def display_path(path: Path) -> str:
    """A path as typed from the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
