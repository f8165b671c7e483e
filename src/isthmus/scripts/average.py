"""Average saved weights of one architecture, whoever made them. Options: --help."""

import logging
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import config, runs, tables
from isthmus.averaging import ingredients
from isthmus.paths import CONF

LASTING = ("config", "input_shape", "num_classes", "classes", "normalization")  # of metadata

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="average")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        run, options = runs.Run(config.folder()), config.plain(cfg)
        files = ingredients.find(options["checkpoints"], options["run"], options["steps"])
        files = ingredients.select(files, cfg.method, options)
        digests = ingredients.digests(files)
        with run.locked():
            if ingredients.are_averaged(run, digests):
                log.info("done before: nothing to compute")
                config.compare_threads(cfg, run.read_result())
            else:
                average(cfg, run, files, digests)
        result: Any = run.read_result()
        log.info(tables.evaluation(result["evaluation"]))
        log.info("results in %s", config.shown(run.folder))


def average(cfg: DictConfig, run: runs.Run, files: list, digests: list[str]) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished average

    from isthmus.averaging.evaluated import NAME, Ingredients
    from isthmus.training import rebuilt
    from isthmus.training.recipe import Runtime

    torch.set_num_threads(config.threads(cfg))
    metadata, options = ingredients.check(files), config.values(cfg, "Average")
    dataset, typed = options["dataset"], options["dataset_typed"]
    runtime, cache = Runtime(**config.runtime(cfg)), f"{cfg.output_dir}/cache"
    evaluator = rebuilt.evaluator(metadata, dataset, typed, cache, runtime, cfg.precision)
    result = Ingredients(files, evaluator, cfg.bn).average(cfg.method, options, options["splits"])
    parts = result.parts(files, digests)
    how = {"method": cfg.method, "bn": cfg.bn, "ingredients": parts}
    threads = {"num_threads": torch.get_num_threads()}
    lasting = {key: metadata[key] for key in LASTING if key in metadata}
    run.result.unlink(missing_ok=True)  # of files that have changed since
    runs.save_weights(run.average, result.weights, {**lasting, "kind": NAME, **how})
    runs.write_csv(run.averages, ("model", "split", "metric", "value"), result.rows())
    runs.write_json(run.result, {**how, **threads, "evaluation": result.evaluation})
