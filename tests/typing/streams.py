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
from zgen import DynamicObjectRefGenerator, ObjectRef, ObjectRefGenerator, RefTupleGenerator


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


# -- several references a yield --------------------------------------------------------------------
@zgen.remote(num_objects_per_yield=2)
def pairs(count: int) -> Iterator[tuple[int, str]]:
    yield 1, "a"


@zgen.remote(num_objects_per_yield=3, max_pending_items=2)
def triples(count: int) -> Generator[tuple[int, str, bytes], None, bool]:
    yield 1, "a", b""
    return True


@zgen.remote(num_objects_per_yield=2)
async def pairs_async(count: int) -> AsyncIterator[tuple[int, str]]:
    yield 1, "a"


@zgen.remote(num_objects_per_yield=9)
def many(count: int) -> Iterator[list[int]]:
    yield [1]


Pair = tuple[ObjectRef[int], ObjectRef[str]]
assert_type(pairs.remote(3), RefTupleGenerator[Pair])
assert_type(pairs.remote(zgen.put(3)), RefTupleGenerator[Pair])
assert_type(
    triples.remote(3), RefTupleGenerator[tuple[ObjectRef[int], ObjectRef[str], ObjectRef[bytes]]]
)
assert_type(pairs_async.remote(3), RefTupleGenerator[Pair])
assert_type(many.remote(3), RefTupleGenerator[tuple[ObjectRef[int], ...]])
assert_type(next(pairs.remote(3)), Pair)
assert_type(pairs.remote(3).next(timeout=1), Pair)
assert_type(list(pairs.remote(3)), list[Pair])
assert_type(zgen.get(next(pairs.remote(3))[1]), str)
for one, other in pairs.remote(3):
    assert_type(one, ObjectRef[int])
    assert_type(other, ObjectRef[str])
assert_type(next(zgen.streams.merge(pairs.remote(1), pairs.remote(2))), Pair)
assert_type(next(zgen.streams.timed(pairs.remote(1), 5)), Pair)
assert_type(next(zgen.streams.zipped(pairs.remote(1), pairs.remote(2))), tuple[Pair, ...])
assert_type(
    by_iterator.options(num_objects_per_yield=2).remote(3),
    RefTupleGenerator[tuple[ObjectRef[Any], ...]],
)
pairs.remote("3")  # wrong: of another type
zgen.remote(num_objects_per_yield=2)(len)  # wrong: no generator function


async def pairs_in_a_loop() -> None:
    async for one, other in pairs_async.remote(3):
        assert_type(await one, int)
        assert_type(await other, str)
    assert_type(await anext(pairs.remote(3)), Pair)
    assert_type(await anext(zgen.async_streams.merge(pairs.remote(1))), Pair)


# -- windows ---------------------------------------------------------------------------------------
@zgen.remote(max_pending_items=2, max_pending_bytes=1_000)
def held_back(count: int) -> Iterator[int]:
    yield 1


assert_type(held_back.remote(3), ObjectRefGenerator[int])
assert_type(held_back.options(max_pending_items=5).remote(3), ObjectRefGenerator[int])
assert_type(by_generator.options(max_pending_bytes=1_000).remote(3), ObjectRefGenerator[str])
held_back.options(max_pending_items=5).remote("3")  # wrong: of another type


# -- handed over -----------------------------------------------------------------------------------
@zgen.remote
def reads(stream: ObjectRefGenerator[int], count: int) -> list[int]:
    return [zgen.get(ref) for ref in stream]


@zgen.remote
def reads_and_returns(stream: ObjectRefGenerator[int]) -> ObjectRefGenerator[int]:
    return stream


@zgen.remote
def reads_pairs(stream: RefTupleGenerator[Pair]) -> int:
    return sum(zgen.get(number) for number, _ in stream)


assert_type(reads.remote(by_iterator.remote(3), 3), ObjectRef[list[int]])
assert_type(reads_and_returns.remote(by_iterator.remote(3)), ObjectRef[ObjectRefGenerator[int]])
assert_type(
    next(zgen.get(reads_and_returns.remote(held_back.remote(3)))),
    ObjectRef[int],
)
assert_type(reads_pairs.remote(pairs.remote(3)), ObjectRef[int])
reads.remote(by_generator.remote(3), 3)  # wrong: a stream of another type
reads.remote(3, by_iterator.remote(3))  # wrong: the other way round
reads_pairs.remote(by_iterator.remote(3))  # wrong: a stream of single references

# -- both ways -------------------------------------------------------------------------------------
assert_type(speaks.remote(3), ObjectRefGenerator[bytes])
assert_type(speaks.remote(3).throw(KeyError), ObjectRef[bytes])
assert_type(speaks.options(two_way=True).remote(3).send(None), ObjectRef[bytes])


async def spoken_in_a_loop() -> None:
    assert_type(await speaks.remote(3).asend(1), ObjectRef[bytes])
    assert_type(await speaks.remote(3).athrow(KeyError()), ObjectRef[bytes])
    assert_type(await (await speaks.remote(3).asend(None)), bytes)
