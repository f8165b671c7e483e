"""Border between Hydra and the scripts: checked configurations, parts, one-line errors.

Only this module and `config.rebuild` import hydra and omegaconf. It imports no torch, so that
`--help` and a refused option answer in about half a second.
"""

import dataclasses
import json
import logging
import operator
import os
import re
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isthmus import machine
from isthmus.config import naming, signatures, validation
from isthmus.config import schema as config_schema
from isthmus.store import fingerprints, locks, reading

FLAGS = {"--multirun", "-m", "--run", "-r", "--resolve", "--help", "-h"}  # of Hydra, without value
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]


def hydra_arguments(arguments: list[str]) -> list[str]:
    """Command-line arguments, the script first, in the form that Hydra understands.

    A flag such as --multirun is moved before all overrides, wherever it was typed. averaged=null
    becomes averaged=none; for a group that cannot be off, Hydra then says which options it has.
    Of several processes that train one network only the first logs and writes.
    """
    groups = "|".join([*config_schema.SUPPLIED, "hparams"])
    spelled = [
        re.sub(r"\bnull\b", "none", argument) if re.match(rf"({groups})=", argument) else argument
        for argument in arguments
    ]
    quiet = [] if machine.is_first() else QUIET
    return spelled[:1] + sorted(spelled[1:], key=lambda argument: argument not in FLAGS) + quiet


log = logging.getLogger(__name__)


class ConfigError(CompactHydraException):
    """An error that the user can correct; Hydra prints its message without a traceback."""


@contextmanager
def job(cfg: DictConfig) -> Iterator[None]:
    """Check the configuration, then turn errors that the user can correct into one message.

    A job that fails before it has computed anything leaves no folder behind. With
    HYDRA_FULL_ERROR=1 the message comes with its traceback.

    Raises:
        ConfigError: in place of ValueError, OSError and FloatingPointError, with their text.
    """
    try:
        check(cfg)
        yield
    except (ConfigError, ValueError, FloatingPointError, OSError) as error:
        locks.discard_if_empty(job_folder())
        raise ConfigError(_message(error)) from error


def check(cfg: DictConfig) -> None:
    """Raise an error that lists everything wrong with a configuration, before any work.

    Raises:
        ConfigError: naming every missing value, unknown option and value of a wrong type at once,
            as the user typed it, with what is allowed.
    """
    script = _schema(HydraConfig.get().job.config_name or "")
    names, schema = list(validation.fields(script)), current_mode(cfg)
    if machine.is_distributed() and HydraConfig.get().job.config_name != "train":
        raise ConfigError("torchrun: only train.py trains one network in several processes")
    extra = [str(key) for key in cfg if key not in names]
    errors = [f"{key}: no such option; there are {', '.join(names)}" for key in extra]
    errors += naming.options_of_other_mode(schema, script, _typed_options())
    errors += naming.missing_mode(cfg, script) or validation.validation_errors(
        option_values(cfg, schema), schema
    )
    if errors and HydraConfig.get().runtime.choices.get("experiment"):
        errors.append("(~group.option on the command line removes what an experiment sets)")
    if errors:
        raise ConfigError("This configuration cannot run:\n  " + "\n  ".join(errors))


def job_folder() -> Path:
    """The folder of the job that is running."""
    return Path(HydraConfig.get().runtime.output_dir)


def display_path(path: Path) -> str:
    """A path as typed from the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def option_values(cfg: DictConfig, schema: str) -> dict[str, Any]:
    """A script's configuration as plain Python, "???" where a value is missing."""
    is_of_saved = naming.is_of_saved(schema)
    keys = list(map(str, cfg)) if is_of_saved else list(validation.fields(schema))
    keys = [key for key in keys if key != "hydra"]
    options: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, keys), resolve=True)
    options = naming.values_of_saved(options, schema, _typed_options()) if is_of_saved else options
    if "dataset_typed" in validation.fields(schema):
        options["dataset_typed"] = naming.typed_dataset_values(_typed_options())
    return options


def current_mode(cfg: DictConfig) -> str:
    """Name of the schema of the running script's mode; see `naming.choose_mode`."""
    return naming.choose_mode(_schema(HydraConfig.get().job.config_name or ""), cfg)


def is_in_sweep() -> bool:
    """Whether the job that is running is one of a multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def experiments_with_sweeps(cfg: DictConfig) -> list[str]:
    """Experiments of a multirun that define a sweep or a launcher themselves.

    Hydra reads these only if one experiment is chosen for the whole multirun, not per job.

    Args:
        cfg: of the multirun, with Hydra's own.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    swept = (to_container(cfg.hydra.sweeper.get("params")) or {}).get("experiment")
    overrides = [*cfg.hydra.overrides.task, *([f"experiment={swept}"] if swept else [])]
    names: list[str] = []
    for override in OverridesParser.create(loader).parse_overrides(overrides):
        if override.key_or_group == "experiment" and override.is_sweep_override():
            names += map(str, override.sweep_string_iterator())
    before = _hydra_of_jobs(loader, cfg) if names else []
    return [name for name in names if _hydra_of_jobs(loader, cfg, f"experiment={name}") != before]


def to_container(node: Any) -> Any:
    """A node of the configuration as numbers, texts, lists and dicts."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def build_part(group: str, node: dict[str, Any]) -> Callable[..., Any]:
    """A function that makes a part of a group from the arguments that the script supplies.

    Raises (when called):
        ValueError: the part refuses a value; its message is led by the option's full name.
    """
    common = validation.common_fields(group)
    target = naming.full_target(group, node)
    arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_", *common)}
    make_part = partial(signatures.locate(target), **arguments)

    def make(*supplied: Any) -> Any:
        with validation.prefix_errors(group):
            return make_part(*supplied)

    return make


def read_group(file: Path, key: str, without: Set[str] = frozenset()) -> Any:
    """One group of the configuration that a job had, from its `.hydra/config.yaml`.

    Args:
        file: may come from elsewhere; of its interpolations that compute something, only
            environment variables are allowed.
        key: of the group.
        without: names of its values to leave out.

    Raises:
        OSError, ValueError: the file is damaged, or would compute something.
    """
    values = reading.read_yaml(file)
    # What a group may refer to: single values next to it that are not computed themselves.
    content: dict[str, Any] = {
        name: value
        for name, value in values.items()
        if isinstance(value, str | int) and "${" not in str(value)
    }
    content[key] = group = values.get(key)
    if isinstance(group, dict):
        content[key] = {name: value for name, value in group.items() if name not in without}
    computed = set(re.findall(r"\$\{\s*([^}{$:]*):", json.dumps(content.get(key), default=str)))
    if not {name.strip() for name in computed} <= {"oc.env"}:
        raise ValueError(f"{file}: {key} would compute {', '.join(sorted(computed))}")
    try:
        return to_container(OmegaConf.select(OmegaConf.create(content), key))
    except OmegaConfBaseException as error:
        raise ValueError(f"{file}: {key}: {str(error).splitlines()[0]}") from error


def load_data(node: dict[str, Any], label_noise_seed: int) -> Any:
    """Read the data set of a node of the configuration, with label noise of a seed."""
    with validation.prefix_errors("dataset"):
        return build_part("dataset", node)().load(label_noise_seed)


def training(options: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """The options of a training, as plain Python, from all options of a script."""
    if isinstance(options, DictConfig):
        return option_values(options, "Train")
    return {key: options[key] for key in validation.fields("Train")}


def recipe(values: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Fields of a training recipe: parts, lengths, and what is saved with the weights.

    Args:
        values: options of a training, as plain Python.
        section: prefix of its options as typed, such as "pretrain."; "" for none.
    """
    groups = ("model", "optimizer", "scheduler")
    options = {
        key: values["model"][key]
        for key in validation.common_fields("model")
        if key in values["model"]
    }
    return {
        **{group: _build(group, values[group]) for group in groups},
        "averages": _build("averaged", values["averaged"]),
        "parametrization": _build("parametrization", values["parametrization"]),
        **values["hparams"],
        **options,
        "precision": values["precision"],
        "metadata": {"config": naming.reproducible_config(values)},
        "section": section,
        "typed": _typed_options(),
    }


def seeds(values: DictConfig | dict[str, Any]) -> dict[str, int]:
    """The seed of every stream of chance; `global_seed` where none is set."""
    streams, main = to_container(values["seeds"]), values["global_seed"]
    return {name: main if seed is None else seed for name, seed in streams.items()}


def runtime(values: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """Runtime options of one training: all but `num_jobs`, which is the study's."""
    options = to_container(values["runtime"])
    return {key: value for key, value in options.items() if key != "num_jobs"}


def threads(cfg: DictConfig, result: dict[str, Any] | None = None) -> int:
    """Number of CPU threads for this job.

    As typed; else that of the results that exist already, so that additions are computed in the
    same way; else OMP_NUM_THREADS if set; else a share of the cores among parallel jobs, but one
    in a study of children, whose numbers must not depend on how many are trained at a time.

    Args:
        cfg: of the script.
        result: the summary of existing results, if any.
    """
    compare_threads(cfg, result)
    if cfg.runtime.num_threads is not None:
        return cfg.runtime.num_threads
    if result and isinstance(result.get("num_threads"), int):
        return max(1, result["num_threads"])
    if has_children(cfg):
        return machine.default_threads(-1)
    launcher = HydraConfig.get().launcher
    workers = launcher.get("n_jobs", 1) if "joblib" in launcher.get("_target_", "") else 1
    return machine.default_threads(workers * machine.num_local_processes())


def compare_threads(cfg: DictConfig, result: dict[str, Any] | None) -> None:
    """Warn if existing results were computed with another number of threads than typed."""
    typed, before = cfg.runtime.num_threads, (result or {}).get("num_threads")
    if typed is not None and before is not None and typed != before:
        log.warning(
            "runtime.num_threads=%d: the results that are there were computed with %d, and may "
            "differ in rounding from those of %d",
            typed,
            before,
            typed,
        )


def has_children(cfg: DictConfig) -> bool:
    """Whether the script that runs trains children, `runtime.num_jobs` at a time."""
    return "num_jobs" in (
        validation.nested_fields(validation.fields(current_mode(cfg))["runtime"]) or {}
    )


def _build(group: str, node: dict[str, Any] | None) -> Callable[..., Any] | None:
    """`build_part`, or None if the group is off."""
    return build_part(group, node) if node and "_target_" in node else None


def _hydra_of_jobs(loader: Any, cfg: DictConfig, *overrides: str) -> list[Any]:
    """Sweeper, launcher and callbacks in the configuration of a multirun's jobs."""
    try:
        job = loader.load_sweep_config(cfg, list(overrides))
    except HydraException:  # no such experiment: the job raises the error
        job = loader.load_sweep_config(cfg, [])
    parts = [job.hydra.get(name) for name in ("sweeper", "launcher", "callbacks")]
    return [OmegaConf.to_container(part, resolve=False) for part in parts]


def _schema(script: str) -> str:
    return config_schema.SCRIPTS[script].rpartition(".")[2]


def _run_dir(script: str, *, _root_: DictConfig) -> str:
    schema = naming.choose_mode(_schema(script), _root_)
    options = option_values(_root_, schema)
    kind = script
    if "figure" in options:
        kind = f"plots/{signatures.locate(config_schema.FOLDER_NAME)(options['figure'])}"
    folder = f"{_root_.output_dir}/{kind}_{naming.run_name(options, schema)}"
    has_seed = "global_seed" in validation.fields(schema)
    return f"{folder}/seed_{_root_.global_seed}" if has_seed else folder


def _typed_options() -> list[str]:
    """Names of the options on the command line."""
    if not HydraConfig.initialized():  # a configuration that was composed without a script
        return []
    return [text.lstrip("+~").partition("=")[0] for text in HydraConfig.get().overrides.task]


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _fingerprint(root: str, test: Any = True, test_folder: Any = None) -> str:
    """Fingerprint of a folder of images; values of a wrong type are left to the check."""
    part = test_folder if isinstance(test_folder, str) else None
    return fingerprints.folder_fingerprint(str(root), test is not False, part)


def _register() -> None:
    for script, schema in config_schema.SCRIPTS.items():
        content = dataclasses.asdict(signatures.locate(schema)())
        content |= {group: {} for group in config_schema.SUPPLIED if group in content}
        node = OmegaConf.create(content)
        for key, value in content.items():
            if isinstance(value, dict):
                # Hydra refuses an unknown key without listing the known ones; the check lists them.
                OmegaConf.set_struct(node[key], False)
                node[key].update({part: {} for part in validation.TRAINING_PARTS if part in value})
        ConfigStore.instance().store(name=f"{script}_schema", node=node)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("process", os.getpid, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("times", operator.mul, replace=True)
    OmegaConf.register_new_resolver("absolute", os.path.abspath, replace=True)
    OmegaConf.register_new_resolver("fingerprint", _fingerprint, replace=True)
    OmegaConf.register_new_resolver("content", fingerprints.file_digest, replace=True)


_register()
