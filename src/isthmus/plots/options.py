"""Options of `plots.py`: figures, and the tables that each needs. Imports no pandas."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.vocabulary import Split

METRICS, PREDICTIONS, LEVELS = "metrics.csv", "predictions.npz", "levels.csv"
AVERAGES, DISTANCES = "averages.csv", "distance/distance.csv"
LINES = ("lines.csv", "barriers.csv", "intervals.csv")
PLANE = ("plane.csv", "plane_networks.csv")
CLUSTERS = ("../losses.csv", "merges.csv", "counts.csv", "matrix.csv", "clusters.csv")
TRIALS, IMPORTANCE = "trials.csv", "importance.csv"
COORDINATES, TRANSFER = "coordinate_check.csv", "lr_transfer.csv"
FITS, CURVES, RANKS = (
    "function_fits.csv",
    "wide_curves.csv",
    ("ranks_trace.csv", "ranks_frobenius.csv"),
)
SPARSITY, INSTABILITY, COMPARISON = "level_0/sparsity.csv", "instability.csv", "comparison.csv"

# By kind of folder: tables that it must have, then optional ones.
TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": ((METRICS,), (PREDICTIONS,)),
    "spawn": ((AVERAGES, DISTANCES), ()),
    "interpolate": (LINES, ()),
    "plane": (PLANE, ()),
    "prune": ((LEVELS,), (SPARSITY, INSTABILITY)),
    "extract": (CLUSTERS, (COMPARISON,)),
    "tune": ((TRIALS,), (IMPORTANCE,)),
    "coordinates": ((COORDINATES,), ()),
    "transfer": ((TRANSFER,), ()),
    "fits": ((FITS,), ()),
    "wide": ((CURVES,), RANKS),
}
# By name of a figure, or common prefix of several: tables, one of which is enough.
FIGURES: dict[str, tuple[str, ...]] = {
    "ema_study": (METRICS,),
    "schedule_decay_table": (METRICS,),
    "lr_table": (METRICS,),
    "weight_difference": (METRICS,),
    "compare": (METRICS,),
    "stability": (PREDICTIONS,),
    "mismatch": (PREDICTIONS,),
    "mismatch_over_time": (PREDICTIONS,),
    "misclassification": (PREDICTIONS,),
    "misclassification_over_time": (PREDICTIONS,),
    "persistence": (PREDICTIONS,),
    "accuracy": (AVERAGES, LEVELS),
    "gain": (AVERAGES,),
    "distances": (DISTANCES, "matrix.csv"),
    "line": (LINES[0],),
    "lines": (LINES[0],),
    "compared": (LINES[0],),
    "barriers": (LINES[1],),
    "further_steps": (LINES[1],),
    "barrier_map": (LINES[1],),
    "plane": (PLANE[0],),
    "best_step": (LEVELS,),
    "sparsity": (SPARSITY,),
    "instability": (INSTABILITY,),
    "losses": (CLUSTERS[0],),
    "dendrogram": ("merges.csv",),
    "cluster_counts": ("counts.csv",),
    "angles": ("clusters.csv",),
    "teacher": (COMPARISON,),
    "history": (TRIALS,),
    "importance": (IMPORTANCE,),
    "slices": (TRIALS,),
    "parallel": (TRIALS,),
    "coordinate_check": (COORDINATES,),
    "lr_transfer": (TRANSFER,),
    "function_fits": (FITS,),
    "wide_curves": (CURVES,),
    "ranks": RANKS,
}
REPORT = "report"  # all of them on one page


def figure_family(name: str) -> str | None:
    """The entry of `FIGURES` that is a figure's name or its prefix; None if there is none."""
    entries = [entry for entry in FIGURES if f"{name}_".startswith(f"{entry}_")]
    return max(entries, key=len, default=None)


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
        is_known = figure == REPORT or figure_family(figure) is not None
        return f"plots/{figure if is_known else 'unknown'}"

    def errors(self) -> list[str]:
        """See `Section`."""
        figure, size, epochs, errors = self.figure, self.size, self.epochs, []
        if figure != REPORT and figure_family(figure) is None:
            errors.append(f"figure={figure}: must be one of {', '.join([*FIGURES, REPORT])}")
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
