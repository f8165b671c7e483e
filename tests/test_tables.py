import os
import subprocess
import sys

import pandas as pd
import pytest

from isthmus import tables
from isthmus.paths import SOURCES

EVALUATION = {
    "plain": {
        "train": {"loss": 0.123456, "accuracy": 1.0},
        "val": {"loss": 12.5, "accuracy": 0.87654},
    },
    "ema_0.999": {
        "train": {"loss": 2.0, "accuracy": 0.0},
        "val": {"loss": float("nan"), "accuracy": 0.1},
    },
}
LINES = """
model      train loss  train accuracy    val loss    val accuracy
plain          0.1235          1.0000     12.5000          0.8765
ema_0.999      2.0000          0.0000         nan          0.1000
"""


def test_an_evaluation_is_a_line_a_model_in_columns_by_split():
    assert tables.evaluation(EVALUATION) == LINES.strip()


def test_the_head_fits_above_a_short_name():
    assert tables.evaluation({"swa": {"test": {"loss": 1.0, "accuracy": 0.5}}}) == (
        "model   test loss   test accuracy\nswa        1.0000          0.5000"
    )


def test_cells_are_padded_to_columns_and_a_column_of_nothing_is_left_out():
    lines = [["a", "empty", "long name"], ["1", "", "2"], ["333", "", "4"]]
    assert tables.align_columns(lines) == ["  a  long name", "  1          2", "333          4"]


def test_a_result_is_its_evaluation_its_length_and_its_folder():
    summary = {
        "iteration": 600,
        "iterations_per_epoch": 400,
        "stopped_early": False,
        "evaluation": EVALUATION,
    }
    table, _, last = tables.result(summary, "outputs/a").rpartition("\n")
    assert table == LINES.strip()
    assert last == "after 600 iterations (1.5 epochs); results in outputs/a"


def test_a_result_says_that_training_stopped_early():
    summary = {
        "iteration": 800,
        "iterations_per_epoch": 400,
        "stopped_early": True,
        "evaluation": EVALUATION,
    }
    text = tables.result(summary, "a")
    assert text.endswith("\nafter 800 iterations (2 epochs, stopped early); results in a")


def test_there_is_no_accuracy_where_labels_are_numbers():
    table = {"plain": {"train": {"loss": 0.5}, "test": {"loss": 0.25}}}
    assert (
        tables.evaluation(table) == "model  train loss   test loss\nplain      0.5000      0.2500"
    )


CELLS = [(1, "x,y", 0.1 + 0.2, None), (10**20, "", 1e-300, float("nan")), (-0, "a\nb", 5e-324, 1.0)]
CONTENT = (
    'a,b,c,d\n1,"x,y",0.30000000000000004,\n100000000000000000000,,1e-300,nan\n'
    '0,"a\nb",5e-324,1.0\n'
)


def test_cells_are_written_in_full_and_read_as_they_are(tmp_path):
    path = tmp_path / "deep" / "a.csv"
    tables.write(path, "abcd", iter(CELLS))
    assert path.read_bytes() == CONTENT.encode()
    table = tables.read(path)
    assert table["c"].astype(float).tolist() == [0.1 + 0.2, 1e-300, 5e-324]
    assert table["a"].tolist() == ["1", str(10**20), "0"]  # whole numbers stay whole
    assert table["b"].tolist() == ["x,y", "", "a\nb"]
    assert table["d"].tolist() == ["", "nan", "1.0"]  # beside empty cells, too
    for rows in (table, table.to_dict("records"), table.to_numpy().tolist()):
        tables.write(path, "abcd", rows)
        assert path.read_bytes() == CONTENT.encode()


def test_a_data_frame_of_numbers_is_written_as_its_rows_are(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": [0.1, None], "c": ["x", None]})
    tables.write(tmp_path / "a.csv", "cab", frame)
    assert (tmp_path / "a.csv").read_text() == "c,a,b\nx,1,0.1\n,2,\n"


def test_cells_by_column_may_be_missing(tmp_path):
    tables.write(tmp_path / "a.csv", "ab", [{"b": 1}, {"a": 2, "c": 3}])
    assert (tmp_path / "a.csv").read_text() == "a,b\n,1\n2,\n"


def test_a_table_of_an_older_version_has_its_missing_columns_empty(tmp_path):
    tables.write(tmp_path / "a.csv", "ab", [(1, 2)])
    assert tables.read(tmp_path / "a.csv", "acb").to_dict("records") == [
        {"a": "1", "b": "2", "c": ""}
    ]
    assert tables.read_keys(tmp_path / "a.csv", "ca") == [("", "1")]
    tables.add_rows(tmp_path / "a.csv", "cab", [{"a": 0, "c": 5}], "a", lambda row: int(row["a"]))
    assert (tmp_path / "a.csv").read_text() == "c,a,b\n5,0,\n,1,2\n"


def test_a_table_that_is_not_there_has_no_rows(tmp_path):
    table = tables.read(tmp_path / "a.csv", "ab")
    assert table.empty and list(table) == ["a", "b"]
    assert tables.read_keys(tmp_path / "a.csv", "ab") == []


def test_added_rows_take_the_place_of_those_with_the_same_key(tmp_path):
    path = tmp_path / "a.csv"
    for rows in ([(3, "x", 0.5)], [(1, "x", 0.25), (3, "x", 0.125)], [(3, "w", 1)]):
        tables.add_rows(path, "abc", rows, "ab", lambda row: (int(row["a"]), row["b"]))
    assert path.read_text() == "a,b,c\n1,x,0.25\n3,w,1\n3,x,0.125\n"


def test_a_table_of_no_rows_has_its_columns(tmp_path):
    tables.write(tmp_path / "a.csv", "ab", [])
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n"


def summary(folder, request, text):
    """The summary that a study prints, whose text would be this one; and whether it was made."""
    made = []

    def make():
        made.append(text)
        return text

    names = [folder / "a.csv", folder.parent / "b.csv"]
    return tables.summarize_once(folder, request, names, make), bool(made)


def test_a_summary_is_made_once_per_request_and_again_where_a_table_has_changed(tmp_path):
    folder = tmp_path / "study"
    tables.write(folder / "a.csv", "a", [])
    assert summary(folder, {"k": 1}, "one") == ("one", True)
    assert (folder / "summary.txt").read_text() == "one\n"
    assert summary(folder, {"k": 1}, "other") == ("one", False)
    assert summary(folder, {"k": 2}, "two") == ("two", True)
    assert (folder / "summary.txt").read_text() == "two\n"
    assert summary(folder, {"k": 1}, "other") == ("one", False)
    assert (folder / "summary.txt").read_text() == "one\n"
    tables.write(tmp_path / "b.csv", "a", [])
    assert summary(folder, {"k": 1}, "after b") == ("after b", True)
    os.utime(folder / "a.csv", ns=(1, 1))
    assert summary(folder, {"k": 2}, "after a") == ("after a", True)
    assert summary(folder, {"k": 2}, "other") == ("after a", False)


def test_a_summary_of_another_version_is_made_anew(tmp_path, monkeypatch):
    assert summary(tmp_path, {}, "one") == ("one", True)
    monkeypatch.setattr(tables, "SUMMARY_VERSION", tables.SUMMARY_VERSION + 1)
    assert summary(tmp_path, {}, "two") == ("two", True)


def test_a_summary_that_cannot_be_stored_is_printed(tmp_path):
    (tmp_path / tables.SUMMARIES).touch()
    assert summary(tmp_path, {}, "one") == ("one", True)


@pytest.mark.parametrize(
    "code", ["", "tables.write(path, 'a', [(1,)])", "tables.read_keys(path, 'a')"]
)
def test_pandas_is_imported_only_to_read_a_table(code, tmp_path):
    lines = ["import sys", "from pathlib import Path", "from isthmus import tables"]
    lines += [f"path = Path({str(tmp_path / 'a.csv')!r})", code]
    lines += ["assert not {'pandas', 'numpy', 'torch'} & set(sys.modules)"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=SOURCES)


def test_tables_are_current_until_they_or_what_they_are_made_from_change(tmp_path):
    written, sources = [tmp_path / "a.csv"], [tmp_path / "1.json", tmp_path / "2.json"]
    for path in (*written, sources[0]):
        path.write_text("x")
    assert not tables.are_current(tmp_path, written, sources)
    for change in (
        lambda: sources[1].write_text("y"),
        lambda: os.utime(sources[0], ns=(1, 1)),
        lambda: sources[0].write_text("more"),
        lambda: sources[0].unlink(),
        lambda: written[0].write_text("cut off"),
        lambda: written[0].unlink(),
    ):
        tables.write_stamp(tmp_path, written, tables.digest_files(sources))
        assert tables.are_current(tmp_path, written, sources)
        change()
        assert not tables.are_current(tmp_path, written, sources)


def test_what_changes_while_tables_are_made_is_noticed(tmp_path):
    written, sources = [tmp_path / "a.csv"], [tmp_path / "1.json"]
    digest = tables.digest_files(sources)
    sources[0].write_text("new")
    tables.write_stamp(tmp_path, written, digest)
    assert not tables.are_current(tmp_path, written, sources)


def test_the_averaged_model_to_compare_is_that_of_lowest_validation_loss():
    def row(val, train):
        return {"val": {"loss": val}, "train": {"loss": train}, "test": {"loss": 0.0}}

    table = {"plain": row(0.1, 0.1), "ema_0.9": row(0.5, 0.2), "swa": row(0.4, 0.3)}
    table |= {"best_averaged": row(0.1, 0.1), "a/b.safetensors": row(0.1, 0.1)}
    assert tables.averaged_model(table) == "swa"
    without = {name: {"train": splits["train"]} for name, splits in table.items()}
    assert tables.averaged_model(without) == "ema_0.9"
    assert tables.averaged_model({"plain": row(0.1, 0.1)}) is None
    assert tables.averaged_model({"swa": {"test": {"loss": 1.0}}}) == "swa"
