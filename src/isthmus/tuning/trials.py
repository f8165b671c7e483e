"""The trials of a study as tables: every one, the best, and what the values depend on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from isthmus.runs import write_csv

COLUMNS = ("number", "state", "value", "seconds", "folder", "error")
IMPORTANCE = ("option", "importance")
ENDED = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed"}


def state(trial: FrozenTrial) -> str:
    """Complete, failed, or open: one that runs, or whose worker is gone."""
    return ENDED.get(trial.state, "open")


def best(study: Study) -> FrozenTrial | None:
    """The trial of the best value, the first if there are several; None if none is complete."""
    return study.best_trial if _complete(study) else None


def write(study: Study, path: Path) -> None:
    """Write all trials, one a row, with a column for each option that was tried.

    Args:
        study: whose workers may still be at work.
        path: of the CSV file.
    """
    trials = study.get_trials(deepcopy=False)
    options = sorted({name for trial in trials for name in trial.params})
    write_csv(path, [*COLUMNS, *options], [_row(trial, options) for trial in trials])


def write_importance(study: Study, path: Path, seed: int = 0) -> None:
    """Write which part of the differences in value each option accounts for.

    By mean decrease in impurity of a random forest; Optuna 2's other evaluator, fANOVA, fails with
    the present scikit-learn. The table is empty where no two values differ.

    Args:
        study: of which trials that are complete count.
        path: of the CSV file.
        seed: of the forest.
    """
    complete = _complete(study)
    shares: dict[str, float] = {}
    if len({trial.value for trial in complete}) > 1 and all(trial.params for trial in complete):
        evaluator = MeanDecreaseImpurityImportanceEvaluator(seed=seed)
        shares = dict(get_param_importances(study, evaluator=evaluator))
    write_csv(path, IMPORTANCE, shares.items())


def _complete(study: Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def _row(trial: FrozenTrial, options: Sequence[str]) -> list[Any]:
    value = trial.value if trial.state == TrialState.COMPLETE else None
    known = {"number": trial.number, "state": state(trial), "value": value}
    row = {**trial.user_attrs, **known}
    error = row.get("error")
    row["error"] = None if error is None else " ".join(str(error).split())
    return [row.get(name) for name in COLUMNS] + [trial.params.get(name) for name in options]
