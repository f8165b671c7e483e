"""What can be asked of `tune.py`, and what a trial comes to."""

from typing import Any

OF_NO_AVERAGE = ("plain", "best")


def errors(values: dict[str, Any]) -> list[str]:
    """What is wrong with a search, one line each.

    Args:
        values: of `tune.py`, each of the right type.
    """
    found = []
    if values["maximize_averaged"] and "_target_" not in (values["averaged"] or {}):
        found.append(
            "maximize_averaged=true: there is no averaged model with averaged=none; "
            "maximize_averaged=false takes the plain one"
        )
    if values["dataset"].get("val_fraction") == 0:
        found.append("dataset.val_fraction=0: must be positive, trials are compared on that part")
    return found


def objective(evaluation: dict[str, Any], maximize_averaged: bool) -> float:
    """Validation accuracy that a trial came to: a fraction.

    Args:
        evaluation: of a run, by model and split.
        maximize_averaged: that of the averaged model, the best of several; else the plain one's.
    """
    averaged = [name for name in evaluation if name not in OF_NO_AVERAGE]
    chosen = averaged if maximize_averaged else ["plain"]
    return max(float(evaluation[name]["val"]["accuracy"]) for name in chosen)
