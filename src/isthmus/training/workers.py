"""Worker processes that run tasks in parallel."""

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

PATIENCE = 30.0  # seconds for a process to end by itself
Kind = Literal["log", "result", "error"]  # of a message from a worker


@dataclass(frozen=True)
class Workers:
    """Worker processes that run tasks in parallel.

    They are spawned, not forked, so that each can use a GPU.

    Args:
        num_jobs: number of tasks that run at a time.
        make: called once in each process; makes the argument of the tasks. It, the tasks and their
            results are pickled.
    """

    num_jobs: int
    make: Callable[[], Any]

    def run(self, tasks: Sequence[Callable[[Any], Any]]) -> list[Any]:
        """Run all tasks; their results in order.

        If a task fails, or this process is interrupted, the other processes are ended. They also
        end when this process ends in any way, including SIGKILL.

        Raises:
            Exception: the first one that a task raised.
            ChildProcessError: a process ended during a task.
        """
        if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
            # The start method of joblib's processes is unknown to those that are started here.
            multiprocessing.set_start_method("spawn", force=True)
        context = multiprocessing.get_context("spawn")
        processes: dict[Any, BaseProcess] = {}  # by the connection to each
        try:
            for _ in range(min(self.num_jobs, len(tasks))):
                here, there = context.Pipe()
                process: BaseProcess = context.Process(target=_work, args=(there, self.make))
                process.start()
                there.close()  # so that the end of the process is the end of the connection
                processes[here] = process
            return _distribute(tasks, processes)
        finally:
            for connection in processes:
                connection.close()
            for process in processes.values():
                process.join(PATIENCE)
                process.kill()


def _distribute(
    tasks: Sequence[Callable[[Any], Any]], processes: dict[Any, BaseProcess]
) -> list[Any]:
    """Give each idle process the next task, until all are done."""
    left, results = deque(enumerate(tasks)), dict[int, Any]()
    current: dict[Any, int] = {}  # number of the task of each busy process

    def give(connection: Any) -> None:
        if left:
            current[connection], task = left.popleft()
            connection.send(task)

    for connection in processes:
        give(connection)
    while current:
        ready: list[Any] = wait(list(current))
        for connection in ready:
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionError) as gone:
                raise ChildProcessError(_cause(processes[connection])) from gone
            if kind == "log":
                logging.getLogger(content.name).handle(content)
            elif kind == "error":
                failure, trace = content
                raise failure from ChildProcessError(trace)
            else:
                results[current.pop(connection)] = content
                give(connection)
    return [results[number] for number in range(len(tasks))]


def _cause(process: BaseProcess) -> str:
    process.join()
    code = process.exitcode or 0
    how = f"of signal {-code}" if code < 0 else f"with exit code {code}"
    return (
        f"runtime.num_jobs: a process that did one of the jobs ended {how}; the same command "
        "resumes, and runtime.num_jobs=1 needs the least memory"
    )


def _work(connection: Connection, make: Callable[[], Any]) -> None:
    """Main function of a worker: task after task, until the connection is closed."""
    lock, tasks = threading.Lock(), queue.SimpleQueue[Callable[[Any], Any]]()
    is_over = threading.Event()
    _ignore_signals(is_over)

    def send(kind: Kind, content: Any) -> None:
        with lock:
            connection.send((kind, content))

    _send_logs(send)
    threading.Thread(target=_receive, args=(connection, tasks, is_over), daemon=True).start()
    try:
        argument = make()
        while True:
            send("result", tasks.get()(argument))
    except Exception as error:
        send("error", (_picklable(error), traceback.format_exc()))
        threading.Event().wait()  # until that was read


def _ignore_signals(is_over: threading.Event) -> None:
    """Ignore signals: they are handled by the parent process, and this one ends with it.

    Ctrl-C, and SLURM before it stops a job, send them to all processes at once.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # not all on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def end(*_: Any) -> None:
        if is_over.is_set():
            sys.exit(1)  # and clean up on the way

    signal.signal(signal.SIGTERM, end)


def _receive(
    connection: Connection,
    tasks: "queue.SimpleQueue[Callable[[Any], Any]]",
    is_over: threading.Event,
) -> None:
    """Receive tasks until the connection is closed; then end this process, even during a task."""
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, ConnectionError):
        is_over.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)


def _send_logs(send: Callable[[Kind, Any], None]) -> None:
    """Send all log lines of this process, as text."""

    class Sender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args = record.getMessage(), None
            record.exc_info = record.exc_text = None
            send("log", record)

    root = logging.getLogger()
    root.handlers[:] = [Sender()]
    root.setLevel(logging.INFO)


def _picklable(error: Exception) -> Exception:
    """An error that can be pickled; some cannot be rebuilt from their arguments."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
