"""Evaluate saved weights on chosen splits. Options: --help."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from isthmus import tables
from isthmus.averaging.options import Eval
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.store import files
from isthmus.tables import Evaluation

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="eval")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        threads = launch.threads(options.runtime)
        table = evaluate(options, threads)
        log.info(tables.evaluation(table))
        how = {"checkpoint": options.checkpoint, "bn": options.bn, "num_threads": threads}
        how |= {"evaluation": tables.json_numbers(table)}
        files.write_json(launch.job_folder() / "result.json", how)
        log.info("results in %s", display_path(launch.job_folder()))


def evaluate(options: Eval, threads: int) -> Evaluation:
    file = Path(options.checkpoint)
    metadata = files.load_metadata(file)

    import torch  # takes seconds: not for --help, a refused option or a missing file

    from isthmus.training.evaluator import saved_evaluator

    torch.set_num_threads(threads)
    evaluator = saved_evaluator(metadata, options)
    loaded = evaluator.load(file, options.allow_nonfinite)
    weights: Any = {name: tensor.to(evaluator.device) for name, tensor in loaded.items()}
    if options.bn == "reset":
        weights = evaluator.reset_batch_norm(weights)
    table = evaluator.table({metadata["kind"]: weights}, options.splits)
    if not options.allow_nonfinite:
        tables.check_finite(table, f"checkpoint={file}")
    return table
