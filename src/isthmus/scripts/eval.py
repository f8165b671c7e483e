"""Evaluate saved weights on chosen splits. Options: --help."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import tables
from isthmus.config import launch
from isthmus.paths import CONF
from isthmus.store import files

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="eval")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        table = evaluate(launch.option_values(cfg, "Eval"), launch.threads(cfg))
        log.info(tables.evaluation(table))
        how = {"checkpoint": cfg.checkpoint, "bn": cfg.bn, "num_threads": launch.threads(cfg)}
        how |= {"evaluation": tables.json_numbers(table)}
        files.write_json(launch.job_folder() / "result.json", how)
        log.info("results in %s", launch.display_path(launch.job_folder()))


def evaluate(options: dict[str, Any], threads: int) -> dict[str, Any]:
    file = Path(options["checkpoint"])
    metadata = files.load_metadata(file)

    import torch  # takes seconds: not for --help, a refused option or a missing file

    from isthmus.training import evaluator as training_evaluator
    from isthmus.training.options import Runtime

    torch.set_num_threads(threads)
    dataset, typed = options["dataset"], options["dataset_typed"]
    runtime, cache = Runtime(**launch.runtime(options)), f"{options['output_dir']}/cache"
    precision, allowed = options["precision"], options["allow_nonfinite"]
    evaluator = training_evaluator.saved_evaluator(
        metadata, dataset, typed, cache, runtime, precision
    )
    loaded = evaluator.load(file, allowed)
    weights: Any = {name: tensor.to(evaluator.device) for name, tensor in loaded.items()}
    if options["bn"] == "reset":
        weights = evaluator.reset_batch_norm(weights)
    table = evaluator.table({metadata["kind"]: weights}, options["splits"])
    if not allowed:
        tables.check_finite(table, f"checkpoint={file}")
    return table
