import csv
import os
import subprocess
import sys

import pytest

from isthmus import run_index


def begin(outputs, name, typed="lr=1"):
    (outputs / name).mkdir(parents=True, exist_ok=True)
    return run_index.begin_run("train", outputs, outputs / name, typed)


def test_a_run_has_one_row_from_its_beginning_to_its_end(tmp_path):
    row = begin(tmp_path, "train_a/seed_1")
    assert [each["status"] for each in run_index.read_index(tmp_path)] == ["running"]
    (tmp_path / "train_a" / "seed_1" / "x").write_bytes(b"12345")
    run_index.end_run(tmp_path, row, "done", "accuracy 0.5")
    begin(tmp_path, "train_b/seed_1")
    with (tmp_path / "index.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["folder"], first["status"], first["bytes"]) == ("train_a/seed_1", "done", "5")
    assert (first["result"], second["status"]) == ("accuracy 0.5", "running")


def test_the_same_command_replaces_its_row_and_another_one_adds_one(tmp_path):
    for typed in ("k1=0", "k1=1", "k1=0"):
        begin(tmp_path, "interpolate_a", typed)
    assert [row["typed"] for row in run_index.read_index(tmp_path)] == ["k1=1", "k1=0"]


def test_a_run_whose_process_is_gone_was_killed(tmp_path):
    code = f"""
import os
from pathlib import Path
from isthmus import run_index
outputs = Path({str(tmp_path)!r})
run_index.begin_run("train", outputs, outputs / "a", "")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code])
    assert [row["status"] for row in run_index.read_index(tmp_path)] == ["killed"]
    begin(tmp_path, "b")  # writes it down
    assert "killed" in (tmp_path / "index.csv").read_text()


def test_a_run_that_left_no_folder_has_no_row(tmp_path):
    row = begin(tmp_path, "a")
    os.rmdir(tmp_path / "a")
    run_index.end_run(tmp_path, row, "failed", "no")
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_cannot_be_written_stops_no_run(tmp_path):
    (tmp_path / "file").touch()
    run_index.note_run(tmp_path / "file", {"script": "train", "folder": "a", "typed": ""})


def test_without_an_index_the_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        run_index.read_index(tmp_path)


def test_the_table_has_a_line_for_each_run_with_its_size(tmp_path):
    row = begin(tmp_path, "a")
    (tmp_path / "a" / "x").write_bytes(bytes(1500))
    run_index.end_run(tmp_path, row, "done", "accuracy 0.5")
    head, line = run_index.summarize_index(run_index.read_index(tmp_path)).splitlines()
    assert head.split() == list(run_index.SHOWN)
    assert "1.5 kB" in line and line.endswith("lr=1")
