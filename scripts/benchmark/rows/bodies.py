"""Bodies that several rows run in workers.

They are made by calls, because a function of a module would travel by name, and a worker may not
find that module.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator

from scripts.benchmark.subject import CPUS, Subject


def counting() -> Callable[[int], Iterator[int]]:
    """Make a generator function that yields the first `count` ints."""

    def numbers(count: int) -> Iterator[int]:
        for index in range(count):  # noqa: UP028  (Ray 2.60 fails on `yield from`)
            yield index

    return numbers


def counting_behind(gate: str) -> Callable[[int], Iterator[int]]:
    """Make a generator function that yields 0, then the rest once the file `gate` is there."""

    def numbers(count: int) -> Iterator[int]:
        for index in range(count):
            while index and not os.path.exists(gate):
                time.sleep(0.01)
            yield index

    return numbers


def regular_actor() -> type:
    """Make a class of regular actors."""

    class Regular:
        def idle(self) -> None:
            return None

        def pid(self) -> int:
            return os.getpid()

        def numbers(self, count: int) -> Iterator[int]:
            for index in range(count):  # noqa: UP028  (as above)
                yield index

    return Regular


def async_actor() -> type:
    """Make a class of async actors."""

    class Async:
        async def idle(self) -> None:
            return None

        async def numbers(self, count: int) -> AsyncIterator[int]:
            for index in range(count):
                yield index

    return Async


def warm_up(subject: Subject) -> None:
    """Let two workers work at the same time, so that both are there and idle afterwards."""

    def nap() -> int:
        time.sleep(0.3)
        return os.getpid()

    task = subject.task(nap)
    for _ in range(10):
        if len(set(subject.api.get([task.remote() for _ in range(CPUS)]))) == CPUS:
            return
    raise RuntimeError("two tasks never ran at the same time")
