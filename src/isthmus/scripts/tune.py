"""Search for the best values of a training's options on a validation split. Options: --help."""

import logging
from functools import partial
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import tables
from isthmus.config import launch
from isthmus.paths import CONF
from isthmus.store.files import Run
from isthmus.training import options

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="tune")
def main(cfg: DictConfig) -> float:
    """One trial, which is a run of `train.py` with these values, in its folder."""
    with launch.job(cfg):
        run = Run(launch.job_folder())
        if run.is_complete(launch.to_container(cfg.snapshots)):
            log.info("results are complete; nothing to compute")
            launch.compare_threads(cfg, run.read_result())
        else:
            train(cfg, run)
        result: Any = run.read_result()
        log.info(tables.result(result, launch.display_path(run.folder)))
        return options.objective(result["evaluation"], cfg.maximize_averaged)


def train(cfg: DictConfig, run: Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished run

    from isthmus.training.fit import fit
    from isthmus.training.options import Runtime
    from isthmus.training.recipe import Recipe, StreamSeeds
    from isthmus.training.session import Session

    torch.set_num_threads(launch.threads(cfg, run.read_result()))
    seeds, snapshots = launch.seeds(cfg), launch.to_container(cfg.snapshots)
    recipe, runtime = Recipe(**launch.recipe(launch.training(cfg))), Runtime(**launch.runtime(cfg))
    recipe.check()
    with run.lock():
        data = launch.load_data(launch.to_container(cfg.dataset), seeds.pop("label_noise"))
        make = partial(Session, recipe, data, StreamSeeds(**seeds), runtime)
        fit(run, make, snapshots, cfg.save_predictions)
