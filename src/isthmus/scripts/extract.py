"""Recover the units of a network that can only be queried. Options: --help."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus import machine
from isthmus.config import launch, schema
from isthmus.extraction import results
from isthmus.extraction.options import Extract, hidden_widths
from isthmus.extraction.plan import ExtractionTree
from isthmus.paths import CONF, display_path
from isthmus.plots import studies
from isthmus.store import files as store_files

if TYPE_CHECKING:
    from isthmus.extraction.study import Task

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="extract")
def main(cfg: DictConfig) -> dict[str, float]:
    with launch.job(cfg) as options:
        tree = ExtractionTree(launch.job_folder(), options.clustering_name)
        with tree.study.lock():
            if results.is_complete(tree):
                log.info("results are complete; nothing to compute")
                machine.compare_threads(options.runtime.num_threads, tree.clustering.read_result())
            else:
                extract(options, tree)
        log.info(results.summarize(tree))
        result = tree.clustering.read_result()
        unsolved = result and results.unsolved_message(result, options.extraction.epochs)
        if unsolved:
            log.warning(unsolved)
        log.info("results in %s", display_path(tree.clustering.folder))
        return results.main_numbers(tree)


def extract(options: Extract, tree: ExtractionTree) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished extraction

    from isthmus.extraction import measures
    from isthmus.extraction import study as extraction_study

    torch.set_num_threads(launch.threads(options.runtime))
    students_options, runtime = options.extraction, options.runtime
    task = make_task(options)
    for unused in extraction_study.unused_options(task, students_options):
        log.info(unused)
    if runtime.num_threads is None and extraction_study.is_small(task, students_options):
        torch.set_num_threads(1)
    is_synthetic = options.teacher == "synthetic"
    if is_synthetic and task.teacher is not None:
        extraction_study.save_network(task, task.teacher.network, tree.teacher, "teacher")
    students = extraction_study.train(task, students_options, options.global_seed, tree, runtime)
    beta, cache = students_options.beta, Path(options.output_dir) / "cache"
    result = extraction_study.recover(task, students, students_options, tree, runtime, cache)
    results.write_tables(tree, measures.layer_rows(task, result, beta))
    extraction_study.save_network(task, result.network, tree.reconstruction)
    barriers = {}
    if task.teacher is not None:
        aligned = measures.align_to_teacher(task, result, result.network, beta)
        pair = {"reconstruction": aligned.reconstruction, "teacher": aligned.teacher}
        for name, network in pair.items():
            extraction_study.save_network(
                task, network, tree.aligned_weights(name), f"aligned_{name}"
            )
        results.write_tables(tree, measures.comparison_rows(task, result, aligned))
        barriers = measures.measure_barriers(options, task, aligned)
    studies.update_study(tree.clustering.folder, "extract")
    summary = measures.summarize(task, students, result, students_options.gamma, beta)
    threads = {"num_threads": torch.get_num_threads()}
    request = {
        "teacher": options.teacher,
        "synthetic": schema.to_values(options.synthetic) if is_synthetic else None,
        "activation": task.activation,
        "global_seed": options.global_seed,
        "gamma": students_options.gamma,
        "beta": beta,
    }
    store_files.write_json(tree.clustering.result, {**request, **barriers, **summary, **threads})


def make_task(options: Extract) -> "Task":
    from isthmus.extraction import queries
    from isthmus.extraction import study as extraction_study
    from isthmus.training.recipe import resolve_device

    device, teacher = resolve_device(options.runtime.device), None
    if options.teacher == "synthetic":
        made = options.synthetic
        sizes = [made.num_inputs, *hidden_widths(made.width, 1), made.num_outputs]
        teacher = queries.synthetic_teacher(sizes, made.activation, made.seed)
    elif options.teacher is not None:
        teacher = queries.read_teacher(options.teacher)
    num_inputs = None if teacher is None else teacher.num_inputs
    collected = queries.collect_queries(
        options.extraction, options.root, num_inputs, options.global_seed
    )
    return extraction_study.make_task(teacher, collected, options.extraction.activation, device)
