import errno
import logging
import multiprocessing
import threading

import pytest
from filelock import FileLock, Timeout

from isthmus.store import locks


@pytest.mark.parametrize("name", ["run.lock", "parent/run.lock", ".hydra/config.yaml"])
def test_a_folder_in_which_nothing_was_written_is_removed_after_an_error(tmp_path, name):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    with pytest.raises(ValueError, match="^no$"), locks.folder_unless_error(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["parent/state.pt", "children/0ep/seed_2/weights/step_0.pt"])
def test_a_folder_in_which_something_was_written_stays_after_an_error(tmp_path, name):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    with pytest.raises(ValueError, match="^no$"), locks.folder_unless_error(folder):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        raise ValueError("no")
    assert (folder / name).exists()


def test_a_folder_that_is_held_by_another_job_stays_after_an_error(tmp_path):
    folder = tmp_path / "spawn_0123456789" / "seed_1"
    folder.mkdir(parents=True)
    with (
        locks.hold_shared(folder),
        pytest.raises(ValueError, match="^no$"),
        locks.folder_unless_error(folder),
    ):
        raise ValueError("no")
    assert folder.exists()


def test_a_folder_stays_where_nothing_went_wrong(tmp_path):
    with locks.folder_unless_error(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_second_job_waits_until_the_first_lets_go(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "run"
    events: list[str] = []
    waiting, done = threading.Event(), threading.Event()

    class Waits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waiting.set()

    def second_job() -> None:
        with locks.exclusive(folder, []):
            events.append("second")
        done.set()

    handler = Waits()
    locks.log.addHandler(handler)
    thread = threading.Thread(target=second_job, daemon=True)
    try:
        with locks.exclusive(folder, []):
            thread.start()
            assert waiting.wait(timeout=20)
            events.append("first")
        assert done.wait(timeout=20)
    finally:
        locks.log.removeHandler(handler)
    assert events == ["first", "second"]
    assert caplog.messages == [f"waiting: another job works in {folder}"]


def test_leftovers_are_removed_only_where_the_lock_says(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".a.csv.host_1.tmp").write_text("half")
    with locks.exclusive(tmp_path, [tmp_path / "mine", tmp_path / "not_there"]):
        pass
    assert list(tmp_path.glob("*/.*.tmp")) == [tmp_path / "theirs" / ".a.csv.host_1.tmp"]


def test_a_folder_that_is_shared_can_be_shared_again_and_not_be_held_alone(tmp_path):
    pytest.importorskip("fcntl")
    alone = FileLock(tmp_path / locks.NAME, blocking=False)
    with locks.hold_shared(tmp_path), locks.hold_shared(tmp_path), pytest.raises(Timeout):
        alone.acquire()
    with alone:
        pass


def test_a_job_that_is_killed_shares_no_longer(tmp_path):
    pytest.importorskip("fcntl")
    started = multiprocessing.get_context("spawn").Event()
    job = multiprocessing.get_context("spawn").Process(target=share, args=(tmp_path, started))
    job.start()
    assert started.wait(timeout=60)
    with pytest.raises(Timeout):
        FileLock(tmp_path / locks.NAME, blocking=False).acquire()
    job.kill()
    job.join()
    with FileLock(tmp_path / locks.NAME, timeout=10):
        pass


def share(folder, started):
    with locks.hold_shared(folder):
        started.set()
        threading.Event().wait()


def test_a_file_system_that_locks_as_nfs_does_takes_both_kinds_of_lock(tmp_path, monkeypatch):
    """NFS makes `flock` a lock of a range: shared ones need a file to read, others one to write."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    with locks.hold_shared(tmp_path), locks.hold_shared(tmp_path):
        pass
    with locks.exclusive(tmp_path, []):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EBADF])
@pytest.mark.parametrize("lock", [locks.hold_shared, lambda folder: locks.exclusive(folder, [])])
def test_where_there_are_no_locks_a_job_goes_on_and_says_what_follows(
    tmp_path, monkeypatch, caplog, number, lock
):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, operation):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(tmp_path):
        pass
    (line,) = caplog.messages
    assert str(tmp_path / locks.NAME) in line and "one job at a time" in line


def test_another_error_of_a_lock_is_raised_with_its_file(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError) as failure, locks.hold_shared(tmp_path):
        pass
    assert failure.value.filename == str(tmp_path / locks.NAME)
