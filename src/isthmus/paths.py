"""Folders of the package: its sources and `conf/`."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE.parent  # has to be in `sys.path`: `src` of a checkout, or site-packages
IS_CHECKOUT = not (PACKAGE / "conf").is_dir()
CONF = SOURCES.parent / "conf" if IS_CHECKOUT else PACKAGE / "conf"
