"""Options of `plots.py`: figures, and the tables that each needs. Imports no pandas."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
        caption: what it shows, for someone who has not read the documentation.
        family: what a user types, if that is a shorter name.
        takes: options of its own, see `OF_FIGURES`.
        unused: options of the style that change nothing in it.
    """

    kind: str
    name: str
    tables: tuple[str, ...]
    function: str
    caption: str
    family: str = ""
    takes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def typed_name(self) -> str:
        """The name that a user types."""
        return self.family or self.name


NO_MARKS = ("style.marker_size",)
CELLS = ("style.line_width", "style.marker_size", "style.grid")  # of maps and images
# Options of some figures only; of a section all of its options.
OF_FIGURES = ("compare", "epochs", "images", "persistence", "window")

# All figures, in the order of a report. What is found, drawn after a study, drawn by name and put
# into a report follows from this table.
FIGURES = (
    FigureRow(
        "train",
        "ema_study",
        (METRICS,),
        "epochs.make_ema_study",
        "Validation accuracy of the network as trained and of its averages after every epoch,"
        " one panel for each setting.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "schedule_decay_table",
        (METRICS,),
        "comparison.make_schedule_table",
        "Final test accuracy by schedule (rows) and model (columns), mean and standard "
        "deviation over seeds.",
        unused=CELLS,
    ),
    FigureRow(
        "train",
        "lr_table",
        (METRICS,),
        "comparison.make_lr_table",
        "Final test accuracy by learning rate (rows) and model (columns), mean and standard "
        "deviation over seeds.",
        unused=CELLS,
    ),
    FigureRow(
        "train",
        "weight_difference",
        (METRICS,),
        "epochs.make_weight_difference",
        "L2 distance of the averaged weights from the trained ones after every epoch.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "compare",
        (METRICS,),
        "comparison.make_compare",
        "A result of the last evaluation against one option of the runs.",
        takes=("compare",),
    ),
    FigureRow(
        "train",
        "stability",
        (PREDICTIONS,),
        "predictions.make_stability",
        "Fraction of validation examples whose correctness did not change since the epoch "
        "before, above the accuracy.",
        takes=("epochs", "window"),
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "mismatch",
        (PREDICTIONS,),
        "predictions.make_mismatch",
        "Validation examples by the fraction of epochs in which only one of the network and "
        "its average is correct.",
        takes=("epochs",),
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "mismatch_over_time",
        (PREDICTIONS,),
        "predictions.make_mismatch_over_time",
        "Fraction of validation examples on which only one of the network and its average is "
        "correct, after every epoch.",
        takes=("epochs", "window"),
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "misclassification",
        (PREDICTIONS,),
        "predictions.make_misclassification",
        "Validation examples by the fraction of epochs in which a model is wrong on them.",
        takes=("epochs",),
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "misclassification_over_time",
        (PREDICTIONS,),
        "predictions.make_misclassification_over_time",
        "Fraction of validation examples on which a model is wrong, after every epoch.",
        takes=("epochs", "window"),
        unused=NO_MARKS,
    ),
    FigureRow(
        "train",
        "persistence_barcode",
        (PREDICTIONS,),
        "persistence.make_barcode",
        "After which epochs the chosen validation examples are correct, one bar for each.",
        family="persistence",
        takes=("epochs", "persistence"),
        unused=CELLS,
    ),
    FigureRow(
        "train",
        "persistence_images",
        (PREDICTIONS,),
        "persistence.make_images",
        "The validation examples of the barcodes.",
        family="persistence",
        takes=("epochs", "persistence", "images"),
        unused=CELLS,
    ),
    FigureRow(
        "spawn",
        "accuracy",
        (AVERAGES,),
        "branching.make_accuracy",
        "Children and their averages against the steps since they left the parent, one panel "
        "for each spawn step.",
    ),
    FigureRow(
        "spawn",
        "gain",
        (AVERAGES,),
        "branching.make_gain",
        "Accuracy of an average minus the mean accuracy of the children in it, by spawn step "
        "and child step. Colours are linear up to .01, and logarithmic beyond.",
        unused=(*NO_MARKS, "style.grid"),
    ),
    FigureRow(
        "spawn",
        "distances",
        (DISTANCES,),
        "branching.make_distances",
        "Distances and cosines between a child and other networks against the steps since it "
        "left the parent.",
    ),
    FigureRow(
        "interpolate",
        "line",
        (LINES,),
        "lines.make_line",
        "Loss and accuracy along the line between two networks. barrier is the largest excess"
        " over the straight line between the ends, barrier_frankle the maximum minus the mean"
        " of the ends: where the ends differ it has half of their difference in it.",
    ),
    FigureRow(
        "interpolate",
        "lines",
        (LINES,),
        "lines.make_lines",
        "Loss or error above the straight line between the ends, along the line between two "
        "networks.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "interpolate",
        "compared",
        (LINES,),
        "lines.make_compared",
        "Loss and accuracy along the line between two networks, by alignment and treatment of"
        " batch norm. barrier_frankle has half the difference of the ends in it.",
    ),
    FigureRow(
        "interpolate",
        "barriers",
        (BARRIERS, INTERVALS),
        "barriers.make_barriers",
        "Barriers against the number of shared epochs, by either definition. barrier_frankle "
        "has half the difference of the ends in it.",
    ),
    FigureRow(
        "interpolate",
        "further_steps",
        (BARRIERS, INTERVALS),
        "barriers.make_further_steps",
        "Barriers, distance and cosine against the number of epochs after the networks parted.",
    ),
    FigureRow(
        "interpolate",
        "barrier_map",
        (INTERVALS,),
        "barriers.make_barrier_map",
        "Mean barriers by shared and further epochs. Colours are linear up to .01, and "
        "logarithmic beyond.",
        unused=CELLS,
    ),
    FigureRow(
        "plane",
        "plane",
        (PLANE, NETWORKS),
        "plane.make_plane",
        "Loss and accuracy on the plane through three networks A, B and C; others where they "
        "are nearest to it.",
        unused=("style.grid",),
    ),
    FigureRow(
        "prune",
        "accuracy",
        (LEVELS,),
        "pruning.make_accuracy",
        "Accuracy against the fraction of weights that remain.",
    ),
    FigureRow(
        "prune",
        "best_step",
        (LEVELS,),
        "pruning.make_best_step",
        "Step of the lowest validation loss against the fraction of weights that remain.",
    ),
    FigureRow(
        "prune",
        "instability",
        (INSTABILITY,),
        "pruning.make_instability",
        "Barriers between children that differ in their randomness only, by either definition.",
    ),
    FigureRow(
        "prune",
        "sparsity",
        (SPARSITY,),
        "pruning.make_sparsity",
        "Fraction of weights that remain in each layer, one line for each level.",
    ),
    FigureRow(
        "extract",
        "losses",
        (LOSSES,),
        "extraction.make_losses",
        "Loss of each student on the queries against the epoch; a dot at its end.",
    ),
    FigureRow(
        "extract",
        "dendrogram",
        (MERGES,),
        "extraction.make_dendrogram",
        "How the units of all students join into clusters; the dashed line is the cut.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "extract",
        "cluster_counts",
        (COUNTS,),
        "extraction.make_cluster_counts",
        "Number of large clusters against the distance at which the tree is cut.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "extract",
        "distances",
        (MATRIX,),
        "extraction.make_distances",
        "Distances between the units of all students: clusters are dark squares.",
        unused=CELLS,
    ),
    FigureRow(
        "extract",
        "angles",
        (CLUSTERS,),
        "extraction.make_angles",
        "Median angle within each large cluster, and the largest angle beta that is allowed.",
    ),
    FigureRow(
        "extract",
        "teacher",
        (COMPARISON, EXCESS),
        "extraction.make_teacher",
        "Distances of the units that were found to those of the teacher: 1 - cosine of the "
        "weights; of a single outgoing weight the relative difference.",
    ),
    FigureRow(
        "tune",
        "history",
        (TRIALS,),
        "trials.make_history",
        "Value of each trial in order, and the best so far.",
    ),
    FigureRow(
        "tune",
        "importance",
        (IMPORTANCE,),
        "trials.make_importance",
        "How much each option matters for the value of a trial.",
        unused=("style.line_width", "style.marker_size"),
    ),
    FigureRow(
        "tune",
        "slices",
        (TRIALS,),
        "trials.make_slices",
        "Value of each trial against each option; colours are the numbers of trials.",
    ),
    FigureRow(
        "tune",
        "parallel",
        (TRIALS,),
        "trials.make_parallel",
        "The options of each trial as a line, whose colour is its value.",
        unused=(*NO_MARKS, "style.grid"),
    ),
    FigureRow(
        "coordinates",
        "coordinate_check",
        (COORDINATES,),
        "widths.make_coordinate_check",
        "Mean output, and its change after each step, against the width, with slopes and what"
        " theory says of them.",
    ),
    FigureRow(
        "transfer",
        "lr_transfer",
        (TRANSFER,),
        "widths.make_lr_transfer",
        "Training loss against the learning rate, one line for each width.",
    ),
    FigureRow(
        "fits",
        "function_fits",
        (FITS,),
        "widths.make_function_fits",
        "Functions of one variable as networks of different parametrizations fit them.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "wide",
        "wide_curves",
        (CURVES,),
        "widths.make_wide_curves",
        "Training loss and mean output against the step, one panel for each activation.",
        unused=NO_MARKS,
    ),
    FigureRow(
        "wide",
        "ranks_trace",
        (TRACE,),
        "widths.make_layer_ranks",
        "Effective rank (squared trace) of weights, their change and the activations of each "
        "layer.",
        family="ranks",
    ),
    FigureRow(
        "wide",
        "ranks_frobenius",
        (FROBENIUS,),
        "widths.make_layer_ranks",
        "Effective rank (Frobenius over spectral norm) of weights, their change and the "
        "activations of each layer.",
        family="ranks",
    ),
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


def find_caption(kind: str, name: str) -> str:
    """The caption of a figure of a kind of folders, by its whole name such as accuracy_plain."""
    rows = [row for row in FIGURES if row.kind == kind and f"{name}_".startswith(f"{row.name}_")]
    return max(rows, key=lambda row: len(row.name)).caption if rows else ""


def matching_figures(names: Iterable[str], figure: str) -> list[str]:
    """The names that `figure` stands for: all of a family of figures, or itself."""
    is_family = figure in figure_names()
    return [n for n in names if (figure_family(n) if is_family else n) == figure]


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


Sort = Literal["stability", "mismatch", "misclassification", "random"]


@dataclass(frozen=True, kw_only=True)
class Persistence(Section):
    """Which validation examples `figure=persistence` shows."""

    sort: Sort = "stability"
    num_examples: int = option(10, at_least=1)
    examples: list[int] | None = option(None, nonempty=True, distinct=True)


@dataclass(frozen=True, kw_only=True)
class Plots(Section):
    """Options of `plots.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    figure: str
    runs: str | list[str] = option(nonempty=True)
    where: dict[str, Any] | None = None  # value by name of an option of the runs
    compare: Compare = option(Compare)
    epochs: list[float] | None = None
    window: int = option(1, at_least=1)  # epochs
    images: bool = True
    persistence: Persistence = option(Persistence)
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
        return errors

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        figure, rows = values.get("figure"), rows_of_figure(str(values.get("figure")))
        if figure == REPORT or not rows:
            return {}
        unused: dict[str, str] = {}
        for option_name in OF_FIGURES:
            if not any(option_name in row.takes for row in rows):
                taking = dict.fromkeys(r.typed_name for r in FIGURES if option_name in r.takes)
                reason = f"figure={figure} does not take it; {', '.join(taking)} do, and {REPORT}"
                section = values.get(option_name)
                names = [option_name]
                if isinstance(section, dict):
                    names = [f"{option_name}.{key}" for key in section]
                unused |= dict.fromkeys(names, reason)
        for name in rows[0].unused:
            if all(name in row.unused for row in rows):
                unused[name] = f"figure={figure} has nothing that it changes"
        compare, persistence = values.get("compare"), values.get("persistence")
        if figure == "compare" and isinstance(compare, dict):
            if compare.get("x") == "averaged.decay":
                unused["compare.model"] = "compare.x=averaged.decay draws all averages"
        if isinstance(persistence, dict) and persistence.get("examples") is not None:
            reason = "persistence.examples says which"
            unused |= dict.fromkeys(("persistence.sort", "persistence.num_examples"), reason)
        return unused
