"""Networks as trained and their averages: their order in a figure, and how each looks."""

from collections.abc import Iterable
from typing import Any

from isthmus.plots import style

PLAIN = "plain"
EMA = "ema_"
DASHES = ["-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1))]


def decay(name: str) -> float | None:
    """The decay of an exponential average, told from its name; None for another model."""
    return float(name.removeprefix(EMA)) if name.startswith(EMA) else None


def ordered(names: Iterable[str]) -> list[str]:
    """The network as trained first, then averages with growing memory, then others; each once."""
    return sorted(set(names), key=lambda name: (name != PLAIN, decay(name) or 1.0, name))


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash of each: black as trained, averages from light to dark with their memory."""
    averages = [name for name in ordered(names) if name != PLAIN]
    colours = style.sequential(len(averages))[::-1]
    found: dict[str, dict[str, Any]] = {PLAIN: {"color": "0.1", "linewidth": 1.8}}
    for place, (name, colour) in enumerate(zip(averages, colours, strict=True)):
        found[name] = {"color": colour, "linestyle": DASHES[place % len(DASHES)]}
    return found
