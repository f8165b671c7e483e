"""Recipe of a training (its parts and hyperparameters), and runtime options of this machine."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from isthmus import machine
from isthmus.config import naming, schema
from isthmus.steps import to_iteration
from isthmus.training import param_groups
from isthmus.training.loop import Batch, Constraint, LearningRateSchedule
from isthmus.training.options import Hparams, ModelOptions, Runtime, Train
from isthmus.training.param_groups import ParamGroup, Rule


class AveragedModels(Protocol):
    """Averaged models that are tracked during training."""

    bn: str  # batch-norm statistics of the averages: "average" or "reset"

    def start(self, model: nn.Module, iterations: int, iterations_per_epoch: int) -> None: ...
    def update(self, iteration: int) -> None: ...
    def state_dicts(self) -> dict[str, dict[str, Tensor]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class ParametrizationLike(Protocol):
    """Initial weights and learning rates as functions of the widths of layers."""

    def initialize(self, model: nn.Module, seed: int) -> None:
        """Initialize the weights and biases of `model` in place."""
        ...

    def groups(self, model: nn.Module, rule: Rule) -> list[ParamGroup]:
        """All parameters of `model`, with their learning rates for a kind of optimizer."""
        ...

    def calibrate(
        self,
        model: nn.Module,
        groups: Sequence[ParamGroup],
        loss: Callable[[Tensor, Tensor], Tensor],
        batches: Sequence[Batch],
    ) -> dict[str, float]:
        """Learning rates of the first steps by group, measured on two batches; {}: as planned."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Parts and hyperparameters of a network and its training.

    The parts are functions, so that each child, level or student of a study gets its own:
    `model(input_shape, num_classes)`, `optimizer(parameters)`,
    `scheduler(iterations, iterations_per_epoch)`, `averages()`, `constraint(model)`,
    `parametrization()`. The optimizer is made of groups of parameters if there is one of these.
    """

    model: Callable[[tuple[int, ...], int], nn.Module]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    scheduler: Callable[[int, int], LearningRateSchedule]
    averages: Callable[[], AveragedModels] | None = None
    constraint: Callable[[nn.Module], Constraint] | None = None
    parametrization: Callable[[], ParametrizationLike] | None = (
        None  # None: `init`, and equal rates
    )
    hparams: Hparams = Hparams()
    model_options: ModelOptions = ModelOptions()
    precision: str = "fp32"
    metadata: dict[str, Any] = field(default_factory=dict)  # saved with the weights
    section: str = ""  # prefix of its options as typed, such as "pretrain."
    typed: Collection[str] = ()  # names of the options on the command line

    @classmethod
    def from_options(
        cls,
        options: Train,
        section: str = "",
        constraint: Callable[[nn.Module], Constraint] | None = None,
    ) -> "Recipe":
        """The recipe of a training's options, with the parts checked.

        Args:
            options: of the training.
            section: prefix of them as typed, such as "pretrain.".
            constraint: makes what holds weights to something while they are trained; or None.

        Raises:
            ValueError: a part refuses a value; see `check`.
        """
        config = naming.reproducible_config(schema.to_values(options, Train))
        recipe = cls(
            model=options.model.maker(),
            optimizer=options.optimizer.maker(),
            scheduler=options.scheduler.maker(),
            averages=options.averaged.maker() if options.averaged else None,
            parametrization=options.parametrization.maker() if options.parametrization else None,
            constraint=constraint,
            hparams=options.hparams,
            model_options=options.model_options,
            precision=options.precision,
            metadata={"config": config},
            section=section,
            typed=options.typed,
        )
        recipe.check()
        return recipe

    def check(self) -> None:
        """Refuse invalid values of the parts that need no data, before any is read or downloaded.

        Raises:
            ValueError: naming the option.
        """
        self.optimizer([nn.Parameter(torch.zeros(1))])
        if self.averages:
            self.averages()
        if self.parametrization:
            self.parametrization()
            param_groups.lr_rule(self.optimizer)

    def length(self, iterations_per_epoch: int) -> int:
        """Planned optimizer steps."""
        return to_iteration(self.hparams.length, iterations_per_epoch)


# Groups in a title, in this order: what the trainings of a sweep differ in comes first.
TITLED = ("optimizer", "scheduler", "averaged", "parametrization", "hparams", "model", "dataset")
LONGEST = 32  # letters of a title


def title(config: Mapping[str, Any], typed: Collection[str]) -> str:
    """Short title of a training, usable as a folder name: "lr0.1-Constant-decay0.99-MLP".

    What was typed; the model and the data set if that is nothing.

    Args:
        config: of the training, as saved with its weights; may be empty.
        typed: names of options.
    """
    names = typed if {name.partition(".")[0] for name in typed} & set(TITLED) else TITLED[-2:]
    parts = []
    for group in TITLED:
        section = config.get(group) or {}
        target = str(section.get("_target_", "none")).rpartition(".")[2]
        parts += [target] if group in names else []
        chosen = (name.partition(".")[2] for name in names if name.startswith(f"{group}."))
        parts += [f"{key}{_word(section[key])}" for key in chosen if key in section]
    title = ""
    for part in parts:  # TensorBoard breaks lines at each "-"
        longer = re.sub(r"[^\w.+-]", "", f"{title}-{part}" if title else part)
        title = longer if not title or len(longer) <= LONGEST else title
    return title[:LONGEST]


def _word(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def resolve_device(name: str) -> torch.device:
    """The device to run on; "auto" is a GPU if there is one. Allows TF32 on it.

    Raises:
        ValueError: this machine, or this build of torch, has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and machine.is_distributed():
        name = f"cuda:{machine.local_rank()}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"runtime.device={name}: this machine has none ({reason})") from error
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return device


def should_compile(request: str | bool, model: nn.Module, iterations: int) -> bool:
    """Whether to compile: a cold compile costs 15 to 34 s, and only convolutions become faster."""
    if request != "auto":
        return bool(request)
    return iterations > 1000 and any(isinstance(m, nn.Conv2d) for m in model.modules())


FEW = 8  # input channels, below which oneDNN corrupts memory


def runtime_for(runtime: Runtime, model: nn.Module, device: torch.device) -> Runtime:
    """Runtime options of a network: channels_last only where that is safe.

    In channels_last, the backward pass of a 1x1 convolution with a stride and fewer than eight
    input channels writes beyond its memory on CPUs with AVX2 and no AVX-512 (oneDNN of torch 2.13;
    README, "Known problems"). A network with such a layer is contiguous on every CPU, so that its
    numbers do not depend on which it is.

    Args:
        runtime: as requested.
        model: the network.
        device: where it runs.
    """
    is_unsafe = device.type == "cpu" and any(map(_is_unsafe, model.modules()))
    return replace(runtime, channels_last=runtime.channels_last and not is_unsafe)


def _is_unsafe(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.groups == 1
        and module.in_channels < FEW
    )
