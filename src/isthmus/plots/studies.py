"""The figures of a study's folder, drawn when its tables are new.

Imports no matplotlib until there is something to draw.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.store import fingerprints, locks
from isthmus.store.files import write_json

SEED = "seed_"  # begins the name of the folder of a main branch
LINES = ("lines", "barriers", "intervals")


def update_connectivity(folder: Path) -> None:
    """Draw the lines and barriers, or the plane, of a folder of `interpolate.py`.

    Where that is of one main branch, what all of the study have in common is drawn, too, in the
    folder above.
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
    """Draw the tables of a tree of `spawn.py`."""

    def draw(*arguments: Any) -> None:
        from isthmus.plots import branching

        branching.save_branches(*arguments)

    draw_if_new([averages, distances], folder, draw)


def update_search(folder: Path) -> None:
    """Draw the trials of a folder of `tune.py`, and what their values depend on."""

    def draw(*arguments: Any) -> None:
        from isthmus.plots import trials

        trials.save_trials(*arguments)

    draw_if_new([folder / "trials.csv", folder / "importance.csv"], folder / "figures", draw)


def draw_if_new(tables: Sequence[Path], folder: Path, draw: Callable[..., Any]) -> None:
    """Draw figures of tables unless they were drawn from exactly these.

    Args:
        tables: files that are there.
        folder: of the figures.
        draw: takes the tables, in order, and the folder.
    """

    def draw_tables() -> None:
        import pandas  # takes a second, and what it is needed for another

        draw(*map(pandas.read_csv, tables), folder)

    draw_if_changed({path.name: path for path in tables}, folder, draw_tables)


def draw_if_changed(tables: Mapping[str, Path], folder: Path, draw: Callable[[], Any]) -> None:
    """Draw figures unless they were drawn from tables of these names and contents.

    Args:
        tables: files that are there, by a name.
        folder: of the figures; `drawn_from.json` says there what they were drawn from.
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
