"""Every figure that runs allow on one page, with their tables and the commands that made them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.colors import to_hex

from isthmus import runs
from isthmus.plots import files, models, page
from isthmus.plots.page import Picture, Section
from isthmus.plots.redrawn import Source
from isthmus.plots.trained import FINAL, Study
from isthmus.plots.trainings import Asked
from isthmus.plots.wishes import Wishes

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


def save(
    sources: Sequence[Source],
    asked: Asked,
    wished: Wishes,
    folder: Path,
    damaged: Mapping[str, str] | None = None,
) -> Path:
    """Draw everything and write it as one page.

    Args:
        sources: see `redrawn.sources`.
        asked: of figures of trainings.
        wished: of all figures; labels and colours are those of single figures and are left.
        folder: made when absent.
        damaged: by file, why other runs are left out.

    Returns:
        The page, report.html.
    """
    sections = [section(source, asked, wished) for source in sources]
    if damaged:
        sections.append(Section("Damaged runs", missing=dict(damaged)))
    style = wished.style
    colours = (to_hex(style.background), to_hex(style.foreground), to_hex(style.grid))
    path = folder / "report.html"
    runs.write_bytes(path, page.page(sections, colours).encode())
    return path


def section(source: Source, asked: Asked, wished: Wishes) -> Section:
    """Everything of folders that are drawn together; what cannot be drawn, with the reason."""
    where = ", ".join(str(path) for path in source.paths[:4])
    more = f" and {len(source.paths) - 4} more" if len(source.paths) > 4 else ""
    made = Section(f"{TITLES[source.kind]}: {where}{more}")
    try:
        made.commands = source.commands()
        figures = source.worth_drawing(asked)
        if source.kind == "train":
            with source.named_in_errors():
                made.overview = overview(source.study)
    except (ValueError, OSError) as error:
        made.missing["all"] = str(error)
        log.warning("not drawn: %s: %s", where, error)
        return made
    for name, make in figures.items():
        try:
            drawing = make()
            figure = wished.fulfil(drawing.draw(drawing.shown))
        except (ValueError, OSError) as error:
            made.missing[name] = str(error)
        else:
            png = files.rendered(figure, "png")
            width = figure.get_figwidth()
            made.pictures.append(Picture(drawing.name, png, width, drawing.shown))
    if source.kind == "train":
        made.missing |= source.study.damaged
        for reason in source.study.damaged.values():
            log.warning("left out: %s", reason)
    return made


def overview(study: Study) -> pd.DataFrame:
    """A row a training: what it is, how far it is, and its final accuracy on the test set."""
    lines = []
    for run, setting in zip(study.runs, study.settings, strict=True):
        numbers = run.metrics
        final = numbers[(numbers["metric"] == f"{FINAL}accuracy") & (numbers["split"] == "test")]
        named = final.set_index("model")["value"]
        accuracies = {f"test accuracy, {m}": float(named[m]) for m in models.ordered(named.index)}
        line = {"run": str(run.folder), "setting": setting, "seed": run.seed}
        lines.append({**line, "epochs": float(numbers["epoch"].max()), **accuracies})
    table = pd.DataFrame(lines)
    return table if table["setting"].any() else table.drop(columns="setting")
