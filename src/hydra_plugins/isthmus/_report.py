"""Reports a search: tables, figures, and the best values."""

from collections import Counter
from pathlib import Path
from typing import Any

from isthmus import tuning
from isthmus.paths import display_path
from isthmus.plots import studies
from isthmus.store import files


def report(study: Any, folder: Path, command: str | None) -> Counter[str]:
    """Write the tables and figures of a study, and print the best values.

    Args:
        study: of Optuna.
        folder: of its results.
        command: that trains with the best values; None where no trial is complete.

    Returns:
        The number of trials in each state.
    """
    best = tuning.best_trial(study)
    counts = Counter(tuning.trial_state(trial) for trial in study.get_trials(deepcopy=False))
    tuning.write_trials(study, folder / "trials.csv")
    tuning.write_importance(study, folder / "importance.csv")
    studies.update_study(folder, "tune")
    summary: dict[str, Any] = {"trials": dict(counts), "best": None, "command": command}
    if best is not None:
        summary["best"] = {"number": best.number, "value": best.value, "values": best.params}
    files.write_json(folder / "result.json", summary)
    print("\n".join(["", *summary_lines(summary), f"results in {display_path(folder)}"]))
    return counts


def trial_line(study: Any, number: int, status: str) -> str:
    """One line: how a trial ended, the best one so far, and its values.

    Args:
        study: of Optuna.
        number: of the trial.
        status: of its job in the ledger.
    """
    trial, best = study.get_trials(deepcopy=False)[number], tuning.best_trial(study)
    values = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.params.items()
    )
    error = (str(trial.user_attrs.get("error") or "").splitlines() or [""])[0]
    state = tuning.trial_state(trial)
    outcome = f"{trial.value:.4f}" if state == "complete" else f"{state}: {error or status}"
    so_far = f"best {best.value:.4f}, trial {best.number}" if best else "none is complete"
    return f"trial {number}: {outcome} ({so_far})  {values}"


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The summary as lines of text."""
    counts = ", ".join(f"{number} {state}" for state, number in summary["trials"].items())
    lines = [f"{sum(summary['trials'].values())} trials: {counts}"]
    if summary["trials"].get("open"):
        lines.append("open trials run elsewhere, or resume when this is started again")
    best = summary["best"]
    if best is None:
        return [*lines, "no trial is complete: there is no best one"]
    lines.append(f"best: validation accuracy {best['value']:.4f}, of trial {best['number']}, with")
    lines += [f"  {name}={value}" for name, value in best["values"].items()]
    return [
        *lines,
        "train with these values, and evaluate on the test set too:",
        summary["command"],
    ]
