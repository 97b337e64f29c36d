"""Work of the soak as it runs in workers: every value follows from a seed and an index.

What is retried for ever may let no error of a process or a node through to its caller.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import zgen
from scripts.soak.talking import Talk, talk
from tests.integration.remote_class import RemoteClass


def small(seed: int, index: int) -> tuple[int, int, str]:
    """Return what item ``index`` of a stream is."""
    return seed, index, hashlib.md5(f"{seed}:{index}".encode()).hexdigest()


def block(seed: int, index: int, size_bytes: int) -> bytes:
    """Return a value of that size."""
    part = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return index.to_bytes(8) + part * (size_bytes // len(part))


def value(seed: int, index: int, size_bytes: int) -> Any:
    """Return item ``index``: small, or large; large ones are bytes or arrays in turn."""
    if not size_bytes:
        return small(seed, index)
    if seed % 2:
        return block(seed, index, size_bytes)
    import numpy as np

    return np.frombuffer(block(seed, index, size_bytes), dtype=np.uint8)


def note(path: str, text: str) -> None:
    """Append a line to a file, from whatever process."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{text}\n")


@zgen.remote(max_retries=-1)
def make(seed: int, index: int, size_bytes: int = 0, pause_s: float = 0.0) -> Any:
    """Return one value."""
    time.sleep(pause_s)
    return value(seed, index, size_bytes)


@zgen.remote(max_retries=-1)
def digest(*given: Any) -> str:
    """Return what all that was given amounts to."""
    found = hashlib.md5()
    for each in given:
        found.update(each if not isinstance(each, tuple) else repr(each).encode())
    return found.hexdigest()


@zgen.remote(max_retries=-1)
def open_and_digest(refs: list[Any]) -> str:
    """Read borrowed references."""
    found = hashlib.md5()
    for each in zgen.get(refs):
        found.update(each if not isinstance(each, tuple) else repr(each).encode())
    return found.hexdigest()


@zgen.remote(max_retries=-1)
def pass_on(refs: list[Any], depth: int) -> str:
    """Pass borrowed references on and on, until somebody reads them."""
    if not depth:
        return str(zgen.get(open_and_digest.remote(refs)))
    return str(zgen.get(pass_on.remote(refs, depth - 1)))


@zgen.remote(max_retries=-1)
def tree(seed: int, depth: int, width: int) -> int:
    """Return the sum of a tree of tasks."""
    if not depth:
        return seed
    below = [tree.remote(seed * width + i, depth - 1, width) for i in range(width)]
    return seed + int(sum(zgen.get(below)))


@zgen.remote(max_retries=0)
def once(notes: str, name: str, pause_s: float) -> str:
    """Note that it ran."""
    note(notes, name)
    time.sleep(pause_s)
    return name


@zgen.remote(max_retries=-1)
def items(
    seed: int, count: int, size_bytes: int = 0, pause_s: float = 0.0
) -> Generator[Any, None, int]:
    """Yield values, and return how many."""
    for index in range(count):
        yield value(seed, index, size_bytes)
        if pause_s:
            time.sleep(pause_s)
    return count


@zgen.remote(max_retries=-1)
def resumed(seed: int, count: int, pause_s: float) -> Iterator[Any]:
    """Yield values from where the caller is."""
    for index in range(zgen.stream_position(), count):
        yield value(seed, index, 0)
        time.sleep(pause_s)


@zgen.remote(max_retries=-1)
def failing(seed: int, count: int, pause_s: float) -> Iterator[Any]:
    """Yield values, and raise."""
    for index in range(count):
        yield value(seed, index, 0)
        time.sleep(pause_s)
    raise KeyError(seed)


@zgen.remote(max_retries=-1)
def relayed(seed: int, count: int, size_bytes: int, pause_s: float) -> Iterator[Any]:
    """Yield what a stream of one's own yields."""
    for ref in items.remote(seed, count, size_bytes, pause_s):
        yield zgen.get(ref)


@zgen.remote(max_retries=-1)
async def async_items(
    seed: int, count: int, pause_s: float, size_bytes: int = 0
) -> AsyncIterator[Any]:
    """Yield values from an event loop."""
    for index in range(count):
        yield value(seed, index, size_bytes)
        await asyncio.sleep(pause_s)


@zgen.remote(max_retries=-1)
def lend(seed: int, count: int, size_bytes: int) -> Iterator[list[Any]]:
    """Yield references to what this worker owns; live until the consumer is through."""
    for index in range(count):
        yield [zgen.put(value(seed, index, size_bytes))]
    time.sleep(1.0)


@zgen.remote(max_retries=-1)
def with_actor(seed: int, count: int) -> list[Any]:
    """Return what an actor of one's own says."""
    actor = Regular.options(max_restarts=-1, max_task_retries=-1).remote(seed)
    return [said[:2] for said in zgen.get([actor.tell.remote(k) for k in range(count)])]


@zgen.remote(max_retries=-1)
def ask(actor: Any, index: int) -> Any:
    """Return what somebody else's actor says."""
    return zgen.get(actor.tell.remote(index))[:2]


@zgen.remote(max_retries=-1)
def ask_named(name: str, index: int) -> Any:
    """Return what the actor of this name says."""
    return zgen.get(zgen.get_actor(name).tell.remote(index))[:2]


class _Telling(RemoteClass):
    """What actors of all kinds do."""

    def __init__(self, seed: int) -> None:
        """Begin a life."""
        self.seed = seed
        self.calls = 0
        self.life = f"{os.getpid()}-{time.monotonic_ns()}"

    def _said(self, index: int) -> Any:
        self.calls += 1
        return index, small(self.seed, index), self.life, self.calls


@zgen.remote(num_cpus=0)
class Regular(_Telling):
    """One call at a time."""

    def tell(self, index: int, pause_s: float = 0.0) -> Any:
        """Return index, value, life and the number of the call in it."""
        time.sleep(pause_s)
        return self._said(index)

    def once(self, notes: str, name: str, pause_s: float) -> str:
        """Note that it ran."""
        note(notes, name)
        time.sleep(pause_s)
        return name

    def items(self, count: int, size_bytes: int, pause_s: float) -> Iterator[Any]:
        """Yield values."""
        for index in range(count):
            yield value(self.seed, index, size_bytes)
            time.sleep(pause_s)

    def resumed(self, count: int, pause_s: float) -> Iterator[Any]:
        """Yield values from where the caller is."""
        for index in range(zgen.stream_position(), count):
            yield value(self.seed, index, 0)
            time.sleep(pause_s)

    def talk(self, size_bytes: int) -> Generator[Any, Any, str]:
        """Answer what is sent."""
        return (yield from talk(self.seed, size_bytes))

    def take(self, refs: list[Any]) -> str:
        """Read borrowed references."""
        found = hashlib.md5()
        for each in zgen.get(refs):
            found.update(each if not isinstance(each, tuple) else repr(each).encode())
        return found.hexdigest()


@zgen.remote(num_cpus=0)
class Async(_Telling):
    """Any number of calls at a time, in an event loop."""

    async def tell(self, index: int, pause_s: float = 0.0) -> Any:
        """Return index, value, life and the number of the call in it."""
        await asyncio.sleep(pause_s)
        return self._said(index)

    async def items(self, count: int, size_bytes: int, pause_s: float) -> AsyncIterator[Any]:
        """Yield values."""
        for index in range(count):
            yield value(self.seed, index, size_bytes)
            await asyncio.sleep(pause_s)

    async def resumed(self, count: int, pause_s: float) -> AsyncIterator[Any]:
        """Yield values from where the caller is."""
        for index in range(zgen.stream_position(), count):
            yield value(self.seed, index, 0)
            await asyncio.sleep(pause_s)

    async def talk(self, size_bytes: int) -> AsyncIterator[Any]:
        """Answer what is sent; asynchronous generators cannot delegate."""
        said = Talk(self.seed, size_bytes)
        given: Any = None
        while given != "end":
            try:
                given = yield said.answer(given)
            except KeyError as error:
                given = "raised", error.args[0]
            await asyncio.sleep(0)

    async def take(self, refs: list[Any]) -> str:
        """Read borrowed references."""
        found = hashlib.md5()
        for each in [await ref for ref in refs]:
            found.update(each if not isinstance(each, tuple) else repr(each).encode())
        return found.hexdigest()
