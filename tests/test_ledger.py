import csv

import pytest

from isthmus import sweeps
from isthmus.store import files


def table(sweep):
    with (sweep / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def job(number, status, **known):
    common = {"overrides": ["a=1", f"b={number}"], "folder": f"outputs/run_{number}"}
    return {"job": number, "status": status, **common, **known}


def test_planned_jobs_wait_in_their_order(tmp_path):
    sweeps.plan_jobs(tmp_path, 3, [[f"x={i}"] for i in range(12)])
    rows = table(tmp_path)
    assert [row["job"] for row in rows] == [str(number) for number in range(3, 15)]
    assert {row["status"] for row in rows} == {"waiting"}
    assert [row["overrides"] for row in rows] == [f"x={i}" for i in range(12)]


@pytest.mark.parametrize(
    ("status", "then", "reason"),
    [
        ("waiting", "not started", "never began"),
        ("running", "killed", "began and did not end"),
        ("done", "done", ""),
        ("failed", "failed", "no"),
    ],
)
def test_when_a_sweep_is_over_what_has_not_ended_never_will(tmp_path, status, then, reason):
    sweeps.note_job(tmp_path, job(0, status, error="no" if status == "failed" else None))
    assert sweeps.write_table(tmp_path)[0]["status"] == status
    (ended,) = sweeps.write_table(tmp_path, is_over=True)
    (row,) = table(tmp_path)
    assert ended["status"] == row["status"] == then
    assert row["error"].startswith(reason)
    assert sweeps.read_jobs(tmp_path)[0]["status"] == status  # a note is the job's own


def test_a_job_has_ended_when_it_says_so(tmp_path):
    assert not sweeps.has_ended(tmp_path, 0)
    for number, status in enumerate(("waiting", "running", "done", "failed")):
        sweeps.note_job(tmp_path, job(number, status))
        assert sweeps.has_ended(tmp_path, number) == (status in ("done", "failed"))


def test_overrides_in_which_jobs_differ_have_a_column(tmp_path):
    words = [["m=x", "+lr=1", "~z"], ["m=x", "+lr=2", "~z"], ["m=x", "+lr=2", "w=3", "~z"]]
    sweeps.plan_jobs(tmp_path, 0, words)
    rows = table(tmp_path)
    assert list(rows[0]) == [*sweeps.LEDGER_COLUMNS, "lr", "w"]
    assert [(row["lr"], row["w"]) for row in rows] == [("1", ""), ("2", ""), ("2", "3")]


def test_final_metrics_are_those_of_the_summary_of_a_job_that_is_done(tmp_path):
    evaluation = {
        "plain": {"val": {"loss": 0.5, "accuracy": 0.25}},
        "outputs/a/weights/best.safetensors": {"val": {"loss": 1.0, "accuracy": 0.0}},
    }
    for number, status in enumerate(("done", "failed", "done")):
        folder = tmp_path / f"run_{number}"
        if number < 2:
            files.write_json(folder / "result.json", {"evaluation": evaluation})
        sweeps.note_job(tmp_path, job(number, status, folder=str(folder), seconds=1.5))
    sweeps.write_table(tmp_path)
    rows = table(tmp_path)
    assert list(rows[0]) == [*sweeps.LEDGER_COLUMNS, "b", "plain val accuracy", "plain val loss"]
    assert [row["plain val loss"] for row in rows] == ["0.5", "", ""]
    assert rows[0]["seconds"] == "1.5"


def test_a_reason_is_one_line(tmp_path):
    sweeps.note_job(tmp_path, job(0, "failed", error="cannot run:\n  a: no\n  b: no"))
    sweeps.write_table(tmp_path)
    assert table(tmp_path)[0]["error"] == "cannot run: a: no b: no"


def test_a_sweep_without_jobs_has_a_ledger_without_rows(tmp_path):
    assert sweeps.write_table(tmp_path) == []
    assert (tmp_path / "sweep.csv").read_text() == ",".join(sweeps.LEDGER_COLUMNS) + "\n"
