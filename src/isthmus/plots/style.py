"""Style of figures: themes, axes, legends, colours and dashes of models."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import matplotlib
import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator

CHILD_STEP = "child step (iterations)"
SPAWN_STEP = "spawn step (iterations)"
UNITS = {"accuracy": "fraction", "loss": "nats"}

# Wong (2011): safe for colour-blind readers.
COLOURS = ["#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]

LOOK: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=[*COLOURS[2:0:-1], *COLOURS[3:], COLOURS[0]]),
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "figure.labelsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 2.5,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text that can be edited and searched
}

# A kind looks the same in every figure, and differs from others in lightness or marker, too.
BACK: dict[str, dict[str, Any]] = {
    "back": {"color": "#eeaa33", "marker": "s"},
    "back_plus_one": {"color": "#dd6611", "marker": "^"},
    "back_plus_three": {"color": "#aa3322", "marker": "v"},
    "back_all": {"color": "#661133", "marker": "D"},
}
EACH_CHILD: dict[str, Any] = {"color": "0.6", "linewidth": 0.7, "marker": ".", "markersize": 2}
MEAN_CHILD: dict[str, Any] = {"color": "0.1", "linewidth": 2.2, "marker": "o"}


# Settings that override those of `LOOK`.
CHOSEN: ContextVar[Mapping[str, Any]] = ContextVar("CHOSEN", default=MappingProxyType({}))


def look() -> AbstractContextManager[None]:
    """Context of the settings for drawing and saving figures, independent of the user's own."""
    return matplotlib.style.context(["default", LOOK, dict(CHOSEN.get())])


@contextmanager
def override_look(settings: Mapping[str, Any]) -> Iterator[None]:
    """Context in which `look` uses other settings than those of scripts.

    Args:
        settings: as matplotlib names them.
    """
    before = CHOSEN.set(settings)
    try:
        yield
    finally:
        CHOSEN.reset(before)


def line(kind: str, num_models: int) -> dict[str, Any]:
    """Line style of the mean curve of a kind; across darkens with the number of networks."""
    if kind == "child":
        return MEAN_CHILD
    if kind == "across":
        shade = 0.2 + 0.25 * math.log2(num_models)
        return {"color": matplotlib.colormaps["Blues"](shade), "marker": "o"}
    return BACK[kind]


def sequential(count: int) -> list[tuple[float, float, float, float]]:
    """Colours for ordered items, from dark to light."""
    colours = matplotlib.colormaps["viridis"]
    return [colours(0.9 * i / max(count - 1, 1)) for i in range(count)]  # its end is too light


def distinct(count: int) -> list[tuple[float, float, float, float]]:
    """Colours for unordered items; they repeat after twenty."""
    colours = matplotlib.colormaps["tab20"]
    order = [*range(0, 20, 2), *range(1, 20, 2)]  # the dark ones first
    return [colours(order[i % 20]) for i in range(count)]


def spread(count: int, most: int) -> range:
    """At most `most` of `count` positions, evenly spaced, including the last."""
    stride = math.ceil(count / most)
    return range((count - 1) % stride, count, stride)


def epochs(number: float) -> str:
    """Short text of a number of epochs: "0.128ep", "2ep", "1280ep"."""
    return f"{number:.0f}ep" if number >= 1000 else f"{number:.3g}ep"


def moment(iteration: int, per_epoch: float | None) -> str:
    """Text of a step of training in both units: "500it (1.28ep)"."""
    if per_epoch is None or iteration == 0:
        return f"{iteration}it"
    return f"{iteration}it ({epochs(iteration / per_epoch)})"


def span(smallest: int, largest: int) -> str:
    """Text of a range of numbers: "2", or "2 to 5"."""
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest}"


def iterations_per_epoch(drawn: pd.DataFrame) -> float | None:
    """Optimizer steps of an epoch, from the latest step; None if all steps are 0."""
    for when in ("child", "spawn"):
        latest = drawn[f"{when}_epoch"].max()
        if latest > 0:
            return float(drawn[f"{when}_step"].max() / latest)
    return None


def step_ticks(iterations: Iterable[int], per_epoch: float | None) -> list[float]:
    """A few ticks for a logarithmic axis: both ends, and round numbers between them.

    Args:
        iterations: that were measured.
        per_epoch: optimizer steps of an epoch, or None if unknown; beyond one epoch, numbers of
            epochs are round.

    Returns:
        In order; with 0 first if it was measured.
    """
    measured = sorted(set(iterations))
    zero = [0.0] if measured[0] == 0 else []
    positive = [i for i in measured if i > 0]
    if not positive:
        return zero
    first, last = positive[0], positive[-1]
    apart = max(math.log10(last / first) / 8, 0.1)  # so that labels do not touch
    ticks = [float(last)]
    for tick in [first, *round_numbers(first, last, per_epoch or math.inf)]:
        if first <= tick < last and all(abs(math.log10(tick / t)) > apart for t in ticks):
            ticks.append(tick)
    return zero + sorted(ticks)


def round_numbers(first: float, last: float, per_epoch: float) -> list[float]:
    """Round iterations below one epoch and round epochs above, the roundest first."""
    decades = [10.0**power for power in range(math.ceil(math.log10(last)) + 1)]
    numbers = []
    for digit in (1, 2, 5) if last < 100 * first else (1,):
        numbers += [digit * decade * per_epoch for decade in decades]
        numbers += [digit * decade for decade in decades if digit * decade < per_epoch]
    return numbers


def step_label(iteration: float, per_epoch: float | None) -> str:
    """Label of a tick: its iterations and, from one epoch on, its epochs."""
    if per_epoch is None or iteration < per_epoch:
        return f"{iteration:.0f}"
    return f"{iteration:.0f}\n{epochs(iteration / per_epoch)}"


def step_axis(axes: Axes, iterations: Iterable[int], per_epoch: float | None) -> None:
    """Set the x axis to training steps: logarithmic, with a 0.

    Args:
        axes: with its curves.
        iterations: that were measured.
        per_epoch: optimizer steps of an epoch, or None if unknown.
    """
    ticks = step_ticks(iterations, per_epoch)
    smallest = min((iteration for iteration in iterations if iteration > 0), default=1)
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    axes.set_xticks(ticks, [step_label(tick, per_epoch) for tick in ticks])
    axes.set_xticks([], minor=True)


def grid(count: int, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels in wrapped rows, with common axes.

    Args:
        count: of panels; a single one is larger.
        columns: by default chosen for a good shape of the figure.

    Returns:
        The figure, and its panels in reading order.
    """
    if columns is None:
        columns = count if count < 4 else min(math.ceil(math.sqrt(count)), 4)
    rows = math.ceil(count / columns)
    width, height = (5.4, 3.2) if count == 1 else (2.9 * columns, 2.1 * rows)
    figure = Figure(figsize=(width, height + 1.1), layout="constrained")  # 1.1 for the legend
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, axes in enumerate(panels):
        if place >= count:
            axes.remove()
        elif place + columns >= count:  # no panel below
            axes.tick_params(labelbottom=True)
    return figure, list(panels[:count])


def wrap_title(title: str) -> str:
    """Wrap the title of a panel to the panel's width."""
    return textwrap.fill(title, 34, break_long_words=False)


def label_rows(panels: Iterable[Axes], label: str) -> None:
    """Label the y axis of the first panel of each row."""
    for axes in panels:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(label)


def loss_axis(axes: Axes) -> None:
    """Set the y axis to logarithmic, with plain numbers: 0.05, 0.2, 1."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_yticks([], minor=True)


def legend(figure: Figure, panels: list[Axes], title: str) -> None:
    """Add one legend above all panels, with each label once."""
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    lines = {name: line for name, line in lines.items() if not str(name).startswith("_")}
    columns = max(1, int(figure.get_figwidth() // 2))
    figure.legend(
        handles=lines.values(),
        loc="outside upper left",
        ncols=columns,
        title=title,
        alignment="left",
    )


PLAIN = "plain"
EMA = "ema_"
DASHES = ["-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1))]


def decay_of_model(name: str) -> float | None:
    """The decay in the name of an exponential average; None for another model."""
    return float(name.removeprefix(EMA)) if name.startswith(EMA) else None


def order_models(names: Iterable[str]) -> list[str]:
    """Models in order: as trained, then averages with growing memory, then others; each once."""
    return sorted(set(names), key=lambda name: (name != PLAIN, decay_of_model(name) or 1.0, name))


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Line style of each model: as trained black, averages from light to dark by memory."""
    averages = [name for name in order_models(names) if name != PLAIN]
    colours = sequential(len(averages))[::-1]
    styles: dict[str, dict[str, Any]] = {PLAIN: {"color": "0.1", "linewidth": 1.8}}
    for place, (name, colour) in enumerate(zip(averages, colours, strict=True)):
        styles[name] = {"color": colour, "linestyle": DASHES[place % len(DASHES)]}
    return styles
