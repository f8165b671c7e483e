"""Train one network, with averaged models tracked beside it. Options: --help."""

import logging
from functools import partial
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import config, tables, torchrun
from isthmus.paths import CONF
from isthmus.runs import Run

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        run = Run(config.folder())
        if not torchrun.is_on() and run.is_complete(config.plain(cfg.snapshots)):
            log.info("done before: nothing to compute")
            config.compare_threads(cfg, run.read_result())
        else:
            train(cfg, run)
        if torchrun.is_first():
            result: Any = run.read_result()
            log.info(tables.result(result, config.shown(run.folder)))


def train(cfg: DictConfig, run: Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished run

    from isthmus.training.fit import fit
    from isthmus.training.leg import Extras
    from isthmus.training.processes import joined, locked
    from isthmus.training.recipe import Recipe, Runtime, Seeds, resolve_device
    from isthmus.training.session import Session
    from isthmus.widths.diagnostics import Asked

    torch.set_num_threads(config.threads(cfg, run.read_result()))
    seeds, snapshots = config.seeds(cfg), config.plain(cfg.snapshots)
    recipe, runtime = Recipe(**config.recipe(config.training(cfg))), Runtime(**config.runtime(cfg))
    recipe.check()
    with joined(resolve_device(runtime.device)) as processes, locked(run, processes) as own:
        data = config.load(config.plain(cfg.dataset), seeds.pop("label_noise"))
        make = partial(Session, recipe, data, Seeds(**seeds), runtime, processes)
        asked = Asked(**config.plain(cfg.diagnostics))
        measures = partial(asked.callbacks, seeds["initialization"])
        extras = Extras(measures, cfg.save_weights)
        fit(own, make, snapshots, cfg.save_predictions, extras=extras)
