"""Rows PI*: what a runtime costs before it does anything, and when it goes."""

import os
import statistics
import subprocess
import sys
import time

from scripts.benchmark import processes
from scripts.benchmark.rows.bodies import warm_up
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: Touches the names that every program uses, so that a lazy import shows its whole price.
_IMPORT = """
import time
began = time.perf_counter()
import {name} as rt
(rt.init, rt.shutdown, rt.remote, rt.get, rt.wait, rt.put, rt.ObjectRef)
print(time.perf_counter() - began)
"""


def pi1(subject: Subject) -> Figures:
    """Import the runtime in an interpreter that has loaded nothing else."""
    return {"seconds": import_seconds(_IMPORT.format(name=subject.name))}


def import_seconds(program: str) -> float:
    """Run a program that prints seconds in fresh interpreters; the first run only warms files."""
    command = [sys.executable, "-c", program]
    seconds = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(4)
    ]
    return statistics.median(seconds[1:])


def pi2(subject: Subject) -> Figures:
    """Start the runtime and get the value of one task."""

    def answer() -> int:
        return 42

    began = time.perf_counter()
    subject.start()
    subject.api.get(subject.task(answer).remote())
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"seconds": elapsed_s}


def pi3(subject: Subject) -> Figures:
    """Sum up memory and threads of all processes with two idle workers."""
    _idle_workers(subject)
    pids = processes.family(os.environ[processes.MARK])
    figures = {
        "mbytes": processes.memory_bytes(pids) / 1e6,
        "threads": float(processes.thread_count(pids)),
        "processes": float(len(pids)),
    }
    subject.stop()
    return figures


def pi4(subject: Subject) -> Figures:
    """Shut down a runtime that has worked and is idle."""
    _idle_workers(subject, idle_s=1.0)
    began = time.perf_counter()
    subject.stop()
    return {"seconds": time.perf_counter() - began}


def pi5(subject: Subject) -> Figures:
    """Watch for ten seconds how much CPU is used with nothing to do."""
    _idle_workers(subject)
    pids = processes.family(os.environ[processes.MARK])
    began, used_s = time.perf_counter(), processes.cpu_seconds(pids)
    time.sleep(10)
    used_s = processes.cpu_seconds(pids) - used_s
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"percent": 100 * used_s / elapsed_s}


def _idle_workers(subject: Subject, idle_s: float = 5.0) -> None:
    subject.start()
    warm_up(subject)
    time.sleep(idle_s)
