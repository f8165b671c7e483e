"""Evaluate saved weights on chosen splits. Options: --help."""

import logging
import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from src import command_line, config, runs, tables

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="eval")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        table = evaluate(config.values(cfg, "Eval"), config.threads(cfg))
        log.info(tables.evaluation(table))
        how = {"checkpoint": cfg.checkpoint, "bn": cfg.bn, "num_threads": config.threads(cfg)}
        how |= {"evaluation": tables.json_numbers(table)}
        runs.write_json(config.folder() / "result.json", how)
        log.info("results in %s", config.shown(config.folder()))


def evaluate(options: dict[str, Any], threads: int) -> dict[str, Any]:
    file = Path(options["checkpoint"])
    metadata = runs.load_metadata(file)

    import torch  # takes seconds: not for --help, a refused option or a missing file

    from src.training import rebuilt
    from src.training.recipe import Runtime

    torch.set_num_threads(threads)
    dataset, typed = options["dataset"], options["dataset_typed"]
    runtime, cache = Runtime(**config.runtime(options)), f"{options['output_dir']}/cache"
    precision, allowed = options["precision"], options["allow_nonfinite"]
    evaluator = rebuilt.evaluator(metadata, dataset, typed, cache, runtime, precision)
    weights = evaluator.load(file, allowed)
    weights = {name: tensor.to(evaluator.device) for name, tensor in weights.items()}
    if options["bn"] == "reset":
        weights = evaluator.reset_batch_norm(weights)
    table = evaluator.table({metadata["kind"]: weights}, options["splits"])
    if not allowed:
        tables.check_finite(table, f"checkpoint={file}")
    return table


if __name__ == "__main__":
    sys.argv = command_line.arguments(sys.argv)
    main()
