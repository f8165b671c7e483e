"""What a figure draws as text: boxes in pixels, and what is wrong with them."""

from contextlib import contextmanager
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

PAGE = 11.5  # inches of a page of the report: wider figures are shown smaller
SMALLEST = 6.0  # points
TOUCHING = 0.6  # pixels that boxes may have in common: letters do not fill their boxes
DPI = 100


@contextmanager
def recorded():
    """Context that lists the texts that are drawn in it."""
    drawn, draw = [], Text.draw

    def record(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        return draw(text, renderer, *args, **kwargs)

    Text.draw = record
    try:
        yield drawn
    finally:
        Text.draw = draw


def drawn_texts(figure):
    """The texts of a figure, each with the corners of its box, (4, 2), in pixels."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    if figure.get_layout_engine() is not None:
        canvas.draw()  # the layout comes to rest
    with recorded() as texts:
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text, corners(text, renderer)) for text in dict.fromkeys(texts)]


def corners(text, renderer):
    """The corners of the box of a text, turned as the text is."""
    box, angle = text_box(text, renderer), text.get_rotation() % 360
    if angle % 90 == 0:
        half = np.array([box.width, box.height]) / 2
        turn = np.eye(2)
    else:
        text.set_rotation(0)
        level = text_box(text, renderer)
        text.set_rotation(angle)
        half = np.array([level.width, level.height]) / 2
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.array([[cos, -sin], [sin, cos]])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    centre = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
    return (signs * half) @ turn.T + centre


def text_box(text, renderer):
    return Text.get_window_extent(text, renderer)  # of an annotation without its arrow


def overlap(first, second):
    """Whether two convex shapes have more in common than an edge."""
    for shape in (first, second):
        for edge in np.roll(shape, -1, axis=0) - shape:
            length = np.hypot(*edge)
            if length == 0:
                continue
            across = np.array([-edge[1], edge[0]]) / length
            one, other = first @ across, second @ across
            if min(one.max(), other.max()) - max(one.min(), other.min()) <= TOUCHING:
                return False
    return True


def faults(figure):
    """One line for each text that is cut, too small, or over another one."""
    texts = drawn_texts(figure)
    width, height = figure.get_size_inches() * DPI
    lines = []
    for text, box in texts:
        word = repr(text.get_text()[:40])
        if (box < -1).any() or (box > (width + 1, height + 1)).any():
            ends = box.min(0).round(), box.max(0).round()
            lines.append(f"cut: {word} {ends} of {width:.0f} x {height:.0f}")
        points = text.get_fontsize() * min(1, PAGE * DPI / width)
        if points < SMALLEST:
            lines.append(f"small: {word} {points:.1f} points at a width of {width / DPI:.1f}")
    for (one, box), (other, second) in combinations(texts, 2):
        if overlap(box, second):
            lines.append(f"overlap: {one.get_text()[:40]!r} and {other.get_text()[:40]!r}")
    return lines
