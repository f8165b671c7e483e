"""Style of figures: themes, axes of steps, colours and dashes of curves and models."""

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator

from isthmus.plots.options import Style

CHILD_STEP = "child step (iterations)"
SPAWN_STEP = "spawn step (iterations)"
UNITS = {"accuracy": "fraction", "loss": "nats"}

# Wong (2011): safe for colour-blind readers.
COLOURS = ["#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]

# What all themes have in common.
COMMON: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=[*COLOURS[2:0:-1], *COLOURS[3:], COLOURS[0]]),
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text that can be edited and searched
}
INKS = ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]


PAPER = Style()  # that widths and sizes in functions which draw are of


def theme_settings(theme: Style) -> dict[str, Any]:
    """A theme as settings of matplotlib; its `scale` is of the figure, and no setting.

    Lines and markers are drawn as in the default theme, and scaled afterwards.
    """
    return {
        "font.size": theme.font_size,
        "axes.titlesize": theme.font_size,
        "figure.labelsize": theme.font_size + 1,
        "xtick.labelsize": theme.font_size - 1,
        "ytick.labelsize": theme.font_size - 1,
        "lines.linewidth": PAPER.line_width,  # see `scale_lines`
        "lines.markersize": PAPER.marker_size,
        "grid.color": theme.grid,
        "savefig.dpi": theme.dpi,
        "figure.facecolor": theme.background,
        "axes.facecolor": theme.background,
        **dict.fromkeys(INKS, theme.foreground),
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


THEME: ContextVar[Style] = ContextVar("THEME", default=Style())  # noqa: B039 (never changed)


def look() -> AbstractContextManager[None]:
    """Context of the settings for drawing and saving figures, independent of the user's own."""
    return matplotlib.style.context(["default", COMMON, theme_settings(THEME.get())])


def scale_lines(figure: Figure, theme: Style) -> None:
    """Scale the lines and marks of a figure drawn in the default theme to another one."""
    wider = theme.line_width / PAPER.line_width
    larger = theme.marker_size / PAPER.marker_size
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    parents: list[Any] = [*figure.axes, *(legend for legend in legends if legend is not None)]
    for parent in parents:
        for line in parent.get_lines():
            line.set_linewidth(wider * line.get_linewidth())
            line.set_markersize(larger * line.get_markersize())
            line.set_markeredgewidth(wider * line.get_markeredgewidth())
        for marks in parent.findobj(Collection):
            marks.set_linewidth([wider * width for width in np.atleast_1d(marks.get_linewidth())])
            if isinstance(marks, PathCollection):
                marks.set_sizes(larger**2 * marks.get_sizes())


@contextmanager
def use_theme(theme: Style) -> Iterator[None]:
    """Context in which `look` uses another theme than that of scripts."""
    before = THEME.set(theme)
    try:
        yield
    finally:
        THEME.reset(before)


def line(kind: str, num_models: int) -> dict[str, Any]:
    """Line style of the mean curve of a kind; across darkens with the number of networks."""
    if kind == "child":
        return MEAN_CHILD
    if kind == "across":
        shade = 0.2 + 0.25 * math.log2(num_models)
        return {"color": matplotlib.colormaps["Blues"](shade), "marker": "o"}
    return BACK[kind]


RGB = tuple[float, float, float]
CONTRAST = 3.0  # least contrast of drawn colours to their background (WCAG 2.1, 1.4.11)


def contrast(first: RGB, second: RGB) -> float:
    """Contrast of two colours, from 1 (equal) to 21 (black on white), by WCAG 2.1."""
    lights = sorted(_luminance(colour) for colour in (first, second))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: RGB) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def sequential(count: int) -> list[RGB]:
    """Colours for ordered items, from dark blue to olive: all are seen on white."""
    colours = matplotlib.colormaps["viridis"]
    return [_mix_with_black(colours(0.95 * i / max(count - 1, 1))[:3]) for i in range(count)]


def _mix_with_black(colour: RGB) -> RGB:
    """A colour that is dark enough on white: itself, or a darker one of its hue."""
    darker = (tuple(c * share for c in colour) for share in np.linspace(1, 0, 41))
    return next((r, g, b) for r, g, b in darker if contrast((r, g, b), (1, 1, 1)) >= CONTRAST)


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


def loss_axis(axes: Axes) -> None:
    """Set the y axis to logarithmic, with plain numbers: 0.05, 0.2, 1."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_yticks([], minor=True)


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
