"""Train one network, with averaged models tracked beside it. Options: --help."""

import logging
from functools import partial
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import machine, tables
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.store.files import Run
from isthmus.training.options import TrainScript

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        run = Run(launch.job_folder())
        if not machine.is_distributed() and run.is_complete(options.snapshots):
            log.info("results are complete; nothing to compute")
            machine.compare_threads(options.runtime.num_threads, run.read_result())
        else:
            train(options, run)
        if machine.is_first():
            result: Any = run.read_result()
            log.info(tables.result(result, display_path(run.folder)))


def train(options: TrainScript, run: Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished run

    from isthmus.training.continuation import continue_shorter_run
    from isthmus.training.distributed import init_processes, lock_run
    from isthmus.training.fit import TrainHooks, fit
    from isthmus.training.pretraining import build_session_from_file
    from isthmus.training.recipe import Recipe, resolve_device
    from isthmus.widths.diagnostics import diagnostic_callbacks

    torch.set_num_threads(launch.threads(options.runtime, run.read_result()))
    recipe = Recipe.from_options(options)  # refuses a value before the data is read or downloaded
    with (
        init_processes(resolve_device(options.runtime.device)) as processes,
        lock_run(run, processes) as locked_run,
    ):
        if processes is None:
            continue_shorter_run(run, options, recipe)
        make = partial(build_session_from_file, options, options.pretrain.weights, processes)
        seed = options.stream_seeds.initialization
        measures = partial(diagnostic_callbacks, options.diagnostics, seed)
        extras = TrainHooks(measures, options.save_weights)
        fit(locked_run, make, options.snapshots, options.save_predictions, extras=extras)
