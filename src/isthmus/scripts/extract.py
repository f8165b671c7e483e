"""Recover the units of a network that can only be queried. Options: --help."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus import config, extracting, naming, runs
from isthmus.paths import CONF

if TYPE_CHECKING:
    from isthmus.extraction.comparison import Aligned
    from isthmus.extraction.study import Task

log = logging.getLogger(__name__)

NUM_ALPHAS = 25


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="extract")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        study = runs.Run(config.folder())
        clustering = runs.Run(study.folder / f"clustering_{naming.clustering_name(options(cfg))}")
        with study.locked():
            if clustering.read_result() is not None and reconstruction_of(clustering).exists():
                log.info("done before: nothing to compute")
                config.compare_threads(cfg, clustering.read_result())
            else:
                extract(cfg, study, clustering)
        for line in extracting.told(clustering.read_result() or {}):
            log.info(line)
        log.info("results in %s", config.shown(clustering.folder))


def reconstruction_of(clustering: runs.Run) -> Path:
    return clustering.folder / "reconstruction.safetensors"


def options(cfg: DictConfig) -> dict[str, Any]:
    return config.plain(cfg.extraction)


def extract(cfg: DictConfig, study: runs.Run, clustering: runs.Run) -> None:
    import torch  # takes seconds: not for --help, a refused option or a finished extraction

    from isthmus.extraction import report
    from isthmus.extraction import study as steps
    from isthmus.extraction.trained import Running

    torch.set_num_threads(config.threads(cfg))
    task, own = task_of(cfg), options(cfg)
    if cfg.runtime.num_threads is None and steps.is_small(task, own):
        torch.set_num_threads(1)
    running = Running(cfg.runtime.save_every, cfg.runtime.progress)
    students = steps.train(task, own, cfg.global_seed, study.folder, running)
    mask = Path(cfg.output_dir) / "cache" / f"boruta_{own['datagen'].replace('+', '_')}.npz"
    found = steps.recover(task, students, own, clustering.folder, running, mask)
    report.write_layers(task, found, own["beta"], clustering.folder)
    steps.save(task, found.network, reconstruction_of(clustering))
    aligned = report.write_comparison(task, found, own["beta"], clustering.folder)
    barriers = barriers_of(cfg, task, aligned) if aligned else {}
    draw(study.folder, clustering.folder)
    summary = report.summary(task, students, found, own["beta"])
    threads = {"num_threads": torch.get_num_threads()}
    asked = {"teacher": cfg.teacher, "gamma": own["gamma"], "beta": own["beta"]}
    runs.write_json(clustering.result, {**asked, **barriers, **summary, **threads})


def task_of(cfg: DictConfig) -> "Task":
    from isthmus.extraction import queries, study, teachers
    from isthmus.training.recipe import resolve_device

    own, made = options(cfg), config.plain(cfg.synthetic)
    device, teacher = resolve_device(cfg.runtime.device), None
    if cfg.teacher == "synthetic":
        hidden = extracting.widths(made["width"], 1)
        sizes = [made["num_inputs"], *hidden, made["num_outputs"]]
        teacher = teachers.synthetic(sizes, made["activation"], made["seed"])
    elif cfg.teacher is not None:
        teacher = teachers.read(cfg.teacher)
    names, root = own["datagen"].split("+"), cfg.dataset.root
    asked = queries.Sources(names, own["num_samples"], own["span"], own["file"], root)
    num_inputs = None if teacher is None else teacher.num_inputs
    found = queries.collect(asked, num_inputs, cfg.global_seed)
    return study.task(teacher, found, own["activation"], device)


def barriers_of(cfg: DictConfig, task: "Task", aligned: "Aligned") -> dict[str, Any]:
    """Barriers on the line from the reconstruction to the teacher: of the mean squared error and,
    where the teacher was trained on labelled data, of its loss on the test set."""
    from isthmus.connectivity import barriers, line
    from isthmus.connectivity.points import PointEvaluator
    from isthmus.extraction import comparison, modules
    from isthmus.training import rebuilt
    from isthmus.training.recipe import Runtime

    alphas = line.parse_alphas(NUM_ALPHAS)
    errors = comparison.curve(aligned, task.held_out, task.held_out_targets, alphas)
    found: dict[str, Any] = {"barrier_mse": float(barriers.barrier(errors, alphas))}
    if task.teacher is None or task.teacher.metadata is None:
        return found | {"barrier_loss": None}
    metadata = task.teacher.metadata
    metadata = metadata | {"config": metadata["config"] | {"model": modules.node(aligned.found)}}
    runtime, cache = Runtime(device=cfg.runtime.device), f"{cfg.output_dir}/cache"
    evaluator = rebuilt.evaluator(metadata, config.plain(cfg.dataset), [], cache, runtime, "fp32")
    points = PointEvaluator(evaluator, ["test"], NUM_ALPHAS)
    ends = modules.state_dict(aligned.found), modules.state_dict(aligned.teacher)
    loss = line.evaluate(points, *ends, alphas, bn="keep")["test"].loss
    return found | {"barrier_loss": float(barriers.barrier(loss, alphas))}


def draw(students: Path, clustering: Path) -> None:
    import pandas  # takes a second, and what it is needed for another

    from isthmus.plots import events, extraction

    tables = {path.stem: pandas.read_csv(path) for path in clustering.glob("*.csv")}
    tables["losses"] = pandas.read_csv(students / "losses.csv")
    extraction.save(tables, clustering / "figures")
    events.write(clustering / "figures")
