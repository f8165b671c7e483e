"""Writes the command line that trains with the values of a trial."""

import re
import shlex
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from isthmus.config import launch, schema
from isthmus.config.parts import GROUPS
from isthmus.training.options import Train

HOW = ("runtime", "output_dir")  # how and where a job runs
PARTS = ("hparams", *GROUPS)
PLAIN = re.compile(r"[\w.+/-]+")


def train_command(loader: Any, cfg: Any) -> str:
    """The command that trains as a configuration says, and evaluates on the test set too.

    Args:
        loader: Hydra's, of configurations.
        cfg: of a trial, with that of Hydra.
    """
    chosen = cfg.hydra.runtime.choices
    fields = schema.fields(Train)
    plain = loader.load_configuration("train", [], RunMode.RUN)
    groups = [
        f"{group}={chosen[group]}"
        for group in PARTS
        if group in fields and chosen[group] != plain.hydra.runtime.choices[group]
    ]
    base = loader.load_configuration("train", groups, RunMode.RUN)
    left_out = schema.options_without_effect(launch.option_values(cfg, Train), Train)
    options = [
        f"{name}={option_text(value)}"
        for name, value in _flat(cfg, "").items()
        if name.partition(".")[0] in fields and name not in left_out
        if value != _flat(base, "").get(name)
    ]
    searched = [option for option in options if not option.startswith("dataset.test=")]
    return shlex.join(["python", "train.py", *groups, *searched])


def option_text(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, list):
        return f"[{','.join(map(option_text, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _flat(node: Any, prefix: str) -> dict[str, Any]:
    """Values by their full names, without interpolations and options that change no result."""
    flat: dict[str, Any] = {}
    for key in node:
        name = f"{prefix}{key}"
        if name == "hydra" or name in HOW or OmegaConf.is_interpolation(node, key):
            continue
        if OmegaConf.is_dict(node[key]):
            flat |= _flat(node[key], f"{name}.")
        else:
            flat[name] = launch.to_container(node[key])
    return flat
