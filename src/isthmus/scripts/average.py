"""Average saved weights of one architecture, from any training. Options: --help."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import machine, tables
from isthmus.averaging import checkpoints
from isthmus.averaging.options import Average
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.store import files as store_files

KEPT_METADATA = ("config", "input_shape", "num_classes", "classes", "normalization")

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="average")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        run = store_files.Run(launch.job_folder())
        files = checkpoints.find_files(
            options.checkpoints, options.run, options.steps, options.kind
        )
        files = checkpoints.select_files(files, options)
        digests = checkpoints.file_digests(files)
        with run.lock():
            if checkpoints.is_done(run, digests):
                log.info("results are complete; nothing to compute")
                machine.compare_threads(options.runtime.num_threads, run.read_result())
            else:
                average(options, run, files, digests)
        result: Any = run.read_result()
        log.info(checkpoints.kinds_message(files, options.kind))
        log.info(tables.evaluation(result["evaluation"]))
        if options.method == "greedy_soup":
            log.info(checkpoints.kept_message(result["ingredients"]))
        log.info("results in %s", display_path(run.folder))


def average(options: Average, run: store_files.Run, files: list[Path], digests: list[str]) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished average

    from isthmus.averaging.checkpoint_average import NAME, Checkpoints
    from isthmus.training.evaluator import saved_evaluator

    torch.set_num_threads(launch.threads(options.runtime))
    metadata = checkpoints.check_architectures(files)
    evaluator = saved_evaluator(metadata, options)
    result = Checkpoints(files, evaluator, options.bn).average(options)
    parts = result.parts(files, digests)
    how = {"method": options.method, "bn": options.bn, "ingredients": parts}
    threads = {"num_threads": torch.get_num_threads()}
    kept = {key: metadata[key] for key in KEPT_METADATA if key in metadata}
    run.result.unlink(missing_ok=True)  # it may be of files that have changed since
    store_files.save_weights(run.average, result.weights, {**kept, "kind": NAME, **how})
    tables.write(run.averages, ("model", "split", "metric", "value"), result.rows())
    store_files.write_json(run.result, {**how, **threads, "evaluation": result.evaluation})
