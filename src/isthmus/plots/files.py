"""A figure as files: PNG, PDF, and the numbers that were drawn."""

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from isthmus import runs, safe_reading
from isthmus.plots import style

# Nothing in a file says when or with which version it was made: equal data give equal bytes.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    Args:
        name: of its files, without an ending; parts of it may be names from a table.
        shown: exactly what it shows.
        draw: makes the figure of `shown`.
        markdown: the same numbers as a table for a text, where they make one.

    Raises:
        ValueError: the name would be a path.
    """

    name: str
    shown: pd.DataFrame
    draw: Callable[[pd.DataFrame], Figure]
    markdown: str | None = None

    def __post_init__(self) -> None:
        safe_reading.check_file_name(self.name, "a table")


def save_all(
    drawings: Iterable[Drawing],
    folder: Path,
    change: Callable[[Figure], Figure] = lambda figure: figure,
) -> list[Path]:
    """Draw figures and write them, see `save`.

    Args:
        drawings: whose names differ.
        folder: made when absent.
        change: what becomes of each figure before it is written.

    Returns:
        The files of all of them.
    """
    paths = []
    for drawing in list(drawings):  # all tables are made before the first file
        figure = change(drawing.draw(drawing.shown))
        paths += save(figure, drawing.shown, folder, drawing.name)
        if drawing.markdown is not None:
            paths.append(folder / f"{drawing.name}.md")
            runs.write_bytes(paths[-1], drawing.markdown.encode())
    return paths


def save(figure: Figure, drawn: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF, and exactly what it shows as CSV beside them.

    Everything is rendered before the first file is written, and each is written whole or not at
    all.

    Args:
        figure: by a `draw` of this package.
        drawn: the table that it was drawn from.
        folder: made when absent.
        name: of the files, without an ending.

    Returns:
        The files: `name`.csv, .png and .pdf.
    """
    safe_reading.check_file_name(name, "a table")
    contents = {"csv": drawn.to_csv(index=False, lineterminator="\n").encode()}
    contents |= {kind: rendered(figure, kind) for kind in METADATA}
    for kind, content in contents.items():
        runs.write_bytes(folder / f"{name}.{kind}", content)
    return [folder / f"{name}.{kind}" for kind in contents]


def rendered(figure: Figure, kind: str) -> bytes:
    """The bytes of a figure as "png" or "pdf"."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # else it tells of each font in a PDF
    buffer = io.BytesIO()
    with style.look():
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()
