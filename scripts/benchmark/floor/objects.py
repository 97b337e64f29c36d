"""Floors of the rows PO*."""

import importlib
import mmap
import os
import pickle
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from scripts.benchmark import processes
from scripts.benchmark.floor.caller import Key, Ref
from scripts.benchmark.rows.objects import LARGE_BYTES

Figures = dict[str, float]


def po1() -> Figures:
    """Pickle small values into a table, then load each."""
    count = 200_000
    table: dict[Key, bytes] = {}
    began = time.perf_counter()
    refs = [_put(value, table) for value in range(count)]
    put_s = time.perf_counter() - began
    began = time.perf_counter()
    for ref in refs:
        ref.get()
    return {"put": count / put_s, "get": count / (time.perf_counter() - began)}


def po2() -> Figures:
    """Write 100 MB into fresh memory files, and copy them into pages used before."""
    numpy = importlib.import_module("numpy")
    array = numpy.ones(LARGE_BYTES // 8)
    files = [os.memfd_create("fresh") for _ in range(5)]
    fresh_s = [_seconds(partial(os.pwrite, file, array.data, 0)) for file in files]
    slab: Any = numpy.frombuffer(mmap.mmap(files[0], LARGE_BYTES), numpy.float64)
    reused_s = [_seconds(lambda: numpy.copyto(slab, array)) for _ in range(10)]
    return {
        "fresh": LARGE_BYTES / statistics.median(fresh_s) / 1e9,
        "reused": LARGE_BYTES / statistics.median(reused_s) / 1e9,
    }


def po3() -> Figures:
    """Map 100 MB that lie in a memory file."""
    file = os.memfd_create("value")
    os.pwrite(file, bytes(LARGE_BYTES), 0)
    waits_s = [_seconds(lambda: mmap.mmap(file, LARGE_BYTES).close()) for _ in range(10)]
    return {"p50_ms": statistics.median(waits_s) * 1e3}


def po4() -> Figures:
    """Copy 100 MB once, into pages used before."""
    numpy = importlib.import_module("numpy")
    array = numpy.ones(LARGE_BYTES // 8)
    slab: Any = numpy.frombuffer(mmap.mmap(-1, LARGE_BYTES), numpy.float64)
    waits_s = [_seconds(lambda: numpy.copyto(slab, array)) for _ in range(12)]
    return {"p50_ms": statistics.median(waits_s[2:]) * 1e3}


def po5() -> Figures:
    """Hold the refs of 50,000 small values."""
    table: dict[Key, bytes] = {}
    before_bytes = processes.memory_bytes([os.getpid()])
    held = [_put(value, table) for value in range(50_000)]
    grown_bytes = processes.memory_bytes([os.getpid()]) - before_bytes
    return {"bytes": grown_bytes / len(held)}


def _put(value: int, table: dict[Key, bytes]) -> Ref:
    key = (0, value)
    table[key] = pickle.dumps(value, 5)
    return Ref(key, table)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
