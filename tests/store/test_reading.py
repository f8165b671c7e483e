import json
import os

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from isthmus.store import files, reading

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n"


def make_pipe(path):
    os.mkfifo(path)


def link_device(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


READERS = [
    reading.read_text,
    reading.read_json,
    reading.read_yaml,
    reading.read_table,
    reading.read_arrays,
    reading.check_safetensors,
    files.load_state,
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", [make_pipe, link_device, make_folder])
def test_what_is_no_file_is_refused_at_once(read, make, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=f"^{tmp_path}/x: must be a file"):
        read(tmp_path / "x")


@pytest.mark.parametrize("read", [*READERS, files.load_weights])
@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"\xff\xfe\xe9a", b"a: [b\n c: }"])
def test_what_is_damaged_is_refused_with_its_name(read, content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    if read in (reading.read_text, reading.read_table) and content in (
        b"",
        b"a: [b\n c: }",
    ):
        return  # a text, and a table of one column
    if read is reading.check_safetensors and content[:1] == b"\0":
        return  # an empty header, which is for the library to refuse
    with pytest.raises(ValueError, match=f"{tmp_path}/x"):
        read(tmp_path / "x")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(reading.TABLE_BYTES + 1)  # sparse: takes no room
    for read in (reading.read_json, reading.read_yaml, reading.read_table):
        with pytest.raises(ValueError, match="at most"):
            read(tmp_path / "x")


def test_aliases_of_yaml_are_refused_and_an_asterisk_is_not(tmp_path):
    (tmp_path / "x").write_text(LAUGHS)
    with pytest.raises(ValueError, match="aliases"):
        reading.read_yaml(tmp_path / "x")
    (tmp_path / "x").write_text("runs: 'outputs/*'\n")
    assert reading.read_yaml(tmp_path / "x") == {"runs": "outputs/*"}


@pytest.mark.parametrize("text", ["", "- a\n", "a", "!!python/object/apply:os.getcwd []"])
def test_yaml_that_names_no_values_is_refused(text, tmp_path):
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError, match=f"^{tmp_path}/x: "):
        reading.read_yaml(tmp_path / "x")


@pytest.mark.parametrize("content", [{"a": "b"}, ["a", 1], "a", None])
def test_a_list_of_texts_is_nothing_else(content, tmp_path):
    (tmp_path / "x").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"^{tmp_path}/x: "):
        reading.read_yaml_list(tmp_path / "x")


@pytest.mark.parametrize("text", ["[1]", "3", '{"a": 1', "", "[" * 100_000])
def test_json_that_is_no_object_is_refused(text, tmp_path):
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError, match=f"^{tmp_path}/x: "):
        reading.read_json(tmp_path / "x")


def test_a_value_that_a_file_lacks_is_named_with_the_file(tmp_path):
    (tmp_path / "x").write_text('{"a": 1}')
    values = reading.read_json(tmp_path / "x")
    assert values["a"] == 1 and values == {"a": 1} and values.get("b") is None
    with pytest.raises(ValueError, match=f"^{tmp_path}/x lacks b$"):
        values["b"]


def test_a_table_has_its_columns_and_numbers_in_them(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n1,,x\n2.5,inf,y\n3")
    table = reading.read_table(path, ["a", "b"], ["c"], whole_lines=True)
    wanted = pd.DataFrame({"a": [1, 2.5], "b": [np.nan, np.inf], "c": ["x", "y"]})
    pd.testing.assert_frame_equal(table, wanted)
    for numbers, name in ((["c"], "c"), (["d"], "d")):
        with pytest.raises(ValueError, match=f"^{path}: .*column {name}"):
            reading.read_table(path, numbers)


def test_arrays_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    assert reading.read_arrays(tmp_path / "x.npz")["a"].tolist() == [0, 1, 2]
    np.savez(tmp_path / "y.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=f"^{tmp_path}/y.npz: "):
        reading.read_arrays(tmp_path / "y.npz")


def test_weights_of_too_many_tensors_or_too_long_a_header_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    header = {
        f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(400_000)
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match=f"^{path}: "):
        files.load_weights(path)
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=f"^{path} "):
        files.load_weights(path)
    safetensors.torch.save_file({f"t{n}": torch.zeros(1) for n in range(1000)}, path)
    reading.check_safetensors(path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0", "a\n", ".x"])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(ValueError, match="^table: "):
        reading.check_file_name(name, "table")


@pytest.mark.parametrize("name", ["plain", "ema_0.999", "gain_back_plus_one_plain", "été 2"])
def test_a_name_of_a_file_is_itself(name):
    assert reading.check_file_name(name, "table") == name
