"""Report: all figures of several folders on one HTML page."""

import base64
import html
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.colors import to_hex

from isthmus.plots import files as plots_files
from isthmus.plots import style as plots_style
from isthmus.plots.render import Source, TrainingFigureOptions
from isthmus.plots.restyle import FigureOverrides
from isthmus.plots.runs import FINAL, TrainingRuns
from isthmus.store import files as store_files

SHOWN = 200  # rows of a table in the page; all rows are in its download

STYLE = """
:root { color-scheme: light dark; }
body { background: BACKGROUND; color: FOREGROUND; font: 15px/1.45 system-ui, sans-serif;
       margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h2 { border-top: 2px solid GRID; margin-top: 2.5rem; padding-top: .8rem; }
a { color: inherit; } nav a { margin-right: .9rem; white-space: nowrap; }
pre, code { font: 13px/1.5 ui-monospace, monospace; }
pre { border-left: 3px solid GRID; overflow-x: auto; padding: .3rem .8rem; }
figure { margin: 1.6rem 0; } img { height: auto; max-width: 100%; }
.table { max-height: 26rem; overflow: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid GRID; padding: .2rem .7rem; text-align: right; }
td.text { text-align: left; }
th { background: BACKGROUND; cursor: pointer; position: sticky; top: 0; }
th[aria-sort=ascending]::after { content: " ▲"; } th[aria-sort=descending]::after { content: " ▼"; }
"""
SCRIPT = """
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], place = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  const value = row => row.cells[place].textContent;
  const order = (a, b) => {
    if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
    const [x, y] = [Number(value(a)), Number(value(b))];
    const by = Number.isNaN(x - y) ? value(a).localeCompare(value(b)) : x - y;
    return up ? by : -by;
  };
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort(order));
});
"""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure in a page.

    Args:
        name: of the figure.
        png: its bytes.
        width: in inches.
        shown: table of exactly what it shows.
    """

    name: str
    png: bytes
    width: float
    shown: pd.DataFrame


@dataclass(eq=False)
class Section:
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


def page(sections: Sequence[Section], colours: tuple[str, str, str]) -> str:
    """A page as HTML.

    Args:
        sections: in order.
        colours: of background, text and lines.
    """
    style = STYLE
    for name, colour in zip(("BACKGROUND", "FOREGROUND", "GRID"), colours, strict=True):
        style = style.replace(name, colour)
    links = [
        f'<a href="#{place}_{_text(picture.name)}">{_text(picture.name)}</a>'
        for place, section in enumerate(sections)
        for picture in section.pictures
    ]
    body = [_section(place, section) for place, section in enumerate(sections)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Isthmus: report</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<h1>Report</h1>\n<nav>{' '.join(links)}</nav>\n{''.join(body)}"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _section(place: int, section: Section) -> str:
    parts = [f"<h2>{_text(section.title)}</h2>\n"]
    if section.commands:
        parts.append(f"<pre>{_text(chr(10).join(section.commands))}</pre>\n")
    if section.overview is not None:
        parts.append(_table(section.overview))
    for picture in section.pictures:
        parts.append(_figure(f"{place}_{picture.name}", picture))
    if section.missing:
        parts.append("<p>Not drawn:</p>\n<ul>\n")
        parts += [
            f"<li><code>{_text(name)}</code>: {_text(why)}</li>\n"
            for name, why in section.missing.items()
        ]
        parts.append("</ul>\n")
    return f"<section>\n{''.join(parts)}</section>\n"


def _figure(anchor: str, picture: Picture) -> str:
    image = base64.b64encode(picture.png).decode()
    numbers = picture.shown.to_csv(index=False, lineterminator="\n").encode()
    link = f"data:text/csv;base64,{base64.b64encode(numbers).decode()}"
    count, first = len(picture.shown), picture.shown[:SHOWN]
    which = f"{count} rows" if count <= SHOWN else f"the first {SHOWN} of {count} rows"
    name = _text(picture.name)
    return (
        f'<figure id="{_text(anchor)}">\n<figcaption><h3>{name}</h3></figcaption>\n'
        f'<img alt="{name}" width="{96 * picture.width:.0f}" src="data:image/png;base64,{image}">\n'
        f"<details><summary>what is drawn: {which}</summary>\n"
        f'<p><a download="{name}.csv" href="{link}">{name}.csv</a></p>\n{_table(first)}'
        "</details>\n</figure>\n"
    )


def _table(table: pd.DataFrame) -> str:
    heads = "".join(f"<th>{_text(column)}</th>" for column in table.columns)
    lines = (
        "".join(_cell(value) for value in row) for row in table.itertuples(index=False, name=None)
    )
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return (
        f'<div class="table"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "<td></td>"
    if isinstance(value, float):
        return f"<td>{value:.6g}</td>"
    is_text = isinstance(value, str)
    return f"<td{' class=text' if is_text else ''}>{_text(value)}</td>"


def _text(value: object) -> str:
    return html.escape(str(value))


log = logging.getLogger(__name__)

TITLES = {
    "train": "Trainings",
    "spawn": "Branches",
    "interpolate": "Lines",
    "plane": "Plane",
    "prune": "Pruning",
    "extract": "Extraction",
    "tune": "Search",
    "coordinates": "Coordinate check",
    "transfer": "Transfer of learning rates",
    "fits": "Functions of one variable",
    "wide": "Wide networks",
}


def save_report(
    sources: Sequence[Source],
    figure_options: TrainingFigureOptions,
    overrides: FigureOverrides,
    folder: Path,
    damaged: Mapping[str, str] | None = None,
) -> Path:
    """Draw all figures and write them as one page.

    Args:
        sources: see `render.sources`.
        figure_options: of figures of trainings.
        overrides: of all figures; labels and colours are those of single figures and not changed.
        folder: created if it does not exist.
        damaged: errors of runs that are left out, by file.

    Returns:
        The page, report.html.
    """
    sections = [section(source, figure_options, overrides) for source in sources]
    if damaged:
        sections.append(Section("Damaged runs", missing=dict(damaged)))
    style = overrides.style
    colours = (to_hex(style.background), to_hex(style.foreground), to_hex(style.grid))
    path = folder / "report.html"
    store_files.write_bytes(path, page(sections, colours).encode())
    return path


def section(
    source: Source, figure_options: TrainingFigureOptions, overrides: FigureOverrides
) -> Section:
    """The section of one source; figures that cannot be drawn are listed with their errors."""
    where = ", ".join(str(path) for path in source.paths[:4])
    others = f" and {len(source.paths) - 4} more" if len(source.paths) > 4 else ""
    result = Section(f"{TITLES[source.kind]}: {where}{others}")
    try:
        result.commands = source.commands()
        figures = source.worth_drawing(figure_options)
        if source.kind == "train":
            with source.name_folders_in_errors():
                result.overview = overview(source.study)
    except (ValueError, OSError) as error:
        result.missing["all"] = str(error)
        log.warning("not drawn: %s: %s", where, error)
        return result
    for name, make in figures.items():
        try:
            drawing = make()
            figure = overrides.apply(drawing.draw(drawing.shown))
        except (ValueError, OSError) as error:
            result.missing[name] = str(error)
        else:
            png = plots_files.render(figure, "png")
            width = figure.get_figwidth()
            result.pictures.append(Picture(drawing.name, png, width, drawing.shown))
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
