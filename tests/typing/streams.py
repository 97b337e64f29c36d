"""What type checkers say of streams, `get`, `wait`, `put` and `await`; nothing of it runs.

Cases are as in ``functions.py``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, assert_type

import zgen
from zgen import DynamicObjectRefGenerator, ObjectRef, ObjectRefGenerator


# -- functions that yield --------------------------------------------------------------------------
@zgen.remote
def by_iterator(count: int, *, start: int = 0) -> Iterator[int]:
    yield from range(start, start + count)


@zgen.remote
def by_generator(count: int) -> Generator[str, None, bool]:
    yield "a"
    return True


@zgen.remote
def by_iterable(count: int) -> Iterable[bytes]:
    yield b""


@zgen.remote(max_retries=3)
def with_options(count: int) -> Iterator[dict[str, int]]:
    yield {}


@zgen.remote
async def by_async_iterator(count: int) -> AsyncIterator[int]:
    yield 1


@zgen.remote
async def by_async_generator(count: int) -> AsyncGenerator[str, None]:
    yield "a"


@zgen.remote
async def by_async_iterable(count: int) -> AsyncIterable[float]:
    yield 0.5


assert_type(by_iterator.remote(3), ObjectRefGenerator[int])
assert_type(by_iterator.remote(3, start=1), ObjectRefGenerator[int])
assert_type(by_generator.remote(3), ObjectRefGenerator[str])
assert_type(by_iterable.remote(3), ObjectRefGenerator[bytes])
assert_type(with_options.remote(3), ObjectRefGenerator[dict[str, int]])
assert_type(by_async_iterator.remote(3), ObjectRefGenerator[int])
assert_type(by_async_generator.remote(3), ObjectRefGenerator[str])
assert_type(by_async_iterable.remote(3), ObjectRefGenerator[float])
assert_type(by_iterator.options(num_cpus=1).remote(3), ObjectRefGenerator[int])
assert_type(by_iterator.options(num_returns="streaming").remote(3), ObjectRefGenerator[int])
assert_type(
    by_iterator.options(num_returns="dynamic").remote(3), ObjectRef[DynamicObjectRefGenerator[Any]]
)
assert_type(by_iterator.options(num_returns=2).remote(3), list[ObjectRef[Any]])
assert_type(by_iterator.remote(zgen.put(3), start=1), ObjectRefGenerator[int])
by_iterator.remote("3")  # wrong: of another type
by_iterator.remote(3, stop=1)  # wrong: no such name
by_iterator.remote(zgen.put("3"))  # wrong: a reference to another type

# -- streams ---------------------------------------------------------------------------------------
stream = by_iterator.remote(3)
assert_type(next(stream), ObjectRef[int])
assert_type(stream.next(timeout=1), ObjectRef[int])
assert_type(iter(stream), Iterator[ObjectRef[int]])
assert_type(zgen.get(next(stream)), int)
assert_type(list(stream), list[ObjectRef[int]])
assert_type(stream.next_ready(), bool)
for ref in stream:
    assert_type(ref, ObjectRef[int])
zgen.get(stream)  # wrong: a stream is not got

# -- dialogues -------------------------------------------------------------------------------------
spoken = by_generator.options(two_way=True).remote(3)
assert_type(spoken, ObjectRefGenerator[str])
assert_type(spoken.send(5), ObjectRef[str])
assert_type(zgen.get(spoken.send(5)), str)
assert_type(spoken.throw(KeyError()), ObjectRef[str])
assert_type(spoken.throw(KeyError), ObjectRef[str])
spoken.throw("error")  # wrong: no exception
spoken.send()  # wrong: nothing


@zgen.remote(two_way=True)
def speaks(count: int) -> Generator[bytes, int, bool]:
    yield b""
    return True


assert_type(speaks.remote(3).send(1), ObjectRef[bytes])

# -- get, put and wait -----------------------------------------------------------------------------
one: ObjectRef[int] = zgen.put(1)
assert_type(zgen.put("a"), ObjectRef[str])
assert_type(zgen.get(one), int)
assert_type(zgen.get(one, timeout=1), int)
assert_type(zgen.get([one, one]), list[int])
assert_type(zgen.get(list(stream)), list[int])
assert_type(zgen.wait([one]), tuple[list[ObjectRef[int]], list[ObjectRef[int]]])
streams = [stream, by_iterator.remote(1)]
assert_type(
    zgen.wait(streams, num_returns=2, timeout=1),
    tuple[list[ObjectRefGenerator[int]], list[ObjectRefGenerator[int]]],
)
zgen.get(1)  # wrong: no reference
zgen.wait([1])  # wrong: no reference
zgen.wait(one)  # wrong: no list
zgen.cancel(1)  # wrong: no reference
wanted: ObjectRef[str] = zgen.put(1)  # wrong: to another type
wide: ObjectRef[float] = zgen.put(1.5)
wider: ObjectRef[object] = one  # a reference to an int is one to an object


# -- combinations ----------------------------------------------------------------------------------
@zgen.remote
def half(number: int) -> float:
    return number / 2


assert_type(zgen.streams.merge(stream, stream), Generator[ObjectRef[int], None, None])
assert_type(next(zgen.streams.zipped(stream, stream)), tuple[ObjectRef[int], ...])
assert_type(next(zgen.streams.mapped(half.remote, stream, in_flight=2)), ObjectRef[float])
assert_type(next(zgen.streams.timed(stream, 1)), ObjectRef[int])
assert_type(next(zgen.streams.tracked(stream, print)), ObjectRef[int])
zgen.streams.mapped(half.remote, stream)  # wrong: without a bound


# -- event loops -----------------------------------------------------------------------------------
async def awaits() -> None:
    assert_type(await one, int)
    assert_type(await anext(stream), ObjectRef[int])
    assert_type(await spoken.asend(5), ObjectRef[str])
    assert_type(await spoken.athrow(KeyError()), ObjectRef[str])
    async for ref in stream:
        assert_type(ref, ObjectRef[int])
        assert_type(await ref, int)
    assert_type([await ref async for ref in stream], list[int])
    assert_type(await asyncio.wait_for(one, 1), int)
    assert_type(one.as_future(), asyncio.Future[int])
    assert_type(one.future(), concurrent.futures.Future[int])
    async for ref in zgen.async_streams.merge(stream, stream):
        assert_type(ref, ObjectRef[int])
    async for result in zgen.async_streams.mapped(half.remote, stream, in_flight=2):
        assert_type(result, ObjectRef[float])
