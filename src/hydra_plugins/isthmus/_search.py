"""The search of `tune.py`: its space, its trials, and its report.

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

from hydra_plugins.isthmus import _commands, _report
from isthmus import sweeps, tuning
from isthmus.config import launch, naming
from isthmus.config.launch import ConfigError
from isthmus.config.schema import Values
from isthmus.training.options import Tune
from isthmus.tuning import Claim, SharedStudy

Space = dict[str, BaseDistribution]


def search(sweeper: Any, arguments: Sequence[str]) -> None:
    """Run trials until the study has `n_trials`, then report.

    Args:
        sweeper: `sweepers.OptunaStudy`, set up.
        arguments: overrides as they were typed.

    Raises:
        ConfigError: an option is invalid; raised before any trial. Or every trial failed.
    """
    space, fixed = search_space(sweeper, arguments)
    check(sweeper, space, fixed)
    sampler = sampler_options(sweeper.config.hydra.sweeper.sampler)
    name = study_digits(
        launch.option_values(sweeper.config, Tune), _distribution_texts(space), sampler
    )
    seed, output = sweeper.config.global_seed, Path(sweeper.config.output_dir)
    folder = output / f"tune_{sweeper.study_name or name}" / f"seed_{seed}"
    study_name = sweeper.study_name or f"tune_{name}_seed_{seed}"
    study = open_study(sweeper, study_name, space, folder)
    total, first = num_trials(sweeper, space), 0
    while claims := study.claim(sweeper.n_jobs, total, space):
        overrides = [trial_overrides(fixed, claim) for claim in claims]
        sweeper.launcher.launch(overrides, initial_job_idx=first)
        jobs = sweeps.read_jobs(Path(sweeper.config.hydra.sweep.dir), is_over=True)[first:]
        for claim, job in zip(claims, jobs, strict=True):
            study.tell(claim.number, job)
            with study.lock():
                print(_report.trial_line(study.study, claim.number, job["status"]), flush=True)
        first += len(claims)
    with study.lock():
        best = tuning.best_trial(study.study)
        command = None
        if best is not None:
            claim = Claim(best.number, best.params)
            command = _commands.train_command(
                sweeper.hydra_context.config_loader,
                job_config(sweeper, trial_overrides(fixed, claim)),
            )
        counts = _report.report(study.study, folder, command)
    if set(counts) == {"failed"}:
        raise ConfigError(f"tune.py: all {counts['failed']} trials failed, see {folder}/trials.csv")


def study_digits(
    values: Values, space: Mapping[str, str], sampler: Mapping[str, Any] | None = None
) -> str:
    """Ten hexadecimal digits that name a search of `tune.py`: options, sampler and fixed values.

    Args:
        values: the configuration of `tune.py`, whose searched values do not count.
        space: what is searched, by the full name of the option.
        sampler: its target and the values that are not its defaults; None for the default one.
    """
    named = naming.identity(values, Tune)
    for name in space:
        group, _, key = name.partition(".")
        if not key:
            named.pop(group, None)
        elif isinstance(named.get(group), dict):
            named[group] = {k: v for k, v in named[group].items() if k != key}
    return naming.digest({**named, "search": space, **({"sampler": sampler} if sampler else {})})


def search_space(sweeper: Any, arguments: Sequence[str]) -> tuple[Space, dict[str, str]]:
    """The distributions of searched options and the values of fixed ones, by full names.

    Typed options replace the defaults (`hydra.sweeper.params`); a default for an option that the
    chosen parts do not have, such as averaged.decay with averaged=swa, is left out.
    """
    space, fixed = read_overrides(arguments)
    default_texts = {
        name: text
        for name, text in sweeper.params.items()
        if OmegaConf.select(sweeper.config, name) is not None and name not in fixed | space
    }
    for name in sweeper.params.keys() - default_texts.keys() - fixed.keys() - space.keys():
        print(f"{name} is not searched: the chosen parts do not have it")
    defaults, _ = read_overrides([f"{k}={v}" for k, v in default_texts.items()])
    space = {**defaults, **space}
    return {n: _as_choices(kind) if _is_grid(sweeper) else kind for n, kind in space.items()}, fixed


def read_overrides(arguments: Sequence[str]) -> tuple[Space, dict[str, str]]:
    """Distributions and fixed values of overrides, by full names.

    Raises:
        ConfigError: one is no distribution, such as interval(2,1).
    """
    space: Space = {}
    fixed: dict[str, str] = {}
    for argument in arguments:
        try:
            searched, values = plugin.create_params_from_overrides([argument])
        except ValueError as error:
            raise ConfigError(f"{argument}: {error}") from error
        space, fixed = {**space, **searched}, {**fixed, **values}
    return space, fixed


def _as_choices(kind: BaseDistribution) -> BaseDistribution:
    """The numbers of a range, for a grid; any other distribution as it is."""
    step = getattr(kind, "step", None) or getattr(kind, "q", None)
    if step is None or isinstance(kind, CategoricalDistribution):
        return kind
    low, high = kind.low, kind.high  # type: ignore[attr-defined]
    count = int((high - low) / step + 1e-9) + 1
    return CategoricalDistribution([low + place * step for place in range(count)])


def check(sweeper: Any, space: Space, fixed: Mapping[str, str]) -> None:
    """Refuse, before any trial, a search whose trials could not run or that would not end.

    Raises:
        ConfigError: naming every invalid option.
    """
    numbers = {name: getattr(sweeper, name) for name in ("n_trials", "n_jobs")}
    errors = [
        f"hydra.sweeper.{name}={number}: must be at least 1"
        for name, number in numbers.items()
        if number < 1
    ]
    errors += [
        f"hydra.sweeper.{name}={value}: no such option; there are sampler, direction, storage, "
        "study_name, n_trials and n_jobs"
        for name, value in sweeper.unused.items()
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
        _check_job(job_config(sweeper, trial_overrides(fixed, Claim(0, values))))


def sampler_options(node: Any) -> dict[str, Any] | None:
    """The target of a sampler, and its values that are not defaults.

    Args:
        node: `hydra.sweeper.sampler`.

    Returns:
        None for the default one, which is not in the names of studies.
    """
    options, kinds = launch.to_container(node), plugin_config.SamplerConfig.__subclasses__()
    defaults = next((asdict(k()) for k in kinds if k._target_ == options["_target_"]), {})
    changed = {k: v for k, v in options.items() if k not in defaults or v != defaults[k]}
    target = options["_target_"]
    is_default = not changed and target == plugin_config.TPESamplerConfig._target_
    return None if is_default else {"_target_": target, **changed}


def corners(space: Space) -> list[dict[str, Any]]:
    """Configurations that together have every choice, and both ends of every range."""
    ends = {
        name: list(kind.choices)
        if isinstance(kind, CategoricalDistribution)
        else [kind.low, kind.high]  # type: ignore[attr-defined]
        for name, kind in space.items()
    }
    count = max(map(len, ends.values()), default=1)
    return [{name: end[i % len(end)] for name, end in ends.items()} for i in range(count)]


def trial_overrides(fixed: Mapping[str, str], claim: Claim) -> tuple[str, ...]:
    """The overrides of a trial."""
    tried = {name: "null" if v is None else v for name, v in claim.values.items()}
    return tuple(f"{name}={value}" for name, value in {**fixed, **tried}.items())


def job_config(sweeper: Any, overrides: Sequence[str]) -> Any:
    """The whole configuration of a trial."""
    loader = sweeper.hydra_context.config_loader
    return loader.load_sweep_config(sweeper.config, list(overrides))


def open_study(sweeper: Any, name: str, space: Space, folder: Path) -> SharedStudy:
    """Open the study, which is created if there is none of its name.

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


def num_trials(sweeper: Any, space: Space) -> int:
    """Number of trials of the study, by all its workers; at most the points of a grid."""
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


def _distribution_texts(space: Space) -> dict[str, str]:
    return {name: str(distribution) for name, distribution in space.items()}
