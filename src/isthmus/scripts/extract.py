"""Recover the units of a network that can only be queried. Options: --help."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus.config import launch, naming
from isthmus.extraction import options
from isthmus.paths import CONF
from isthmus.store import files as store_files

if TYPE_CHECKING:
    from isthmus.extraction.comparison import AlignedNetworks
    from isthmus.extraction.study import Task

log = logging.getLogger(__name__)

NUM_ALPHAS = 25


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="extract")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg):
        study = store_files.Run(launch.job_folder())
        clustering = store_files.Run(
            study.folder / f"clustering_{naming.clustering_name(extraction_values(cfg))}"
        )
        with study.lock():
            if clustering.read_result() is not None and reconstruction_file(clustering).exists():
                log.info("results are complete; nothing to compute")
                launch.compare_threads(cfg, clustering.read_result())
            else:
                extract(cfg, study, clustering)
        for line in options.summary_lines(clustering.read_result() or {}):
            log.info(line)
        log.info("results in %s", launch.display_path(clustering.folder))


def reconstruction_file(clustering: store_files.Run) -> Path:
    return clustering.folder / "reconstruction.safetensors"


def extraction_values(cfg: DictConfig) -> dict[str, Any]:
    return launch.to_container(cfg.extraction)


def extract(cfg: DictConfig, study: store_files.Run, clustering: store_files.Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished extraction

    from isthmus.extraction import results
    from isthmus.extraction import study as extraction_study
    from isthmus.extraction.fitting import FitRuntime

    torch.set_num_threads(launch.threads(cfg))
    task, values = make_task(cfg), extraction_values(cfg)
    if cfg.runtime.num_threads is None and extraction_study.is_small(task, values):
        torch.set_num_threads(1)
    running = FitRuntime(cfg.runtime.save_every, cfg.runtime.progress)
    students = extraction_study.train(task, values, cfg.global_seed, study.folder, running)
    mask = Path(cfg.output_dir) / "cache" / f"boruta_{values['datagen'].replace('+', '_')}.npz"
    result = extraction_study.recover(task, students, values, clustering.folder, running, mask)
    results.write_layers(task, result, values["beta"], clustering.folder)
    extraction_study.save_network(task, result.network, reconstruction_file(clustering))
    aligned = results.write_comparison(task, result, values["beta"], clustering.folder)
    barriers = measure_barriers(cfg, task, aligned) if aligned else {}
    draw(study.folder, clustering.folder)
    summary = results.summarize(task, students, result, values["beta"])
    threads = {"num_threads": torch.get_num_threads()}
    request = {"teacher": cfg.teacher, "gamma": values["gamma"], "beta": values["beta"]}
    store_files.write_json(clustering.result, {**request, **barriers, **summary, **threads})


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


def measure_barriers(cfg: DictConfig, task: "Task", aligned: "AlignedNetworks") -> dict[str, Any]:
    """Barriers on the line from the reconstruction to the teacher: of the mean squared error and,
    where the teacher was trained on labelled data, of its loss on the test set."""
    import torch

    from isthmus.connectivity import barriers as connectivity_barriers
    from isthmus.connectivity import line as connectivity_line
    from isthmus.connectivity.interpolation import InterpolationEvaluator
    from isthmus.extraction import comparison, stacks
    from isthmus.training import evaluator as training_evaluator
    from isthmus.training.options import Runtime

    alphas = torch.from_numpy(connectivity_barriers.parse_alphas(NUM_ALPHAS))
    errors = comparison.error_curve(aligned, task.held_out, task.held_out_targets, alphas)
    numbers: dict[str, Any] = {"barrier_mse": float(connectivity_barriers.barrier(errors, alphas))}
    if task.teacher is None or task.teacher.metadata is None:
        return numbers | {"barrier_loss": None}
    metadata = task.teacher.metadata
    metadata = metadata | {
        "config": metadata["config"] | {"model": stacks.model_node(aligned.reconstruction)}
    }
    runtime, cache = Runtime(device=cfg.runtime.device), f"{cfg.output_dir}/cache"
    evaluator = training_evaluator.saved_evaluator(
        metadata, launch.to_container(cfg.dataset), [], cache, runtime, "fp32"
    )
    points = InterpolationEvaluator(evaluator, ["test"], NUM_ALPHAS)
    ends = stacks.stack_state_dict(aligned.reconstruction), stacks.stack_state_dict(aligned.teacher)
    loss = connectivity_line.evaluate_line(points, *ends, alphas, bn="keep")["test"].loss
    return numbers | {"barrier_loss": float(connectivity_barriers.barrier(loss, alphas))}


def draw(students: Path, clustering: Path) -> None:
    import pandas  # takes a second, and the modules below another

    from isthmus.plots import extraction
    from isthmus.plots import files as plots_files

    tables = {path.stem: pandas.read_csv(path) for path in clustering.glob("*.csv")}
    tables["losses"] = pandas.read_csv(students / "losses.csv")
    extraction.save_extraction(tables, clustering / "figures")
    plots_files.write_events(clustering / "figures")
