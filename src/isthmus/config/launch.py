"""Border between Hydra and the scripts: checked options, names of folders, one-line errors.

Imports no torch, so that `--help` and a refused option answer in about half a second.
"""

import logging
import operator
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from isthmus import machine, run_index
from isthmus.config import naming, schema, signatures, validation
from isthmus.config.parts import GROUPS
from isthmus.config.schema import REQUIRED, Section, Values
from isthmus.store import fingerprints, locks

FLAGS = {"--multirun", "-m", "--run", "-r", "--resolve", "--help", "-h"}  # of Hydra, without value
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]

log = logging.getLogger(__name__)


def hydra_arguments(arguments: list[str]) -> list[str]:
    """Command-line arguments, the script first, in the form that Hydra understands.

    A flag such as --multirun is moved before all overrides, wherever it was typed. averaged=null
    becomes averaged=none; for a group that cannot be off, Hydra then says which options it has.
    Of several processes that train one network only the first logs and writes.
    """
    groups = "|".join([*GROUPS, "hparams"])
    spelled = [
        re.sub(r"\bnull\b", "none", argument) if re.match(rf"({groups})=", argument) else argument
        for argument in arguments
    ]
    quiet = [] if machine.is_first() else QUIET
    return spelled[:1] + sorted(spelled[1:], key=lambda argument: argument not in FLAGS) + quiet


class ConfigError(CompactHydraException):
    """An error that the user can correct; Hydra prints its message without a traceback."""


@contextmanager
def job(cfg: DictConfig) -> Iterator[Any]:
    """Check the configuration, then turn errors that the user can correct into one message.

    A job that fails before it has computed anything leaves no folder behind. With
    HYDRA_FULL_ERROR=1 the message comes with its traceback.

    Yields:
        The options of the script's mode, an object of their class.

    Raises:
        ConfigError: in place of ValueError, OSError and FloatingPointError, with their text.
    """
    try:
        options = check(cfg)
        if machine.is_first():
            note_begin(cfg)
        yield options
    except (ConfigError, ValueError, FloatingPointError, OSError) as error:
        locks.discard_if_empty(job_folder())
        raise ConfigError(_message(error)) from error


_NOTED: dict[str, run_index.Row] = {}  # rows of the index of runs that this process works on


def note_begin(cfg: DictConfig) -> None:
    """Write into the index of runs that this job has begun."""
    hydra, mode = HydraConfig.get(), naming.choose_mode(script_options(_script()), cfg)
    typed = naming.typed_changes(option_values(cfg, mode), mode, hydra.overrides.task)
    typed = [text for text in typed if not text.startswith("output_dir=")]
    outputs = Path(cfg.output_dir).absolute()
    row = run_index.begin_run(_script(), outputs, job_folder().absolute(), " ".join(typed))
    _NOTED[str(job_folder())] = row


def note_end(outputs: str, folder: str, status: str, result: str) -> None:
    """Write into the index of runs how a job ended that `note_begin` has noted.

    Args:
        outputs: folder of all runs.
        folder: of the job.
        status: done or failed.
        result: its main numbers, or the reason of a failure.
    """
    row = _NOTED.pop(folder, None)
    if row is not None:
        run_index.end_run(Path(outputs).absolute(), row, status, result)


def _script() -> str:
    return HydraConfig.get().job.config_name or ""


def check(cfg: DictConfig) -> Section:
    """The options of the script that runs; or an error that lists everything wrong with them.

    Raises:
        ConfigError: naming every missing value, unknown option and value of a wrong type at once,
            as the user typed it, with what is allowed; raised before any work.
    """
    script = script_options(HydraConfig.get().job.config_name or "")
    names, mode = naming.typed_fields(script), naming.choose_mode(script, cfg)
    if machine.is_distributed() and HydraConfig.get().job.config_name != "train":
        raise ConfigError("torchrun: only train.py trains one network in several processes")
    extra = [str(key) for key in cfg if key not in names]
    errors = [f"{key}: no such option; there are {', '.join(names)}" for key in extra]
    errors += naming.options_of_other_mode(mode, script, typed_options())
    errors += [
        f"{name}: follows from the files that it names a run by, and cannot be typed"
        for name in typed_options()
        if name.rpartition(".")[2] == "fingerprint"
    ]
    values = option_values(cfg, mode)
    errors += naming.missing_mode(cfg, script) or validation.validation_errors(values, mode)
    if errors and HydraConfig.get().runtime.choices.get("experiment"):
        errors.append("(~group.option on the command line removes what an experiment sets)")
    if errors:
        raise ConfigError("This configuration cannot run:\n  " + "\n  ".join(errors))
    return schema.make_options(mode, values)


def script_options(script: str) -> type[Section]:
    """The class of the options of a script."""
    return signatures.locate(schema.SCRIPTS[script])


def option_values(cfg: DictConfig, cls: type[Section]) -> Values:
    """The options of a class as plain Python, "???" where a value is missing; and "typed", their
    names on the command line.
    """
    known = schema.fields(cls)
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key in known])
    values: Any = OmegaConf.to_container(kept, resolve=True)
    typed = typed_options()
    values = cls.complete_values(values, typed) | {"typed": typed}
    for name, argument in known.items():  # null, where another mode needs no value
        is_missing = argument.default is REQUIRED and values.get(name) is None
        if is_missing and not signatures.fits_annotation(None, argument.annotation):
            values[name] = "???"
    return values


def job_folder() -> Path:
    """The folder of the job that is running."""
    return Path(HydraConfig.get().runtime.output_dir)


def is_in_sweep() -> bool:
    """Whether the job that is running is one of a multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def to_container(node: Any) -> Any:
    """A node of the configuration as numbers, texts, lists and dicts."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def typed_options() -> list[str]:
    """Names of the options on the command line."""
    if not HydraConfig.initialized():  # a configuration that was composed without a script
        return []
    return [text.lstrip("+~").partition("=")[0] for text in HydraConfig.get().overrides.task]


def threads(runtime: Any, result: Values | None = None) -> int:
    """Number of CPU threads for this job, see `machine.choose_threads`.

    By default a share of the cores among parallel jobs, but one in a study of children, whose
    numbers must not depend on how many are trained at a time.

    Args:
        runtime: the section `runtime`, with `num_threads`, and in a study of children `num_jobs`.
        result: the summary of existing results, if any.
    """
    launcher = HydraConfig.get().launcher
    workers = launcher.get("n_jobs", 1) if "joblib" in launcher.get("_target_", "") else 1
    workers = -1 if hasattr(runtime, "num_jobs") else workers * machine.num_local_processes()
    return machine.choose_threads(runtime.num_threads, result, workers)


def _run_dir(script: str, *, _root_: DictConfig) -> str:
    mode = naming.choose_mode(script_options(script), _root_)
    values = option_values(_root_, mode)
    name = f"{mode.folder_prefix(script, values)}_{naming.run_name(values, mode)}"
    folder = f"{_root_.output_dir}/{name}"
    has_seed = "global_seed" in schema.fields(mode)
    return f"{folder}/seed_{_root_.global_seed}" if has_seed else folder


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _fingerprint(root: str, test: Any = True, test_folder: Any = None) -> str:
    """Fingerprint of a folder of images; values of a wrong type are left to the check."""
    part = test_folder if isinstance(test_folder, str) else None
    return fingerprints.folder_fingerprint(str(root), test is not False, part)


def _register() -> None:
    for script in schema.SCRIPTS:
        cls = script_options(script)
        content = schema.default_values(cls)
        for name, argument in schema.fields(cls).items():
            if argument.metadata.get("is_derived"):
                del content[name]
            elif schema.is_part(argument):
                content[name] = {}
            elif nested := schema.section_class(argument):
                content[name] = {
                    key: {} if schema.is_part(schema.fields(nested)[key]) else default
                    for key, default in schema.default_values(nested).items()
                }
        node = OmegaConf.create(content)
        for name, value in content.items():
            if isinstance(value, dict):
                # Hydra refuses an unknown key without listing the known ones; the check lists them.
                OmegaConf.set_struct(node[name], False)
        ConfigStore.instance().store(name=f"{script}_schema", node=node)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("process", os.getpid, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("times", operator.mul, replace=True)
    OmegaConf.register_new_resolver("absolute", os.path.abspath, replace=True)
    OmegaConf.register_new_resolver("fingerprint", _fingerprint, replace=True)
    OmegaConf.register_new_resolver("content", fingerprints.file_digest, replace=True)


_register()
