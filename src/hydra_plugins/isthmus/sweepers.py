"""Sweepers for Hydra that write every job into the ledger.

Hydra takes plugins from the package `hydra_plugins` only. For every command it imports all modules
there whose names begin with a letter, so slow imports are in modules that begin with a `_`.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.plugins.sweeper import Sweeper

# Building a sampler imports Optuna, before anything here is called.
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs its own set-up


class Grid(BasicSweeper):
    """All combinations of the typed values, by any launcher."""

    def setup(self, *, config: Any, **context: Any) -> None:
        from hydra_plugins.isthmus._launcher import LedgerLauncher

        super().setup(config=config, **context)
        self.launcher: Any = LedgerLauncher(self.launcher, Path(config.hydra.sweep.dir))


class OptunaStudy(Sweeper):
    """A search with Optuna, by any launcher, in a study that outlives this process.

    Args are those of `OptunaSweeper`, whose values, samplers and overrides this takes. It has its
    own loop, because in that of hydra-optuna-sweeper 1.3
      - n_trials are run at every start, and not in total by all workers;
      - a trial whose worker was killed stays "running" for ever;
      - the reason of a failure is lost, and a trial of non-finite value ends the search.
    """

    def __init__(
        self,
        sampler: Any,
        direction: Any,
        storage: str | None,
        study_name: str | None,
        n_trials: int,
        n_jobs: int,
        params: Any = None,
        **unused: Any,
    ) -> None:
        self.unused = {name: value for name, value in unused.items() if value}  # refused by `check`
        self.sampler, self.direction = sampler, direction
        self.storage, self.study_name = storage, study_name
        self.n_trials, self.n_jobs, self.params = n_trials, n_jobs, dict(params or {})

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        from hydra.core.plugins import Plugins

        from hydra_plugins.isthmus._launcher import LedgerLauncher

        self.hydra_context, self.config = hydra_context, config
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.launcher: Any = LedgerLauncher(launcher, Path(config.hydra.sweep.dir))

    def sweep(self, arguments: Sequence[str]) -> None:
        from hydra_plugins.isthmus import _search

        _search.search(self, arguments)
