"""Ratios of ways to do the same thing, measured in turns in one process."""

import platform
import statistics
import time
from collections.abc import Callable

import torch


def medians(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, measured A B A B: what disturbs one disturbs the others too.

    With one thread on a CPU these are seconds of computing, which other processes hardly change.

    Args:
        ways: functions that do the same work, by name; each is called once before it is measured.
        rounds: measurements of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            synchronize()
            began = now()
            way()
            synchronize()
            seconds[name].append(now() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def now() -> float:
    """Seconds on the clock that is measured with."""
    return time.process_time() if computes_alone() else time.perf_counter()


def computes_alone() -> bool:
    """Whether all work is that of one thread of this process."""
    return torch.get_num_threads() == 1 and not torch.cuda.is_available()


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> str:
    """What the numbers were measured on."""
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    else:
        num = torch.get_num_threads()
        threads = "1 thread, CPU time" if computes_alone() else f"{num} threads"
        where = f"{platform.processor() or platform.machine()}, {threads}"
    return f"{where}, torch {torch.__version__}"


def table(title: str, seconds: dict[str, float], unit: float, words: str) -> str:
    """A Markdown table of each way and its ratio to the first.

    Args:
        title: what was measured.
        seconds: of each way; the first is what the others are compared with.
        unit: how many things one measurement did.
        words: what such a thing is, such as "step".
    """
    plain = next(iter(seconds.values()))
    lines = [f"\n{title} ({machine()})\n", f"| way | ms a {words} | ratio |", "|---|---|---|"]
    for name, value in seconds.items():
        lines.append(f"| {name} | {1000 * value / unit:.3f} | {plain / value:.2f} |")
    return "\n".join(lines)
