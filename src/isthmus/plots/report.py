"""Report: all figures of several folders on one HTML page."""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pandas as pd
from matplotlib.colors import to_hex

from isthmus.plots import files as plots_files
from isthmus.plots import style as plots_style
from isthmus.plots.options import KINDS, REPORT, find_caption
from isthmus.plots.render import Source
from isthmus.plots.restyle import FigureOverrides
from isthmus.plots.runs import FINAL, TrainingRuns
from isthmus.store import files as store_files

SHOWN = 200  # rows of a table in the page; all rows are in its download

TEMPLATE = "report.html.j2"  # beside this module


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure in a page.

    Args:
        name: of the figure.
        caption: what it shows.
        png: its bytes.
        width: in inches.
        shown: table of exactly what it shows.
    """

    name: str
    caption: str
    png: bytes
    width: float
    shown: pd.DataFrame

    @property
    def image_url(self) -> str:
        """The image, as a link that holds it."""
        return _data_url("image/png", self.png)

    @property
    def table_url(self) -> str:
        """The whole table as CSV, as a link that holds it."""
        numbers = self.shown.to_csv(index=False, lineterminator="\n")
        return _data_url("text/csv", numbers.encode())

    @property
    def rows_label(self) -> str:
        """Which rows of the table are in the page."""
        count = len(self.shown)
        return f"{count} rows" if count <= SHOWN else f"the first {SHOWN} of {count} rows"


@dataclass(eq=False)
class PageSection:
    """Section of a page, for folders that are drawn together.

    Args:
        title: of the section.
        commands: that made the folders.
        overview: one row per run, if there is such a table.
        pictures: the figures.
        missing: errors of figures that cannot be drawn, by name.
    """

    title: str
    commands: Sequence[str] = ()
    overview: pd.DataFrame | None = None
    pictures: list[Picture] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def page(sections: Sequence[PageSection], colours: tuple[str, str, str]) -> str:
    """A page as HTML.

    Args:
        sections: in order.
        colours: of background, text and lines.
    """
    import jinja2  # takes a tenth of a second

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        autoescape=True,
        keep_trailing_newline=True,
        loader=loader,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = _cell
    background, foreground, lines = colours
    return environment.get_template(TEMPLATE).render(
        sections=sections,
        background=background,
        foreground=foreground,
        lines=lines,
        num_rows=SHOWN,
        date=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
    )


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _cell(value: object) -> str:
    """Text of a value in a table; empty for a missing one."""
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


log = logging.getLogger(__name__)


def save_report(
    sources: Sequence[Source],
    overrides: FigureOverrides,
    folder: Path,
    damaged: Mapping[str, str] | None = None,
) -> Path:
    """Draw all figures and write them as one page.

    Args:
        sources: see `render.sources`.
        overrides: of all figures; labels and colours are those of single figures and not changed.
        folder: created if it does not exist.
        damaged: errors of runs that are left out, by file.

    Returns:
        The page, report.html.
    """
    sections = [section(source, overrides) for source in sources]
    if damaged:
        sections.append(PageSection("Damaged runs", missing=dict(damaged)))
    style = overrides.style
    colours = (to_hex(style.background), to_hex(style.foreground), to_hex(style.grid))
    path = folder / "report.html"
    store_files.write_bytes(path, page(sections, colours).encode())
    return path


def section(source: Source, overrides: FigureOverrides) -> PageSection:
    """The section of one source; figures that cannot be drawn are listed with their errors."""
    where = ", ".join(str(path) for path in source.paths[:4])
    others = f" and {len(source.paths) - 4} more" if len(source.paths) > 4 else ""
    result = PageSection(f"{KINDS[source.kind].title}: {where}{others}")
    try:
        result.commands = source.commands()
        if source.kind == "train":
            with source.name_folders_in_errors():
                result.overview = overview(source.study)
    except (ValueError, OSError) as error:
        result.missing["all"] = str(error)
        log.warning("not drawn: %s: %s", where, error)
        return result
    drawings, result.missing = source.drawings(REPORT)
    for drawing in drawings:
        try:
            figure = overrides.apply(drawing.figure())
        except (ValueError, OSError) as error:
            result.missing[drawing.name] = str(error)
        else:
            png = plots_files.render(figure, "png")
            caption = find_caption(source.kind, drawing.name)
            picture = Picture(drawing.name, caption, png, figure.get_figwidth(), drawing.shown)
            result.pictures.append(picture)
    if source.kind == "train":
        result.missing |= source.study.damaged
        for reason in source.study.damaged.values():
            log.warning("left out: %s", reason)
    return result


def overview(study: TrainingRuns) -> pd.DataFrame:
    """One row per training: setting, seed, epochs, and its final accuracy on the test set."""
    lines = []
    for run, setting in zip(study.runs, study.settings, strict=True):
        numbers = run.metrics
        final = numbers[(numbers["metric"] == f"{FINAL}accuracy") & (numbers["split"] == "test")]
        named = final.set_index("model")["value"]
        accuracies = {
            f"test accuracy, {m}": float(named[m]) for m in plots_style.order_models(named.index)
        }
        line = {"run": str(run.folder), "setting": setting, "seed": run.seed}
        lines.append({**line, "epochs": float(numbers["epoch"].max()), **accuracies})
    table = pd.DataFrame(lines)
    return table if table["setting"].any() else table.drop(columns="setting")
