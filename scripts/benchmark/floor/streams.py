"""Floors of the rows PS*."""

import asyncio
import importlib
import mmap
import os
import statistics
import time
from typing import Any

from scripts.benchmark.floor.caller import Caller, Ref, Stream
from scripts.benchmark.floor.peer import WINDOW

Figures = dict[str, float]


def ps1() -> Figures:
    """Stream small ints and load each."""
    return _one_stream("numbers", 600_000)


def ps2() -> Figures:
    """Stream 1 KB and load each."""
    return _one_stream("kilobytes", 400_000)


def ps5() -> Figures:
    """Time a yield to the return of `next`, one item every 2 ms."""
    caller = Caller(peers=1, threaded=True)
    lags_us = []
    for ref in caller.open("stamps", 700):
        arrived_ns = time.monotonic_ns()
        lags_us.append((arrived_ns - ref.get()) / 1e3)
    caller.close()
    settled = lags_us[100:]
    return {
        "p50_us": statistics.median(settled),
        "p99_us": statistics.quantiles(settled, n=100)[98],
    }


def ps6() -> Figures:
    """Time from opening a stream to its first value, with the caller itself receiving."""
    caller = Caller(peers=1, threaded=False)
    waits_ms = []
    for _ in range(120):
        began = time.perf_counter()
        items = caller.open("numbers", 1)
        next(items).get()
        waits_ms.append((time.perf_counter() - began) * 1e3)
        _drain(items)
        time.sleep(0.01)
    caller.close()
    return {"p50_ms": statistics.median(waits_ms[20:])}


def ps7() -> Figures:
    """Stream small ints from eight peers at once."""
    caller = Caller(peers=8, threaded=True)
    rate = _together(caller, 8, 480_000)
    caller.close()
    return {"rate": rate}


def ps8() -> Figures:
    """Stream small ints to a coroutine that loads each."""
    count = 500_000

    async def measure() -> float:
        await _drain_awaiting(Awaited(caller.open("numbers", 500)))
        began = time.perf_counter()
        taken = await _drain_awaiting(Awaited(caller.open("numbers", count)))
        elapsed_s = time.perf_counter() - began
        if taken != count:
            raise RuntimeError(f"{taken} of {count} items arrived")
        return count / elapsed_s

    caller = Caller(peers=1, threaded=True)
    rate = asyncio.run(measure())
    caller.close()
    return {"rate": rate}


def ps10() -> Figures:
    """Stream small ints with credit for 64 of them."""
    return _one_stream("numbers", 300_000, 64)


def ps11() -> Figures:
    """Compare the rate from 1, 8 and 64 peers at once."""
    caller = Caller(peers=64, threaded=True)
    rates = {streams: _together(caller, streams, 512_000) for streams in (1, 8, 64)}
    caller.close()
    figures: Figures = {f"rate_{streams}": rate for streams, rate in rates.items()}
    return figures | {"evenness": min(rates[8], rates[64]) / rates[1]}


def ps3() -> Figures:
    """Pass arrays of 1 MB through reused segments and read every byte."""
    return _segments(1_000_000, 4_000)


def ps4() -> Figures:
    """Pass arrays of 10 MB through reused segments and read every byte."""
    return _segments(10_000_000, 400)


class Awaited:
    """A stream for an event loop, which is called only when somebody waits."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        stream.on_change = self._changed

    def __aiter__(self) -> "Awaited":
        return self

    async def __anext__(self) -> Ref:
        stream = self._stream
        while not stream.is_ready:
            waiting = self._waiting = self._loop.create_future()
            if not stream.is_ready:
                await waiting
        try:
            return next(stream)
        except StopIteration:
            raise StopAsyncIteration from None

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._loop.call_soon_threadsafe(_settle, waiting)


def _settle(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


async def _drain_awaiting(items: Awaited) -> int:
    count = 0
    async for ref in items:
        await ref
        count += 1
    return count


def _one_stream(body: str, count: int, window: int = WINDOW) -> Figures:
    caller = Caller(peers=1, threaded=True)
    _drain(caller.open(body, 500, window=window))
    began = time.perf_counter()
    taken = _drain(caller.open(body, count, window=window))
    elapsed_s = time.perf_counter() - began
    caller.close()
    if taken != count:
        raise RuntimeError(f"{taken} of {count} items arrived")
    return {"rate": count / elapsed_s}


def _drain(items: Stream) -> int:
    count = 0
    for ref in items:
        ref.get()
        count += 1
    return count


def _together(caller: Caller, streams: int, items: int) -> float:
    each = items // streams
    _by_turns([caller.open("numbers", 100, peer) for peer in range(streams)])
    began = time.perf_counter()
    taken = _by_turns([caller.open("numbers", each, peer) for peer in range(streams)])
    elapsed_s = time.perf_counter() - began
    if taken != each * streams:
        raise RuntimeError(f"{taken} of {items} items arrived")
    return taken / elapsed_s


def _by_turns(open_streams: list[Stream]) -> int:
    count = 0
    while open_streams:
        for items in tuple(open_streams):
            try:
                ref = next(items)
            except StopIteration:
                open_streams.remove(items)
            else:
                ref.get()
                count += 1
    return count


def _segments(size_bytes: int, count: int) -> Figures:
    """Fork a writer that copies into segments in turn while this process sums them up."""
    numpy = importlib.import_module("numpy")
    slots = 8
    shared = mmap.mmap(-1, size_bytes * slots)
    slabs: list[Any] = [
        numpy.frombuffer(shared, numpy.int64, size_bytes // 8, offset=size_bytes * slot)
        for slot in range(slots)
    ]
    filled, written = os.pipe()
    freed, credit = os.pipe()
    writer = os.fork()
    if writer == 0:
        array = numpy.arange(size_bytes // 8)
        for index in range(count + slots):
            if index >= slots:
                os.read(freed, 1)
            slabs[index % slots][:] = array
            os.write(written, b"x")
        os._exit(0)
    expected = int(numpy.arange(size_bytes // 8).sum())
    began = 0.0
    for index in range(count + slots):
        if index == slots:  # every page has been touched by both
            began = time.perf_counter()
        os.read(filled, 1)
        if int(slabs[index % slots].sum()) != expected:
            raise RuntimeError("an array arrived damaged")
        os.write(credit, b"x")
    elapsed_s = time.perf_counter() - began
    os.waitpid(writer, 0)
    return {"gbytes": size_bytes * count / elapsed_s / 1e9}
