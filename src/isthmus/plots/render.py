"""Every figure that the tables of given folders allow, by name."""

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
    """What is asked of figures of trainings.

    Args:
        compare: see `compare.table`; its x is None where nothing is to be compared.
        epochs: first and last one of figures of predictions; None: all but the untrained one.
        images: of the validation examples; called when they are needed, None where they are not
            wanted.
    """

    compare: Mapping[str, Any]
    epochs: Range
    images: Callable[[TrainingRuns], Images] | None


def training_figures(study: TrainingRuns, asked: TrainingFigureOptions) -> dict[str, Make]:
    """What makes each figure, by its name; a figure is made only when its function is called."""
    found: dict[str, Make] = {}
    for name, (table, draw) in METRICS_FIGURES.items():
        found[name] = partial(_metrics_drawing, name, table, draw, study)
    for name, along in (("schedule_decay_table", "scheduler"), ("lr_table", "optimizer.lr")):
        found[name] = partial(_of_table, name, study, along)
    for name, (table, draw) in PREDICTIONS_FIGURES.items():
        found[name] = partial(_predictions_drawing, name, table, draw, study, asked.epochs)
    if asked.images is not None:
        found["persistence_images"] = partial(_of_images, study, asked.images, asked.epochs)
    if asked.compare["x"] is not None:
        found["compare"] = partial(_of_comparison, study, asked.compare)
    return found


def worth_drawing(study: TrainingRuns, names: list[str]) -> Iterator[str]:
    """Those of the figures that say something: no table of learning rates if there is one only."""
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


def _of_images(
    study: TrainingRuns, images: Callable[[TrainingRuns], Images], epochs: Range
) -> Drawing:
    found = images(study)
    drawn = persistence.persistence_images_table(study.predictions, found, epochs)
    return Drawing(
        "persistence_images", drawn, partial(persistence.draw_persistence_images, images=found)
    )


def _of_table(name: str, study: TrainingRuns, along: str) -> Drawing:
    drawn = comparison.final_table(study, along)
    return Drawing(name, drawn, comparison.draw_final_table, comparison.markdown(drawn))


def _of_comparison(study: TrainingRuns, asked: Mapping[str, Any]) -> Drawing:
    return Drawing("compare", comparison.compare_table(study, asked), comparison.draw_compare)


OF_SWEEPS = ("coordinates", "transfer", "fits", "wide")  # kinds of folders of a whole sweep
TOGETHER = ("train", "prune")  # kinds whose folders are drawn in common figures


@dataclass(frozen=True, eq=False)
class Source:
    """Folders of one kind that are drawn together.

    Args:
        kind: of `plotting.TABLES`.
        paths: one or more.
        runs: what is in them, if these are trainings and it has been read.
    """

    kind: str
    paths: Sequence[Path]
    runs: Sequence[plots_runs.TrainingTables] = ()

    @cached_property
    def study(self) -> plots_runs.TrainingRuns:
        """The trainings, if it is a source of these."""
        return plots_runs.TrainingRuns(
            self.runs or [plots_runs.read_training(path) for path in self.paths]
        )

    @property
    def label(self) -> str:
        """What tells its figures from those of another source."""
        return "_".join(self.paths[0].absolute().parts[-2:])

    def commands(self) -> list[str]:
        """The command lines that made the folders, as far as they are kept, each once."""
        found = [plots_runs.read_command(path) for path in self.paths]
        return list(dict.fromkeys(command for command in found if command))

    def figures(self, asked: TrainingFigureOptions) -> dict[str, Make]:
        """What makes each figure, by its name.

        Raises:
            ValueError: a table is not one of its kind.
        """
        with self.named_in_errors():
            if self.kind == "train":
                figures = training_figures(self.study, asked)
            else:
                figures = {drawing.name: _making(drawing) for drawing in self._drawings()}
        return {name: partial(self._make, make) for name, make in figures.items()}

    def worth_drawing(self, asked: TrainingFigureOptions) -> dict[str, Make]:
        """Those that a report shows."""
        figures = self.figures(asked)
        if self.kind != "train":
            return figures
        return {name: figures[name] for name in worth_drawing(self.study, list(figures))}

    def _make(self, make: Make) -> Drawing:
        with self.named_in_errors():
            drawing = make()

        def draw(shown: pd.DataFrame) -> Figure:
            with self.named_in_errors():
                return drawing.draw(shown)

        return replace(drawing, draw=draw)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Lead what goes wrong with the content of tables by the folders that they are in.

        Raises:
            ValueError: in place of the errors that numbers and names lead to which no script
                writes: tables may come from elsewhere, cut off or changed.
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
            yield from branching.branch_drawings(*(read(path / name) for name in _needed("spawn")))
        elif self.kind == "interpolate":
            yield from connectivity.line_drawings(*(read(path / n) for n in _needed("interpolate")))
        elif self.kind == "plane":
            tables = (read(path / name) for name in _needed("plane"))
            yield from connectivity.plane_drawings(*tables)
        elif self.kind == "extract":
            tables_by_name = {file.stem: read(file) for file in path.glob("*.csv")}
            losses = {"losses": read(path.parent / "losses.csv")}
            yield from extraction.extraction_drawings(tables_by_name | losses)
        elif self.kind == "tune":
            given = path / "importance.csv"
            importance = read(given) if given.exists() else pd.DataFrame()
            yield from trials.trial_drawings(read(path / "trials.csv"), importance)
        elif self.kind in OF_SWEEPS:
            yield from sweeps.sweep_drawings(
                path / name for name in Folder(self.kind, path).tables()
            )
        else:
            yield from _of_pruning(self.paths)


def sources(found: Sequence[Folder], figure: str) -> list[Source]:
    """The folders that have a part in a figure, grouped into those that are drawn together.

    One that is damaged is a group of its own, so that it takes nothing from the others.

    Args:
        found: by `found.find`.
        figure: a name, or the beginning of several; "report" is all.
    """
    tables = set(options.FIGURES.get(options.figure_family(figure) or "", ()))
    if figure != options.REPORT:
        found = [folder for folder in found if tables & set(folder.tables())]
    grouped: dict[tuple[str, object], list[Path]] = {}
    runs: dict[Path, plots_runs.TrainingTables] = {}
    for folder in found:
        key: object = folder.path
        if folder.kind in TOGETHER:
            try:
                with Source(folder.kind, [folder.path]).named_in_errors():
                    if folder.kind == "train":
                        runs[folder.path] = plots_runs.read_training(folder.path)
                    else:
                        list(_of_pruning([folder.path]))
                key = _common(runs.get(folder.path), figure)
            except (ValueError, OSError):  # said again, and caught, where it is drawn
                pass
        grouped.setdefault((folder.kind, key), []).append(folder.path)
    return [
        Source(kind, paths, [runs[path] for path in paths if path in runs])
        for (kind, _), paths in grouped.items()
    ]


def drawings(
    figure: str, several: Sequence[Source], asked: TrainingFigureOptions
) -> tuple[list[Drawing], dict[str, str]]:
    """What is drawn under a name.

    Args:
        figure: a name, or the beginning of several.
        several: by `sources`.
        asked: of figures of trainings.

    Returns:
        The figures, those of equal names told apart by their folders; and by name of a figure or
        of a file, why others that begin so cannot be drawn.

    Raises:
        ValueError: none can be drawn; with the reason, or with the names that there are.
    """
    made: list[tuple[Drawing, Source]] = []
    there: list[str] = []
    failed: dict[str, str] = {}
    for source in several:
        try:
            figures = source.figures(asked)
        except (ValueError, OSError) as error:
            failed[str(source.paths[0])] = str(error)
            continue
        there += figures
        for wanted in options.matching_figures(figures, figure):
            try:
                made.append((figures[wanted](), source))
            except (ValueError, OSError) as error:
                failed[wanted] = str(error)
        if source.kind == "train":
            failed |= source.study.damaged
    if not made:
        of_others = f"these runs have {', '.join(dict.fromkeys(there)) or 'none'}"
        raise ValueError(f"figure={figure}: {'; '.join(failed.values()) or of_others}")
    names = [drawing.name for drawing, _ in made]
    return [
        replace(drawing, name=f"{drawing.name}_{source.label}")
        if names.count(drawing.name) > 1
        else drawing
        for drawing, source in made
    ], failed


def _common(run: plots_runs.TrainingTables | None, figure: str) -> str:
    """What folders that are drawn together have in common; in a report, data set and model."""
    if run is None or figure != options.REPORT:
        return ""
    return f"{run.parameters.get('dataset')} {run.parameters.get('model')}"


def _of_pruning(paths: Sequence[Path]) -> Iterator[Drawing]:
    """Figures of all studies together, and what the layers of each keep."""
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


def _needed(kind: str) -> tuple[str, ...]:
    return options.TABLES[kind][0]


def _making(drawing: Drawing) -> Callable[[], Drawing]:
    return lambda: drawing
