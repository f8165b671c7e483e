"""Search for the best values of a training's options on a validation split. Options: --help."""

import logging
from functools import partial
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import machine, tables
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.store.files import Run
from isthmus.training.options import Tune

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="tune")
def main(cfg: DictConfig) -> float:
    """One trial, which is a run of `train.py` with these values, in its folder."""
    with launch.job(cfg) as options:
        run = Run(launch.job_folder())
        if run.is_complete(options.snapshots):
            log.info("results are complete; nothing to compute")
            machine.compare_threads(options.runtime.num_threads, run.read_result())
        else:
            train(options, run)
        result: Any = run.read_result()
        log.info(tables.result(result, display_path(run.folder)))
        return options.objective(result["evaluation"])


def train(options: Tune, run: Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished run

    from isthmus.training.fit import fit
    from isthmus.training.session import build_session

    torch.set_num_threads(launch.threads(options.runtime, run.read_result()))
    with run.lock():
        make = partial(build_session, options)
        fit(run, make, options.snapshots, options.save_predictions)
