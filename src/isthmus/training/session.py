"""Session: a network in training with its data, averaged models, evaluator and snapshots."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from isthmus import machine, rng
from isthmus.config import parts
from isthmus.data import batches, splits
from isthmus.data.splits import DataSet
from isthmus.models import structure
from isthmus.models.freeze import freeze
from isthmus.models.initialize import initialize
from isthmus.state_dicts import StateDict
from isthmus.store.files import Run, load_state, save_state, save_weights
from isthmus.training import batch_norm, effects, param_groups
from isthmus.training import recipe as training_recipe
from isthmus.training.distributed import Processes, Sharing
from isthmus.training.evaluator import Evaluator
from isthmus.training.loop import Calibrate, Constraint, LearningRateSchedule, Training
from isthmus.training.options import Runtime, StreamSeeds, Train
from isthmus.training.param_groups import ParamGroup
from isthmus.training.recipe import (
    ParametrizationLike,
    Recipe,
    resolve_device,
    should_compile,
)


def check_last_batch(model: nn.Module, example: Tensor, num_examples: int, batch_size: int) -> None:
    """Refuse, before training, a last batch of one example, which batch norm cannot normalize.

    Args:
        model: to be trained.
        example: (1, *input_shape), any.
        num_examples: of an epoch.
        batch_size: of all its batches but the last.

    Raises:
        ValueError: naming the batch size.
    """
    if num_examples % batch_size != 1 and batch_size > 1 or not batch_norm.has_batch_norm(model):
        return
    try:
        copy.deepcopy(model).train()(example)
    except ValueError as error:
        raise ValueError(
            f"hparams.batch_size={batch_size}: {num_examples} training examples leave a batch of "
            f"one, which batch norm cannot normalize ({error})"
        ) from error


log = logging.getLogger(__name__)


class Session:
    """A network in training with its data, its averaged models and its files.

    A study of many trainings of one recipe uses one session and restarts it with `restart`: data,
    memory and compiled code are kept.

    Args:
        recipe: how it is trained.
        data: what it is trained on.
        seeds: of its random streams.
        runtime: how it runs.
        processes: that train it together, or None.
        checks_schedule: whether to check the schedule for the planned length; else a caller that
            knows of a longer one does, by `check_schedule`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        seeds: StreamSeeds,
        runtime: Runtime,
        processes: Processes | None = None,
        checks_schedule: bool = True,
    ) -> None:
        self.recipe, self.data, self.runtime, self.processes = recipe, data, runtime, processes
        self.device = resolve_device(runtime.device)
        self.parametrization: ParametrizationLike | None = None
        if recipe.parametrization:
            self.parametrization = recipe.parametrization()
        self.model = self._make_model(seeds.initialization)
        self.runtime = training_recipe.runtime_for(runtime, self.model, self.device)
        self.batches = batches.train_batches(
            data,
            recipe.hparams.batch_size,
            order_seed=seeds.data_order,
            augmentation_seed=seeds.augmentation,
            device=self.device,
            channels_last=self.runtime.channels_last,
            num_workers=runtime.num_workers,
        )
        if processes:
            self.batches = self.batches.with_share(processes.share)
        self.iterations_per_epoch = self.batches.iterations_per_epoch
        self.planned_end = self.end = recipe.length(self.iterations_per_epoch)
        self.origin: dict[str, Any] = {}
        self.evaluator = Evaluator(
            self.model, data, self.device, self.runtime, recipe.precision, processes
        )
        self.training = self._make_training(seeds.dropout)
        self._start_averages()
        example = torch.zeros(1, *data.input_shape, device=self.device)
        structure.check_outputs(self.model, example, data.num_classes)
        check_last_batch(self.model, example, len(data.train), recipe.hparams.batch_size)
        if checks_schedule:
            self.check_schedule(self.planned_end)

    def check_schedule(self, end: int) -> None:
        """Refuse a typed option of the schedule that has no effect; warn about a default.

        Args:
            end: the last iteration of any training of this session.

        Raises:
            ValueError: naming the option.
        """
        find_unmet = getattr(self.training.scheduler, "unmet", None)  # not all are of this toolkit
        unmet = find_unmet(end) if find_unmet and end > 0 else None
        if unmet is None:
            return
        name = f"{self.recipe.section}scheduler"
        if f"{name}.{unmet.option}" in self.recipe.typed:
            raise ValueError(f"{name}.{unmet.option}={unmet.value}: {unmet.schedule}")
        if machine.is_first():
            log.warning("%s: %s", name, unmet.schedule)

    def restart(
        self,
        seeds: StreamSeeds,
        weights: StateDict,
        end: int | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        """Restart at iteration 0 from given weights, with a new optimizer.

        Args:
            seeds: of the random streams; that of the initialization is not used.
            weights: to begin from; averaged models begin from them too.
            end: last iteration, which the schedule does not depend on; by default the planned one.
            origin: further metadata to save with the weights.
        """
        self.batches = self.batches.with_seeds(seeds.data_order, seeds.augmentation)
        self.end = self.planned_end if end is None else end
        self.origin = origin or {}
        self.model.load_state_dict(weights)
        self.training.restart(
            self._make_optimizer(),
            self._make_scheduler(),
            seeds.dropout,
            self._make_constraint(),
        )
        self._start_averages()

    def initial_weights(self, seed: int) -> StateDict:
        """The initial weights of this architecture for a seed."""
        return self._make_model(seed).state_dict()

    def set_constraint(self, make: Callable[[nn.Module], Constraint] | None) -> None:
        """Use the constraint `make(model)` after the next `restart`; None for none."""
        self.recipe = replace(self.recipe, constraint=make)

    def models(self) -> dict[str, StateDict]:
        """Current weights of the network and its averaged models, by name, ready to evaluate."""
        models: dict[str, StateDict] = {"plain": self.model.state_dict()}
        if self.averages:
            for name, weights in self.averages.state_dicts().items():
                reset = self.averages.bn == "reset"
                models[name] = self.evaluator.reset_batch_norm(weights) if reset else weights
        return models

    def state_dict(self) -> dict[str, Any]:
        """All but the weights that is needed to resume."""
        self.training.check_losses()
        averages = self.averages.state_dict() if self.averages else {}
        return {"training": self.training.state_dict(), "averages": averages}

    def load_state_dict(self, weights: StateDict, state: dict[str, Any]) -> None:
        """Load weights and the state saved with them."""
        self.model.load_state_dict(weights)
        self.training.load_state_dict(state["training"])
        if self.averages:
            self.averages.load_state_dict(state["averages"])

    def save_snapshot(self, run: Run) -> None:
        """Write weights, averaged weights and state, from which training can be resumed."""
        iteration = self.training.iteration
        for name, weights in self.models().items():
            save_weights(run.weights(iteration, name), weights, self.metadata(name))
        save_state(run.snapshot_state(iteration), self.state_dict())

    def load_snapshot(self, run: Run, iteration: int) -> None:
        """Load a snapshot."""
        weights = self.evaluator.load(run.weights(iteration))
        self.load_state_dict(weights, load_state(run.snapshot_state(iteration)))

    def metadata(self, model: str, iteration: int | None = None) -> dict[str, Any]:
        """The metadata of one model's weights: how to rebuild it, its kind and iteration."""
        first_lrs = param_groups.calibrated_lrs(self.training.optimizer)
        return {
            **self.recipe.metadata,
            **self.origin,
            "input_shape": list(self.data.input_shape),
            "num_classes": self.data.num_classes,
            **splits.describe_data(self.data),
            "kind": model,
            "iteration": self.training.iteration if iteration is None else iteration,
            "iterations_per_epoch": self.iterations_per_epoch,
            **({"first_lrs": first_lrs} if first_lrs else {}),
        }

    def _make_model(self, seed: int) -> nn.Module:
        recipe, options = self.recipe, self.recipe.model_options
        with torch.random.fork_rng(devices=[]):
            # Only for parameters of a user's own kind; `initialize` sets all the others.
            torch.manual_seed(rng.derive(seed, "initialization"))
            model = recipe.model(self.data.input_shape, self.data.num_classes)
        structure.check_initialized(model)
        init = None if self.parametrization else options.init
        initialize(model, init, options.bn_init, seed)
        if self.parametrization:
            with parts.prefix_errors("parametrization"):
                self.parametrization.initialize(model, seed)
        with parts.prefix_errors("model"):
            freeze(model, options.freeze, options.freeze_exceptions)
        is_last = training_recipe.runtime_for(self.runtime, model, self.device).channels_last
        is_last &= len(self.data.input_shape) == 3
        memory_format = torch.channels_last if is_last else torch.preserve_format
        return model.to(self.device).to(memory_format=memory_format)  # type: ignore[call-overload]

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """A new optimizer, with the groups of the parametrization if there is one."""
        named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if self.parametrization is None:
            return self.recipe.optimizer(list(named.values()))
        return param_groups.build_optimizer(self.recipe.optimizer, self._groups(), named)

    def _groups(self) -> list[ParamGroup]:
        assert self.parametrization is not None  # else there are none
        with parts.prefix_errors("parametrization"):
            return self.parametrization.groups(
                self.model, param_groups.lr_rule(self.recipe.optimizer)
            )

    def _make_calibrate(self) -> Calibrate | None:
        if self.parametrization is None:
            return None
        return partial(self.parametrization.calibrate, self.model, self._groups())

    def _make_scheduler(self) -> LearningRateSchedule:
        return self.recipe.scheduler(self.planned_end, self.iterations_per_epoch)

    def _make_constraint(self) -> Constraint | None:
        return self.recipe.constraint(self.model) if self.recipe.constraint else None

    def _start_averages(self) -> None:
        self.averages = self.recipe.averages() if self.recipe.averages else None
        if self.averages:
            with parts.prefix_errors("averaged"):
                self.averages.start(self.model, self.planned_end, self.iterations_per_epoch)

    def _check_clipping(self) -> None:
        """Refuse gradient clipping with first steps that are large on purpose."""
        clip = self.recipe.hparams.grad_clip_max_norm
        if clip is not None and any(group.first_steps for group in self._groups()):
            raise ValueError(
                f"hparams.grad_clip_max_norm={clip}: would clip the first steps, which this "
                "parametrization makes large; leave it out"
            )

    def _make_training(self, dropout_seed: int) -> Training:
        recipe = self.recipe
        if self.parametrization is not None:
            self._check_clipping()
        compiled = should_compile(self.runtime.compile, self.model, self.end)
        size, processes = recipe.hparams.batch_size, self.processes
        share = processes.share(size) if processes else slice(0, size)
        return Training(
            self.model,
            self._make_optimizer(),
            self._make_scheduler(),
            iterations_per_epoch=self.iterations_per_epoch,
            dropout_seed=dropout_seed,
            autocast=self.evaluator.autocast,
            clip=recipe.hparams.grad_clip_max_norm,
            compile_size=share.stop - share.start if compiled else None,
            constraint=self._make_constraint(),
            sharing=Sharing(processes, size, len(self.data.train)) if processes else None,
            loss=self.data.loss,
            calibrate=self._make_calibrate(),
        )


def build_session(
    options: Train,
    section: str = "",
    processes: Processes | None = None,
    constraint: Callable[[nn.Module], Constraint] | None = None,
) -> Session:
    """The session of a training, from its options.

    Args:
        options: of the training.
        section: prefix of them as typed, such as "pretrain.".
        processes: that train it together, or None.
        constraint: see `Recipe`.

    Raises:
        ValueError: an option is refused, or there is no such device.
        OSError: the data is not there.
    """
    recipe = Recipe.from_options(options, section, constraint)
    data = parts.load_data(options.dataset, options.label_noise_seed)
    session = Session(recipe, data, options.stream_seeds, options.runtime, processes)
    effects.log_modes_without_effect(options, session.model)
    effects.log_seeds_without_effect(options, session)
    return session
