"""Rows PO*: values that are put, held and fetched."""

import gc
import importlib
import os
import statistics
import time
from typing import Any

from scripts.benchmark import processes
from scripts.benchmark.rows.bodies import counting
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: Size of a large value.
LARGE_BYTES = 100_000_000


def po1(subject: Subject) -> Figures:
    """Put small values, then get each."""
    subject.start()
    put, get = subject.api.put, subject.api.get
    for value in range(200):
        get(put(value))
    count = subject.many(ray=3_000, zgen=50_000)
    began = time.perf_counter()
    refs = [put(value) for value in range(count)]
    put_s = time.perf_counter() - began
    began = time.perf_counter()
    for ref in refs:
        get(ref)
    get_s = time.perf_counter() - began
    subject.stop()
    return {"put": count / put_s, "get": count / get_s}


def po2(subject: Subject) -> Figures:
    """Put 100 MB into pages never touched, and into pages used before."""
    array = importlib.import_module("numpy").ones(LARGE_BYTES // 8)
    subject.start()
    held: list[Any] = []
    fresh_s, reused_s = [], []
    for _ in range(5):
        began = time.perf_counter()
        held.append(subject.api.put(array))
        fresh_s.append(time.perf_counter() - began)
    for _ in range(10):
        del held[:]
        time.sleep(0.2)
        began = time.perf_counter()
        held.append(subject.api.put(array))
        reused_s.append(time.perf_counter() - began)
    subject.stop()
    return {
        "fresh": LARGE_BYTES / statistics.median(fresh_s) / 1e9,
        "reused": LARGE_BYTES / statistics.median(reused_s) / 1e9,
    }


def po3(subject: Subject) -> Figures:
    """Get 100 MB that a task of this node has returned already."""
    importlib.import_module("numpy")
    subject.start()
    task = _large(subject)
    waits_ms = []
    for _ in range(12):
        ref = task.remote()
        subject.api.wait([ref])
        began = time.perf_counter()
        value = subject.api.get(ref)
        waits_ms.append((time.perf_counter() - began) * 1e3)
        del ref, value
    subject.stop()
    return {"p50_ms": statistics.median(waits_ms[2:])}


def po4(subject: Subject) -> Figures:
    """Call a task that returns 100 MB and get them."""
    importlib.import_module("numpy")
    subject.start()
    task = _large(subject)
    waits_ms = []
    for _ in range(12):
        began = time.perf_counter()
        value = subject.api.get(task.remote())
        waits_ms.append((time.perf_counter() - began) * 1e3)
        del value
        time.sleep(0.1)
    subject.stop()
    return {"p50_ms": statistics.median(waits_ms[2:])}


def po5(subject: Subject) -> Figures:
    """Hold the refs of 50,000 streamed items and see by how much the driver has grown."""
    subject.start()
    stream = subject.stream(counting())
    for ref in stream.remote(1_000):
        subject.api.get(ref)
    del ref
    gc.collect()
    before_bytes = processes.memory_bytes([os.getpid()])
    held = list(stream.remote(50_000))
    gc.collect()
    grown_bytes = processes.memory_bytes([os.getpid()]) - before_bytes
    count = len(held)
    subject.stop()
    return {"bytes": grown_bytes / count}


def _large(subject: Subject) -> Any:
    """Declare a task that returns the same large array each time, made once in its worker."""
    kept: list[Any] = []

    def large() -> Any:
        if not kept:
            kept.append(importlib.import_module("numpy").ones(LARGE_BYTES // 8))
        return kept[0]

    return subject.task(large)
