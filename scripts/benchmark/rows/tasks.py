"""Rows PT*: plain tasks that do nothing."""

import time

from scripts.benchmark.subject import Subject

Figures = dict[str, float]


def pt1(subject: Subject) -> Figures:
    """Submit a task and get its value, one after the other."""

    def idle() -> None:
        return None

    subject.start()
    task, get = subject.task(idle), subject.api.get
    for _ in range(200):
        get(task.remote())
    count = 0
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < 1.5:
        get(task.remote())
        count += 1
    subject.stop()
    return {"rate": count / elapsed_s}


def pt2(subject: Subject) -> Figures:
    """Submit 5,000 tasks, then get them all."""

    def idle() -> None:
        return None

    subject.start()
    task, get = subject.task(idle), subject.api.get
    get([task.remote() for _ in range(500)])
    began = time.perf_counter()
    get([task.remote() for _ in range(5_000)])
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"rate": 5_000 / elapsed_s}
