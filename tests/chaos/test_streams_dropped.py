"""Streams that are opened and dropped half-consumed, by the thousand: everything is given back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

import zgen
from tests.integration.memories import daemon, own_bytes, wait_for_no_regions
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.runtime import process
from zgen.runtime.process import Runtime
from zgen.testing.plugin import held

pytestmark = pytest.mark.chaos

ITEMS, TAKEN = 10, 5
#: Open at a time, and one stream in so many has items that lie in shared memory.
OPEN, WIDE_EVERY, WIDE_BYTES = 50, 25, 150_000
#: What a process may grow by: 200 bytes for each of ten thousand streams.
GROWTH_BYTES_MAX: Final = 2 << 20
#: Descriptors of another slab or worker that was not there before; one a stream were thousands.
SPARE_DESCRIPTORS: Final = 20


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A node of one CPU, so that all tasks run in one worker."""
    zgen.init(num_cpus=1, object_store_memory=64 << 20)
    try:
        assert process.current is not None
        yield process.current
        with process.current.loop.lock:
            process.current.machine.check()
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


def items(size: int) -> Iterator[bytes]:
    for number in range(ITEMS):
        yield bytes([number]) * size


def here(_: object = None) -> tuple[int, int]:
    """Return the process that runs this, and how much it keeps of streams, tasks and objects."""
    runtime = process.current
    assert runtime is not None
    executor = runtime.machine.executor
    assert executor is not None
    return os.getpid(), len(executor.reports.streams) + len(held(runtime))


class Yields(RemoteClass):
    def stream(self, size: int) -> Iterator[bytes]:
        yield from items(size)

    async def serve(self, size: int) -> Any:
        for item in items(size):
            yield item

    async def nothing(self) -> None:
        """Make it an async actor."""


class Producer:
    """Where streams come from.

    Attributes:
        stream: Opens one with items of a size.
        here: Asks what the process keeps that runs them.
    """

    def __init__(self, kind: str) -> None:
        if kind == "tasks":
            self.stream = zgen.remote(items).remote
            self.here: Callable[[], Any] = zgen.remote(here).remote
            return
        plain = type("Plain", (), {"stream": Yields.stream})
        actor: Any = zgen.remote(plain if kind == "an actor" else Yields).remote()
        self.stream = actor.stream.remote if kind == "an actor" else actor.serve.remote
        self.here = lambda: actor.__ray_call__.remote(here)


def open_and_drop(producer: Producer, count: int) -> None:
    for begin in range(0, count, OPEN):
        sizes = [1 if at % WIDE_EVERY else WIDE_BYTES for at in range(begin, begin + OPEN)]
        streams = [producer.stream(size) for size in sizes]
        for number in range(TAKEN):
            for stream, size in zip(streams, sizes, strict=True):
                assert zgen.get(next(stream)) == bytes([number]) * size


def sizes_of(producer: Producer) -> dict[str, tuple[int, int]]:
    """Return the memory and the descriptors of each process, when nothing is held any more."""
    worker, _ = zgen.get(producer.here())
    wait_until(lambda: zgen.get(producer.here())[1] == 0, 20, "the worker keeps nothing")
    wait_for_no_regions()
    pids = {"driver": os.getpid(), "worker": worker, "daemon": daemon()}
    return {
        name: (own_bytes(pid), len(os.listdir(f"/proc/{pid}/fd"))) for name, pid in pids.items()
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("tasks", 300),
        pytest.param("tasks", 10_000, marks=pytest.mark.slow),
        pytest.param("an actor", 10_000, marks=pytest.mark.slow),
        pytest.param("an async actor", 10_000, marks=pytest.mark.slow),
    ],
)
def test_streams_dropped_half_consumed_leave_everything_as_it_was(
    kind: str, count: int, runtime: Runtime
) -> None:
    producer = Producer(kind)
    zgen.get(producer.here())
    names = held(runtime)
    open_and_drop(producer, 200)
    before = sizes_of(producer)
    open_and_drop(producer, count)
    after = sizes_of(producer)

    def nothing_new() -> bool:
        return all(name in names for name in held(runtime))

    wait_until(nothing_new, 10, "the driver keeps nothing of them")
    for name, (memory_bytes, descriptors) in before.items():
        memory_now_bytes, descriptors_now = after[name]
        assert memory_now_bytes - memory_bytes < GROWTH_BYTES_MAX, f"{name}: {before} {after}"
        assert descriptors_now - descriptors < SPARE_DESCRIPTORS, f"{name}: {before} {after}"
