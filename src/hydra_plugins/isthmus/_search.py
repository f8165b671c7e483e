"""The search of `tune.py`: what is tried, by whom, and what was found.

Imported when a search begins, because Optuna and its database take seconds.
"""

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra_plugins.hydra_optuna_sweeper import _impl as plugin
from hydra_plugins.hydra_optuna_sweeper import config as plugin_config
from omegaconf import OmegaConf, open_dict
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import GridSampler

from hydra_plugins.isthmus import _commands, _found
from isthmus import sweeps, tuning
from isthmus.config import launch, naming
from isthmus.config.launch import ConfigError
from isthmus.tuning import Claim, SharedStudy

Space = dict[str, BaseDistribution]


def search(sweeper: Any, arguments: Sequence[str]) -> None:
    """Make trials until the study has as many as asked for, then say what was found.

    Args:
        sweeper: `sweepers.Study`, set up.
        arguments: overrides as they were typed.

    Raises:
        ConfigError: something typed cannot be meant; before any trial.
    """
    space, fixed = space_of(sweeper, arguments)
    check(sweeper, space, fixed)
    how = sampler_of(sweeper.config.hydra.sweeper.sampler)
    name = naming.study_name(launch.option_values(sweeper.config, "Tune"), _words(space), how)
    seed, output = sweeper.config.global_seed, Path(sweeper.config.output_dir)
    folder = output / f"tune_{sweeper.study_name or name}" / f"seed_{seed}"
    known = sweeper.study_name or f"tune_{name}_seed_{seed}"
    study = open_study(sweeper, known, space, folder)
    total, first = total_of(sweeper, space), 0
    while claims := study.claim(sweeper.n_jobs, total, space):
        overrides = [words(fixed, claim) for claim in claims]
        sweeper.launcher.launch(overrides, initial_job_idx=first)
        jobs = sweeps.read_jobs(Path(sweeper.config.hydra.sweep.dir), is_over=True)[first:]
        for claim, job in zip(claims, jobs, strict=True):
            study.tell(claim.number, job)
            with study.locked():
                print(_found.trial_line(study.study, claim.number, job["status"]), flush=True)
        first += len(claims)
    with study.locked():
        best = tuning.best_trial(study.study)
        command = None
        if best is not None:
            claim = Claim(best.number, best.params)
            command = _commands.training(
                sweeper.hydra_context.config_loader, job_config(sweeper, words(fixed, claim))
            )
        _found.report(study.study, folder, command)


def space_of(sweeper: Any, arguments: Sequence[str]) -> tuple[Space, dict[str, str]]:
    """What is searched, and what is fixed, by the full names of options.

    What is typed takes the place of the defaults (`hydra.sweeper.params`); a default for an option
    that the chosen parts do not have, such as averaged.decay with averaged=swa, is left out.
    """
    space: Space
    space, fixed = plugin.create_params_from_overrides(list(arguments))
    there = {
        name: text
        for name, text in sweeper.params.items()
        if OmegaConf.select(sweeper.config, name) is not None and name not in fixed | space
    }
    for name in sweeper.params.keys() - there.keys() - fixed.keys() - space.keys():
        print(f"{name} is not searched: the chosen parts do not have it")
    defaults, _ = plugin.create_params_from_overrides([f"{k}={v}" for k, v in there.items()])
    return {**defaults, **space}, fixed


def check(sweeper: Any, space: Space, fixed: Mapping[str, str]) -> None:
    """Refuse, before any trial, a search of which none could run, or one that has no end.

    Raises:
        ConfigError: naming every option that cannot be meant.
    """
    numbers = {name: getattr(sweeper, name) for name in ("n_trials", "n_jobs")}
    errors = [
        f"hydra.sweeper.{name}={number}: must be at least 1"
        for name, number in numbers.items()
        if number < 1
    ]
    if sweeper.direction != "maximize":
        errors.append(
            f"hydra.sweeper.direction={sweeper.direction}: must be maximize, trials are compared "
            "by accuracy"
        )
    if all(_num_choices(kind) == 1 for kind in space.values()):
        errors.append(
            "nothing is searched, every option has one value: 'optimizer.lr=interval(0.01,1)' or "
            "scheduler=constant,cosine searches one"
        )
    if _is_grid(sweeper):
        errors += [
            f"{name}: a grid needs choices, {name}=choice(...), got an interval"
            for name, distribution in space.items()
            if not isinstance(distribution, CategoricalDistribution)
        ]
    if errors:
        raise ConfigError("This search cannot run:\n  " + "\n  ".join(errors))
    for values in corners(space):
        _check_job(job_config(sweeper, words(fixed, Claim(0, values))))


def sampler_of(node: Any) -> dict[str, Any] | None:
    """What a sampler is, by its target and the values that are not its defaults.

    Args:
        node: `hydra.sweeper.sampler`.

    Returns:
        None for the default one, which studies are not named by.
    """
    given, kinds = launch.to_container(node), plugin_config.SamplerConfig.__subclasses__()
    defaults = next((asdict(k()) for k in kinds if k._target_ == given["_target_"]), {})
    named = {k: v for k, v in given.items() if k not in defaults or v != defaults[k]}
    target = given["_target_"]
    is_default = not named and target == plugin_config.TPESamplerConfig._target_
    return None if is_default else {"_target_": target, **named}


def corners(space: Space) -> list[dict[str, Any]]:
    """Values between which all lies that can be tried: every choice, and both ends of a range."""
    ends = {
        name: list(kind.choices)
        if isinstance(kind, CategoricalDistribution)
        else [kind.low, kind.high]  # type: ignore[attr-defined]
        for name, kind in space.items()
    }
    count = max(map(len, ends.values()), default=1)
    return [{name: end[i % len(end)] for name, end in ends.items()} for i in range(count)]


def words(fixed: Mapping[str, str], claim: Claim) -> tuple[str, ...]:
    """The overrides of a trial."""
    tried = {name: "null" if v is None else v for name, v in claim.values.items()}
    return tuple(f"{name}={value}" for name, value in {**fixed, **tried}.items())


def job_config(sweeper: Any, overrides: Sequence[str]) -> Any:
    """The whole configuration of a trial."""
    loader = sweeper.hydra_context.config_loader
    return loader.load_sweep_config(sweeper.config, list(overrides))


def open_study(sweeper: Any, name: str, space: Space, folder: Path) -> SharedStudy:
    """The study, made if there is none of its name.

    Raises:
        ConfigError: its database cannot be used.
    """
    sampler = sweeper.sampler
    if _is_grid(sweeper):
        sampler = sampler({n: kind.choices for n, kind in space.items()})  # type: ignore
    try:
        return SharedStudy(name, sweeper.storage, sampler, sweeper.direction, folder)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def total_of(sweeper: Any, space: Space) -> int:
    """Trials of the study, of all its workers; of a grid no more than it has points."""
    if not _is_grid(sweeper):
        return sweeper.n_trials
    kinds: Any = space.values()
    return min(sweeper.n_trials, math.prod(len(kind.choices) for kind in kinds))


def _check_job(cfg: Any) -> None:
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)
    try:
        task = copy.deepcopy(cfg)
        with open_dict(task):
            del task["hydra"]
        launch.check(task)
    finally:
        HydraConfig.instance().cfg = before


def _num_choices(kind: BaseDistribution) -> int | None:
    return len(kind.choices) if isinstance(kind, CategoricalDistribution) else None


def _is_grid(sweeper: Any) -> bool:
    return isinstance(sweeper.sampler, functools.partial) and sweeper.sampler.func is GridSampler


def _words(space: Space) -> dict[str, str]:
    return {name: str(distribution) for name, distribution in space.items()}
