"""Train one network, with averaged models tracked beside it. Options: --help."""

import logging
from functools import partial
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import machine, tables
from isthmus.config import launch
from isthmus.paths import CONF
from isthmus.store.files import Run

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        run = Run(launch.job_folder())
        if not machine.is_distributed() and run.is_complete(launch.to_container(cfg.snapshots)):
            log.info("results are complete; nothing to compute")
            launch.compare_threads(cfg, run.read_result())
        else:
            train(cfg, run)
        if machine.is_first():
            result: Any = run.read_result()
            log.info(tables.result(result, launch.display_path(run.folder)))


def train(cfg: DictConfig, run: Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished run

    from isthmus.training.distributed import init_processes, lock_run
    from isthmus.training.fit import TrainHooks, fit
    from isthmus.training.options import Runtime
    from isthmus.training.recipe import Recipe, StreamSeeds, resolve_device
    from isthmus.training.session import Session
    from isthmus.widths.diagnostics import DiagnosticsRequest

    torch.set_num_threads(launch.threads(cfg, run.read_result()))
    seeds, snapshots = launch.seeds(cfg), launch.to_container(cfg.snapshots)
    recipe, runtime = Recipe(**launch.recipe(launch.training(cfg))), Runtime(**launch.runtime(cfg))
    recipe.check()
    with (
        init_processes(resolve_device(runtime.device)) as processes,
        lock_run(run, processes) as locked_run,
    ):
        data = launch.load_data(launch.to_container(cfg.dataset), seeds.pop("label_noise"))
        make = partial(Session, recipe, data, StreamSeeds(**seeds), runtime, processes)
        diagnostics = DiagnosticsRequest(**launch.to_container(cfg.diagnostics))
        measures = partial(diagnostics.callbacks, seeds["initialization"])
        extras = TrainHooks(measures, cfg.save_weights)
        fit(locked_run, make, snapshots, cfg.save_predictions, extras=extras)
