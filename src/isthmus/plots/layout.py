"""Fits the words of a figure: wraps them, spaces tick labels, and makes the figure large enough."""

import re
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

PAD = 6.0  # pixels between words and the edge of a figure, or other words
APART = 3.0  # pixels between tick labels
TRIES = 6
SLANT = 40  # degrees of tick labels that have no room side by side
NUMBER = re.compile(r"[-+−]?[\d.,e+−\-\s]*(ep|it)?[\s\d.ep]*$|\$.*\$$")
# Pieces between which a text can be wrapped.
BREAKS = re.compile(r"\S+?(?:[_/=,-](?=\S)|\.(?=[^\d\s]))|\S+\s*")


class PanelFigure(Figure):
    """A figure that knows how small its panels may become.

    Args:
        least: width and height in inches that each panel has at least, before the scale of the
            theme; None if they may have any size.
        engine: that placed its panels, kept while they are not to be placed again.
    """

    least: tuple[float, float] | None = None
    engine: LayoutEngine | None = None


def fit_words(figure: Figure, scale: float = 1.0, may_grow: bool = True) -> None:
    """Change a figure until its words have room: wrap them, space tick labels, enlarge it.

    Args:
        figure: changed in place.
        scale: of the least size of panels.
        may_grow: whether the figure may become larger.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    if isinstance(figure, PanelFigure) and figure.engine is not None:
        figure.set_layout_engine(figure.engine)
    for number in range(TRIES):
        _wrap_all(figure, renderer)  # first, as a long title takes the room of panels
        is_laid_out = _lay_out(figure)
        if is_laid_out:
            before = _words(figure)
            _wrap_all(figure, renderer)
            for axes in _all_axes(figure):
                for axis in (axes.xaxis, axes.yaxis):
                    _space_ticks(axis, renderer)
            if _words(figure) != before:  # placing many panels takes seconds
                is_laid_out = _lay_out(figure)
        if not may_grow or not _grow(figure, scale, is_laid_out, number):
            break
    if isinstance(figure, PanelFigure):  # placed once, not for every file again
        figure.engine = figure.get_layout_engine()
        figure.set_layout_engine("none")


def _words(figure: Figure) -> list[tuple[str, float]]:
    """The texts of a figure and the angles at which they are drawn."""
    texts = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    return [(text.get_text(), text.get_rotation()) for text in texts]


def _lay_out(figure: Figure) -> bool:
    """Place panels and legends; returns whether there was room for them."""
    engine = figure.get_layout_engine()
    if engine is None:
        return True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine.execute(figure)
    return not caught


def _grow(figure: Figure, scale: float, is_laid_out: bool, number: int) -> bool:
    """Enlarge a figure whose panels are too small; returns whether they were.

    If nothing has room it becomes higher, as many lines of words need that, and at last wider.
    """
    panels = _panels(figure)
    width, height = figure.get_size_inches()
    if not is_laid_out:
        figure.set_size_inches(width if number < TRIES // 2 else 1.3 * width, 1.3 * height)
        return True
    least = getattr(figure, "least", None)
    if least is None or not panels:
        return False
    boxes = [axes.get_position(original=True) for axes in panels]  # before their aspect
    grid = panels[0].get_subplotspec()
    rows, columns = grid.get_gridspec().get_geometry() if grid else (1, 1)
    missing_width = scale * least[0] - min(box.width for box in boxes) * width
    missing_height = scale * least[1] - min(box.height for box in boxes) * height
    if max(missing_width, missing_height) < 0.02:
        return False
    figure.set_size_inches(
        width + columns * max(missing_width, 0), height + rows * max(missing_height, 0)
    )
    return True


def _panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.axison]


def _all_axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.findobj(Axes) if isinstance(axes, Axes) and axes.axison]


def _wrap_all(figure: Figure, renderer: RendererAgg) -> None:
    """Wrap titles and axis labels to the room that they have between their neighbours."""
    whole = figure.bbox
    boxes = [axes.get_window_extent(renderer) for axes in _panels(figure)]
    for axes in _all_axes(figure):
        box = axes.get_window_extent(renderer)
        across, along = _room(box, boxes, whole, 0), _room(box, boxes, whole, 1)
        for title in (axes.title, getattr(axes, "_left_title", None)):
            is_left = title is not axes.title
            right = min([other.x0 for other in boxes if other.x0 > box.x1], default=whole.x1)
            wrap_text(title, right - box.x0 - PAD if is_left else across, renderer)
        wrap_text(axes.xaxis.label, across, renderer)
        wrap_text(axes.yaxis.label, along, renderer)
    for name, place in COMMON:
        text, room = getattr(figure, name, None), whole.size[place] - 2 * PAD
        if text is not None and boxes and name == "_supylabel":  # beside the panels, not the legend
            low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)
            text.set_y((low + high) / 2 / whole.height)
            room = high - low
        wrap_text(text, room, renderer)
    for legend in figure.legends:
        wrap_text(legend.get_title(), whole.width - 2 * PAD, renderer)


COMMON = (("_suptitle", 0), ("_supxlabel", 0), ("_supylabel", 1))


def _room(box: BboxBase, boxes: Sequence[BboxBase], whole: BboxBase, place: int) -> float:
    """Pixels for words that are centred on a panel, along x (place 0) or y (1)."""
    low, high = box.get_points()[:, place]
    lower = [other.get_points()[1, place] for other in boxes]
    upper = [other.get_points()[0, place] for other in boxes]
    before = max([edge for edge in lower if edge <= low], default=None)
    after = min([edge for edge in upper if edge >= high], default=None)
    middle = (low + high) / 2
    start = whole.get_points()[0, place] if before is None else (before + low) / 2
    end = whole.get_points()[1, place] if after is None else (after + high) / 2
    return float(2 * min(middle - start, end - middle) - PAD)


def wrap_text(text: Text | None, room: float, renderer: RendererAgg) -> None:
    """Wrap a text to a length in pixels, along its own direction; its line breaks stay.

    Args:
        text: changed in place; None for no text.
        room: pixels.
        renderer: that measures it.
    """
    if text is None or not text.get_text().strip():
        return
    if text.get_text() != getattr(text, "wrapped", None):
        text.unwrapped = text.get_text()  # type: ignore[attr-defined]  # to be wrapped again
    lines = [
        part
        for line in text.unwrapped.split("\n")  # type: ignore[attr-defined]
        for part in wrap_line(line, room, lambda word: text_width(word, text, renderer))
    ]
    text.set_text("\n".join(lines))
    text.wrapped = text.get_text()  # type: ignore[attr-defined]


def text_width(word: str, text: Text, renderer: RendererAgg) -> float:
    """Width in pixels of a line in the font of a text."""
    is_math = text.get_usetex() or (word.count("$") > 1)
    return float(
        renderer.get_text_width_height_descent(word, text.get_fontproperties(), is_math)[0]
    )


def wrap_line(line: str, room: float, width: Callable[[str], float]) -> list[str]:
    """A line as several that are not wider than the room, if its pieces allow it."""
    if width(line) <= room:
        return [line]
    pieces = [part for word in re.findall(r"\S+\s*", line) for part in _pieces(word, room, width)]
    lines = [""]
    for piece in pieces:
        if lines[-1] and width((lines[-1] + piece).rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return [each.rstrip() for each in lines]


def _pieces(word: str, room: float, width: Callable[[str], float]) -> list[str]:
    """A word, or its parts if it is wider than the room."""
    return [word] if width(word.rstrip()) <= room else BREAKS.findall(word)


def _space_ticks(axis: Axis, renderer: RendererAgg) -> None:
    """Turn or leave out the tick labels of an axis that would touch each other."""
    if not _touching(axis, renderer):
        return
    labels = _labels(axis)
    if isinstance(axis, XAxis) and not all(NUMBER.match(label.get_text()) for label in labels):
        for angle in (SLANT, 90):
            for label in labels:
                end = {"ha": "right", "rotation_mode": "anchor"} if angle == SLANT else {}
                label.set(rotation=angle, **(end or {"ha": "center", "rotation_mode": "default"}))
            if not _touching(axis, renderer):
                return
    ticks = axis._update_ticks()  # type: ignore[attr-defined]
    places = [tick.get_loc() for tick in ticks]
    words = [tick.label1.get_text() for tick in ticks]
    for stride in range(2, len(places) + 1):
        axis.set_ticks(places[::stride], labels=words[::stride])
        if not _touching(axis, renderer):
            return


def _labels(axis: Axis) -> list[Text]:
    """The tick labels of an axis that are drawn."""
    ticks = axis._update_ticks()  # type: ignore[attr-defined]
    shown = [label for tick in ticks for label in (tick.label1, tick.label2)]
    return [label for label in shown if label.get_visible() and label.get_text().strip()]


def _touching(axis: Axis, renderer: RendererAgg) -> bool:
    """Whether neighbouring tick labels touch each other."""
    labels = _labels(axis)
    boxes = [label.get_window_extent(renderer) for label in labels]
    place = 0 if isinstance(axis, XAxis) else 1
    slanted = labels and labels[0].get_rotation() % 90 != 0
    if slanted:  # parallel lines of text, each as high as its letters
        ends = sorted(
            label.get_transform().transform(label.get_position())[place] for label in labels
        )
        high = renderer.points_to_pixels(labels[0].get_fontsize()) * 1.2
        return any(np.diff(ends) * np.sin(np.radians(SLANT)) < high)
    order = sorted(boxes, key=lambda box: float(box.get_points()[0, place]))
    return any(
        second.get_points()[0, place] - first.get_points()[1, place] < (APART if place == 0 else 0)
        for first, second in pairwise(order)
    )


def legend_columns(figure: Figure, labels: Sequence[str], most: int | None = None) -> int:
    """Columns of a legend that fit into the width of a figure.

    Args:
        figure: of the legend.
        labels: of its entries.
        most: columns.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    probe = Text(0, 0, "", figure=figure)
    em = renderer.points_to_pixels(probe.get_fontsize())
    widths = [
        max(text_width(line, probe, renderer) for line in label.split("\n")) + 2.8 * em
        for label in labels
    ]
    for columns in range(min(len(widths), most or len(widths)), 1, -1):
        parts = np.array_split(np.array(widths), columns)
        if sum(max(part) for part in parts) + 2 * em * columns <= figure.bbox.width - 2 * PAD:
            return columns
    return 1


def wrap_legend(legend: Legend, figure: Figure) -> None:
    """Wrap the entries of a legend that are wider than its figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in legend.get_texts():
        em = renderer.points_to_pixels(text.get_fontsize())
        wrap_text(text, figure.bbox.width - 4 * em, renderer)
