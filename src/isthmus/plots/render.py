"""Makes figures by name from the tables of folders: one figure, several, or all for a report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from isthmus.plots import (
    branching,
    comparison,
    connectivity,
    extraction,
    folders,
    options,
    persistence,
    predictions,
    pruning,
    sweeps,
    trials,
)
from isthmus.plots import epochs as plots_epochs
from isthmus.plots import runs as plots_runs
from isthmus.plots.files import Drawing
from isthmus.plots.folders import Folder
from isthmus.plots.persistence import Images
from isthmus.plots.predictions import Range
from isthmus.plots.runs import TrainingRuns

Make = Callable[[], Drawing]
Draw = Callable[[pd.DataFrame], Figure]

# By name: the function that makes the table of a figure, and the one that draws it.
METRICS_FIGURES: dict[str, tuple[Callable[..., pd.DataFrame], Draw]] = {
    "ema_study": (plots_epochs.ema_study_table, plots_epochs.draw_ema_study),
    "weight_difference": (plots_epochs.weight_difference_table, plots_epochs.draw_epochs),
}
PREDICTIONS_FIGURES: dict[str, tuple[Callable[..., pd.DataFrame], Draw]] = {
    "stability": (predictions.stability_table, plots_epochs.draw_epochs),
    "mismatch": (predictions.mismatch_table, predictions.draw_histogram),
    "mismatch_over_time": (predictions.mismatch_over_time_table, plots_epochs.draw_epochs),
    "misclassification": (predictions.misclassification_table, predictions.draw_histogram),
    "misclassification_over_time": (
        predictions.misclassification_over_time_table,
        plots_epochs.draw_epochs,
    ),
    "persistence_barcode": (persistence.persistence_table, persistence.draw_persistence),
}


@dataclass(frozen=True, eq=False)
class TrainingFigureOptions:
    """Options of figures of trainings.

    Args:
        compare: see `comparison.compare_table`; its x is None for no comparison.
        epochs: first and last one of figures of predictions; None: all except the untrained one.
        images: reads the images of validation examples when they are needed; None for no images.
    """

    compare: Mapping[str, Any]
    epochs: Range
    images: Callable[[TrainingRuns], Images] | None


def training_figures(study: TrainingRuns, figure_options: TrainingFigureOptions) -> dict[str, Make]:
    """Functions that make the figures of trainings, by name; called only when needed."""
    figures: dict[str, Make] = {}
    for name, (table, draw) in METRICS_FIGURES.items():
        figures[name] = partial(_metrics_drawing, name, table, draw, study)
    for name, along in (("schedule_decay_table", "scheduler"), ("lr_table", "optimizer.lr")):
        figures[name] = partial(_table_drawing, name, study, along)
    for name, (table, draw) in PREDICTIONS_FIGURES.items():
        figures[name] = partial(
            _predictions_drawing, name, table, draw, study, figure_options.epochs
        )
    if figure_options.images is not None:
        figures["persistence_images"] = partial(
            _images_drawing, study, figure_options.images, figure_options.epochs
        )
    if figure_options.compare["x"] is not None:
        figures["compare"] = partial(_compare_drawing, study, figure_options.compare)
    return figures


def worth_drawing(study: TrainingRuns, names: list[str]) -> Iterator[str]:
    """The figures to show in a report: without a table of learning rates if there is only one."""
    rates = {str(run.parameters.get("optimizer.lr")) for run in study.runs}
    for name in names:
        if name != "lr_table" or len(rates) > 1:
            yield name


def _metrics_drawing(
    name: str, table: Callable[..., pd.DataFrame], draw: Draw, study: TrainingRuns
) -> Drawing:
    return Drawing(name, table(study.metrics), draw)


def _predictions_drawing(
    name: str,
    table: Callable[..., pd.DataFrame],
    draw: Draw,
    study: TrainingRuns,
    epochs: Range,
) -> Drawing:
    return Drawing(name, table(study.predictions, epochs), draw)


def _images_drawing(
    study: TrainingRuns, images: Callable[[TrainingRuns], Images], epochs: Range
) -> Drawing:
    loaded = images(study)
    drawn = persistence.persistence_images_table(study.predictions, loaded, epochs)
    return Drawing(
        "persistence_images", drawn, partial(persistence.draw_persistence_images, images=loaded)
    )


def _table_drawing(name: str, study: TrainingRuns, along: str) -> Drawing:
    drawn = comparison.final_table(study, along)
    return Drawing(name, drawn, comparison.draw_final_table, comparison.markdown(drawn))


def _compare_drawing(study: TrainingRuns, figure_options: Mapping[str, Any]) -> Drawing:
    return Drawing(
        "compare", comparison.compare_table(study, figure_options), comparison.draw_compare
    )


SWEEP_KINDS = ("coordinates", "transfer", "fits", "wide")  # kinds of folders of a whole sweep
TOGETHER = ("train", "prune")  # kinds whose folders are drawn in common figures


@dataclass(frozen=True, eq=False)
class Source:
    """Folders of one kind that are drawn together.

    Args:
        kind: a key of `options.TABLES`.
        paths: one or more.
        runs: the trainings in them, if they have been read.
    """

    kind: str
    paths: Sequence[Path]
    runs: Sequence[plots_runs.TrainingTables] = ()

    @cached_property
    def study(self) -> plots_runs.TrainingRuns:
        """The trainings, for the kind "train"."""
        return plots_runs.TrainingRuns(
            self.runs or [plots_runs.read_training(path) for path in self.paths]
        )

    @property
    def label(self) -> str:
        """Suffix of its figures' names where several sources have the same figure."""
        return "_".join(self.paths[0].absolute().parts[-2:])

    def commands(self) -> list[str]:
        """The command lines that made the folders, as far as they are recorded, each once."""
        commands = [plots_runs.read_command(path) for path in self.paths]
        return list(dict.fromkeys(command for command in commands if command))

    def figures(self, figure_options: TrainingFigureOptions) -> dict[str, Make]:
        """Functions that make the figures, by name.

        Raises:
            ValueError: a table does not fit its kind.
        """
        with self.name_folders_in_errors():
            if self.kind == "train":
                figures = training_figures(self.study, figure_options)
            else:
                figures = {drawing.name: _as_make(drawing) for drawing in self._drawings()}
        return {name: partial(self._make, make) for name, make in figures.items()}

    def worth_drawing(self, figure_options: TrainingFigureOptions) -> dict[str, Make]:
        """The figures that a report shows."""
        figures = self.figures(figure_options)
        if self.kind != "train":
            return figures
        return {name: figures[name] for name in worth_drawing(self.study, list(figures))}

    def _make(self, make: Make) -> Drawing:
        with self.name_folders_in_errors():
            drawing = make()

        def draw(shown: pd.DataFrame) -> Figure:
            with self.name_folders_in_errors():
                return drawing.draw(shown)

        return replace(drawing, draw=draw)

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

    def _drawings(self) -> Iterator[Drawing]:
        (path, *_), read = self.paths, folders.read
        if self.kind == "spawn":
            yield from branching.branch_drawings(
                *(read(path / name) for name in _needed_tables("spawn"))
            )
        elif self.kind == "interpolate":
            yield from connectivity.line_drawings(
                *(read(path / n) for n in _needed_tables("interpolate"))
            )
        elif self.kind == "plane":
            tables = (read(path / name) for name in _needed_tables("plane"))
            yield from connectivity.plane_drawings(*tables)
        elif self.kind == "extract":
            tables_by_name = {file.stem: read(file) for file in path.glob("*.csv")}
            losses = {"losses": read(path.parent / "losses.csv")}
            yield from extraction.extraction_drawings(tables_by_name | losses)
        elif self.kind == "tune":
            file = path / "importance.csv"
            importance = read(file) if file.exists() else pd.DataFrame()
            yield from trials.trial_drawings(read(path / "trials.csv"), importance)
        elif self.kind in SWEEP_KINDS:
            yield from sweeps.sweep_drawings(
                path / name for name in Folder(self.kind, path).tables()
            )
        else:
            yield from _pruning_drawings(self.paths)


def sources(folders_with_tables: Sequence[Folder], figure: str) -> list[Source]:
    """The folders with tables of a figure, grouped into those that are drawn together.

    A damaged folder is a group of its own, so that it does not spoil the others.

    Args:
        folders_with_tables: by `folders.find_folders`.
        figure: a name, or the prefix of several; "report" means all.
    """
    tables = set(options.FIGURES.get(options.figure_family(figure) or "", ()))
    if figure != options.REPORT:
        folders_with_tables = [
            folder for folder in folders_with_tables if tables & set(folder.tables())
        ]
    grouped: dict[tuple[str, object], list[Path]] = {}
    runs: dict[Path, plots_runs.TrainingTables] = {}
    for folder in folders_with_tables:
        key: object = folder.path
        if folder.kind in TOGETHER:
            try:
                with Source(folder.kind, [folder.path]).name_folders_in_errors():
                    if folder.kind == "train":
                        runs[folder.path] = plots_runs.read_training(folder.path)
                    else:
                        list(_pruning_drawings([folder.path]))
                key = _common(runs.get(folder.path), figure)
            except (ValueError, OSError):  # raised again, and caught, where it is drawn
                pass
        grouped.setdefault((folder.kind, key), []).append(folder.path)
    return [
        Source(kind, paths, [runs[path] for path in paths if path in runs])
        for (kind, _), paths in grouped.items()
    ]


def drawings(
    figure: str, several: Sequence[Source], figure_options: TrainingFigureOptions
) -> tuple[list[Drawing], dict[str, str]]:
    """The figures of a name.

    Args:
        figure: a name, or the prefix of several.
        several: by `sources`.
        figure_options: of figures of trainings.

    Returns:
        The figures; those of equal names get their folders as suffix. And the errors of figures
        with this prefix that cannot be drawn, by name of the figure or of a file.

    Raises:
        ValueError: none can be drawn; has the reason, or the existing names.
    """
    drawn: list[tuple[Drawing, Source]] = []
    names_of_runs: list[str] = []
    failed: dict[str, str] = {}
    for source in several:
        try:
            figures = source.figures(figure_options)
        except (ValueError, OSError) as error:
            failed[str(source.paths[0])] = str(error)
            continue
        names_of_runs += figures
        for name in options.matching_figures(figures, figure):
            try:
                drawn.append((figures[name](), source))
            except (ValueError, OSError) as error:
                failed[name] = str(error)
        if source.kind == "train":
            failed |= source.study.damaged
    if not drawn:
        existing = f"these runs have {', '.join(dict.fromkeys(names_of_runs)) or 'none'}"
        raise ValueError(f"figure={figure}: {'; '.join(failed.values()) or existing}")
    names = [drawing.name for drawing, _ in drawn]
    return [
        replace(drawing, name=f"{drawing.name}_{source.label}")
        if names.count(drawing.name) > 1
        else drawing
        for drawing, source in drawn
    ], failed


def _common(run: plots_runs.TrainingTables | None, figure: str) -> str:
    """Key of folders that are drawn together; in a report, their data set and model."""
    if run is None or figure != options.REPORT:
        return ""
    return f"{run.parameters.get('dataset')} {run.parameters.get('model')}"


def _pruning_drawings(paths: Sequence[Path]) -> Iterator[Drawing]:
    """Figures of all studies together, and the density of layers of each."""
    for name, draw in (
        ("levels", pruning.level_drawings),
        ("instability", pruning.instability_drawings),
    ):
        tables = [
            folders.read(path / f"{name}.csv").assign(study=path.absolute().parent.name)
            for path in paths
            if (path / f"{name}.csv").exists()
        ]
        if tables:
            yield from draw(pd.concat(tables))
    for path in paths:
        files = sorted(path.glob("level_*/sparsity.csv"), key=lambda f: (len(f.parts[-2]), f))
        if files:
            kept = [
                folders.read(f).assign(level=int(f.parent.name.removeprefix("level_")))
                for f in files
            ]
            (drawing,) = pruning.mask_drawings(pd.concat(kept))
            end = "" if len(paths) == 1 else f"_{Source('prune', [path]).label}"
            yield replace(drawing, name=drawing.name + end)


def _needed_tables(kind: str) -> tuple[str, ...]:
    return options.TABLES[kind][0]


def _as_make(drawing: Drawing) -> Callable[[], Drawing]:
    return lambda: drawing
