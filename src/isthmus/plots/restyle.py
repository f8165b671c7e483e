"""User overrides of a figure: theme, size, labels, colours."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from isthmus.plots import layout, style
from isthmus.plots.options import Labels, Style
from isthmus.plots.style import CONTRAST, RGB, contrast

GREY = 0.05  # difference of red, green and blue up to which a colour counts as grey


def readable(colour: RGB, background: RGB) -> RGB:
    """A colour with enough contrast on a dark background: itself, an inverted grey, or a paler one.

    Args:
        colour: red, green and blue in [0, 1].
        background: a dark colour, in the same form.
    """
    if contrast(colour, background) >= CONTRAST:
        return colour
    if max(colour) - min(colour) <= GREY:
        return (1 - colour[0], 1 - colour[1], 1 - colour[2])
    paler = (tuple(c + (1 - c) * share for c in colour) for share in np.linspace(0, 1, 41))
    return next(to_rgb(c) for c in paler if contrast(to_rgb(c), background) >= CONTRAST)


def fit_contrast(figure: Figure, background: str) -> None:
    """Change the colours of a figure drawn for a white background to be visible on a dark one.

    Colours of maps, and marks and text on them, are unchanged.
    """
    change = partial(readable, background=to_rgb(background))
    maps = [axes for axes in figure.axes if any(map(_is_map, axes.get_children()))]
    on_maps = {text for axes in maps for text in axes.texts}
    _recolour(figure, [axes for axes in figure.axes if axes not in maps], change)
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in on_maps:
            text.set_color(change(to_rgb(text.get_color())))


def choose_palette(figure: Figure, wanted: str | Sequence[str]) -> None:
    """Set the colours of the curves of a figure, or of its map.

    Args:
        figure: changed in place.
        wanted: the colours of curves in the order of the legend; or the name of a colormap of
            matplotlib, which maps use, and whose colours curves get in this order.

    Raises:
        ValueError: there are fewer colours than curves, or the figure has no curves and no map.
    """
    current = list(dict.fromkeys(to_rgb(line.get_color()) for line in named_curves(figure)))
    maps = [m for m in figure.findobj(_is_map) if isinstance(m, ScalarMappable)]
    if isinstance(wanted, str):
        if wanted not in matplotlib.colormaps:
            raise ValueError(f"colours={wanted}: no colormap of matplotlib; it has viridis, ...")
        for mapped in maps:
            mapped.set_cmap(wanted)
        scale = matplotlib.colormaps[wanted]
        new = [to_rgb(scale(0.9 * i / max(len(current) - 1, 1))) for i in range(len(current))]
    else:
        if not current:
            raise ValueError("colours: this figure has no curves; for a map, name a colormap")
        if len(wanted) < len(current):
            raise ValueError(f"colours: this figure has {len(current)}, got {len(wanted)}")
        new = [to_rgb(colour) for colour in wanted[: len(current)]]
    new_of = dict(zip(current, new, strict=True))
    _recolour(figure, figure.axes, lambda colour: new_of.get(colour, colour))


def named_curves(figure: Figure) -> list[Line2D]:
    """The curves of a figure that have legend entries, in order."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [line for line in lines if not str(line.get_label()).startswith("_")]


def _recolour(figure: Figure, panels: Sequence[Axes], change: Callable[[RGB], RGB]) -> None:
    """Change the colours of all curves and bands in some panels, and in legends."""
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    lines = [line for axes in panels for line in axes.get_lines()]  # not those of the grid
    for line in [*lines, *(line for legend in legends for line in legend.get_lines())]:
        _recolour_line(line, change)
    for artist in [artist for parent in (*panels, *legends) for artist in parent.findobj()]:
        if isinstance(artist, Collection) and artist.get_array() is None:
            artist.set_edgecolor(_change_all(to_rgba_array(artist.get_edgecolor()), change))
            artist.set_facecolor(_change_all(to_rgba_array(artist.get_facecolor()), change))


def _recolour_line(line: Line2D, change: Callable[[RGB], RGB]) -> None:
    face, edge = line.get_markerfacecolor(), line.get_markeredgecolor()
    line.set_color(change(to_rgb(line.get_color())))
    for colour, set_colour in ((face, line.set_markerfacecolor), (edge, line.set_markeredgecolor)):
        if to_rgba(colour)[3] > 0:
            set_colour(change(to_rgb(colour)))


def _change_all(
    colours: np.ndarray, change: Callable[[RGB], RGB]
) -> list[tuple[float, float, float, float]]:
    """Change colours, (count, 4), without their opacity."""
    return [(*change(to_rgb(colour)), float(colour[3])) for colour in colours]


def _is_map(artist: Artist) -> bool:
    """Whether an artist shows numbers as colours."""
    numbers = artist.get_array() if isinstance(artist, ScalarMappable) else None
    return numbers is not None and not isinstance(artist, Axes)


@dataclass(frozen=True)
class FigureOverrides:
    """User overrides of a figure: theme, size, labels, colours; None keeps the default.

    Args:
        style: theme of the figure.
        size: width and height in inches.
        labels: texts; for x and y a list if panels differ, in reading order.
        colours: see `choose_palette`.
    """

    style: Style = field(default_factory=Style)
    size: Sequence[float] | None = None
    labels: Labels = field(default_factory=Labels)
    colours: str | Sequence[str] | None = None

    def context(self) -> AbstractContextManager[None]:
        """Context in which figures are drawn and saved in this theme."""
        return style.use_theme(self.style)

    def apply(self, figure: Figure) -> Figure:
        """Apply the overrides to a figure whose words have room already, and return it.

        Raises:
            ValueError: the figure lacks a part to change; names those it has.
        """
        with style.look():
            if self.size is not None:
                figure.set_size_inches(self.size[0], self.size[1])
            for axis, words in (("x", self.labels.x), ("y", self.labels.y)):
                if words is not None:
                    _relabel(figure, axis, words)
            if self.labels.legend is not None:
                _rename_legend(figure, self.labels.legend)
            if self.labels.title is not None:
                _set_title(figure, self.labels.title)
            if self.colours is not None:
                choose_palette(figure, self.colours)
            if to_rgb(self.style.background) != (1, 1, 1):
                fit_contrast(figure, self.style.background)
            if self.size is not None or any(
                word is not None for word in vars(self.labels).values()
            ):
                layout.fit_words(figure, self.style.scale, may_grow=self.size is None)
        return figure


def axis_labels(figure: Figure, axis: str) -> list[str]:
    """The labels of the x or y axes of a figure, each once, in reading order."""
    common = figure.get_supxlabel() if axis == "x" else figure.get_supylabel()
    each = [axes.get_xlabel() if axis == "x" else axes.get_ylabel() for axes in figure.axes]
    return list(dict.fromkeys(_in_one_line(label) for label in [common, *each] if label))


def _in_one_line(label: str) -> str:
    """A label without the line breaks that the layout gave it, which differ between panels."""
    return " ".join(label.split())


def _relabel(figure: Figure, axis: str, wanted: str | Sequence[str]) -> None:
    current = axis_labels(figure, axis)
    new = [wanted] if isinstance(wanted, str) else list(wanted)
    if len(current) != len(new):
        raise ValueError(
            f"labels.{axis}: this figure has {len(current)}, got {len(new)}; "
            f"it has {'; '.join(repr(label) for label in current) or 'none'}"
        )
    new_of = dict(zip(current, new, strict=True))
    common = figure.get_supxlabel() if axis == "x" else figure.get_supylabel()
    if common:
        (figure.supxlabel if axis == "x" else figure.supylabel)(new_of[_in_one_line(common)])
    for axes in figure.axes:
        label = axes.get_xlabel() if axis == "x" else axes.get_ylabel()
        if label:
            (axes.set_xlabel if axis == "x" else axes.set_ylabel)(new_of[_in_one_line(label)])


def _rename_legend(figure: Figure, wanted: str) -> None:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    existing = [legend for legend in legends if legend is not None]
    if not existing:
        raise ValueError("labels.legend: this figure has no legend")
    existing[0].set_title(wanted)


def _set_title(figure: Figure, title: str) -> None:
    """Set a title above the whole figure; if there is a legend, above the legend's title."""
    if figure.legends:
        (legend, *_), heading = figure.legends, figure.legends[0].get_title().get_text()
        legend.set_title(f"{title}\n{heading}" if heading and heading != "None" else title)
        legend.set_alignment("left")
    else:
        figure.suptitle(title, x=0.01, ha="left")
