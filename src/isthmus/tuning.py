"""A study of Optuna that several workers share, and its trials as tables."""

import contextlib
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from isthmus import sweeps
from isthmus import tables as core_tables
from isthmus.store import locks

# Optuna 2 needs SQLAlchemy 1.4, which would warn about newer versions.
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")

import optuna  # noqa: E402
from optuna import Study  # noqa: E402
from optuna.distributions import BaseDistribution  # noqa: E402
from optuna.importance import (  # noqa: E402
    MeanDecreaseImpurityImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial, TrialState  # noqa: E402

TRIAL_COLUMNS = ("number", "state", "value", "seconds", "folder", "error")
IMPORTANCE = ("option", "importance")
ENDED = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed"}


def trial_state(trial: FrozenTrial) -> str:
    """State of a trial: complete, failed, or open (it is running, or its worker is gone)."""
    return ENDED.get(trial.state, "open")


def best_trial(study: Study) -> FrozenTrial | None:
    """The trial of the best value, the first if there are several; None if none is complete."""
    return study.best_trial if _complete(study) else None


def write_trials(study: Study, path: Path) -> None:
    """Write all trials, one per row, with a column for each searched option.

    Args:
        study: whose workers may still be running.
        path: of the CSV file.
    """
    trials = study.get_trials(deepcopy=False)
    options = sorted({name for trial in trials for name in trial.params})
    core_tables.write(path, [*TRIAL_COLUMNS, *options], [_row(trial, options) for trial in trials])


def write_importance(study: Study, path: Path, seed: int = 0) -> None:
    """Write the importance of each option: the share of differences in value that it explains.

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
    core_tables.write(path, IMPORTANCE, shares.items())


def _complete(study: Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def _row(trial: FrozenTrial, options: Sequence[str]) -> list[Any]:
    value = trial.value if trial.state == TrialState.COMPLETE else None
    known = {"number": trial.number, "state": trial_state(trial), "value": value}
    row = {**trial.user_attrs, **known}
    error = row.get("error")
    row["error"] = None if error is None else " ".join(str(error).split())
    return [row.get(name) for name in TRIAL_COLUMNS] + [trial.params.get(name) for name in options]


PATIENCE = 60  # seconds that a worker waits for the others to release an SQLite file
UNSEEN = "killed before its values were chosen"


@dataclass(frozen=True)
class Claim:
    """A trial that a worker is to run."""

    number: int
    values: dict[str, Any]


class SharedStudy:
    """A study in a database, and this process as one of its workers.

    A trial of a worker that is gone is taken over by the next worker that claims one, with the same
    values: its training resumes. Workers detect each other by locks in a shared folder.

    Args:
        name: of the study in the database.
        storage: its URL; None keeps it in memory.
        sampler: by which new values are chosen.
        direction: maximize or minimize.
        folder: for the locks.

    Raises:
        ValueError: the database cannot be used.
    """

    def __init__(
        self, name: str, storage: str | None, sampler: Any, direction: str, folder: Path
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.workers = folder / "workers"
        self.workers.mkdir(parents=True, exist_ok=True)
        self.name = f"{platform.node()}_{os.getpid()}_{time.time_ns()}"
        self.presence = FileLock(self.workers / f"{self.name}.lock")
        self.presence.acquire()
        with self.lock():
            try:
                self.study = optuna.create_study(
                    study_name=name,
                    storage=_open(storage),
                    sampler=sampler,
                    direction=direction,
                    load_if_exists=True,
                )
            except Exception as error:  # any error of any database
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ValueError(f"hydra.sweeper.storage={storage}: {reason}") from error

    def claim(
        self, most: int, total: int, distributions: Mapping[str, BaseDistribution]
    ) -> list[Claim]:
        """Claim trials for this worker to run now: abandoned ones first, then new ones.

        Args:
            most: largest number of them.
            total: trials of the study, of all its workers.
            distributions: from which new values are chosen, by name.
        """
        with self.lock():
            claims = []
            for trial in self._abandoned_trials(distributions)[:most]:
                self._set(trial._trial_id, worker=self.name)
                claims.append(Claim(trial.number, dict(trial.params)))
            begun = [
                t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.WAITING
            ]
            for _ in range(min(most - len(claims), total - len(begun))):
                new = self.study.ask(dict(distributions))
                new.set_user_attr("worker", self.name)
                claims.append(Claim(new.number, dict(new.params)))
            return claims

    def tell(self, number: int, job: Mapping[str, Any]) -> None:
        """Record how a trial ended; one that did not end stays open, for the next worker.

        Args:
            number: of the trial.
            job: its record in the ledger, with its `value`.
        """
        value, error = job.get("value"), job.get("error")
        if job["status"] not in (sweeps.DONE, sweeps.FAILED):
            return
        if job["status"] == sweeps.FAILED:
            value = None
        elif value is None or not math.isfinite(value):
            value, error = None, f"its value is {value}"
        with self.lock():
            trial = self.study.get_trials(deepcopy=False)[number]
            known = {"folder": job["folder"], "seconds": job["seconds"], "error": error}
            self._set(trial._trial_id, **known)
            self._tell(number, value)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the study: no other worker reads or writes it."""
        with locks.hold(self.workers / "study.lock"):
            yield

    def _tell(self, number: int, value: float | None) -> None:
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        try:
            self.study.tell(number, value, state)
        except RuntimeError as error:
            if "Study.stop" not in str(
                error
            ):  # from a grid that is complete; the value is recorded
                raise

    def _abandoned_trials(self, distributions: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
        """Open trials whose workers are gone; one without all of its values is a failure."""
        abandoned = []
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and self._is_abandoned(trial):
                if distributions.keys() <= trial.params.keys():
                    abandoned.append(trial)
                else:
                    self._set(trial._trial_id, error=UNSEEN)
                    self._tell(trial.number, None)
        return abandoned

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is None:  # killed while it held the lock of the study, which is held here now
            return True
        path = self.workers / f"{worker}.lock"
        if worker == self.name or not path.exists():  # of a folder that is not shared
            return False
        try:
            with FileLock(path, blocking=False):
                return True
        except Timeout:
            return False

    def _set(self, trial_id: int, **attributes: Any) -> None:
        # Optuna 2 has no public way to write to a trial that another process began.
        for key, value in attributes.items():
            self.study._storage.set_trial_user_attr(trial_id, key, value)


def _open(storage: str | None) -> Any:
    """Open the database of a URL; the folder of an SQLite file is created."""
    from sqlalchemy.engine.url import make_url

    if storage is None:
        return None
    url = make_url(storage)
    options: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": PATIENCE}}
        if url.database:
            Path(url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.RDBStorage(storage, engine_kwargs=options)
