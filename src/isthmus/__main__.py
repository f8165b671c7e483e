"""The command line: `isthmus train ...`, `python -m isthmus train ...`, `python train.py ...`."""

import importlib
import os
import sys
from pathlib import Path

from isthmus.config import command_line, launch
from isthmus.config.schema import SCRIPTS
from isthmus.paths import IS_CHECKOUT, SOURCES


def main() -> None:
    """Run the script named by the first argument, with the arguments after it."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(f"usage: isthmus {{{','.join(SCRIPTS)}}} ...\n\nOptions: isthmus SCRIPT --help")
    elif name in SCRIPTS:
        del sys.argv[1]
        run(name)
    else:
        sys.exit(f"isthmus {name}: no such script; there are {', '.join(SCRIPTS)}")


def run(script: str) -> None:
    """Run a script with the arguments in `sys.argv`.

    Modules in the working directory can be imported, also in processes that the script starts:
    these get both folders by PYTHONPATH, as a worker's `sys.path` is not that of this process.

    Args:
        script: a key of `SCRIPTS`.
    """
    here = str(Path.cwd())
    sys.path += [here] if here not in sys.path else []
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [*([str(SOURCES)] if IS_CHECKOUT else []), *before, here]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    sys.argv = launch.hydra_arguments(sys.argv)
    main_function = importlib.import_module(f"isthmus.scripts.{script}").main
    with command_line.one_message(script):
        main_function()


if __name__ == "__main__":
    main()
