"""The values of `plots.py`."""

from dataclasses import dataclass, field
from typing import Any, Literal

MISSING: Any = "???"


@dataclass
class Style:
    """How figures look: a group, in conf/style/."""

    font_size: float = 9.0  # points, as all that follow
    line_width: float = 1.2
    marker_size: float = 2.5
    scale: float = 1.0  # of the whole figure
    background: str = "white"
    foreground: str = "black"
    grid: str = "0.9"
    dpi: int = 200  # of the PNG


@dataclass
class Labels:
    """Words of a figure; null: its own."""

    title: str | None = None
    x: str | list[str] | None = None  # a list where panels differ
    y: str | list[str] | None = None
    legend: str | None = None  # its title


@dataclass
class Compare:
    """What `figure=compare` shows."""

    x: str | None = None
    metric: str = "accuracy"
    split: Literal["train", "val", "test"] = "test"
    model: str = "plain"
    hue: str | list[str] | None = None


@dataclass
class Plots:
    """`plots.py`."""

    figure: str = MISSING
    runs: str | list[str] = MISSING
    compare: Compare = field(default_factory=Compare)
    epochs: list[float] | None = None
    images: bool = True
    style: Style = field(default_factory=Style)
    size: list[float] | None = None  # inches
    labels: Labels = field(default_factory=Labels)
    colours: str | list[str] | None = None
    output_dir: str = "outputs"
