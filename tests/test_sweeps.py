import csv
import json
import logging
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode

from isthmus import sweeps
from isthmus.config import launch
from isthmus.store import files

ROOT = Path(__file__).parent.parent
CONF = ROOT.resolve() / "conf"
Mode = Enum("Mode", ["RUN", "MULTIRUN"])


def hydra_config(sweep_dir: Path, num: int = 0, mode: Mode = Mode.MULTIRUN) -> SimpleNamespace:
    """What a callback reads of Hydra's configuration."""
    return SimpleNamespace(
        hydra=SimpleNamespace(
            mode=mode,
            job=SimpleNamespace(num=num),
            runtime=SimpleNamespace(output_dir=f"outputs/run_{num}"),
            sweep=SimpleNamespace(dir=str(sweep_dir)),
        )
    )


def ended(error: Exception | None = None) -> JobReturn:
    """How a job ended: well, or with an error."""
    result = JobReturn(overrides=["x=1", "y=[2]"], status=JobStatus.COMPLETED)
    result.return_value = 3
    if error is not None:
        result.status, result.return_value = JobStatus.FAILED, error
    return result


def written(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*"))]


def test_a_job_that_is_done_is_written_down_and_keeps_its_value(tmp_path):
    job = ended()
    sweeps.Sweep().on_job_end(config=hydra_config(tmp_path, 7), job_return=job)
    assert (tmp_path / "jobs" / "7.json").exists()
    assert written(tmp_path) == [
        {
            "job": 7,
            "folder": "outputs/run_7",
            "overrides": ["x=1", "y=[2]"],
            "status": "done",
            "seconds": pytest.approx(0, abs=1),
            "error": None,
            "value": None,
        }
    ]
    assert (job.status, job.return_value) == (JobStatus.COMPLETED, 3)


def test_a_failed_job_is_written_down_and_does_not_raise_any_more(tmp_path, caplog):
    job = ended(ZeroDivisionError("by zero"))
    sweeps.Sweep().on_job_end(config=hydra_config(tmp_path, 2), job_return=job)
    (note,) = written(tmp_path)
    assert (note["status"], note["error"]) == ("failed", "ZeroDivisionError: by zero")
    assert job.status == JobStatus.COMPLETED
    assert job.return_value is None  # a failed job raises its error here, which ends a sweep
    assert caplog.messages == ["job #2 failed: by zero"]


def test_an_error_of_the_code_is_logged_with_its_traceback_one_of_the_user_without(
    tmp_path, caplog
):
    caplog.set_level(logging.ERROR)
    for error in (launch.ConfigError("lr=x: must be a number"), ZeroDivisionError("by zero")):
        sweeps.Sweep().on_job_end(config=hydra_config(tmp_path), job_return=ended(error))
    user, code = caplog.records
    assert not user.exc_info
    assert code.exc_info and code.exc_info[0] is ZeroDivisionError


def test_a_single_job_is_left_alone(tmp_path):
    job = ended(ValueError("no"))
    sweeps.Sweep().on_job_end(config=hydra_config(tmp_path, mode=Mode.RUN), job_return=job)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no"):
        _ = job.return_value


def test_the_summary_names_every_failed_job_in_order_and_exits_with_1(tmp_path, capsys):
    sweep = sweeps.Sweep()
    for num in range(12):
        job = ended(ValueError(f"reason {num}") if num in (2, 10) else None)
        sweep.on_job_end(config=hydra_config(tmp_path, num), job_return=job)
    with pytest.raises(SystemExit) as exit_:
        sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert exit_.value.code == 1
    assert capsys.readouterr().out == (
        "\n12 jobs: 10 done, 2 failed\n"
        "  #2 x=1 y=[2]\n    ValueError: reason 2\n"
        "  #10 x=1 y=[2]\n    ValueError: reason 10\n"
    )


def test_a_sweep_without_failures_ends_well(tmp_path, capsys):
    sweep = sweeps.Sweep()
    sweep.on_job_end(config=hydra_config(tmp_path), job_return=ended())
    sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert capsys.readouterr().out == "\n1 jobs: 1 done, 0 failed\n"


FINISHED = []


def finish(folder: Path) -> None:
    """Stands for the function that draws the figures of a study."""
    if folder.name == "broken":
        raise ZeroDivisionError("by zero")
    FINISHED.append(folder)


@pytest.fixture
def finishing():
    FINISHED.clear()
    return sweeps.Sweep(finish_run="tests.test_sweeps.finish")


def job_in(folder: Path, num: int, sweep_dir: Path) -> SimpleNamespace:
    made = hydra_config(sweep_dir, num)
    made.hydra.runtime.output_dir = str(folder)
    return made


def test_each_folder_with_a_job_that_was_done_is_finished_once(tmp_path, finishing):
    folders = ["b", "a", "b", "failed", "mixed", "mixed"]
    for num, name in enumerate(folders):
        job = ended(ValueError("no") if name == "failed" or num == 5 else None)
        finishing.on_job_end(config=job_in(tmp_path / name, num, tmp_path), job_return=job)
        assert FINISHED == []
    with pytest.raises(SystemExit):
        finishing.on_multirun_end(config=hydra_config(tmp_path))
    assert FINISHED == [tmp_path / name for name in ("a", "b", "mixed")]


def test_a_sweep_in_which_all_failed_finishes_nothing(tmp_path, finishing):
    finishing.on_job_end(config=hydra_config(tmp_path), job_return=ended(ValueError("no")))
    with pytest.raises(SystemExit):
        finishing.on_multirun_end(config=hydra_config(tmp_path))
    assert FINISHED == []


@pytest.mark.parametrize("finish_run", ["tests.test_sweeps.finish", "tests.nowhere.finish"])
def test_what_cannot_be_finished_is_said_and_hides_no_other(tmp_path, finish_run, capsys, caplog):
    FINISHED.clear()
    sweep = sweeps.Sweep(finish_run=finish_run)
    for num, name in enumerate(("broken", "whole")):
        job = ended()
        sweep.on_job_end(config=job_in(tmp_path / name, num, tmp_path), job_return=job)
    with pytest.raises(SystemExit) as exit_:
        sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert exit_.value.code == 1
    assert capsys.readouterr().out == "\n2 jobs: 2 done, 0 failed\n"
    assert caplog.messages[0] == f"{finish_run} failed in {tmp_path / 'broken'}"
    assert FINISHED == ([tmp_path / "whole"] if "nowhere" not in finish_run else [])


def test_other_moments_pass_by():
    sweep = sweeps.Sweep()
    assert sweep.on_run_end(job_return=ended()) is None
    assert sweep.on_compose_config(config=None, config_name="train", overrides=[]) is None
    with pytest.raises(AttributeError, match="nothing"):
        _ = sweep.nothing


def test_a_run_with_a_wrong_option_ends_with_its_message_alone():
    error = launch.ConfigError("optimizer.lr=-1: must be a number above 0")
    with pytest.raises(SystemExit) as exit_:
        sweeps.Sweep().on_run_end(job_return=ended(error))
    assert exit_.value.code == str(error)
    assert sweeps.Sweep().on_run_end(job_return=ended(KeyError("a fault"))) is None


@pytest.mark.parametrize("start", ["on_run_start", "on_multirun_start"])
def test_a_folder_that_cannot_be_written_to_is_refused_at_the_start(start, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        getattr(sweeps.Sweep(), start)(
            config=SimpleNamespace(output_dir=tmp_path / "file" / "runs")
        )
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"output_dir={tmp_path / 'file' / 'runs'}: Not a directory\n"


def test_a_folder_that_can_be_written_to_is_left_empty(tmp_path):
    sweeps.Sweep().on_run_start(config=SimpleNamespace(output_dir=tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []


SCRIPT = """
import os, time
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    if cfg.x == 9:
        time.sleep(1)  # joblib gives up all jobs that are under way
        os.kill(os.getpid(), 9)
    print(f"job {cfg.x}: {6 / (cfg.x - 2)}", flush=True)

main()
"""


LAUNCHERS = {
    "basic": [],
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.timeout_min=5"],
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_failed_job_of_a_real_multirun_stops_no_other_and_the_exit_status_says_so(
    tmp_path, launcher
):
    (tmp_path / "script.py").write_text(SCRIPT)
    overrides = [f"hydra/launcher={launcher}", "+hydra.callbacks.s._target_=isthmus.sweeps.Sweep"]
    overrides += ["hydra.sweeper._target_=hydra_plugins.isthmus.sweepers.Grid"]
    numbers = "1,2,5" if launcher == "basic" else "1,2,5,9"  # there a killed job ends the sweep
    command = [sys.executable, "script.py", "--multirun", f"+x={numbers}", "hydra.sweep.dir=s"]
    done = subprocess.run(
        [*command, *overrides, *LAUNCHERS[launcher]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    folder = tmp_path / "s" / ".submitit"
    outputs = [done.stdout, *(path.read_text() for path in folder.glob("*/*_log.out"))]
    assert any("job 1: -6.0" in text for text in outputs)
    assert any("job 5: 2.0" in text for text in outputs)
    said = "2 done, 1 failed\n  #1 +x=2\n    ZeroDivisionError: division by zero\n"
    if launcher != "basic":
        said = said.replace("failed\n", "failed, 1 killed\n", 1)
        said += "  #3 +x=9\n    began and did not end: cancelled, killed, or out of memory\n"
    assert done.stdout.endswith(said)
    with (tmp_path / "s" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "failed", "done", "killed"][: len(rows)]
    assert [row["x"] for row in rows] == numbers.split(",")
    assert rows[1]["error"] == "ZeroDivisionError: division by zero"


def make_table(jobs: list[dict], folder: Path) -> None:
    """Stands for the function that makes one table of a sweep."""
    if folder.name == "broken":
        raise ZeroDivisionError("by zero")
    FINISHED.append([job["status"] for job in jobs])


def diverged() -> JobReturn:
    error = launch.ConfigError("the loss is nan at step 3it")
    error.__cause__ = FloatingPointError("the loss is nan at step 3it")
    return ended(error)


def test_a_training_that_diverged_is_an_entry_of_the_table_and_no_failure(tmp_path, capsys):
    FINISHED.clear()
    sweep = sweeps.Sweep(finish_sweep="tests.test_sweeps.make_table")
    for num, job in enumerate([ended(), diverged(), ended()]):
        sweep.on_job_end(config=hydra_config(tmp_path, num), job_return=job)
        assert job.status == JobStatus.COMPLETED
    sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert FINISHED == [["done", "diverged", "done"]]
    assert capsys.readouterr().out == "\n3 jobs: 2 done, 0 failed, 1 diverged\n"


def test_without_a_table_a_training_that_diverged_has_failed(tmp_path, capsys):
    sweep = sweeps.Sweep()
    sweep.on_job_end(config=hydra_config(tmp_path), job_return=diverged())
    with pytest.raises(SystemExit):
        sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert "0 done, 1 failed\n" in capsys.readouterr().out


def test_the_table_is_not_made_of_failures_alone(tmp_path):
    FINISHED.clear()
    sweep = sweeps.Sweep(finish_sweep="tests.test_sweeps.make_table")
    sweep.on_job_end(config=hydra_config(tmp_path), job_return=ended(ValueError("no")))
    with pytest.raises(SystemExit):
        sweep.on_multirun_end(config=hydra_config(tmp_path))
    assert FINISHED == []


def test_a_table_that_cannot_be_made_is_a_failure(tmp_path, caplog, capsys):
    sweep = sweeps.Sweep(finish_sweep="tests.test_sweeps.make_table")
    sweep.on_job_end(config=hydra_config(tmp_path / "broken"), job_return=ended())
    with pytest.raises(SystemExit):
        sweep.on_multirun_end(config=hydra_config(tmp_path / "broken"))
    assert "tests.test_sweeps.make_table failed" in caplog.text
    assert "1 jobs: 1 done, 0 failed" in capsys.readouterr().out


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


EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))


BRINGING = [path.stem for path in EXPERIMENTS if "hydra:" in path.read_text()]


def experiments_with_sweeps(stem, words):
    """Those that are found where words choose an experiment or several, for the script of one."""
    script = {
        "spawn": "spawn",
        "k1k2": "interpolate",
        "lottery": "prune",
        "extract": "extract",
    }.get(stem.partition("_")[0], "tune" if stem.startswith("tune") else "train")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        cfg = loader.load_configuration(script, [f"experiment={words}"], RunMode.MULTIRUN)
        found = sweeps.experiments_with_sweeps(cfg)
    GlobalHydra.instance().clear()
    return found


@pytest.mark.parametrize("stem", [path.stem for path in EXPERIMENTS])
def test_an_experiment_with_a_sweep_of_its_own_is_none_of_several(stem):
    found = experiments_with_sweeps(stem, f"quickstart,{stem}")
    assert found == ([stem] if stem in BRINGING else [])


@pytest.mark.parametrize("stem", BRINGING)
def test_an_experiment_with_a_sweep_of_its_own_may_be_alone(stem):
    assert experiments_with_sweeps(stem, stem) == []


@pytest.mark.parametrize("words", ["choice({})", "glob({}*)"])
@pytest.mark.parametrize("stem", ["quickstart", BRINGING[0]])
def test_experiments_are_swept_over_in_any_words(stem, words):
    found = experiments_with_sweeps(stem, words.format(stem))
    assert found == ([stem] if stem in BRINGING else [])


def write_evaluation(folder, **accuracies):
    table = {
        model: {"test": {"loss": 1.0, "accuracy": value}} for model, value in accuracies.items()
    }
    files.write_json(folder / "result.json", {"evaluation": table})


def test_one_column_has_the_averaged_models_of_all_decays(tmp_path):
    for number, decay in enumerate(("0.9", "0.99")):
        write_evaluation(tmp_path / str(number), plain=0.5, **{f"ema_{decay}": 0.6 + number / 10})
        overrides = [f"averaged.decay={decay}", "a=1"]
        done = job(number, "done", folder=str(tmp_path / str(number)), overrides=overrides)
        sweeps.note_job(tmp_path, done)
    sweeps.write_table(tmp_path)
    rows = table(tmp_path)
    assert [row["averaged test accuracy"] for row in rows] == ["0.6", "0.7"]
    assert [row["ema_0.9 test accuracy"] for row in rows] == ["0.6", ""]


def test_means_over_seeds_are_printed_and_written_for_each_setting(tmp_path, capsys):
    sweep, accuracies = sweeps.Sweep(), {("1", "1"): 0.5, ("1", "2"): 0.75, ("2", "1"): 0.25}
    for number, ((value, seed), accuracy) in enumerate(accuracies.items()):
        write_evaluation(tmp_path / str(number), plain=accuracy)
        overrides = [f"lr={value}", f"global_seed={seed}", "model=mlp"]
        done = job(number, "done", folder=str(tmp_path / str(number)), overrides=overrides)
        sweeps.note_job(tmp_path, done)
    sweep.on_multirun_end(config=hydra_config(tmp_path))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed[2:5]] == [
        ["lr", "seeds", "plain"],
        ["1", "2", "0.6250", "+-", "0.1768"],
        ["2", "1", "0.25"],
    ]
    with (tmp_path / "means.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["result"] == "plain test accuracy"]
    assert [(row["lr"], row["num_seeds"], row["mean"]) for row in rows] == [
        ("1", "2", "0.625"),
        ("2", "1", "0.25"),
    ]
    assert float(rows[0]["std"]) == pytest.approx(0.25 / 2**0.5)
    assert rows[1]["std"] == ""


def test_what_a_script_returns_is_in_the_ledger(tmp_path):
    returned = ended()
    returned.return_value = {"level 1 test accuracy": 0.5}
    sweeps.Sweep().on_job_end(config=hydra_config(tmp_path), job_return=returned)
    assert table(tmp_path)[0]["level 1 test accuracy"] == "0.5"


def test_the_ledger_of_a_sweep_whose_process_crashed_says_so(tmp_path):
    for number, status in enumerate(("done", "running", "waiting")):
        sweeps.note_job(tmp_path, job(number, status))
    code = f"""
import os
from pathlib import Path
from isthmus import sweeps
sweeps.close_ledger_of_a_crash(Path({str(tmp_path)!r}))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not (tmp_path / "sweep.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [row["status"] for row in table(tmp_path)] == ["done", "killed", "not started"]
