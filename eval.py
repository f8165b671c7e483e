"""Evaluate saved weights on chosen splits. Options: --help."""

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from src import command_line, config, runs, tables

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="eval")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        weights, metadata = runs.load_weights(Path(cfg.checkpoint))
        table = evaluate(cfg, weights, metadata)
        log.info(tables.evaluation(table))
        how = {"checkpoint": cfg.checkpoint, "bn": cfg.bn, "num_threads": config.threads(cfg)}
        runs.write_json(config.folder() / "result.json", {**how, "evaluation": table})
        log.info("results in %s", config.shown(config.folder()))


def evaluate(cfg: DictConfig, weights: dict, metadata: dict) -> dict:
    import torch  # takes seconds: not for --help, a refused option or a missing file

    from src.training import rebuilt
    from src.training.recipe import Runtime

    torch.set_num_threads(config.threads(cfg))
    dataset, cache = config.plain(cfg.dataset), f"{cfg.output_dir}/cache"
    runtime = Runtime(**config.runtime(cfg))
    evaluator = rebuilt.evaluator(metadata, dataset, cache, runtime, cfg.precision)
    weights = {name: tensor.to(evaluator.device) for name, tensor in weights.items()}
    if cfg.bn == "reset":
        weights = evaluator.reset_batch_norm(weights)
    return evaluator.table({metadata["kind"]: weights}, config.plain(cfg.splits))


if __name__ == "__main__":
    sys.argv = command_line.arguments(sys.argv)
    main()
