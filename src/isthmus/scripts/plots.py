"""Draw figures from the tables of runs. Options: --help."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from isthmus import run_index
from isthmus.config import launch
from isthmus.paths import CONF, display_path
from isthmus.plots import folders as plots_folders
from isthmus.plots.options import REPORT, RUNS, Plots
from isthmus.training import rebuild

if TYPE_CHECKING:
    from isthmus.plots.persistence import Images
    from isthmus.plots.runs import TrainingRuns

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="plots")
def main(cfg: DictConfig) -> None:
    with launch.job(cfg) as options:
        if options.figure == RUNS:
            texts = [options.runs] if isinstance(options.runs, str) else options.runs
            rows = [row for text in texts for row in run_index.read_index(Path(text))]
            rows = [row for row in rows if row["process"] != run_index.this_process()]
            log.info(run_index.summarize_index(rows))
            return
        folder, folders = launch.job_folder(), plots_folders.find_folders(options.runs)
        if options.where is not None:
            from isthmus.plots.selection import select_runs

            folders = select_runs(folders, options.where)
        plots_folders.check_figure(options.figure, folders)
        damaged = plots_folders.find_damaged(options.runs)
        for reason in damaged.values():
            log.warning("damaged: %s", reason)
        for path in draw(options, folders, damaged, folder):
            log.info("%s", display_path(path))


def draw(
    options: Plots,
    folders: list[plots_folders.Folder],
    damaged: dict[str, str],
    folder: Path,
) -> list[Path]:
    """Draw a figure, or all of them on a page; returns the files."""
    from isthmus.plots import files, render, report, restyle
    from isthmus.plots.runs import TrainingOptions

    cache_dir = f"{options.output_dir}/cache"
    images = partial(read_images, cache_dir=cache_dir) if options.images else None
    look = options.style, options.size, options.labels, options.colours
    overrides = restyle.FigureOverrides(*look)
    chosen = TrainingOptions(
        options.compare, options.epochs, options.window, options.persistence, images
    )
    sources = render.sources(folders, options.figure, chosen)
    with overrides.context():
        if options.figure == REPORT:
            return [report.save_report(sources, overrides, folder, damaged)]
        drawings, failed = render.drawings(options.figure, sources)
        for name, reason in failed.items():
            log.warning("not drawn: %s: %s", name, reason)
        paths = files.save_all(drawings, folder, overrides.apply)
    files.write_events(folder)
    return paths


def read_images(study: "TrainingRuns", cache_dir: str) -> "Images":
    """The validation examples of trainings, from the data set that the first one names.

    A training whose dataset cannot be read is left out.
    """
    import numpy

    from isthmus.data import validation_images  # imports torch
    from isthmus.plots.persistence import Images

    indices = numpy.unique(numpy.concatenate([one.indices for one in study.predictions]))
    kinds = {str(run.parameters.get("dataset")) for run in study.runs}
    if len(kinds) > 1:
        raise ValueError(f"images: the runs are of several data sets, {', '.join(sorted(kinds))}")
    refused = []
    for run in study.runs:
        try:
            recipe = rebuild.data_recipe_of_run(run.folder, cache_dir)
        except (launch.ConfigError, ValueError) as error:
            refused.append(f"{run.folder}: {error}")
            log.warning("images: %s", refused[-1])
        else:
            return Images(indices, *validation_images.read_validation_images(recipe, indices))
    raise ValueError("; ".join(refused))
