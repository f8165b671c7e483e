"""Recover the units of a network that can only be queried. Options: --help."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus.config import launch, naming
from isthmus.extraction import options, results
from isthmus.extraction.plan import ExtractionTree
from isthmus.paths import CONF
from isthmus.store import files as store_files

if TYPE_CHECKING:
    from isthmus.extraction.study import Task

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="extract")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        name = naming.clustering_name(extraction_values(cfg))
        tree = ExtractionTree(launch.job_folder(), name)
        with tree.study.lock():
            if results.is_complete(tree):
                log.info("results are complete; nothing to compute")
                launch.compare_threads(cfg, tree.clustering.read_result())
            else:
                extract(cfg, tree)
        log.info(results.summarize(tree))
        log.info("results in %s", launch.display_path(tree.clustering.folder))


def extraction_values(cfg: DictConfig) -> dict[str, Any]:
    return launch.to_container(cfg.extraction)


def extract(cfg: DictConfig, tree: ExtractionTree) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished extraction

    from isthmus.extraction import measures
    from isthmus.extraction import study as extraction_study
    from isthmus.extraction.fitting import FitRuntime

    torch.set_num_threads(launch.threads(cfg))
    task, values = make_task(cfg), extraction_values(cfg)
    if cfg.runtime.num_threads is None and extraction_study.is_small(task, values):
        torch.set_num_threads(1)
    running = FitRuntime(cfg.runtime.save_every, cfg.runtime.progress)
    students = extraction_study.train(task, values, cfg.global_seed, tree, running)
    cache = f"{cfg.output_dir}/cache"
    mask = Path(cache) / f"boruta_{values['datagen'].replace('+', '_')}.npz"
    result = extraction_study.recover(task, students, values, tree, running, mask)
    results.write_tables(tree, measures.layer_rows(task, result, values["beta"]))
    extraction_study.save_network(task, result.network, tree.reconstruction)
    barriers = {}
    if task.teacher is not None:
        aligned = measures.align_to_teacher(task, result, result.network, values["beta"])
        results.write_tables(tree, measures.comparison_rows(task, result, aligned))
        dataset = launch.to_container(cfg.dataset)
        barriers = measures.measure_barriers(task, aligned, dataset, cache, cfg.runtime.device)
    draw(tree)
    summary = measures.summarize(task, students, result, values["beta"])
    threads = {"num_threads": torch.get_num_threads()}
    request = {"teacher": cfg.teacher, "gamma": values["gamma"], "beta": values["beta"]}
    store_files.write_json(tree.clustering.result, {**request, **barriers, **summary, **threads})


def make_task(cfg: DictConfig) -> "Task":
    from isthmus.extraction import queries
    from isthmus.extraction import study as extraction_study
    from isthmus.training.recipe import resolve_device

    values, synthetic = extraction_values(cfg), launch.to_container(cfg.synthetic)
    device, teacher = resolve_device(cfg.runtime.device), None
    if cfg.teacher == "synthetic":
        hidden = options.hidden_widths(synthetic["width"], 1)
        sizes = [synthetic["num_inputs"], *hidden, synthetic["num_outputs"]]
        teacher = queries.synthetic_teacher(sizes, synthetic["activation"], synthetic["seed"])
    elif cfg.teacher is not None:
        teacher = queries.read_teacher(cfg.teacher)
    names, root = values["datagen"].split("+"), cfg.dataset.root
    sources = queries.Sources(names, values["num_samples"], values["span"], values["file"], root)
    num_inputs = None if teacher is None else teacher.num_inputs
    collected = queries.collect_queries(sources, num_inputs, cfg.global_seed)
    return extraction_study.make_task(teacher, collected, values["activation"], device)


def draw(tree: ExtractionTree) -> None:
    import pandas  # takes a second, and the modules below another

    from isthmus.plots import extraction
    from isthmus.plots import files as plots_files

    drawn = {path.stem: pandas.read_csv(path) for path in tree.clustering.folder.glob("*.csv")}
    drawn["losses"] = pandas.read_csv(tree.table("losses"))
    extraction.save_extraction(drawn, tree.figures)
    plots_files.write_events(tree.figures)
