"""Streams put together: merged, zipped, mapped, with a time for each item, and left early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from zgen.exceptions import GetTimeoutError
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote(num_cpus=0)
def numbers(count: int, start: int = 0) -> Iterator[int]:
    yield from range(start, start + count)


@zgen.remote(num_cpus=0)
def one_then(gate: Gate, first: int, then: int) -> Iterator[int]:
    yield first
    gate.wait()
    yield then


@zgen.remote(num_cpus=0)
def fails_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise LookupError("the last one")


@zgen.remote(num_cpus=0)
def double(number: int) -> int:
    return 2 * number


@zgen.remote(num_cpus=0)
def after(gate: Gate | None, number: int) -> int:
    if gate is not None:
        gate.wait()
    if number < 0:
        raise ValueError("negative")
    return number


def values(refs: Iterable[Any]) -> list[Any]:
    return [zgen.get(ref, timeout=20) for ref in refs]


def awaited(refs: AsyncIterator[Any]) -> list[Any]:
    async def main() -> list[Any]:
        return [await ref async for ref in refs]

    return asyncio.run(main())


#: Each combinator and its twin, as functions that return values.
BOTH = pytest.mark.parametrize(
    ("module", "read"),
    [(zgen.streams, values), (zgen.async_streams, awaited)],
    ids=["sync", "async"],
)
Read = Callable[[Any], list[Any]]


@BOTH
@pytest.mark.beside_ray("combinators")
def test_a_merge_has_all_items_of_each_stream_in_its_order(module: Any, read: Read) -> None:
    streams = [numbers.remote(100, 1000 * which) for which in range(5)]
    found = read(module.merge(*streams, numbers.remote(0)))
    assert len(found) == 500
    for which in range(5):
        own = [number for number in found if number // 1000 == which]
        assert own == list(range(1000 * which, 1000 * which + 100))


@BOTH
def test_a_merge_has_what_is_ready_and_errors_in_their_place(
    module: Any, read: Read, gate: Gate
) -> None:
    held = one_then.remote(gate, -1, -2)
    failing = fails_after.remote(2)
    refs = module.merge(held, failing, numbers.remote(200))

    async def until_200() -> list[Any]:
        found = []
        async for ref in refs:
            found.append(await asyncio.gather(ref, return_exceptions=True))
            if len(found) == 204:
                gate.open()
        return [each[0] for each in found]

    if module is zgen.streams:
        found = []
        for ref in refs:
            try:
                found.append(zgen.get(ref, timeout=20))
            except LookupError as error:
                found.append(error)
            if len(found) == 204:
                gate.open()
    else:
        found = asyncio.run(until_200())
    assert found[-1] == -2
    assert len(found) == 205
    assert [isinstance(each, LookupError) for each in found].count(True) == 1


@BOTH
def test_a_slow_stream_is_not_starved_by_a_fast_one(module: Any, read: Read) -> None:
    fast, slow = numbers.remote(5000), numbers.remote(3, -3)
    zgen.wait([fast.completed(), slow.completed()], num_returns=2, timeout=20)
    found = read(module.merge(fast, slow))
    assert len(found) == 5003
    assert found.index(-1) < 1000


@BOTH
@pytest.mark.beside_ray("combinators")
def test_a_zip_has_items_by_their_places(module: Any, read: Read) -> None:
    def zipped(*counts: int, strict: bool) -> list[list[int]]:
        streams = [numbers.remote(count, 10 * count) for count in counts]
        if module is zgen.streams:
            return [zgen.get(list(refs)) for refs in module.zipped(*streams, strict=strict)]

        async def main() -> list[list[int]]:
            pairs = module.zipped(*streams, strict=strict)
            return [await asyncio.gather(*refs) async for refs in pairs]

        return asyncio.run(main())

    assert zipped(2, 2, strict=True) == [[20, 20], [21, 21]]
    assert zipped(3, 1, strict=False) == [[30, 10]]
    with pytest.raises(ValueError, match=r"shorter|longer|ended before"):
        zipped(3, 1, strict=True)


@BOTH
@pytest.mark.parametrize("ordered", [True, False])
def test_a_map_over_a_stream_has_the_result_of_each_item(
    module: Any, read: Read, ordered: bool
) -> None:
    for source in (numbers.remote(50), range(50)):
        found = read(module.mapped(double.remote, source, in_flight=4, ordered=ordered))
        assert (found if ordered else sorted(found)) == [2 * number for number in range(50)]


@BOTH
def test_a_map_has_no_more_in_flight_than_it_may(module: Any, read: Read) -> None:
    running: list[int] = []

    def submit(number: int) -> zgen.ObjectRef[int]:
        running.append(number)
        return double.remote(number)

    refs = module.mapped(submit, range(10), in_flight=3)
    if module is zgen.streams:
        for taken, _ in enumerate(refs):
            assert len(running) <= taken + 3
    else:

        async def main() -> None:
            taken = 0
            async for _ in refs:
                assert len(running) <= taken + 4  # the last one taken may be replaced already
                taken += 1

        asyncio.run(main())
    assert running == list(range(10))


@BOTH
@pytest.mark.parametrize("ordered", [True, False])
def test_a_map_waits_for_its_order_only_where_that_counts(
    module: Any, read: Read, ordered: bool, gate: Gate
) -> None:
    def submit(number: int) -> zgen.ObjectRef[int]:
        return after.remote(gate if number == 0 else None, number)

    refs = module.mapped(submit, [0, 1, 2], in_flight=3, ordered=ordered)

    async def main() -> list[int]:
        async with aclosing(refs) as steps:
            first = asyncio.create_task(anext(steps))
            await asyncio.wait([first], timeout=0.2 if ordered else 20)
            assert first.done() is not ordered
            gate.open()
            found = [await (await first)]
            return found + [await ref async for ref in steps]

    if module is zgen.async_streams:
        found = asyncio.run(main())
    else:
        if ordered:
            gate.open()
        found = values([next(refs)])
        gate.open()
        found += values(refs)
    assert sorted(found) == [0, 1, 2]
    assert (found == [0, 1, 2]) is ordered


@BOTH
def test_an_error_of_a_task_lies_in_its_reference_and_one_of_the_source_ends_the_map(
    module: Any, read: Read
) -> None:
    def source() -> Iterator[int]:
        yield -1
        yield 2
        raise KeyError("the source")

    found: list[Any] = []

    def submit(number: int) -> zgen.ObjectRef[int]:
        return after.remote(None, number)

    async def main() -> None:
        async for ref in module.mapped(submit, source(), in_flight=1):
            found.extend(await asyncio.gather(ref, return_exceptions=True))

    def run() -> None:
        if module is zgen.async_streams:
            asyncio.run(main())
            return
        for ref in module.mapped(submit, source(), in_flight=1):
            try:
                found.append(zgen.get(ref, timeout=20))
            except ValueError as error:
                found.append(error)

    with pytest.raises(KeyError, match="the source"):
        run()
    assert isinstance(found[0], ValueError)
    assert found[1:] == [2]


@BOTH
def test_each_item_has_its_time_and_nothing_is_lost_by_a_timeout(
    module: Any, read: Read, gate: Gate
) -> None:
    stream = one_then.remote(gate, 1, 2)
    assert zgen.get(next(stream), timeout=20) == 1
    with pytest.raises(GetTimeoutError, match="the next item"):
        read(module.timed(stream, 0.05))
    gate.open()
    assert read(module.timed(stream, 20)) == [2]
    with pytest.raises(ValueError, match=r"negative|timeout"):
        read(module.timed(stream, -1))


def test_who_leaves_early_frees_what_was_not_taken(runtime: Runtime, gate: Gate) -> None:
    merged = zgen.streams.merge(one_then.remote(gate, 1, 2), numbers.remote(100))
    mapped = zgen.streams.mapped(double.remote, numbers.remote(100), in_flight=2)
    assert sorted(values([next(merged), next(mapped)]))
    merged.close()
    mapped.close()
    gate.open()  # and the fixture sees that nothing is held


def test_who_leaves_an_asynchronous_one_early_leaves_nothing_behind(
    runtime: Runtime, gate: Gate
) -> None:
    async def main() -> None:
        held = one_then.remote(gate, 1, 2)
        async with aclosing(zgen.async_streams.merge(held, numbers.remote(100))) as refs:
            async for ref in refs:
                await ref
                break
        del held, refs, ref
        tasks = zgen.async_streams.mapped(
            lambda ref: after.remote(gate, ref), numbers.remote(9), in_flight=3
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), aclosing(tasks):
                await anext(tasks)
        assert [task for task in asyncio.all_tasks() if not task.done()] == [asyncio.current_task()]

    asyncio.run(main())
    gate.open()
    assert runtime.bells.is_idle()


def test_progress_of_a_stream_is_told() -> None:
    counts: list[int] = []
    found = zgen.streams.tracked(
        numbers.remote(3), lambda progress: counts.append(progress.count), every_s=0
    )
    assert values(found) == [0, 1, 2]
    assert counts == [1, 2, 3, 3]
