"""Rows PS*: how fast and how soon the items of a stream reach the caller."""

import asyncio
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from scripts.benchmark.rows.bodies import async_actor, counting, counting_behind, regular_actor
from scripts.benchmark.subject import Subject

Figures = dict[str, float]


def ps1(subject: Subject) -> Figures:
    """Stream small ints and get each."""
    return _one_stream(subject, counting(), subject.many(ray=20_000, zgen=150_000))


def ps2(subject: Subject) -> Figures:
    """Stream 1 KB, each item other bytes, and get each."""

    def kilobytes(count: int) -> Iterator[bytes]:
        text = os.urandom(2048)
        for index in range(count):
            start = index % 1024
            yield text[start : start + 1024]

    return _one_stream(subject, kilobytes, subject.many(ray=20_000, zgen=120_000))


def ps3(subject: Subject) -> Figures:
    """Stream arrays of 1 MB and read every byte."""
    return _arrays(subject, 1_000_000, subject.many(ray=1_500, zgen=4_000))


def ps4(subject: Subject) -> Figures:
    """Stream arrays of 10 MB and read every byte."""
    return _arrays(subject, 10_000_000, subject.many(ray=200, zgen=400))


def ps5(subject: Subject) -> Figures:
    """Time a yield to the return of `next`, one item every 2 ms."""

    def stamps(count: int) -> Iterator[int]:
        for _ in range(count):
            time.sleep(0.002)
            yield time.monotonic_ns()

    subject.start()
    stream = subject.stream(stamps)
    _drain(subject, stream.remote(50))
    lags_us = []
    for ref in stream.remote(700):
        arrived_ns = time.monotonic_ns()
        lags_us.append((arrived_ns - subject.api.get(ref)) / 1e3)
    subject.stop()
    settled = lags_us[100:]
    return {
        "p50_us": statistics.median(settled),
        "p99_us": statistics.quantiles(settled, n=100)[98],
    }


def ps6(subject: Subject) -> Figures:
    """Time from `.remote()` to the first value, on a worker that is warm."""

    def one() -> Iterator[int]:
        yield 1

    subject.start()
    stream = subject.stream(one)
    waits_ms = []
    for _ in range(120):
        began = time.perf_counter()
        items = stream.remote()
        subject.api.get(next(items))
        waits_ms.append((time.perf_counter() - began) * 1e3)
        _drain(subject, items)
        time.sleep(0.01)
    subject.stop()
    return {"p50_ms": statistics.median(waits_ms[20:])}


def ps7(subject: Subject) -> Figures:
    """Stream small ints through eight tasks at once."""
    subject.start()
    rate = _together(subject, 8, subject.many(ray=20_000, zgen=120_000))
    subject.stop()
    return {"rate": rate}


def ps8(subject: Subject) -> Figures:
    """Stream small ints to a coroutine that awaits each."""

    async def measure(stream: Any, count: int) -> float:
        await _drain_awaiting(stream.remote(500))
        began = time.perf_counter()
        taken = await _drain_awaiting(stream.remote(count))
        elapsed_s = time.perf_counter() - began
        if taken != count:
            raise RuntimeError(f"{taken} of {count} items arrived")
        return count / elapsed_s

    subject.start()
    stream = subject.stream(counting())
    rate = asyncio.run(measure(stream, subject.many(ray=15_000, zgen=150_000)))
    subject.stop()
    return {"rate": rate}


def ps9(subject: Subject) -> Figures:
    """Stream small ints from a regular actor and from an async one."""
    return {
        "rate": _actor_stream(subject, regular_actor(), subject.many(ray=15_000, zgen=150_000)),
        "async": _actor_stream(subject, async_actor(), subject.many(ray=6_000, zgen=150_000)),
    }


def ps10(subject: Subject) -> Figures:
    """Stream small ints whose body is never ahead of the caller by over 64 items, or 64 MiB."""
    count = subject.many(ray=8_000, zgen=80_000)
    figures = _one_stream(subject, counting(), count, _generator_backpressure_num_objects=64)
    return figures | (_kept_by_a_wide_window(subject) if subject.name == "zgen" else {})


def ps11(subject: Subject) -> Figures:
    """Compare the rate through 1, 8 and 64 streams at once."""
    subject.start()
    rates = {n: _together(subject, n, subject.many(ray=12_800, zgen=128_000)) for n in (1, 8, 64)}
    subject.stop()
    figures: Figures = {f"rate_{n}": rate for n, rate in rates.items()}
    return figures | {"evenness": min(rates[8], rates[64]) / rates[1]}


def _one_stream(subject: Subject, body: Any, count: int, **options: object) -> Figures:
    subject.start()
    stream = subject.stream(body, **options)
    _drain(subject, stream.remote(500))
    began = time.perf_counter()
    taken = _drain(subject, stream.remote(count))
    elapsed_s = time.perf_counter() - began
    subject.stop()
    if taken != count:
        raise RuntimeError(f"{taken} of {count} items arrived")
    return {"rate": count / elapsed_s}


def _kept_by_a_wide_window(subject: Subject) -> Figures:
    """Compare the rate of a stream held back by bytes with that of one that is not."""
    subject.start()
    free = subject.stream(counting())
    held = subject.stream(counting(), max_pending_bytes=64 << 20)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for is_held in (False, True) * 6:
        stream = held if is_held else free
        began = time.perf_counter()
        _drain(subject, stream.remote(80_000))
        rates[is_held].append(1 / (time.perf_counter() - began))
    subject.stop()
    return {"kept": statistics.median(rates[True][1:]) / statistics.median(rates[False][1:])}


def _actor_stream(subject: Subject, cls: type, count: int) -> float:
    subject.start()
    numbers = subject.api.remote(cls).remote().numbers.options(num_returns="streaming")
    _drain(subject, numbers.remote(500))
    began = time.perf_counter()
    taken = _drain(subject, numbers.remote(count))
    elapsed_s = time.perf_counter() - began
    subject.stop()
    if taken != count:
        raise RuntimeError(f"{taken} of {count} items arrived")
    return count / elapsed_s


def _drain(subject: Subject, items: Any) -> int:
    get = subject.api.get
    count = 0
    for ref in items:
        get(ref)
        count += 1
    return count


async def _drain_awaiting(items: Any) -> int:
    count = 0
    async for ref in items:
        await ref
        count += 1
    return count


def _arrays(subject: Subject, size_bytes: int, count: int) -> Figures:
    numpy = importlib.import_module("numpy")

    def arrays(count: int) -> Iterator[Any]:
        array = importlib.import_module("numpy").arange(size_bytes // 8)
        for _ in range(count):
            yield array

    subject.start()
    stream = subject.stream(arrays)
    _drain(subject, stream.remote(max(4, count // 20)))
    expected = int(numpy.arange(size_bytes // 8).sum())
    began = time.perf_counter()
    for ref in stream.remote(count):
        if int(subject.api.get(ref).sum()) != expected:
            raise RuntimeError("an array arrived damaged")
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"gbytes": size_bytes * count / elapsed_s / 1e9}


def _together(subject: Subject, streams: int, items: int) -> float:
    """Read some streams by turns, as one consumer, and tell the rate of them all.

    Zero CPUs a task: all of them run at the same time however few CPUs there are. The processes
    that this takes are there before, as the floor's are: short streams would run behind each other
    in a few, and the start of the others would be measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        gate = os.path.join(folder, "open")
        waiting = subject.stream(counting_behind(gate), num_cpus=0)
        warm = [waiting.remote(2) for _ in range(streams)]
        for items_of_one in warm:
            next(items_of_one)
        with open(gate, "x"):
            _by_turns(subject, warm)
    stream = subject.stream(counting(), num_cpus=0)
    began = time.perf_counter()
    taken = _by_turns(subject, [stream.remote(items // streams) for _ in range(streams)])
    elapsed_s = time.perf_counter() - began
    if taken != items // streams * streams:
        raise RuntimeError(f"{taken} of {items} items arrived")
    return taken / elapsed_s


def _by_turns(subject: Subject, open_streams: list[Any]) -> int:
    get = subject.api.get
    count = 0
    while open_streams:
        for items in tuple(open_streams):
            try:
                ref = next(items)
            except StopIteration:
                open_streams.remove(items)
            else:
                get(ref)
                count += 1
    return count
