"""Draw figures from the tables of runs. Options: --help."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from isthmus import config, plotting, saved
from isthmus.paths import CONF
from isthmus.plots import found

if TYPE_CHECKING:
    from isthmus.plots.persistence_images import Images
    from isthmus.plots.trained import Study

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="plots")
def main(cfg: DictConfig) -> None:
    with config.job(cfg):
        asked, folder = config.values(cfg, "Plots"), config.folder()
        folders = found.find(asked["runs"])
        found.check(asked["figure"], folders)
        damaged = found.find_damaged(asked["runs"])
        for reason in damaged.values():
            log.warning("left out: %s", reason)
        for path in draw(asked, folders, damaged, folder):
            log.info("%s", config.shown(path))


def draw(
    asked: dict[str, Any], folders: list[found.Folder], damaged: dict[str, str], folder: Path
) -> list[Path]:
    """Draw a figure, or all of them on a page; the files."""
    from isthmus.plots import events, files, redrawn, report, trainings, wishes  # takes a second

    cache_dir = f"{asked['output_dir']}/cache"
    images = partial(images_of, cache_dir=cache_dir) if asked["images"] else None
    of_trainings = trainings.Asked(asked["compare"], asked["epochs"], images)
    given = {name: asked[name] for name in ("size", "labels", "colours")}
    wished = wishes.Wishes(wishes.Style(**asked["style"]), **given)
    sources = redrawn.sources(folders, asked["figure"])
    with wished.kept():
        if asked["figure"] == plotting.REPORT:
            return [report.save(sources, of_trainings, wished, folder, damaged)]
        drawings, failed = redrawn.drawings(asked["figure"], sources, of_trainings)
        for name, reason in failed.items():
            log.warning("not drawn: %s: %s", name, reason)
        paths = files.save_all(drawings, folder, wished.fulfil)
    events.write(folder)
    return paths


def images_of(study: "Study", cache_dir: str) -> "Images":
    """The validation examples of trainings, from the data set that the first one names.

    A training that names something else than a data set is left out.
    """
    import numpy

    from isthmus.data import pictures  # imports torch
    from isthmus.plots.persistence_images import Images

    indices = numpy.unique(numpy.concatenate([one.indices for one in study.predictions]))
    kinds = {str(run.parameters.get("dataset")) for run in study.runs}
    if len(kinds) > 1:
        raise ValueError(f"images: the runs are of several data sets, {', '.join(sorted(kinds))}")
    refused = []
    for run in study.runs:
        try:
            recipe = saved.data_set_of(run.folder, cache_dir)
        except (config.ConfigError, ValueError) as error:
            refused.append(f"{run.folder}: {error}")
            log.warning("images: %s", refused[-1])
        else:
            return Images(indices, *pictures.read(recipe, indices))
    raise ValueError("; ".join(refused))
