"""Recover the units of a network that can only be queried. Options: --help."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus.config import launch
from isthmus.extraction.options import Extract, hidden_widths
from isthmus.extraction.summary import summary_lines
from isthmus.paths import CONF
from isthmus.store import files as store_files

if TYPE_CHECKING:
    from isthmus.extraction.comparison import AlignedNetworks
    from isthmus.extraction.study import Task

log = logging.getLogger(__name__)

NUM_ALPHAS = 25


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="extract")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        study = store_files.Run(launch.job_folder())
        clustering = store_files.Run(
            study.folder / f"clustering_{options.extraction.clustering_name}"
        )
        with study.lock():
            if clustering.read_result() is not None and reconstruction_file(clustering).exists():
                log.info("results are complete; nothing to compute")
                launch.compare_threads(options.runtime, clustering.read_result())
            else:
                extract(options, study, clustering)
        for line in summary_lines(clustering.read_result() or {}):
            log.info(line)
        log.info("results in %s", launch.display_path(clustering.folder))


def reconstruction_file(clustering: store_files.Run) -> Path:
    return clustering.folder / "reconstruction.safetensors"


def extract(options: Extract, study: store_files.Run, clustering: store_files.Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished extraction

    from isthmus.extraction import results
    from isthmus.extraction import study as extraction_study

    torch.set_num_threads(launch.threads(options.runtime))
    students_options, runtime = options.extraction, options.runtime
    task = make_task(options)
    if runtime.num_threads is None and extraction_study.is_small(task, students_options):
        torch.set_num_threads(1)
    students = extraction_study.train(
        task, students_options, options.global_seed, study.folder, runtime
    )
    sources, beta = students_options.datagen.replace("+", "_"), students_options.beta
    mask = Path(options.output_dir) / "cache" / f"boruta_{sources}.npz"
    result = extraction_study.recover(
        task, students, students_options, clustering.folder, runtime, mask
    )
    results.write_layers(task, result, beta, clustering.folder)
    extraction_study.save_network(task, result.network, reconstruction_file(clustering))
    aligned = results.write_comparison(task, result, beta, clustering.folder)
    barriers = measure_barriers(options, task, aligned) if aligned else {}
    draw(study.folder, clustering.folder)
    summary = results.summarize(task, students, result, beta)
    threads = {"num_threads": torch.get_num_threads()}
    request = {"teacher": options.teacher, "gamma": students_options.gamma, "beta": beta}
    store_files.write_json(clustering.result, {**request, **barriers, **summary, **threads})


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


def measure_barriers(
    options: Extract, task: "Task", aligned: "AlignedNetworks"
) -> dict[str, float | None]:
    """Barriers on the line from the reconstruction to the teacher: of the mean squared error and,
    where the teacher was trained on labelled data, of its loss on the test set."""
    from isthmus.connectivity import barriers as connectivity_barriers
    from isthmus.connectivity import line as connectivity_line
    from isthmus.connectivity.interpolation import InterpolationEvaluator
    from isthmus.extraction import comparison, stacks
    from isthmus.training.evaluator import saved_evaluator
    from isthmus.training.options import Runtime, SavedOptions

    alphas = connectivity_barriers.parse_alphas(NUM_ALPHAS)
    errors = comparison.error_curve(aligned, task.held_out, task.held_out_targets, alphas)
    error_barrier = float(connectivity_barriers.barrier(errors, alphas))
    if task.teacher is None or task.teacher.metadata is None:
        return {"barrier_mse": error_barrier, "barrier_loss": None}
    metadata = task.teacher.metadata
    metadata = metadata | {
        "config": metadata["config"] | {"model": stacks.model_node(aligned.reconstruction)}
    }
    saved = SavedOptions(
        dataset=options.dataset,
        runtime=Runtime(device=options.runtime.device),
        precision="fp32",
        output_dir=options.output_dir,
    )
    points = InterpolationEvaluator(saved_evaluator(metadata, saved), ["test"], NUM_ALPHAS)
    ends = stacks.stack_state_dict(aligned.reconstruction), stacks.stack_state_dict(aligned.teacher)
    loss = connectivity_line.evaluate_line(points, *ends, alphas, bn="keep")["test"].loss
    loss_barrier = float(connectivity_barriers.barrier(loss, alphas))
    return {"barrier_mse": error_barrier, "barrier_loss": loss_barrier}


def draw(students: Path, clustering: Path) -> None:
    import pandas  # takes a second, and the modules below another

    from isthmus.plots import extraction
    from isthmus.plots import files as plots_files

    tables = {path.stem: pandas.read_csv(path) for path in clustering.glob("*.csv")}
    tables["losses"] = pandas.read_csv(students / "losses.csv")
    extraction.save_extraction(tables, clustering / "figures")
    plots_files.write_events(clustering / "figures")
