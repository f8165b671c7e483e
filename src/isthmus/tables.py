"""Results as lines of text."""

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
    """A table with null for what is not finite, which JSON cannot say."""
    return {
        model: {
            split: {metric: v if math.isfinite(v) else None for metric, v in numbers.items()}
            for split, numbers in splits.items()
        }
        for model, splits in table.items()
    }


def evaluation(table: Evaluation) -> str:
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


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
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
