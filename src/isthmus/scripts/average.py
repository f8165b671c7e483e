"""Average saved weights of one architecture, from any training. Options: --help."""

import logging
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import tables
from isthmus.averaging import checkpoints
from isthmus.config import launch
from isthmus.paths import CONF
from isthmus.store import files as store_files

KEPT_METADATA = ("config", "input_shape", "num_classes", "classes", "normalization")

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="average")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        run, options = store_files.Run(launch.job_folder()), launch.to_container(cfg)
        files = checkpoints.find_files(options["checkpoints"], options["run"], options["steps"])
        files = checkpoints.select_files(files, cfg.method, options)
        digests = checkpoints.file_digests(files)
        with run.lock():
            if checkpoints.is_done(run, digests):
                log.info("results are complete; nothing to compute")
                launch.compare_threads(cfg, run.read_result())
            else:
                average(cfg, run, files, digests)
        result: Any = run.read_result()
        log.info(tables.evaluation(result["evaluation"]))
        log.info("results in %s", launch.display_path(run.folder))


def average(cfg: DictConfig, run: store_files.Run, files: list, digests: list[str]) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished average

    from isthmus.averaging.checkpoint_average import NAME, Checkpoints
    from isthmus.training import evaluator as training_evaluator
    from isthmus.training.options import Runtime

    torch.set_num_threads(launch.threads(cfg))
    metadata, options = checkpoints.check_architectures(files), launch.option_values(cfg, "Average")
    dataset, typed = options["dataset"], options["dataset_typed"]
    runtime, cache = Runtime(**launch.runtime(cfg)), f"{cfg.output_dir}/cache"
    evaluator = training_evaluator.saved_evaluator(
        metadata, dataset, typed, cache, runtime, cfg.precision
    )
    result = Checkpoints(files, evaluator, cfg.bn).average(cfg.method, options, options["splits"])
    parts = result.parts(files, digests)
    how = {"method": cfg.method, "bn": cfg.bn, "ingredients": parts}
    threads = {"num_threads": torch.get_num_threads()}
    kept = {key: metadata[key] for key in KEPT_METADATA if key in metadata}
    run.result.unlink(missing_ok=True)  # it may be of files that have changed since
    store_files.save_weights(run.average, result.weights, {**kept, "kind": NAME, **how})
    tables.write(run.averages, ("model", "split", "metric", "value"), result.rows())
    store_files.write_json(run.result, {**how, **threads, "evaluation": result.evaluation})
