"""Text tables: evaluations and other results as aligned columns."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

Evaluation: TypeAlias = dict[str, dict[str, dict[str, float]]]  # by model, split and metric


def check_finite(table: Evaluation, what: str) -> None:
    """Refuse numbers that are infinite or not a number.

    Args:
        table: of an evaluation.
        what: was evaluated, as typed.

    Raises:
        ValueError: naming the first number.
    """
    for splits in table.values():
        for split, numbers in splits.items():
            for metric, value in numbers.items():
                if not math.isfinite(value):
                    raise ValueError(f"{what}: its {split} {metric} is {value}")


def json_numbers(table: Evaluation) -> dict[str, Any]:
    """A table with None for numbers that are not finite, which JSON cannot hold."""
    return {
        model: {
            split: {metric: v if math.isfinite(v) else None for metric, v in numbers.items()}
            for split, numbers in splits.items()
        }
        for model, splits in table.items()
    }


def evaluation(table: Evaluation) -> str:
    """Text table of loss and accuracy, if there is one: one line per model, columns by split.

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


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of text with cells padded to columns; a column without values is left out.

    Args:
        lines: of equal length; the first holds the names of the columns.
    """
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]


def result(summary: dict[str, Any], folder: str) -> str:
    """Text of a training's summary: the final evaluation, its length and its folder."""
    iteration, per_epoch = summary["iteration"], summary["iterations_per_epoch"]
    early = ", stopped early" if summary["stopped_early"] else ""
    return (
        f"{evaluation(summary['evaluation'])}\n"
        f"after {iteration} iterations ({iteration / per_epoch:g} epochs{early}); "
        f"results in {folder}"
    )
