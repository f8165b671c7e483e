"""Makes figures by name from the tables of folders: one figure, several, or all for a report."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from isthmus.plots import folders, options
from isthmus.plots import runs as plots_runs
from isthmus.plots.folders import Folder
from isthmus.plots.options import FigureRow
from isthmus.plots.runs import TrainingOptions, TrainingRuns, TrainingTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from isthmus.plots.files import Drawing


def row_drawings(row: FigureRow, *tables: Any) -> "Iterator[Drawing]":
    """Call the function of a row of `options.FIGURES` with its tables."""
    module, _, function = row.function.rpartition(".")
    yield from getattr(importlib.import_module(f"isthmus.plots.{module}"), function)(*tables)


def kind_drawings(kind: str, tables: Mapping[str, pd.DataFrame]) -> "Iterator[Drawing]":
    """All figures of a kind of folders that some tables allow.

    Args:
        kind: a key of `options.KINDS`, but not train.
        tables: by the names that `options` has for them.

    Raises:
        ValueError: a table does not fit its figure.
    """
    for row in options.FIGURES:
        if row.kind == kind and all(name in tables for name in row.tables):
            yield from row_drawings(row, *(tables[name] for name in row.tables))


@dataclass(frozen=True, eq=False)
class Source:
    """Folders of one kind that are drawn together.

    Args:
        kind: a key of `options.KINDS`.
        paths: one or more.
        options: of figures of trainings.
        runs: the trainings in them, if they have been read.
    """

    kind: str
    paths: Sequence[Path]
    options: TrainingOptions = field(default_factory=TrainingOptions)
    runs: Sequence[TrainingTables] = ()

    @cached_property
    def study(self) -> TrainingRuns:
        """The trainings, for the kind "train"."""
        with self.name_folders_in_errors():
            runs = self.runs or [plots_runs.read_training(path) for path in self.paths]
            return TrainingRuns(plots_runs.sort_trainings(runs), self.options)

    @property
    def label(self) -> str:
        """Suffix of its figures' names where several sources have the same figure."""
        return folder_label(self.paths[0])

    def commands(self) -> list[str]:
        """The command lines that made the folders, as far as they are recorded, each once."""
        commands = [plots_runs.read_command(path) for path in self.paths]
        return list(dict.fromkeys(command for command in commands if command))

    def rows(self, figure: str) -> list[FigureRow]:
        """The rows of a figure's name whose tables are there; "report" means all."""
        present = {name for path in self.paths for name in Folder(self.kind, path).tables()}
        rows = options.rows_of_figure(figure)
        return [row for row in rows if row.kind == self.kind and present.issuperset(row.tables)]

    def draw_row(self, row: FigureRow) -> "Iterator[Drawing]":
        """The figures of a row; errors of their tables name the folders.

        Raises:
            OSError, ValueError: a table is damaged, or there is nothing to draw.
        """
        with self.name_folders_in_errors():
            tables = [self.study] if self.kind == "train" else map(self._table, row.tables)
            for drawing in row_drawings(row, *tables):
                yield replace(drawing, draw=self._guard(drawing.draw))

    def drawings(self, figure: str) -> "tuple[list[Drawing], dict[str, str]]":
        """The figures of a name, and errors by name of those that cannot be drawn."""
        drawn: list[Drawing] = []
        failed: dict[str, str] = {}
        for row in self.rows(figure):
            try:
                drawn.extend(self.draw_row(row))
            except (ValueError, OSError) as error:
                failed[row.name] = str(error)
        return drawn, failed

    @contextmanager
    def name_folders_in_errors(self) -> Iterator[None]:
        """Add the folders to errors that come from the content of their tables.

        Raises:
            ValueError: in place of errors by values that no script writes: tables may come from
                elsewhere, be cut off or changed.
        """
        try:
            yield
        except (LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError) as error:
            where = ", ".join(str(path) for path in self.paths[:4])
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ValueError(f"{where}: tables that do not fit together ({what})") from error

    def _guard(self, draw: "Callable[[pd.DataFrame], Figure]") -> Any:
        def draw_guarded(shown: pd.DataFrame) -> "Figure":
            with self.name_folders_in_errors():
                return draw(shown)

        return draw_guarded

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        return {}

    def _table(self, name: str) -> pd.DataFrame:
        """A table of all folders, read once; with the `study` and `folder` of rows of several."""
        if name not in self._tables:
            parts = []
            for path in self.paths:
                for file in folders.table_files(path, name):
                    part = folders.read(file)
                    if options.KINDS[self.kind].is_joint:
                        study = path.absolute().parent.name
                        part = part.assign(study=study, folder=folder_label(path))
                    if name == options.SPARSITY:
                        part = part.assign(level=int(file.parent.name.removeprefix("level_")))
                    parts.append(part)
            self._tables[name] = parts[0] if len(parts) == 1 else pd.concat(parts)
        return self._tables[name]


def folder_label(path: Path) -> str:
    """The last two names of a folder's path as one word: "prune_1_seed_1"."""
    return "_".join(path.absolute().parts[-2:])


def sources(
    folders_with_tables: Sequence[Folder],
    figure: str,
    training_options: TrainingOptions | None = None,
) -> list[Source]:
    """The folders with tables of a figure, grouped into those that are drawn together.

    A damaged folder is a group of its own, so that it does not spoil the others.

    Args:
        folders_with_tables: by `folders.find_folders`.
        figure: a name, or the prefix of several; "report" means all.
        training_options: of figures of trainings.
    """
    chosen = replace(training_options or TrainingOptions(), is_report=figure == options.REPORT)
    grouped: dict[tuple[str, object], list[Path]] = {}
    runs: dict[Path, TrainingTables] = {}
    for folder in folders_with_tables:
        source, key = Source(folder.kind, [folder.path], chosen), folder.path
        if not source.rows(figure):
            continue
        group: object = key
        if options.KINDS[folder.kind].is_joint:
            try:
                if folder.kind == "train":
                    (runs[key],) = source.study.runs
                elif source.drawings(options.REPORT)[1]:
                    raise ValueError
                group = _common(runs.get(key), figure)
            except (ValueError, OSError):  # raised again, and caught, where it is drawn
                pass
        grouped.setdefault((folder.kind, group), []).append(key)
    return [
        Source(kind, paths, chosen, [runs[path] for path in paths if path in runs])
        for (kind, _), paths in grouped.items()
    ]


def drawings(figure: str, several: Sequence[Source]) -> "tuple[list[Drawing], dict[str, str]]":
    """The figures of a name.

    Args:
        figure: a name, or the prefix of several.
        several: by `sources`.

    Returns:
        The figures; those of equal names get their folders as suffix. And the errors of figures
        with this prefix that cannot be drawn, by name of the figure or of a file.

    Raises:
        ValueError: none can be drawn; has the reason, or the existing names.
    """
    drawn: list[tuple[Drawing, Source]] = []
    failed: dict[str, str] = {}
    for source in several:
        of_source, errors = source.drawings(figure)
        wanted = options.matching_figures([drawing.name for drawing in of_source], figure)
        drawn += [(drawing, source) for drawing in of_source if drawing.name in wanted]
        where = f" of {source.paths[0]}" if len(several) > 1 else ""
        failed |= {f"{name}{where}": reason for name, reason in errors.items()}
        if source.kind == "train" and of_source:
            failed |= source.study.damaged
    if not drawn:
        names = dict.fromkeys(d.name for s in several for d in s.drawings(options.REPORT)[0])
        existing = f"these runs have {', '.join(names) or 'none'}"
        raise ValueError(f"figure={figure}: {'; '.join(failed.values()) or existing}")
    names_drawn = [drawing.name for drawing, _ in drawn]
    return [
        replace(drawing, name=f"{drawing.name}_{source.label}")
        if names_drawn.count(drawing.name) > 1
        else drawing
        for drawing, source in drawn
    ], failed


def _common(run: TrainingTables | None, figure: str) -> str:
    """Key of folders that are drawn together; in a report, their data set and model."""
    if run is None or figure != options.REPORT:
        return ""
    return f"{run.parameters.get('dataset')} {run.parameters.get('model')}"
