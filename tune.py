"""Search for the values that a training goes best with, on a validation split. Options: --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
    from isthmus.__main__ import run

    run("tune")
