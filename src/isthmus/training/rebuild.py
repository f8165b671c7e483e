"""Rebuilds the model and the data set that the metadata of saved weights name."""

import json
import re
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isthmus.config import launch, naming, parts, schema, signatures, validation
from isthmus.config.launch import ConfigError
from isthmus.config.parts import Part
from isthmus.paths import display_path
from isthmus.store import fingerprints, reading

Metadata = dict[str, Any]  # of a file of weights

# Options of a data set that say where its files are, not how they are processed.
PLACES = {"root", "folder", "test_folder", "fingerprint", "cache_dir"}
# What a file may name, by group: classes of a package that are of this kind.
REBUILT = {
    "model": ("isthmus.models", "torch.nn.Module"),
    "dataset": ("isthmus.data", "isthmus.data.recipe.DataRecipe"),
}


def build_model(metadata: Metadata) -> Any:
    """The model that weights were saved from, not yet with these weights.

    Args:
        metadata: of the weights.

    Raises:
        ConfigError: the model is outside `isthmus`, or does not take its values any more.
    """
    make = _check_part("model", metadata["config"]["model"]).maker()
    return make(tuple(metadata["input_shape"]), metadata["num_classes"])


def architecture(metadata: Metadata) -> dict[str, Any]:
    """What must be equal in weights that are combined: the model without its initialization."""
    node = naming.part_identity("model", metadata["config"]["model"])
    common = schema.common_fields("model")
    arguments = {f"model.{key}": value for key, value in node.items() if key not in common}
    keys = ("input_shape", "num_classes", "classes", "normalization")  # old files lack the last two
    return arguments | {key: metadata[key] for key in keys if key in metadata}


def load_data_set(
    typed: Part | None, names: Sequence[str], metadata: Metadata, cache_dir: str
) -> Any:
    """The data set that weights were trained on, or another one for the same model.

    Args:
        typed: another data set, or values that take the place of the saved ones; or None.
        names: which values of another data set were typed; if it is of the same kind, the others
            are those of the training, except where its files are.
        metadata: of the weights.
        cache_dir: folder for decoded images.

    Raises:
        ConfigError: the folder of images is not the one that the weights were trained on.
        ValueError: the weights name no data set.
    """
    config_of_run = metadata["config"]
    saved, part = config_of_run.get("dataset") or {}, typed or Part("dataset", None)
    if part.target is None:
        if not saved:
            raise ValueError("dataset: these weights are of no data set; name one, dataset=...")
        is_cache_typed = "cache_dir" in part.arguments
        part = _check_part("dataset", saved | part.arguments)
        _check_folder(part.node(), saved)
        part = part if is_cache_typed else _with_cache(part, cache_dir)
    elif Part("dataset", saved.get("_target_")).full_target() == part.target:
        takes = signatures.arguments(part.target).keys() - PLACES - set(names)
        of_training = {key: value for key, value in saved.items() if key in takes}
        _check_plain("dataset", part.target, of_training)
        part = part.changed_by(Part("dataset", None, of_training))
    noise = config_of_run["seeds"]["label_noise"]
    return parts.load_data(part, config_of_run["global_seed"] if noise is None else noise)


def data_recipe_of_run(folder: Path, cache_dir: str) -> Any:
    """The recipe of the data set that a run was trained on, its root as it is now.

    Args:
        folder: of the run.
        cache_dir: folder for decoded images, whatever the run says.

    Raises:
        ConfigError: the run names something else than a data set of `isthmus`.
        FileNotFoundError: nothing in the folder says which.
        ValueError: what says it is damaged.
    """
    file = folder / ".hydra" / "config.yaml"
    if not file.exists():
        raise FileNotFoundError(f"no {display_path(file)}, which says what the run was trained on")
    node = read_group(file, "dataset", without={"cache_dir", "fingerprint"})
    part = _with_cache(_check_part("dataset", node), cache_dir)
    with parts.prefix_errors("dataset"):
        return part.maker()()


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
        return launch.to_container(OmegaConf.select(OmegaConf.create(content), key))
    except OmegaConfBaseException as error:
        raise ValueError(f"{file}: {key}: {str(error).splitlines()[0]}") from error


def _with_cache(part: Part, cache_dir: str) -> Part:
    """A data set that decodes its images into a folder, if it decodes any."""
    if "cache_dir" not in signatures.arguments(part.full_target()):
        return part
    return part.changed_by(Part(part.group, None, {"cache_dir": cache_dir}))


def _check_part(group: str, node: Any) -> Part:
    """A part that a file names, with its full dotpath; only classes of its group, with plain
    arguments, are allowed.

    Every part that a file names is checked here before it is made.

    Raises:
        ConfigError: naming the group and what it has instead.
    """
    package, kind = REBUILT[group]
    target = Part(group, node.get("_target_")).full_target() if isinstance(node, dict) else node
    if not _is_class_of(str(target), package, kind):
        raise ConfigError(
            f"{group}: {target} is not such a class of {package}; only these are made"
        )
    node = {**node, "_target_": target}
    arguments = {key: v for key, v in node.items() if key not in ("_target_", "_partial_")}
    _check_plain(group, target, arguments)
    errors = validation.part_errors(group, node, optional=False)
    if errors:
        raise ConfigError("This cannot be rebuilt:\n  " + "\n  ".join(errors))
    return Part(group, target, arguments)


def _is_class_of(target: str, package: str, kind: str) -> bool:
    """Whether a public class of a package of `isthmus` is of a kind; imports only such a class."""
    name = target.rpartition(".")[2]
    is_public = target.startswith(f"{package}.") and not name.startswith("_")
    if not is_public or not signatures.is_defined(target):
        return False
    found, base = signatures.locate(target), signatures.locate(kind)
    return isinstance(found, type) and issubclass(found, base)


def _check_plain(group: str, target: Any, arguments: dict[str, Any]) -> None:
    """Refuse arguments from a file that Hydra or OmegaConf would compute.

    Raises:
        ConfigError: naming the group and the class.
    """
    if _is_call(arguments):
        raise ConfigError(f"{group}: an argument of {target} would itself be computed")


def _is_call(value: Any) -> bool:
    """Whether Hydra or OmegaConf would compute a value, or one inside it."""
    if isinstance(value, dict):
        return any(str(key).startswith("_") or _is_call(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_is_call, value))
    return isinstance(value, str) and "${" in value


def _check_folder(node: dict[str, Any], trained: dict[str, Any]) -> None:
    """Refuse a folder of images that differs, in the parts read then, from the one trained on."""
    root = node.get("root", "data")
    folder = f"{root}/{node.get('folder', '')}"
    target = Part("dataset", trained.get("_target_")).full_target()
    has_choice = "test_folder" in signatures.arguments(target)
    test_folder = trained.get("test_folder") if has_choice else "val"
    fingerprint = fingerprints.folder_fingerprint(folder, trained.get("test", True), test_folder)
    if fingerprint in (fingerprints.ABSENT, fingerprints.UNREADABLE):
        return  # reading it will say so
    if node.get("fingerprint") not in (None, fingerprint):
        raise ConfigError(
            f"dataset.root={root}: {folder} is not the folder that these weights were "
            f"trained on; to evaluate them on another one, name its kind too: dataset=imagefolder"
        )
