"""Updates the figures in a study's folder when its tables have changed.

Imports no matplotlib until there is something to draw.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.store import fingerprints, locks
from isthmus.store.files import write_json

SEED = "seed_"  # prefix of the folder of a main branch
LINES = ("lines", "barriers", "intervals")


def update_connectivity(folder: Path) -> None:
    """Update the figures of lines and barriers, or of the plane, of a folder of `interpolate.py`.

    If the folder is of one main branch, figures of the whole study in the folder above are updated,
    too.
    """
    _lines_or_plane(folder)
    study = folder.parent
    if folder.name.startswith(SEED) and len(list(study.glob(f"{SEED}*/{LINES[-1]}.csv"))) > 1:
        with locks.exclusive(study, [study, study / "figures"]):
            _lines_or_plane(study)


def _lines_or_plane(folder: Path) -> None:
    def lines(*arguments: Any) -> None:
        from isthmus.plots import connectivity

        connectivity.save_lines(*arguments)

    def plane(*arguments: Any) -> None:
        from isthmus.plots import connectivity

        connectivity.save_plane(*arguments)

    for names, draw in (
        (LINES, lines),
        (("plane", "plane_networks"), plane),
    ):
        tables = [folder / f"{name}.csv" for name in names]
        if all(table.exists() for table in tables):
            draw_if_new(tables, folder / "figures", draw)


def update_branches(averages: Path, distances: Path, folder: Path) -> None:
    """Update the figures of a folder of `spawn.py`."""

    def draw(*arguments: Any) -> None:
        from isthmus.plots import branching

        branching.save_branches(*arguments)

    draw_if_new([averages, distances], folder, draw)


def update_search(folder: Path) -> None:
    """Update the figures of trials and importance of a folder of `tune.py`."""

    def draw(*arguments: Any) -> None:
        from isthmus.plots import trials

        trials.save_trials(*arguments)

    draw_if_new([folder / "trials.csv", folder / "importance.csv"], folder / "figures", draw)


def draw_if_new(tables: Sequence[Path], folder: Path, draw: Callable[..., Any]) -> None:
    """Draw figures of tables unless they were drawn from exactly these.

    Args:
        tables: existing files.
        folder: of the figures.
        draw: takes the tables, in order, and the folder.
    """

    def draw_tables() -> None:
        import pandas  # takes a second, and what uses it another

        draw(*map(pandas.read_csv, tables), folder)

    draw_if_changed({path.name: path for path in tables}, folder, draw_tables)


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
