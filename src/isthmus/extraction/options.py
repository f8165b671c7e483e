"""Options of `extract.py` and their rules. Imports no torch."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.config import schema

DATA_SETS = ("mnist", "fashion_mnist", "cifar10", "digits")
DRAWN = ("gaussian", "uniform", "grid")
LEAST = {  # smallest allowed values
    "num_samples": 1,
    "num_students": 2,
    "expansion": 1,
    "batch_size": 1,
    "epochs": 1,
    "patience": 0,
    "cooldown": 0,
    "refit_epochs": 0,
    "finetune_epochs": 0,
}
POSITIVE = ("span", "lr", "min_lr", "finetune_lr", "gamma", "beta", "factor")


def errors(values: dict[str, Any]) -> list[str]:
    """Validation errors, one line each: values out of range, or that contradict each other.

    Args:
        values: the configuration as plain Python, each value of the type it should have.
    """
    options = values["extraction"]
    messages = _range_errors(options) + _synthetic_errors(values)
    return messages + _sources_errors(values) + _agreement_errors(options)


def hidden_widths(width: int | list[int], depth: int) -> list[int]:
    """Units of each of `depth` hidden layers, or of as many as the list has."""
    return [width] * depth if isinstance(width, int) else list(width)


def _range_errors(options: dict[str, Any]) -> list[str]:
    messages = [
        f"extraction.{name}={options[name]}: must be at least {least}"
        for name, least in LEAST.items()
        if options[name] is not None and options[name] < least
    ]
    messages += [
        f"extraction.{name}={options[name]:g}: must be positive"
        for name in POSITIVE
        if not options[name] > 0
    ]
    if options["gamma"] > 1:
        messages.append(
            f"extraction.gamma={options['gamma']:g}: must be at most 1, a part of the students"
        )
    if options["beta"] > math.pi / 2:
        messages.append(f"extraction.beta={options['beta']:g}: must be at most pi / 2, in radians")
    if options["factor"] >= 1:
        messages.append(f"extraction.factor={options['factor']:g}: must be below 1")
    if options["min_lr"] >= options["lr"]:
        messages.append(
            f"extraction.min_lr={options['min_lr']:g}: must be below lr={options['lr']:g}"
        )
    if options["width"] is not None:
        messages += _width_errors("extraction.width", options["width"])
    return messages


def _width_errors(name: str, width: int | list[int]) -> list[str]:
    units = hidden_widths(width, 1)
    if not units or min(units) < 1:
        typed = str(width).replace(" ", "")
        return [f"{name}={typed}: must be at least one layer, of at least one unit each"]
    return []


def _synthetic_errors(values: dict[str, Any]) -> list[str]:
    options = values["synthetic"]
    if values["teacher"] != "synthetic":
        defaults = schema.fields("Synthetic")
        return [
            f"synthetic.{name}={value}: only teacher=synthetic has it"
            for name, value in options.items()
            if value != defaults[name].default
        ]
    messages = [
        f"synthetic.{name}={options[name]}: must be at least 1"
        for name in ("num_inputs", "num_outputs")
        if options[name] < 1
    ]
    return messages + _width_errors("synthetic.width", options["width"])


def _sources_errors(values: dict[str, Any]) -> list[str]:
    options, teacher = values["extraction"], values["teacher"]
    names = options["datagen"].split("+")
    allowed = (*DATA_SETS, *DRAWN, "file")
    typed = f"extraction.datagen={options['datagen']}"
    messages = [
        f"{typed}: {name or 'nothing'} is none of {', '.join(allowed)}"
        for name in names
        if name not in allowed
    ]
    if len(set(names)) < len(names):
        messages.append(f"{typed}: must not repeat a name")
    if "file" in names and options["file"] is None:
        messages.append("extraction.file: needs a value with datagen=file, extraction.file=...")
    if "file" not in names and options["file"] is not None:
        messages.append(f"extraction.file={options['file']}: only extraction.datagen=file reads it")
    if options["num_samples"] is not None and 1 <= options["num_samples"] < len(names):
        messages.append(
            f"extraction.num_samples={options['num_samples']}: fewer than names in {typed}"
        )
    if teacher is None and names != ["file"]:
        messages.append("teacher=null: only with extraction.datagen=file, which has outputs itself")
    if teacher is None and options["width"] is None:
        messages.append("extraction.width: needs a value without a teacher, extraction.width=...")
    if teacher is None and options["activation"] is None:
        messages.append("extraction.activation: needs a value without a teacher")
    unknown = [key for key in values["dataset"] or {} if key != "root"]
    messages += [f"dataset.{key}: no such option; extract.py takes dataset.root" for key in unknown]
    return messages


def _agreement_errors(options: dict[str, Any]) -> list[str]:
    needed = options["gamma"] * options["num_students"]
    if options["num_students"] >= 2 and 0 < options["gamma"] <= 1 and needed < 2:
        return [
            f"extraction.gamma={options['gamma']:g}: gamma * num_students must be at least 2 for "
            f"students to agree, got {options['gamma']:g} * {options['num_students']}"
        ]
    return []


MISSING: Any = "???"


@dataclass
class Synthetic:
    """A synthetic teacher, with random weights."""

    num_inputs: int = 4
    width: int | list[int] = 4  # units of the hidden layer, or of each
    num_outputs: int = 1
    activation: Literal[
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "softplus",
        "sigmoid",
        "tanh",
        "identity",
        "g",
    ] = "tanh"
    seed: int = 0


@dataclass
class Extraction:
    """Students: queries, training, clustering and reconstruction."""

    datagen: str = "gaussian"  # names joined by +
    num_samples: int | None = None  # null: all images, all of a file, 10,000 of what is drawn
    span: float = 3.0  # of uniform and grid: [-span, span]
    file: str | None = None  # of datagen=file
    fingerprint: str | None = None  # of that file, by which a run is named
    num_students: int = 10
    expansion: float = 4.0  # units of a student's layer over the teacher's
    width: int | list[int] | None = None  # takes the place of `expansion`
    activation: (
        Literal[
            "relu",
            "leaky_relu",
            "elu",
            "gelu",
            "silu",
            "softplus",
            "sigmoid",
            "tanh",
            "identity",
            "g",
        ]
        | None
    ) = None  # null: the teacher's
    lr: float = 1e-3
    batch_size: int = 512
    epochs: int = 25_000  # at most
    factor: float = 0.31622776601683794  # 1 / sqrt(10)
    patience: int = 100
    cooldown: int = 200
    min_lr: float = 1e-7
    gamma: float = 0.5
    beta: float = 0.5235987755982988  # pi / 6
    mask: Literal["boruta", "variance"] | None = None
    affine: Literal["fold", "skip"] = "fold"
    refit_epochs: int = 1000
    finetune_epochs: int = 5000
    finetune_lr: float = 1e-3


@dataclass
class ExtractRuntime:
    """How a job runs, not what it computes."""

    device: str = "auto"
    num_threads: int | None = None  # null: OMP_NUM_THREADS, else this job's share of the cores
    progress: bool = True
    save_every: float = 60.0  # seconds between two writes of a state


@dataclass
class Extract:
    """Options of `extract.py`."""

    teacher: str | None = MISSING  # a weights file, or "synthetic"; null: datagen=file has outputs
    fingerprint: str | None = None  # of that file, by which a run is named
    synthetic: Synthetic = field(default_factory=Synthetic)
    extraction: Extraction = field(default_factory=Extraction)
    dataset: Any = None  # only its root
    runtime: ExtractRuntime = field(default_factory=ExtractRuntime)
    global_seed: int = 1
    output_dir: str = "outputs"
