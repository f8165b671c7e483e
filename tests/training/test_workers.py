"""Tasks done side by side, in processes of their own."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from isthmus.training.workers import Workers

ROOT = Path(__file__).parents[2]


def make(number):
    return {"number": number, "pid": os.getpid()}


def add(other, made):
    logging.getLogger("tests.worker").info("adding %d", other)
    return made["number"] + other


def pid(made):
    time.sleep(0.2)  # so that the other process has its turn
    return made["pid"]


def fail(text, made):
    raise FloatingPointError(text)


class Odd(Exception):
    """Cannot be made anew from its arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail_oddly(made):
    raise Odd(1, 2)


def die(made):
    os.kill(os.getpid(), signal.SIGKILL)


def be_signalled(kinds, made):
    for kind in kinds:
        os.kill(made["pid"], kind)
        time.sleep(0.05)
    return True


def wait_in(folder, made):
    """Leave word of which process this is, and never end."""
    (folder / f"{made['pid']}.pid").touch()
    while True:
        time.sleep(0.01)


def is_alive(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status != "Z"


def test_results_are_in_the_order_of_the_tasks_and_log_lines_come_back(caplog):
    with caplog.at_level("INFO"):
        found = Workers(2, partial(make, 10)).run([partial(add, n) for n in range(5)])
    assert found == [10, 11, 12, 13, 14]
    lines = [record for record in caplog.records if record.name == "tests.worker"]
    assert sorted(record.getMessage() for record in lines) == [f"adding {n}" for n in range(5)]


@pytest.mark.parametrize(("num_jobs", "num_tasks", "num_processes"), [(2, 4, 2), (3, 2, 2)])
def test_there_are_as_many_processes_as_asked_for_but_no_more_than_tasks(
    num_jobs, num_tasks, num_processes
):
    found = set(Workers(num_jobs, partial(make, 0)).run([pid] * num_tasks))
    assert len(found) == num_processes
    assert os.getpid() not in found
    assert not any(map(is_alive, found))


def test_an_error_comes_back_with_its_type_and_where_it_was_raised(tmp_path):
    tasks = [partial(wait_in, tmp_path), partial(fail, "lost")]
    with pytest.raises(FloatingPointError, match="^lost$") as caught:
        Workers(2, partial(make, 0)).run(tasks)
    assert "in fail" in str(caught.value.__cause__)
    assert not any(is_alive(path.stem) for path in tmp_path.iterdir())


def test_an_error_that_cannot_be_sent_comes_back_in_words():
    with pytest.raises(RuntimeError, match="^Odd: 1 and 2$"):
        Workers(2, partial(make, 0)).run([fail_oddly])


def test_an_error_while_a_process_prepares_comes_back():
    with pytest.raises(FloatingPointError, match="^early$"):
        Workers(2, partial(fail, "early", None)).run([pid, pid])


def test_a_process_that_dies_is_an_error_with_its_cause():
    with pytest.raises(ChildProcessError, match=r"runtime.num_jobs: .* signal 9"):
        Workers(2, partial(make, 0)).run([die, pid])


def test_signals_to_all_processes_are_left_to_the_one_that_started_them():
    kinds = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
    assert Workers(2, partial(make, 0)).run([partial(be_signalled, kinds)]) == [True]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(tmp_path, kind):
    code = (
        "import signal; from functools import partial; from pathlib import Path\n"
        "from tests.training.test_workers import make, wait_in\n"
        "from isthmus.training.workers import Workers\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # else may be ignored\n"
        f"    tasks = [partial(wait_in, Path({json.dumps(str(tmp_path))}))] * 2\n"
        "    Workers(2, partial(make, 0)).run(tasks)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while len(list(tmp_path.iterdir())) < 2:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
        finally:
            process.send_signal(kind)
        try:
            errors = process.communicate(timeout=60)[1]  # the others hold it open until they end
        finally:
            process.kill()
    assert process.returncode != 0
    assert not any(is_alive(path.stem) for path in tmp_path.iterdir())
    assert "leaked" not in errors
