"""Every option of every script changes what it should, from the command line."""

import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from isthmus.config import schema, signatures
from isthmus.config.parts import GROUPS
from isthmus.data.torchvision_import import datasets
from isthmus.paths import CONF
from tests.data import made as images_made
from tests.data.test_tiny_imagenet import write as write_tiny
from tests.data.test_torchvision_files import write_cifar, write_idx
from tests.plots import made
from tests.scripts import option_jobs
from tests.scripts.option_commands import BASES, Row, key
from tests.scripts.study_option_rows import LOGGED, ROWS, WITHOUT_EFFECT

# Arguments of data sets that their base class applies; each augments in its own way.
SHARED = set(signatures.arguments("isthmus.data.digits.Digits")) - {"augment"}


def words(row: Row, is_changed: bool) -> list[str]:
    """The command of a row, the script first, with the option or without it."""
    script, *typed = shlex.split(BASES[row.base])
    chosen: dict[str, str] = {}
    for word in [*typed, *shlex.split(row.beside), *(shlex.split(row.typed) if is_changed else [])]:
        chosen.pop(key(word), None)
        if not word.startswith("-"):
            chosen[key(word)] = word
    return [script, *chosen.values()]


def script_options(script: str) -> set[str]:
    """The options of a script, those of all its modes and sections."""
    cls = signatures.locate(schema.SCRIPTS[script])
    return {name for each in (cls, *cls.MODES) for name in leaves(each)}


def leaves(cls: type[schema.Section], prefix: str = "") -> Iterator[str]:
    """The options of a class, by their full names."""
    for name, argument in schema.fields(cls).items():
        nested = schema.section_class(argument)
        if nested is not None:
            yield from leaves(nested, f"{prefix}{name}.")
        elif not argument.metadata.get("is_derived"):
            yield f"{prefix}{name}"


def part_options() -> set[str]:
    """The arguments of all parts, as group.class.argument; those that parts share, without one."""
    found = set()
    for group, target in {(group, target) for group, target, _ in files()}:
        found |= {part_option(group, target, name) for name in own_arguments(group, target)}
        found |= {f"{group}.{name}" for name in schema.common_fields(group)}
    return found


@cache
def files() -> list[tuple[str, str, str]]:
    """Group, target and name of every file of a part."""
    paths = [path for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
    targets = {path: yaml.safe_load(path.read_text()).get("_target_") for path in paths}
    return [
        (path.parent.name, str(target), path.stem) for path, target in targets.items() if target
    ]


def own_arguments(group: str, target: str) -> list[str]:
    """The arguments of a part that are typed."""
    return list(signatures.arguments(target))[GROUPS[group].num_supplied :]


def part_option(group: str, target: str, name: str) -> str:
    """The full name of an argument of a part."""
    is_shared = group == "dataset" and name in SHARED or name in schema.common_fields(group)
    return f"{group}.{name}" if is_shared else f"{group}.{signatures.short_name(target)}.{name}"


def option_of(row: Row) -> str:
    """The option of a row: of its script, or of a part that its words choose."""
    script, *typed = words(row, True)
    name = key(row.typed).rpartition("@")[2]
    group, _, argument = name.partition(".")
    if group not in GROUPS or not argument:
        return f"{script} {re.sub(r'(?<=[.]hparams)[.].*', '', name)}"
    if script == "extract":
        return f"{script} {group}"
    chosen = dict(word.partition("=")[::2] for word in typed)
    choice = chosen.get(group, defaults(script).get(group))
    targets = [target for g, target, file in files() if (g, file) == (group, choice)]
    return part_option(group, targets[0] if targets else "", argument)


@cache
def defaults(script: str) -> dict[str, str]:
    """The files of groups that a script takes if none is typed."""
    listed = yaml.safe_load((CONF / f"{script}.yaml").read_text())["defaults"]
    return {
        group: file for each in listed if isinstance(each, dict) for group, file in each.items()
    }


def test_every_option_has_a_row():
    options = {f"{script} {name}" for script in schema.SCRIPTS for name in script_options(script)}
    search = yaml.safe_load((CONF / "hydra/sweeper/study.yaml").read_text())
    options |= {
        f"tune hydra.sweeper.{name}" for name in search if name not in ("defaults", "_target_")
    }
    options |= {"tune hydra/sweeper/sampler"} | part_options()
    rows = {option_of(row) for row in [*ROWS, *WITHOUT_EFFECT]}
    assert sorted(options - rows) == []
    assert sorted(row for row in rows - options if "hydra.sweeper.sampler." not in row) == []


class Commands:
    """Commands that were run, each once, in folders of their own."""

    def __init__(self, root: Path) -> None:
        self.root, self.worker, self.done = root, option_jobs.Worker(), {}
        made.everything(root / "made")
        images = root / "images"
        for name in ("MNIST", "FashionMNIST"):
            write_idx(images, name)
        write_tiny(images)
        shutil.copytree(images / "tiny-imagenet-200", images / "tiny")
        images_made.write_image(images / "tiny/train/n01/images/n01_0.JPEG", (64, 64), seed=99)
        for folder, each in ((root / "images", 6), (root / "images" / "inner", 7)):
            images_made.write_folder(folder, ("train", "test"), each=each)
        images_made.write_folder(root / "images", ("val",), each=4)
        for name, each in (("imagenet", 6), ("other", 7)):
            images_made.write_folder(images / name, ("train", "val"), (20, 16), each=each)
        (root / "inputs").mkdir()
        for name in "ab":
            inputs = np.random.default_rng(ord(name)).normal(size=(100, 3)).astype(np.float32)
            np.savez(root / "inputs" / f"{name}.npz", inputs=inputs)

    def run(self, typed: list[str], after: list[str] | None = None):
        """Run a command once; in a copy of what another one has left."""
        command = (*typed, "after", *(after or []))
        if command not in self.done:
            resolved = [part for word in typed for part in self.resolve(word)]
            source = self.run(after)[0] if after else None
            folder = self.root / f"job_{len(self.done)}"
            folder.mkdir()
            if source is not None:
                shutil.copytree(source, folder, dirs_exist_ok=True)
            self.done[command] = folder, self.worker.run(resolved, folder)
        return self.done[command]

    def resolve(self, word: str) -> list[str]:
        """A word with the files that it names of other commands; an experiment is written."""
        if word.startswith("experiment="):
            return self.experiment(word.removeprefix("experiment="))
        if word in ("dataset=cifar10", "dataset=cifar100"):
            self.write_cifar(word.removeprefix("dataset="))
        word = word.replace("<made>", str(self.root / "made"))
        for name in ("images", "inputs"):
            word = word.replace(f"<{name}>", str(self.root / name))
        if "<nan>" in word:
            word = word.replace("<nan>", str(self.broken()))
        return [re.sub(r"<(\w+):([^>]+)>", lambda match: str(self.left(*match.groups())), word)]

    def experiment(self, typed: str) -> list[str]:
        """Words that take an option from an experiment, which is written."""
        name, _, value = typed.partition("=")
        folder = self.root / f"conf_{len(self.done)}"
        (folder / "experiment").mkdir(parents=True)
        content: object = yaml.safe_load(value)
        for part in reversed(name.split(".")):
            content = {part: content}
        text = f"# @package _global_\n{yaml.safe_dump(content)}"
        (folder / "experiment" / "bundle.yaml").write_text(text)
        return [f"--config-dir={folder}", "experiment=bundle"]

    def write_cifar(self, name: str) -> None:
        """The files of a data set of torchvision, which is slow to import."""
        reader = getattr(datasets(), name.upper())
        if not (self.root / "images" / reader.base_folder).exists():
            with pytest.MonkeyPatch.context() as patches:
                key = "labels" if name == "cifar10" else "fine_labels"
                write_cifar(self.root / "images", reader, key, patches)

    def broken(self) -> Path:
        """Weights of which one is not a number."""
        path = self.root / "nan.safetensors"
        content = bytearray(self.left("network", "step_12.safetensors").read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        content[start : start + 4] = np.float32(np.nan).tobytes()
        path.write_bytes(content)
        return path

    def left(self, base: str, pattern: str) -> Path:
        """A file that the command of a base has left."""
        folder, _ = self.run(words(Row(base, "", ""), False))
        (path,) = folder.glob(f"outputs/**/{pattern}")
        return path


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.worker.close()


def marked(rows):
    return [
        pytest.param(row, id=f"{row.base} {row.typed}", marks=[pytest.mark.slow] * row.slow)
        for row in rows
    ]


@pytest.mark.parametrize("row", marked(ROWS))
def test_another_value_changes_what_it_should(row, commands):
    before, after = words(row, False), words(row, True)
    folder, base = commands.run(before)
    _, other = commands.run(after, before if row.again else None)
    if "@code" not in row.differs:
        assert base["@code"] == "0", base["@said"]
    if "@code" not in row.differs:
        assert other["@code"] == "0", other["@said"]
    old, new = (option_jobs.matching(each, row.differs) for each in (base, other))
    assert new - old if row.again else new != old, (before, after, sorted(other))
    if row.same:
        kept, unchanged = (option_jobs.matching(each, row.same) for each in (base, other))
        assert kept and kept == unchanged


@pytest.mark.parametrize("row", marked(WITHOUT_EFFECT))
def test_an_option_without_effect_is_refused_where_it_is_typed(row, commands):
    _, refused = commands.run(words(row, True))
    assert refused["@code"] == "1" and "Traceback" not in refused["@said"]
    assert key(row.typed) in refused["@said"]
    assert "seed_" not in refused["@folders"]


@pytest.mark.parametrize(
    "row",
    marked(
        row
        for row in WITHOUT_EFFECT
        if "experiment" in defaults(words(row, True)[0]) and "fingerprint" not in row.typed
    ),
)
def test_an_option_without_effect_is_left_out_of_the_name_of_a_run(row, commands):
    """It comes from an experiment."""
    _, base = commands.run(words(row, False))
    assert base["@code"] == "0", base["@said"]
    _, other = commands.run([*words(row, False), f"experiment={row.typed}"])
    assert other["@code"] == "0", other["@said"]
    assert other["@folders"] == base["@folders"]


@pytest.mark.parametrize("row", marked(LOGGED))
def test_an_option_that_the_network_leaves_unused_is_logged(row, commands):
    _, base = commands.run(words(row, False))
    _, other = commands.run(words(row, True))
    assert other["@code"] == "0", other["@said"]
    assert f"{row.typed}: has no effect" in other["@said"] and "has no effect" not in base["@said"]
    kept, unchanged = (option_jobs.matching(each, row.same) for each in (base, other))
    assert kept and kept == unchanged
