"""Options of `plots.py`: figures, and the tables that each needs. Imports no pandas."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from isthmus.config import suggestions
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.vocabulary import Split

METRICS, PREDICTIONS = "metrics.csv", "predictions.npz"
AVERAGES, DISTANCES = "averages.csv", "distance/distance.csv"
LINES, BARRIERS, INTERVALS = "lines.csv", "barriers.csv", "intervals.csv"
PLANE, NETWORKS = "plane.csv", "plane_networks.csv"
LEVELS, SPARSITY, INSTABILITY = "levels.csv", "level_*/sparsity.csv", "instability.csv"
LOSSES, MERGES, COUNTS, MATRIX = "../losses.csv", "merges.csv", "counts.csv", "matrix.csv"
CLUSTERS, COMPARISON, EXCESS = "clusters.csv", "comparison.csv", "excess.csv"
TRIALS, IMPORTANCE = "trials.csv", "importance.csv"
COORDINATES, TRANSFER, FITS = "coordinate_check.csv", "lr_transfer.csv", "function_fits.csv"
CURVES, TRACE, FROBENIUS = "wide_curves.csv", "ranks_trace.csv", "ranks_frobenius.csv"


@dataclass(frozen=True)
class Kind:
    """A kind of folders.

    Args:
        title: in a report.
        needed: tables, by their paths in the folder, that a folder of this kind has.
        is_joint: whether several folders are drawn in common figures.
    """

    title: str
    needed: tuple[str, ...]
    is_joint: bool = False


KINDS = {
    "train": Kind("Trainings", (METRICS,), is_joint=True),
    "spawn": Kind("Branches", (AVERAGES, DISTANCES)),
    "interpolate": Kind("Lines", (LINES, BARRIERS, INTERVALS)),
    "plane": Kind("Plane", (PLANE, NETWORKS)),
    "prune": Kind("Pruning", (LEVELS,), is_joint=True),
    "extract": Kind("Extraction", (LOSSES, MERGES, COUNTS, MATRIX, CLUSTERS)),
    "tune": Kind("Search", (TRIALS,)),
    "coordinates": Kind("Coordinate check", (COORDINATES,)),
    "transfer": Kind("Transfer of learning rates", (TRANSFER,)),
    "fits": Kind("Functions of one variable", (FITS,)),
    "wide": Kind("Wide networks", (CURVES,)),
}


@dataclass(frozen=True)
class FigureRow:
    """A figure, or several whose names begin in the same way.

    Args:
        kind: of the folders that it is drawn of.
        name: of the figure; or the beginning of the names of several.
        tables: that it needs, by their paths in the folder.
        function: in `isthmus.plots`, as `module.name`: takes the tables, and yields a
            `files.Drawing` for each figure. Those of trainings take a `runs.TrainingRuns`.
        family: what a user types, if that is a shorter name.
    """

    kind: str
    name: str
    tables: tuple[str, ...]
    function: str
    family: str = ""

    @property
    def typed_name(self) -> str:
        """The name that a user types."""
        return self.family or self.name


# All figures, in the order of a report. What is found, drawn after a study, drawn by name and put
# into a report follows from this table.
FIGURES = (
    FigureRow("train", "ema_study", (METRICS,), "epochs.make_ema_study"),
    FigureRow("train", "schedule_decay_table", (METRICS,), "comparison.make_schedule_table"),
    FigureRow("train", "lr_table", (METRICS,), "comparison.make_lr_table"),
    FigureRow("train", "weight_difference", (METRICS,), "epochs.make_weight_difference"),
    FigureRow("train", "compare", (METRICS,), "comparison.make_compare"),
    FigureRow("train", "stability", (PREDICTIONS,), "predictions.make_stability"),
    FigureRow("train", "mismatch", (PREDICTIONS,), "predictions.make_mismatch"),
    FigureRow("train", "mismatch_over_time", (PREDICTIONS,), "predictions.make_mismatch_over_time"),
    FigureRow("train", "misclassification", (PREDICTIONS,), "predictions.make_misclassification"),
    FigureRow(
        "train",
        "misclassification_over_time",
        (PREDICTIONS,),
        "predictions.make_misclassification_over_time",
    ),
    FigureRow(
        "train", "persistence_barcode", (PREDICTIONS,), "persistence.make_barcode", "persistence"
    ),
    FigureRow(
        "train", "persistence_images", (PREDICTIONS,), "persistence.make_images", "persistence"
    ),
    FigureRow("spawn", "accuracy", (AVERAGES,), "branching.make_accuracy"),
    FigureRow("spawn", "gain", (AVERAGES,), "branching.make_gain"),
    FigureRow("spawn", "distances", (DISTANCES,), "branching.make_distances"),
    FigureRow("interpolate", "line", (LINES,), "lines.make_line"),
    FigureRow("interpolate", "lines", (LINES,), "lines.make_lines"),
    FigureRow("interpolate", "compared", (LINES,), "lines.make_compared"),
    FigureRow("interpolate", "barriers", (BARRIERS, INTERVALS), "barriers.make_barriers"),
    FigureRow("interpolate", "further_steps", (BARRIERS, INTERVALS), "barriers.make_further_steps"),
    FigureRow("interpolate", "barrier_map", (INTERVALS,), "barriers.make_barrier_map"),
    FigureRow("plane", "plane", (PLANE, NETWORKS), "plane.make_plane"),
    FigureRow("prune", "accuracy", (LEVELS,), "pruning.make_accuracy"),
    FigureRow("prune", "best_step", (LEVELS,), "pruning.make_best_step"),
    FigureRow("prune", "instability", (INSTABILITY,), "pruning.make_instability"),
    FigureRow("prune", "sparsity", (SPARSITY,), "pruning.make_sparsity"),
    FigureRow("extract", "losses", (LOSSES,), "extraction.make_losses"),
    FigureRow("extract", "dendrogram", (MERGES,), "extraction.make_dendrogram"),
    FigureRow("extract", "cluster_counts", (COUNTS,), "extraction.make_cluster_counts"),
    FigureRow("extract", "distances", (MATRIX,), "extraction.make_distances"),
    FigureRow("extract", "angles", (CLUSTERS,), "extraction.make_angles"),
    FigureRow("extract", "teacher", (COMPARISON, EXCESS), "extraction.make_teacher"),
    FigureRow("tune", "history", (TRIALS,), "trials.make_history"),
    FigureRow("tune", "importance", (IMPORTANCE,), "trials.make_importance"),
    FigureRow("tune", "slices", (TRIALS,), "trials.make_slices"),
    FigureRow("tune", "parallel", (TRIALS,), "trials.make_parallel"),
    FigureRow("coordinates", "coordinate_check", (COORDINATES,), "widths.make_coordinate_check"),
    FigureRow("transfer", "lr_transfer", (TRANSFER,), "widths.make_lr_transfer"),
    FigureRow("fits", "function_fits", (FITS,), "widths.make_function_fits"),
    FigureRow("wide", "wide_curves", (CURVES,), "widths.make_wide_curves"),
    FigureRow("wide", "ranks_trace", (TRACE,), "widths.make_layer_ranks", "ranks"),
    FigureRow("wide", "ranks_frobenius", (FROBENIUS,), "widths.make_layer_ranks", "ranks"),
)
REPORT = "report"  # all of them on one page
RUNS = "runs"  # no figure: prints the index of runs


def figure_names() -> list[str]:
    """The names that `figure` can have, each of which may stand for several; without the report."""
    return list(dict.fromkeys(row.typed_name for row in FIGURES))


def tables_of_kind(kind: str) -> list[str]:
    """The tables of a kind of folders: the needed ones, and all that some figure needs."""
    rows = [row for row in FIGURES if row.kind == kind]
    return list(dict.fromkeys([*KINDS[kind].needed, *(t for row in rows for t in row.tables)]))


def figure_family(name: str) -> str | None:
    """The entry of `figure_names` that is a figure's name or its prefix; None if there is none."""
    entries = [entry for entry in figure_names() if f"{name}_".startswith(f"{entry}_")]
    return max(entries, key=len, default=None)


def rows_of_figure(figure: str) -> list[FigureRow]:
    """The rows that a name which a user types stands for; all of them for a report."""
    family = figure_family(figure)
    return [row for row in FIGURES if figure == REPORT or row.typed_name == family]


def matching_figures(names: Iterable[str], figure: str) -> list[str]:
    """The names that `figure` stands for: itself, or all that begin with it."""
    names = list(names)
    return [figure] if figure in names else [n for n in names if figure_family(n) == figure]


@dataclass(frozen=True, kw_only=True)
class Style(Section):
    """Theme of figures: a group, in conf/style/."""

    font_size: float = option(9.0, above=0)  # points, as all that follow
    line_width: float = option(1.2, above=0)
    marker_size: float = option(2.5, above=0)
    scale: float = option(1.0, above=0)  # of the whole figure
    background: str = "white"
    foreground: str = "black"
    grid: str = "0.9"
    dpi: int = option(200, above=0)  # of the PNG


@dataclass(frozen=True, kw_only=True)
class Labels(Section):
    """Labels of a figure; null keeps its own."""

    title: str | None = None
    x: str | list[str] | None = None  # a list where panels differ
    y: str | list[str] | None = None
    legend: str | None = None  # its title


@dataclass(frozen=True, kw_only=True)
class Compare(Section):
    """Options of `figure=compare`."""

    x: str | None = None
    metric: str = "accuracy"
    split: Split = "test"
    model: str = "plain"
    hue: str | list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Plots(Section):
    """Options of `plots.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    figure: str
    runs: str | list[str] = option(nonempty=True)
    compare: Compare = option(Compare)
    epochs: list[float] | None = None
    images: bool = True
    style: Style = option(Style)
    size: list[float] | None = None  # inches
    labels: Labels = option(Labels)
    colours: str | list[str] | None = None
    output_dir: str = option("outputs", in_name=None)

    @classmethod
    def folder_prefix(cls, script: str, values: Values) -> str:
        """See `Section`."""
        figure = str(values.get("figure"))
        is_known = figure in (REPORT, RUNS) or figure_family(figure) is not None
        return f"plots/{figure if is_known else 'unknown'}"

    def errors(self) -> list[str]:
        """See `Section`."""
        figure, size, epochs, errors = self.figure, self.size, self.epochs, []
        if figure not in (REPORT, RUNS) and figure_family(figure) is None:
            names = [*figure_names(), REPORT, RUNS]
            question = suggestions.question(suggestions.nearest(figure, names))
            errors.append(f"figure={figure}: must be one of {', '.join(names)}{question}")
        if size is not None and not (len(size) == 2 and all(length > 0 for length in size)):
            errors.append(f"size={format_value(size)}: must be width and height in inches, [6,4]")
        if epochs is not None and not (len(epochs) == 2 and 0 <= epochs[0] <= epochs[1]):
            errors.append(
                f"epochs={format_value(epochs)}: must be the first and the last, [90,180]"
            )
        if figure == "compare" and self.compare.x is None:
            errors.append("compare.x: needs a value, such as compare.x=optimizer.lr")
        single = [f"labels.{name}" for name, word in vars(self.labels).items() if word is not None]
        single += ["colours"] if self.colours is not None else []
        if figure == REPORT and single:
            errors.append(f"{single[0]}: of one figure, not with figure=report")
        if figure not in ("compare", REPORT) and self.compare.x is not None:
            errors.append(f"compare.x={self.compare.x}: needs figure=compare or figure=report")
        return errors
