"""Who reads the soak's streams that are handed over: tasks, and actors of all kinds.

What a reader has seen it returns as prints of values, which its caller checks: a reader that dies
takes with it what it took.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import zgen
from scripts.soak import bodies
from tests.integration.remote_class import RemoteClass


def print_of(got: Any) -> str:
    """Return a few digits of any item, which no other one has."""
    return hashlib.md5(repr(got).encode() if isinstance(got, tuple) else got).hexdigest()


def prints(seed: int, first: int, count: int, size_bytes: int) -> list[str]:
    """Return the prints of so many items of a stream."""
    return [print_of(bodies.value(seed, first + i, size_bytes)) for i in range(count)]


def take(stream: Any, count: int, pause_s: float = 0.0) -> list[str]:
    """Read so many items, or as many as there are."""
    found: list[str] = []
    for ref in stream:
        found.append(print_of(zgen.get(ref)))
        if len(found) == count:
            break
        time.sleep(pause_s)
    return found


@zgen.remote(max_retries=-1)
def read(stream: Any, count: int, pause_s: float) -> list[str]:
    """Read so many items, and leave the rest."""
    return take(stream, count, pause_s)


@zgen.remote(max_retries=-1)
def read_and_return(given: dict[str, Any], count: int, pause_s: float) -> tuple[list[str], Any]:
    """Read so many items, and return the stream."""
    return take(given["stream"], count, pause_s), given["stream"]


@zgen.remote(max_retries=-1)
def read_and_pass(stream: Any, count: int, pause_s: float) -> list[str]:
    """Read the first half, and have another task read the rest."""
    found = take(stream, count // 2, pause_s)
    rest = read.remote(stream, count - count // 2, pause_s)
    del stream
    return found + list(zgen.get(rest))


@zgen.remote(max_retries=-1)
def make(seed: int, count: int, size_bytes: int) -> Any:
    """Return a stream of one's own."""
    return bodies.items.remote(seed, count, size_bytes)


@zgen.remote(num_cpus=0)
class Reader(RemoteClass):
    """Reads what it is given, one call at a time or several."""

    def read(self, stream: Any, count: int, pause_s: float) -> list[str]:
        """Read so many items."""
        return take(stream, count, pause_s)

    def repeat(self, stream: Any) -> Iterator[Any]:
        """Yield the same."""
        for ref in stream:
            yield zgen.get(ref)


@zgen.remote(num_cpus=0)
class AsyncReader(RemoteClass):
    """Reads what it is given in an event loop."""

    async def read(self, stream: Any, count: int, pause_s: float) -> list[str]:
        """Read so many items."""
        found: list[str] = []
        async for ref in stream:
            found.append(print_of(await ref))
            if len(found) == count:
                break
            await asyncio.sleep(pause_s)
        return found

    async def repeat(self, stream: Any) -> Any:
        """Yield the same."""
        async for ref in stream:
            yield await ref
