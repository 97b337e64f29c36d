"""Rows PF*: how soon work goes on after something was killed."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from scripts.benchmark.rows.bodies import regular_actor, warm_up
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: The index at which the worker is killed.
KILL_AT = 100

#: Pause of the body before each index after the kill's, so that the kill finds it at work.
PAUSE_S = 0.01


def pf1(subject: Subject) -> Figures:
    """SIGKILL a stream's worker and time the first item that only the next attempt yields."""

    def paced(count: int) -> Iterator[tuple[int, int]]:
        for index in range(count):
            if index > KILL_AT:
                time.sleep(PAUSE_S)
            yield index, os.getpid()

    subject.start()
    stream = subject.stream(paced)
    gaps_s = []
    for _ in range(5):
        warm_up(subject)  # a spare worker, as an idle node has one
        gaps_s.append(gap(subject, stream.remote(KILL_AT + 50), _kill))
    subject.stop()
    return {"seconds": statistics.median(gaps_s)}


def pf2(subject: Subject) -> Figures:
    """SIGKILL an actor that may be restarted and time the next answer that it gives."""
    subject.start()
    api = subject.api
    options = {"max_restarts": -1, "max_task_retries": -1}
    actor = api.remote(**options)(regular_actor()).remote()
    gaps_s = []
    for _ in range(5):
        warm_up(subject)  # a spare worker, as an idle node has one
        victim = api.get(actor.pid.remote())
        killed_s = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        while api.get(actor.pid.remote()) == victim:
            continue
        gaps_s.append(time.perf_counter() - killed_s)
    subject.stop()
    return {"seconds": statistics.median(gaps_s)}


def gap(subject: Subject, items: Iterator[Any], kill: Callable[[int], None]) -> float:
    """Read a stream of (index, process), kill its process midway, and time the first item after.

    Args:
        subject: The runtime.
        items: References to ``KILL_AT + 50`` items.
        kill: Kills the process, and what belongs to it.

    Raises:
        RuntimeError: The items are not all of them in order, or the kill hit nothing.
    """
    killed_s = gap_s = 0.0
    victim = -1
    expected = 0
    for ref in items:
        arrived_s = time.perf_counter()
        index, pid = subject.api.get(ref)
        if index != expected:
            raise RuntimeError(f"item {index} came where {expected} was due")
        expected += 1
        if index == KILL_AT:
            victim, killed_s = pid, time.perf_counter()
            kill(victim)
        elif victim >= 0 and pid != victim and not gap_s:
            gap_s = arrived_s - killed_s
    if not gap_s or expected != KILL_AT + 50:
        raise RuntimeError(f"the stream ended after {expected} items, gap {gap_s}")
    return gap_s


def _kill(worker: int) -> None:
    os.kill(worker, signal.SIGKILL)
