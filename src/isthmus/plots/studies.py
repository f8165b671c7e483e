"""Updates the figures in a study's folder when its tables have changed.

Imports no pandas and no matplotlib until there is something to draw.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.plots import options
from isthmus.store import fingerprints, locks
from isthmus.store.files import write_json

if TYPE_CHECKING:
    import pandas as pd

SEED = "seed_"  # prefix of the folder of a main branch


def update_connectivity(folder: Path) -> None:
    """Update the figures of lines and barriers, or of the plane, of a folder of `interpolate.py`.

    If the folder is of one main branch, figures of the whole study in the folder above are updated,
    too.
    """
    update_study(folder, "interpolate")
    update_study(folder, "plane")
    study = folder.parent
    if folder.name.startswith(SEED) and len(list(study.glob(f"{SEED}*/{options.INTERVALS}"))) > 1:
        with locks.exclusive(study, [study, study / "figures"]):
            update_study(study, "interpolate")


def update_study(folder: Path, kind: str) -> None:
    """Update the figures of a folder, if it has the tables of its kind.

    Args:
        folder: with tables; figures are in `figures` of it.
        kind: of folders, a key of `options.KINDS`.
    """
    tables = {name: folder / name for name in options.tables_of_kind(kind)}
    tables = {name: path for name, path in tables.items() if path.exists()}
    if not all(name in tables for name in options.KINDS[kind].needed):
        return

    def draw() -> None:
        import pandas  # takes a second, and what uses it another

        read = {name: pandas.read_csv(path) for name, path in tables.items()}
        draw_tables(kind, read, folder / "figures")

    draw_if_changed({path.name: path for path in tables.values()}, folder / "figures", draw)


def draw_tables(kind: str, tables: "Mapping[str, pd.DataFrame]", folder: Path) -> list[Path]:
    """Draw and write all figures that some tables of one kind of folders allow.

    Args:
        kind: a key of `options.KINDS`.
        tables: by the names that `options` has for them.
        folder: of the figures, created if it does not exist.

    Returns:
        The files, see `files.save`.
    """
    from isthmus.plots import files, render

    return files.save_all(render.kind_drawings(kind, tables), folder)


def draw_if_changed(tables: Mapping[str, Path], folder: Path, draw: Callable[[], Any]) -> None:
    """Draw figures unless they were drawn from tables of these names and contents.

    Args:
        tables: existing files, by a name.
        folder: of the figures; its `drawn_from.json` records the digests of the tables.
        draw: writes them.
    """
    stamp = folder / "drawn_from.json"
    contents = {name: fingerprints.file_digest(str(path)) for name, path in tables.items()}
    if stamp.exists() and json.loads(stamp.read_text()) == contents:
        return
    draw()
    from isthmus.plots import files

    files.write_events(folder)
    write_json(stamp, contents)
