"""What of a figure is as someone wishes: its style, size, words and colours."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from isthmus.plots import colours, style


@dataclass(frozen=True)
class Style:
    """How figures look in one place: in a paper, behind a speaker, on a dark page.

    Args:
        font_size: in points.
        line_width: of curves, in points.
        marker_size: likewise.
        scale: how many times as large as in a paper a figure is.
        background: a colour.
        foreground: of axes and words.
        grid: of the lines behind the curves.
        dpi: pixels an inch of the PNG.
    """

    font_size: float = 9.0
    line_width: float = 1.2
    marker_size: float = 2.5
    scale: float = 1.0
    background: str = "white"
    foreground: str = "black"
    grid: str = "0.9"
    dpi: int = 200

    def settings(self) -> dict[str, Any]:
        """As matplotlib names them."""
        small = {f"{axis}tick.labelsize": self.font_size - 1 for axis in "xy"}
        inks = ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]
        papers = ["figure.facecolor", "axes.facecolor"]
        return {
            "font.size": self.font_size,
            "axes.titlesize": self.font_size,
            "figure.labelsize": self.font_size + 1,
            "lines.linewidth": self.line_width,
            "lines.markersize": self.marker_size,
            "grid.color": self.grid,
            "savefig.dpi": self.dpi,
            **small,
            **dict.fromkeys(inks, self.foreground),
            **dict.fromkeys(papers, self.background),
        }


@dataclass(frozen=True)
class Wishes:
    """What is to be other than a figure is drawn by itself; None leaves it.

    Args:
        style: of all of it.
        size: width and height in inches.
        labels: by `title`, `x`, `y`, `legend`: the words there. Of x and y a list where panels
            differ, in the order in which they are read.
        colours: see `colours.choose`.
    """

    style: Style
    size: Sequence[float] | None
    labels: Mapping[str, Any]
    colours: str | Sequence[str] | None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it figures are drawn and saved in this style."""
        with style.using(self.style.settings()):
            yield

    def fulfil(self, figure: Figure) -> Figure:
        """The figure, changed.

        Raises:
            ValueError: it does not have what is to be changed; with what it has.
        """
        with style.look():
            own = [self.style.scale * length for length in figure.get_size_inches()]
            width, height = own if self.size is None else self.size
            figure.set_size_inches(width, height)
            for axis in "xy":
                if self.labels[axis] is not None:
                    _relabel(figure, axis, self.labels[axis])
            if self.labels["legend"] is not None:
                _rename_legend(figure, self.labels["legend"])
            if self.labels["title"] is not None:
                _entitle(figure, self.labels["title"])
            if self.colours is not None:
                colours.choose(figure, self.colours)
            if to_rgb(self.style.background) != (1, 1, 1):
                colours.fit(figure, self.style.background)
        return figure


def words(figure: Figure, axis: str) -> list[str]:
    """The labels of the x or y axes of a figure, each once, in the order in which they are read."""
    common = figure.get_supxlabel() if axis == "x" else figure.get_supylabel()
    each = [axes.get_xlabel() if axis == "x" else axes.get_ylabel() for axes in figure.axes]
    return list(dict.fromkeys(label for label in [common, *each] if label))


def _relabel(figure: Figure, axis: str, wanted: str | Sequence[str]) -> None:
    there, given = words(figure, axis), [wanted] if isinstance(wanted, str) else list(wanted)
    if len(there) != len(given):
        raise ValueError(
            f"labels.{axis}: this figure has {len(there)}, got {len(given)}; "
            f"it has {'; '.join(repr(label) for label in there) or 'none'}"
        )
    others = dict(zip(there, given, strict=True))
    common = figure.get_supxlabel() if axis == "x" else figure.get_supylabel()
    if common:
        (figure.supxlabel if axis == "x" else figure.supylabel)(others[common])
    for axes in figure.axes:
        label = axes.get_xlabel() if axis == "x" else axes.get_ylabel()
        if label:
            (axes.set_xlabel if axis == "x" else axes.set_ylabel)(others[label])


def _rename_legend(figure: Figure, wanted: str) -> None:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    there = [legend for legend in legends if legend is not None]
    if not there:
        raise ValueError("labels.legend: this figure has no legend")
    there[0].set_title(wanted)


def _entitle(figure: Figure, title: str) -> None:
    """Put a title above all, which is above the words of a legend that is there already."""
    if figure.legends:
        (legend, *_), words = figure.legends, figure.legends[0].get_title().get_text()
        legend.set_title(f"{title}\n{words}" if words and words != "None" else title)
        legend.set_alignment("left")
    else:
        figure.suptitle(title, x=0.01, ha="left")
