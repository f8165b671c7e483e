"""Options of a training, of what comes before it, and of `tune.py`. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from isthmus import steps
from isthmus.config import parts, schema, signatures, validation
from isthmus.config.parts import Part
from isthmus.config.schema import Section, Values, option
from isthmus.config.signatures import format_value
from isthmus.machine import MAX_THREADS
from isthmus.steps import Step, Steps
from isthmus.vocabulary import NOT_AVERAGED, STREAMS, Precision, Stream


@dataclass(frozen=True, kw_only=True)
class Hparams(Section):
    """Length, batch size, gradient clipping and early stopping of a training."""

    epochs: int = option(180, above=0)
    steps: Step | None = None  # the length of training; takes the place of `epochs`
    batch_size: int = option(128, above=0)
    grad_clip_max_norm: float | None = option(None, above=0)  # of the whole gradient, L2
    patience: int | None = option(None, above=0)  # epochs without a lower validation loss
    # Whose loss: that of the network, or the lowest one of its averaged models.
    patience_model: Literal["plain", "averaged"] = "plain"

    @property
    def length(self) -> Step:
        """The length of the training, as typed."""
        return self.steps or f"{self.epochs}ep"

    def errors(self) -> list[str]:
        """See `Section`."""
        is_empty = self.steps is not None and steps.parse(self.steps) == (0, 0)
        return [f"steps={self.steps}: must be positive"] if is_empty else []


@dataclass(frozen=True)
class StreamSeeds:
    """One seed per random stream of a training."""

    initialization: int
    data_order: int
    augmentation: int
    dropout: int


@dataclass(frozen=True, kw_only=True)
class Seeds(Section):
    """Seeds of the random streams; null means `global_seed`."""

    initialization: int | None = None
    data_order: int | None = None
    augmentation: int | None = None
    dropout: int | None = None
    label_noise: int | None = None


@dataclass(frozen=True, kw_only=True)
class Runtime(Section):
    """How a job runs, not what it computes: not part of a run's name."""

    device: str = "auto"  # cpu, cuda, cuda:1, mps
    compile: Literal["auto", True, False] = "auto"
    channels_last: bool = True
    num_workers: int = option(4, at_least=0)  # processes that decode streamed images
    # null: OMP_NUM_THREADS, else a share of cores
    num_threads: int | None = option(None, above=0, at_most=MAX_THREADS)
    progress: bool = True
    tensorboard: bool = True
    save_every: float = option(60.0, at_least=0)  # seconds between two writes of state.pt


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Section):
    """Options that every model has besides its own."""

    WITHOUT_EFFECT: ClassVar[dict[str, dict[str, Any]]] = {"freeze_exceptions": {"freeze": []}}

    init: Literal[
        "kaiming_normal",
        "kaiming_uniform",
        "xavier_normal",
        "xavier_uniform",
        "orthogonal",
        "binary",
    ] = "kaiming_normal"
    bn_init: Literal["ones", "uniform"] = "ones"
    freeze: list[Literal["batch_norm", "output", "others"]] = option([])
    freeze_exceptions: list[str] = option([])


@dataclass(frozen=True, kw_only=True)
class Train(Section):
    """Options of every training."""

    dataset: Part
    model: Part
    optimizer: Part
    scheduler: Part
    averaged: Part | None = None
    parametrization: Part | None = None
    hparams: Hparams = option(Hparams)
    seeds: Seeds = option(Seeds)
    runtime: Runtime = option(Runtime, in_name=None)
    precision: Precision = "fp32"
    global_seed: int = option(1, in_name=None, aliases=("seed",))
    snapshots: Steps | None = option(None, in_name=None)
    save_predictions: bool = True
    output_dir: str = option("outputs", in_name=None)
    # Names of the options on the command line, such as "hparams.epochs".
    typed: list[str] = option([], is_derived=True, in_name=None)

    @property
    def model_options(self) -> ModelOptions:
        """The options that every model has besides its own."""
        names = schema.fields(ModelOptions).keys()
        return ModelOptions(**{k: v for k, v in self.model.arguments.items() if k in names})

    @property
    def stream_seeds(self) -> StreamSeeds:
        """The seed of every random stream of the training."""
        names = StreamSeeds.__annotations__
        return StreamSeeds(**{name: self._seed(name) for name in names})

    @property
    def label_noise_seed(self) -> int:
        """The seed of the noise in the labels of the data set."""
        return self._seed("label_noise")

    def _seed(self, stream: str) -> int:
        seed = getattr(self.seeds, stream)
        return self.global_seed if seed is None else seed

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        return (
            lengths_without_effect(values)
            | _seeds_without_effect(values)
            | _exponents_without_effect(values)
            | _predictions_without_effect(values)
        )

    def errors(self) -> list[str]:
        """See `Section`."""
        errors, hparams = [], self.hparams
        if hparams.patience and hparams.patience_model == "averaged" and self.averaged is None:
            errors.append("hparams.patience_model=averaged: there is none with averaged=none")
        init = self.model_options.init
        if self.parametrization is not None and init not in (None, "kaiming_normal"):
            errors.append(
                f"model.init={init}: a parametrization says how weights begin; leave it out, or "
                "model.init=kaiming_normal where the model has one of its own"
            )
        return errors


@dataclass(frozen=True, kw_only=True)
class Tune(Train):
    """Options of `tune.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    maximize_averaged: bool = True  # the averaged model's validation accuracy, else the plain one's

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        if self.maximize_averaged and self.averaged is None:
            errors.append(
                "maximize_averaged=true: there is no averaged model with averaged=none; "
                "maximize_averaged=false takes the plain one"
            )
        if self.dataset.arguments.get("val_fraction") == 0:
            errors.append(
                "dataset.val_fraction=0: must be positive, trials are compared on that part"
            )
        return errors

    def objective(self, evaluation: dict[str, Any]) -> float:
        """Validation accuracy of a finished trial, a fraction.

        Of the averaged model, the best of several, with `maximize_averaged`; else of the plain one.

        Args:
            evaluation: of a run, by model and split.
        """
        averaged = [name for name in evaluation if name not in NOT_AVERAGED]
        chosen = averaged if self.maximize_averaged else ["plain"]
        return max(float(evaluation[name]["val"]["accuracy"]) for name in chosen)


@dataclass(frozen=True, kw_only=True)
class Diagnostics(Section):
    """Diagnostics of wide networks during training, and when."""

    steps: Steps | None = None  # pre-activations, outputs and margins
    ranks: Steps | None = None  # effective ranks of weights and activations
    examples: int = option(256, above=0)  # of the training set, to measure on


@dataclass(frozen=True, kw_only=True)
class InitialWeights(Section):
    """Weights from a file to begin from."""

    weights: str | None = option(None, in_name=None)
    fingerprint: str | None = None  # of that file, by which a run is named


@dataclass(frozen=True, kw_only=True)
class TrainScript(Train):
    """Options of `train.py`."""

    RESULTS_VERSION: ClassVar[int | None] = 1

    pretrain: InitialWeights = option(InitialWeights)
    save_weights: bool = True
    diagnostics: Diagnostics = option(Diagnostics)

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        unused, diagnostics = super().without_effect(values), values.get("diagnostics")
        if isinstance(diagnostics, dict) and not any(map(diagnostics.get, ("steps", "ranks"))):
            reason = "because diagnostics.steps and diagnostics.ranks are null"
            unused["diagnostics.examples"] = reason
        return unused

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        if not self.save_weights and self.snapshots is not None:
            errors.append(f"snapshots={format_value(self.snapshots)}: needs save_weights=true")
        return errors


@dataclass(frozen=True, kw_only=True)
class SavedOptions(Section):
    """Options of scripts that evaluate saved weights."""

    # Options of `runtime` that are of trainings alone.
    OF_TRAININGS: ClassVar[tuple[str, ...]] = ("compile", "progress", "tensorboard", "save_every")

    # null: the data set that the first weights were trained on
    dataset: Part | None = option(None, is_partial=True)
    dataset_typed: list[str] = option([], is_derived=True)  # its options that were typed
    runtime: Runtime = option(Runtime, in_name=None)
    precision: Precision | None = None  # null: that of the training
    output_dir: str = option("outputs", in_name=None)

    @classmethod
    def complete_values(cls, values: Values, typed: Sequence[str]) -> Values:
        """See `Section`; the values of another data set that were typed.

        The other values are in the weights' metadata if they were trained on a data set of this
        kind; empty if no other one was typed.
        """
        names = {name.removeprefix("dataset.") for name in typed if name.startswith("dataset.")}
        names = names - parts.GROUPS["dataset"].unnamed if "dataset" in typed else set()
        return values | {"dataset_typed": sorted(names)}

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        names = {f"runtime.{name}": "nothing is trained" for name in cls.OF_TRAININGS}
        of_training_images = ("dataset.augment", "dataset.cutout")
        return names | dict.fromkeys(of_training_images, "images are evaluated as they are")

    @property
    def cache_dir(self) -> str:
        """Folder for decoded images, unless the data set names another one."""
        return f"{self.output_dir}/cache"


@dataclass(frozen=True, kw_only=True)
class TrainingSection(Section):
    """Options of another training that differ from those of the main one.

    A part may have values alone, such as `pretrain.dataset.val_fraction=0.2`.
    """

    dataset: Part | None = option(None, is_partial=True)
    optimizer: Part | None = option(None, is_partial=True)
    scheduler: Part | None = option(None, is_partial=True)
    hparams: dict[str, Any] | None = option({})

    @property
    def changed_parts(self) -> list[str]:
        """Names of the parts that differ; empty where there is no other training."""
        names = ("dataset", "optimizer", "scheduler", "hparams")
        return [name for name in names if getattr(self, name)]

    def training(self, main: Train) -> Train:
        """All options of the other training."""
        return schema.make_options(Train, self._values(main))

    def training_errors(self, main: Train, section: str) -> list[str]:
        """Errors of its options together with those of the main training, with their full names.

        Args:
            main: the main training.
            section: name of this section, such as "pretrain".
        """
        prefix, names = f"{section}.", []
        for part in ("dataset", "optimizer", "scheduler"):  # `without_effect` has those of hparams
            names += [name for name in main.typed if name.startswith(f"{prefix}{part}.")]
        typed = [name.removeprefix(prefix) for name in names]
        errors = validation.validation_errors(self._values(main) | {"typed": typed}, Train)
        return [f"{prefix}{error}" for error in errors]

    def _values(self, main: Train) -> Values:
        """The options of the other training as plain Python, not yet checked.

        A part with another target replaces that of the main training; other values replace one
        each. A data set of its own has the root of the main one, unless the section says otherwise.
        """
        changes = self.hparams or {}
        hparams = schema.to_values(main.hparams) | changes
        if "epochs" in changes and "steps" not in changes:
            hparams["steps"] = None  # those of the main training would win
        unnamed = parts.GROUPS["dataset"].unnamed
        return schema.to_values(main, Train) | {
            "dataset": main.dataset.changed_by(self.dataset, kept=unnamed).node(),
            "optimizer": main.optimizer.changed_by(self.optimizer).node(),
            "scheduler": main.scheduler.changed_by(self.scheduler).node(),
            "hparams": hparams,
            "runtime": schema.to_values(main.runtime, Runtime),
            "typed": main.typed,
        }


@dataclass(frozen=True, kw_only=True)
class Pretrain(InitialWeights, TrainingSection):
    """A pretraining, or weights to begin from; unset options are those of the training."""

    def errors(self) -> list[str]:
        """See `Section`."""
        if self.weights is None or not self.changed_parts:
            return []
        names = ", ".join(f"pretrain.{part}" for part in self.changed_parts)
        return [f"weights={self.weights}: takes the place of a training, so not {names}"]


@dataclass(frozen=True, kw_only=True)
class Pretrained(Train):
    """Options of a training that can begin with a pretraining."""

    pretrain: Pretrain = option(Pretrain)

    @classmethod
    def without_effect(cls, values: Values) -> dict[str, str]:
        """See `Section`."""
        of_pretraining = lengths_without_effect(values.get("pretrain"), "pretrain.")
        return super().without_effect(values) | of_pretraining

    @property
    def pretraining(self) -> Train | None:
        """All options of the training before this one; None if there is none."""
        return self.pretrain.training(self) if self.pretrain.changed_parts else None

    @property
    def pretraining_length(self) -> Step:
        """Length of the training before this one, "0" if there is none."""
        earlier = self.pretraining
        return earlier.hparams.length if earlier else "0"

    def errors(self) -> list[str]:
        """See `Section`."""
        errors = super().errors()
        if self.pretrain.changed_parts and self.pretrain.weights is None:
            errors += self.pretrain.training_errors(self, "pretrain")
        return errors


@dataclass(frozen=True, kw_only=True)
class FamilyRuntime(Runtime):
    """Runtime options of a study of children."""

    # of each; null: OMP_NUM_THREADS, else one
    num_threads: int | None = option(None, above=0, at_most=MAX_THREADS)
    num_jobs: int = option(1, above=0)  # children trained at a time, each in a process of its own


@dataclass(frozen=True, kw_only=True)
class Family(Pretrained):
    """Options of a parent and its children: all that names the folder of branches."""

    runtime: FamilyRuntime = option(FamilyRuntime, in_name=None)
    vary: list[Stream] = option(list(STREAMS), is_set=True, distinct=True)


ADAM = ("adam", "adamw", "torch.optim.Adam", "torch.optim.AdamW")
SGD = ("sgd", "lookahead", "torch.optim.SGD")


def _exponents_without_effect(values: Values) -> dict[str, str]:
    """The exponents of learning rates of a parametrization that are for another optimizer."""
    node, optimizer = values.get("parametrization"), values.get("optimizer")
    target = optimizer.get("_target_") if isinstance(optimizer, dict) else None
    name = signatures.short_name(str(target))
    if name in SGD:
        reason = f"optimizer={name} takes parametrization.c"
        return {"parametrization.c_adam": reason}
    if name in ADAM and schema.part_value("parametrization", node, "c_adam") is not None:
        reason = f"optimizer={name} takes parametrization.c_adam"
        return {"parametrization.c": reason}
    return {}


def _seeds_without_effect(values: Values) -> dict[str, str]:
    """The seeds of streams from which no data set of the configuration draws."""
    nodes = [section.get("dataset") for section in _sections(values)]
    data_sets = [node for node in nodes if isinstance(node, dict)]
    unused = {}
    if not _has_any(data_sets, "random_labels_fraction"):
        unused["seeds.label_noise"] = "no labels are random, dataset.random_labels_fraction=0"
    if not _has_any(data_sets, "augment", "cutout"):
        unused["seeds.augmentation"] = "training images are not augmented"
    return unused


def _sections(values: Values) -> list[Values]:
    """The values of a training and of those around it, such as a pretraining."""
    return [values, *(each for each in values.values() if isinstance(each, dict))]


def _has_any(data_sets: list[Values], *names: str) -> bool:
    """Whether a data set has one of some options, or is not of this toolkit."""
    foreign = [
        node for node in data_sets if "." in signatures.short_name(str(node.get("_target_", "")))
    ]
    has = (schema.part_value("dataset", node, name) for node in data_sets for name in names)
    return bool(foreign) or any(has)


def _predictions_without_effect(values: Values) -> dict[str, str]:
    """Whether to save predictions, where there is no validation example."""
    fractions = [
        schema.part_value("dataset", section.get("dataset"), "val_fraction")
        for section in _sections(values)
    ]
    if fractions[0] == 0 and not any(fractions[1:]):
        return {"save_predictions": "because dataset.val_fraction=0"}
    return {}


def lengths_without_effect(section: Any, prefix: str = "") -> dict[str, str]:
    """Options of the length of a training that have no effect beside the others.

    The number of epochs, where a length in steps takes its place; whose loss ends it, where none
    does.
    """
    lengths = section.get("hparams") if isinstance(section, dict) else None
    lengths, reasons = lengths if isinstance(lengths, dict) else {}, {}
    if lengths.get("steps") is not None and "epochs" in lengths:
        reasons["epochs"] = f"{prefix}hparams.steps={lengths['steps']} takes its place"
    if not prefix and "patience_model" in lengths and lengths.get("patience") is None:
        reasons["patience_model"] = "there is no hparams.patience"
    return {f"{prefix}hparams.{name}": reason for name, reason in reasons.items()}
