"""Results as lines of text."""

from collections.abc import Sequence
from typing import Any


def evaluation(table: dict[str, dict[str, dict[str, float]]]) -> str:
    """Loss and accuracy, if there is one, of several models: a line each, in columns by split.

    Args:
        table: by model, then by split: `loss` in nats, `accuracy` as a fraction.
    """
    first = next(iter(table.values()))
    cells = [(split, metric) for split, row in first.items() for metric in row]
    widths = {"loss": 10, "accuracy": 14}
    width = max(len(name) for name in [*table, "model"])
    head = "  ".join(f"{f'{split} {metric}':>{widths[metric]}}" for split, metric in cells)
    lines = [f"{'model':<{width}}  {head}"]
    for name, row in table.items():
        numbers = (f"{row[split][metric]:>{widths[metric]}.4f}" for split, metric in cells)
        lines.append(f"{name:<{width}}  " + "  ".join(numbers))
    return "\n".join(lines)


def columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells padded to columns; a column that is empty but for its name is left out.

    Args:
        lines: of equal length, the names of the columns first.
    """
    kept = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*kept, strict=True)
    ]


def result(summary: dict[str, Any], folder: str) -> str:
    """The summary of a training, and where its files are."""
    iteration, per_epoch = summary["iteration"], summary["iterations_per_epoch"]
    early = ", stopped early" if summary["stopped_early"] else ""
    return (
        f"{evaluation(summary['evaluation'])}\n"
        f"after {iteration} iterations ({iteration / per_epoch:g} epochs{early}); "
        f"results in {folder}"
    )
