"""Writes figures as PNG, PDF, CSV of the drawn numbers, and TensorBoard images."""

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from isthmus.plots import layout, style
from isthmus.store import files, reading

# Files hold no date and no version: equal data give equal bytes.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn; what a function of `options.FIGURES` yields.

    Args:
        name: of its files, without an ending; parts of it may be names from a table.
        shown: table of exactly what it shows.
        draw: makes the figure of `shown`; see `figure`.
        markdown: the same numbers as a Markdown table, for figures that are tables.

    Raises:
        ValueError: the name would be a path.
    """

    name: str
    shown: pd.DataFrame
    draw: Callable[[pd.DataFrame], Figure]
    markdown: str | None = None

    def __post_init__(self) -> None:
        reading.check_file_name(self.name, "a table")

    def figure(self) -> Figure:
        """Draw the figure in the current theme, whatever the settings of the user."""
        theme = style.THEME.get()
        with style.look():
            figure = self.draw(self.shown)
            style.scale_lines(figure, theme)
            width, height = figure.get_size_inches()
            figure.set_size_inches(theme.scale * width, theme.scale * height)
            layout.fit_words(figure, theme.scale)
        return figure


def save_all(
    drawings: Iterable[Drawing],
    folder: Path,
    change: Callable[[Figure], Figure] = lambda figure: figure,
) -> list[Path]:
    """Draw figures and write them, see `save`.

    Args:
        drawings: whose names differ.
        folder: created if it does not exist.
        change: applied to each figure before it is written.

    Returns:
        The files of all of them.
    """
    paths = []
    for drawing in list(drawings):  # all tables are made before the first file
        figure = change(drawing.figure())
        paths += save(figure, drawing.shown, folder, drawing.name)
        if drawing.markdown is not None:
            paths.append(folder / f"{drawing.name}.md")
            files.write_bytes(paths[-1], drawing.markdown.encode())
    return paths


def save(figure: Figure, drawn: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF, and exactly what it shows as CSV.

    Everything is rendered before the first file is written, and each is written whole or not at
    all.

    Args:
        figure: by a draw function of this package.
        drawn: the table that it was drawn from.
        folder: created if it does not exist.
        name: of the files, without an ending.

    Returns:
        The files: `name`.csv, .png and .pdf.
    """
    reading.check_file_name(name, "a table")
    contents = {"csv": drawn.to_csv(index=False, lineterminator="\n").encode()}
    contents |= {kind: render(figure, kind) for kind in METADATA}
    for kind, content in contents.items():
        files.write_bytes(folder / f"{name}.{kind}", content)
    return [folder / f"{name}.{kind}" for kind in contents]


def render(figure: Figure, kind: str) -> bytes:
    """The bytes of a figure as "png" or "pdf"."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # else it logs each font of a PDF
    buffer = io.BytesIO()
    with style.look():
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


FILE = "events.out.tfevents.0.figures"  # TensorBoard reads files that are named so


def write_events(folder: Path) -> Path | None:
    """Write all figures of a folder into a TensorBoard event file there, replacing an earlier one.

    Equal figures give equal bytes.

    Args:
        folder: with PNG files, each of which is an image under its name.

    Returns:
        The file; None if there is no figure.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    pictures = sorted(folder.glob("*.png"))
    if not pictures:
        return None
    content = io.BytesIO()
    records = RecordWriter(content)
    records.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())
    for picture in pictures:
        png = picture.read_bytes()
        with Image.open(io.BytesIO(png)) as opened:
            image = Summary.Image(
                width=opened.width,
                height=opened.height,
                colorspace=len(opened.getbands()),
                encoded_image_string=png,
            )
        summary = Summary(value=[Summary.Value(tag=picture.stem, image=image)])
        records.write(Event(wall_time=0, step=0, summary=summary).SerializeToString())
    files.write_bytes(folder / FILE, content.getvalue())
    return folder / FILE
