"""Options of `extract.py` and their rules. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from isthmus.config import naming, schema
from isthmus.config.parts import Part
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.machine import MAX_THREADS
from isthmus.vocabulary import Activation

DATA_SETS = ("mnist", "fashion_mnist", "cifar10", "digits")
DRAWN = ("gaussian", "uniform", "grid")
SPANNED = ("uniform", "grid")  # drawn within extraction.span
# s(z) - s(-z) is proportional to z: a unit's sign is known up to an affine function of its inputs.
EVEN_LINEAR = ("relu", "leaky_relu", "gelu", "silu", "softplus")


def hidden_widths(width: int | list[int], depth: int) -> list[int]:
    """Units of each of `depth` hidden layers, or of as many as the list has."""
    return [width] * depth if isinstance(width, int) else list(width)


def _width_errors(width: int | list[int]) -> list[str]:
    units = hidden_widths(width, 1)
    if not units or min(units) < 1:
        return [f"width={format_value(width)}: must be at least one layer, of at least one unit"]
    return []


@dataclass(frozen=True, kw_only=True)
class Synthetic(Section):
    """A synthetic teacher, with random weights."""

    num_inputs: int = option(4, at_least=1)
    width: int | list[int] = 4  # units of the hidden layer, or of each
    num_outputs: int = option(1, at_least=1)
    activation: Activation = "tanh"
    seed: int = 0

    def errors(self) -> list[str]:
        """See `Section`."""
        return _width_errors(self.width)


@dataclass(frozen=True, kw_only=True)
class ClusteringOptions(Section):
    """What is done with trained students, which has a name of its own."""

    gamma: float = option(0.5, in_name="clustering", above=0, at_most=1)  # part of the students
    beta: float = option(math.pi / 6, in_name="clustering", above=0)  # radians, up to pi / 2
    mask: Literal["boruta", "variance"] | None = option(None, in_name="clustering")
    affine: Literal["fold", "skip"] = option("fold", in_name="clustering")
    refit_epochs: int = option(1000, in_name="clustering", at_least=0)
    finetune_epochs: int = option(5000, in_name="clustering", at_least=0)
    finetune_lr: float = option(1e-3, in_name="clustering", above=0)


@dataclass(frozen=True, kw_only=True)
class Extraction(ClusteringOptions):
    """Students: queries, training, clustering and reconstruction."""

    datagen: str = option("gaussian", aliases=("dataset",))  # names joined by +
    # null: all images, all of a file, 10,000 of what is drawn
    num_samples: int | None = option(None, at_least=1)
    span: float = option(3.0, above=0)  # of uniform and grid: [-span, span]
    file: str | None = option(None, in_name=None)  # of datagen=file
    fingerprint: str | None = None  # of that file, by which a run is named
    # Students continue from where they are, so these two are not in the name of their folder.
    num_students: int = option(10, in_name="clustering", at_least=2)
    expansion: float = option(4.0, at_least=1)  # units of a student's layer over the teacher's
    width: int | list[int] | None = None  # takes the place of `expansion`
    activation: Activation | None = None  # null: the teacher's
    lr: float = option(1e-3, above=0)
    batch_size: int = option(512, at_least=1)
    epochs: int = option(25_000, in_name="clustering", at_least=1)  # at most
    factor: float = option(0.31622776601683794, above=0, below=1)  # 1 / sqrt(10)
    patience: int = option(100, at_least=0)
    cooldown: int = option(200, at_least=0)
    min_lr: float = option(1e-7, above=0)

    @property
    def sources(self) -> list[str]:
        """Names of what queries are made of."""
        return self.datagen.split("+")

    @property
    def is_trained_further(self) -> bool:
        """Whether there is a training after that of the students."""
        return self.refit_epochs + self.finetune_epochs > 0

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = [] if self.width is None else _width_errors(self.width)
        if self.beta > math.pi / 2:
            errors.append(f"beta={self.beta:g}: must be at most pi / 2, in radians")
        if self.min_lr >= self.lr:
            errors.append(f"min_lr={self.min_lr:g}: must be below lr={self.lr:g}")
        elif self.min_lr >= self.finetune_lr and self.is_trained_further:
            errors.append(
                f"finetune_lr={self.finetune_lr:g}: must be above min_lr={self.min_lr:g}, where "
                "training ends"
            )
        needed = self.gamma * self.num_students
        if self.num_students >= 2 and 0 < self.gamma <= 1 and needed < 2:
            errors.append(
                f"gamma={self.gamma:g}: gamma * num_students must be at least 2 for students to "
                f"agree, got {self.gamma:g} * {self.num_students}"
            )
        return errors + self._sources_errors()

    def _sources_errors(self) -> list[str]:
        names, allowed = self.sources, (*DATA_SETS, *DRAWN, "file")
        typed = f"datagen={self.datagen}"
        errors = [
            f"{typed}: {name or 'nothing'} is none of {', '.join(allowed)}"
            for name in names
            if name not in allowed
        ]
        if len(set(names)) < len(names):
            errors.append(f"{typed}: must not repeat a name")
        if "file" in names and self.file is None:
            errors.append("file: needs a value with datagen=file, extraction.file=...")
        if "file" not in names and self.file is not None:
            errors.append(f"file={self.file}: only extraction.datagen=file reads it")
        if self.num_samples is not None and 1 <= self.num_samples < len(names):
            errors.append(f"num_samples={self.num_samples}: fewer than names in {typed}")
        return errors


@dataclass(frozen=True, kw_only=True)
class ExtractRuntime(Section):
    """How a job runs, not what it computes."""

    device: str = "auto"
    # null: OMP_NUM_THREADS, else a share of cores
    num_threads: int | None = option(None, above=0, at_most=MAX_THREADS)
    progress: bool = True
    save_every: float = option(60.0, at_least=0)  # seconds between two writes of a state


@dataclass(frozen=True, kw_only=True)
class Extract(Section):
    """Options of `extract.py`."""

    # The median angle of an even number; weights from missing units left out; single outgoing
    # weights compared by their relative difference, inputs that vary by the images alone.
    RESULTS_VERSION: ClassVar[int | None] = 3

    # A weights file, or "synthetic"; null: datagen=file has outputs. Its content is in the name.
    teacher: str | None = option(in_name=None)
    fingerprint: str | None = None  # of that file, by which a run is named
    synthetic: Synthetic = option(Synthetic)
    extraction: Extraction = option(Extraction)
    dataset: Part | None = option(None, is_partial=True)  # only its root
    runtime: ExtractRuntime = option(ExtractRuntime, in_name=None)
    global_seed: int = option(1, in_name=None, aliases=("seed",))
    output_dir: str = option("outputs", in_name=None)

    @property
    def clustering_name(self) -> str:
        """Ten hexadecimal digits that name how trained students are clustered."""
        values = naming.effective_values(schema.to_values(self), Extract)
        return naming.section_name(values["extraction"], Extraction, "clustering")

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        students, made = values.get("extraction"), values.get("synthetic")
        if not isinstance(students, dict) or not isinstance(made, dict):
            return {}
        unused, teacher = dict[str, str](), values.get("teacher")
        if teacher != "synthetic":
            names = schema.fields(Synthetic)
            unused |= {f"synthetic.{name}": "only teacher=synthetic has it" for name in names}
        sources = str(students.get("datagen")).split("+")
        if not set(sources) & set(SPANNED):
            reason = f"extraction.datagen={'+'.join(sources)} has none; uniform and grid have"
            unused["extraction.span"] = reason
        width = students.get("width")
        if width is not None:
            typed = f"extraction.width={format_value(width)}"
            unused["extraction.expansion"] = f"{typed} takes its place"
        activation = students.get("activation")
        if activation is None and teacher == "synthetic":
            activation = made.get("activation")
        if activation is not None and activation not in EVEN_LINEAR:
            reason = f"signs of {activation} leave no affine path; those of relu, gelu, ... do"
            unused["extraction.affine"] = reason
        hidden = made.get("width") if teacher == "synthetic" else width
        if isinstance(hidden, int) or (isinstance(hidden, list) and len(hidden) == 1):
            if teacher in ("synthetic", None):
                reason = "there are no further layers after the first hidden one"
                unused["extraction.refit_epochs"] = reason
        trainings = (students.get("finetune_epochs"), students.get("refit_epochs"))
        if trainings[0] == 0 and (trainings[1] == 0 or "extraction.refit_epochs" in unused):
            unused["extraction.finetune_lr"] = "extraction.finetune_epochs=0 trains nothing further"
        return unused

    @property
    def root(self) -> str:
        """Folder of the data sets."""
        return str(self.dataset.arguments["root"]) if self.dataset else "data"

    def errors(self) -> list[str]:
        """See `Section`."""
        students, errors = self.extraction, []
        if self.teacher is None and students.sources != ["file"]:
            errors.append(
                "teacher=null: only with extraction.datagen=file, which has outputs itself"
            )
        if self.teacher is None:
            errors += [
                f"extraction.{name}: needs a value without a teacher, extraction.{name}=..."
                for name in ("width", "activation")
                if getattr(students, name) is None
            ]
        arguments: dict[str, Any] = self.dataset.arguments if self.dataset else {}
        unknown = [key for key in arguments if key != "root"]
        errors += [
            f"dataset.{key}: no such option; extract.py takes dataset.root" for key in unknown
        ]
        return errors
