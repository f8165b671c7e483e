"""Where the files that come with the package are."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SOURCES = PACKAGE.parent  # what has to be in `sys.path`: `src` of a checkout, or site-packages
IS_CHECKOUT = not (PACKAGE / "conf").is_dir()
CONF = SOURCES.parent / "conf" if IS_CHECKOUT else PACKAGE / "conf"
