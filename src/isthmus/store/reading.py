"""Reading of JSON, YAML, tables and arrays that may be damaged or come from elsewhere."""

import io
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# By name: a check of a value, and a text of what the value must be.
Parts = Mapping[str, tuple[Callable[[Any], bool], str]]

SUMMARY_BYTES = 2**24  # of a JSON or YAML file
TABLE_BYTES = 2**30  # of a table, or of arrays as they are unpacked
TENSORS_OF_FILE = 20_000  # a ResNet-152 has 932
HEADER_BYTES = 2**24  # of a safetensors file


class Values(dict[str, Any]):
    """Named values of a file; a missing key raises an error that names file and key.

    Args:
        content: the values.
        source: the file.

    Raises (when indexed):
        ValueError: the file lacks a value.
    """

    def __init__(self, content: dict[str, Any], source: str | Path) -> None:
        super().__init__(content)
        self.source = source

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.source} lacks {key}")


def check_parts(content: dict[str, Any], parts: Parts, source: str | Path) -> None:
    """Refuse values of a wrong type; missing values pass.

    Args:
        content: named values.
        parts: by name, a check of the value, and a text of what it must be.
        source: the file.

    Raises:
        ValueError: naming the file, the value and what it must be.
    """
    for name, (is_right, kind) in parts.items():
        if name in content and not is_right(content[name]):
            value = json.dumps(content[name], default=str)[:80]
            raise ValueError(f"{source}: {name} must be {kind}, is {value}")


def is_count(value: Any) -> bool:
    """Whether it is a whole number that can count something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def check_regular(path: Path, limit: int | None = None) -> None:
    """Refuse a path that is not a regular file: a folder, a pipe or a device.

    Args:
        path: of the file; links are followed.
        limit: bytes that it may have.

    Raises:
        OSError: there is nothing, or it may not be looked at.
        ValueError: it is something else than a file, or has more bytes.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ValueError(f"{path}: must be a file, is {what}")
    if limit is not None and status.st_size > limit:
        raise ValueError(f"{path}: has {status.st_size} bytes; at most {limit} are read")


def read_text(path: Path, limit: int = SUMMARY_BYTES) -> str:
    """The text of a file in UTF-8.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: it is no file, too large, or no text.
    """
    check_regular(path, limit)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text in UTF-8 (byte {error.start})") from error
    if "\0" in text:
        raise ValueError(f"{path}: is no text (byte {text.index(chr(0))} is 0)")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        OSError, ValueError: as in `read_text`, or it holds something else.
    """
    return parse_json(read_text(path), path)


def parse_json(text: str, source: str | Path) -> dict[str, Any]:
    """The object that a text in JSON holds.

    Args:
        text: in JSON.
        source: where it comes from, for the message.

    Raises:
        ValueError: it is no whole JSON, or not an object.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: is no whole JSON ({_first_line(error)})") from error
    return Values(_mapping(content, source), source)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; aliases are refused, as they can expand without end.

    Raises:
        OSError, ValueError: as in `read_text`, or it holds something else.
    """
    return _mapping(_yaml(path), path)


def read_yaml_list(path: Path) -> list[str]:
    """The texts that a YAML file lists, such as Hydra's overrides.yaml.

    Raises:
        OSError, ValueError: as in `read_text`, or it holds something else.
    """
    content = _yaml(path)
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError(f"{path}: must be a list of texts, is {_kind(content)}")
    return content


def read_table(
    path: Path,
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
    whole_lines: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Read a CSV file as a table, checking that it has the required columns.

    Args:
        path: of the file.
        numbers: required columns of numbers, in which a cell may be empty.
        texts: required columns of any content.
        whole_lines: leave out a last line that is still being written.
        options: of `pandas.read_csv`.

    Raises:
        OSError, ValueError: as in `read_text`; a column is missing, or has a text for a number.
    """
    import pandas

    text = read_text(path, TABLE_BYTES)
    if whole_lines:
        text = text[: text.rfind("\n") + 1]
    try:
        table = pandas.read_csv(io.StringIO(text), **options)
    except ValueError as error:  # pandas' own kinds are ValueErrors
        raise ValueError(f"{path}: is no whole table ({_first_line(error)})") from error
    missing = [name for name in [*numbers, *texts] if name not in table]
    if missing:
        columns = ", ".join(map(str, table.columns)) or "no columns"
        raise ValueError(f"{path}: has no column {', '.join(missing)}; it has {columns}")
    for name in numbers:
        column = pandas.to_numeric(table[name], errors="coerce")
        wrong = table[name][column.isna() & table[name].notna()]
        if len(wrong):
            raise ValueError(f"{path}: column {name} has {wrong.iloc[0]!r}, which is no number")
        table[name] = column
    return table


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """The arrays of an .npz file; nothing is unpickled.

    Raises:
        OSError, ValueError: as in `check_regular`, or it is damaged.
    """
    import zipfile

    import numpy

    check_regular(path, TABLE_BYTES)
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
        if size > TABLE_BYTES:
            raise ValueError(f"unpacks to {size} bytes; at most {TABLE_BYTES} are read")
        with numpy.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except PermissionError:
        raise
    except Exception as error:  # nearly any of them, on the bytes of a damaged file
        raise ValueError(f"{path}: is no whole file of arrays ({_first_line(error)})") from error


def check_safetensors(path: Path) -> None:
    """Refuse a safetensors file whose header alone would take minutes or all memory.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: it is no file, cut off, or has too large a header or too many tensors.
    """
    check_regular(path)
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > os.fstat(file.fileno()).st_size - 8:
            raise ValueError(f"{path} is not a whole safetensors file: its header is cut off")
        if length > HEADER_BYTES:
            raise ValueError(f"{path}: its header has {length} bytes, at most {HEADER_BYTES}")
        header = file.read(length)
    # Counted in the bytes, because the names are what would take the time; a text in the metadata
    # has its quotation marks escaped.
    count = header.count(b'"data_offsets"')
    if count > TENSORS_OF_FILE:
        raise ValueError(f"{path}: has {count} tensors, at most {TENSORS_OF_FILE}")


def check_file_name(name: str, source: str) -> str:
    """Check a name read from a file, which is to be part of a file name, and return it.

    Args:
        name: such as that of a model in a table.
        source: what it comes from, for the message.

    Raises:
        ValueError: it would be a path, or no name at all.
    """
    is_plain = name.isprintable() and not any(c in name for c in '/\\:*?"<>|')
    if not is_plain or name.startswith(".") or not 0 < len(name) <= 200:
        raise ValueError(f"{source}: {name!r} must be the name of a file, without folders")
    return name


def _yaml(path: Path) -> Any:
    import yaml

    loader: Callable[[str], Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C: 10 x faster
    text = read_text(path)
    try:
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            raise ValueError("it has aliases (*name)")
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no plain YAML ({_first_line(error)})") from error


def _mapping(content: Any, source: str | Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{source}: must hold named values, is {_kind(content)}")
    return content


def _kind(content: Any) -> str:
    kinds = {type(None): "empty", list: "a list", dict: "named values", str: "a text"}
    return kinds.get(type(content), f"a {type(content).__name__}")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
