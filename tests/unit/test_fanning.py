"""Several readers of one source: each gets all, none is too far ahead, and any may leave."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from zgen import async_streams, fanning, streams

NEVER_S = 20.0


class Source:
    """An iterator that knows how often it was asked."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.asked = 0
        self._count, self._error = count, error

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.asked == self._count:
            raise self._error or StopIteration
        self.asked += 1
        return Item(self.asked - 1)

    async def later(self) -> AsyncIterator[Any]:
        for item in self:
            await asyncio.sleep(0)
            yield item


class Item:
    """Stands for a reference: it counts those that live."""

    alive = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Item.alive += 1

    def __del__(self) -> None:
        Item.alive -= 1


def numbers(branch: Any, count: int = 1_000) -> list[int]:
    return [item.number for _, item in zip(range(count), branch, strict=False)]


@pytest.mark.beside_ray("fan_out")
def test_each_reader_gets_every_item() -> None:
    first, second = streams.fan_out(Source(5), 2)
    assert numbers(first) == numbers(second) == [0, 1, 2, 3, 4]
    assert numbers(first) == numbers(second) == []


@pytest.mark.beside_ray("fan_out")
def test_an_item_is_asked_for_once_and_let_go_when_the_slowest_has_it() -> None:
    gc.collect()
    before, source = Item.alive, Source(9)
    first, second, third = streams.fan_out(source, 3, max_pending_items=4)
    assert numbers(first, 4) == numbers(second, 4) == [0, 1, 2, 3]
    assert (source.asked, Item.alive - before) == (4, 4)
    assert numbers(third, 3) == [0, 1, 2]
    assert Item.alive - before == 1
    third.close()
    assert Item.alive - before == 0
    assert numbers(third) == []
    third.close()


def test_the_fastest_waits_for_the_slowest_in_another_thread() -> None:
    source = Source(100)
    fast, slow = streams.fan_out(source, 2, max_pending_items=2)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(numbers(fast)))
    thread.start()
    for number in range(100):
        assert next(slow).number == number  # type: ignore[attr-defined]  # an Item
        assert source.asked <= number + 3
    thread.join(NEVER_S)
    assert found == list(range(100))


def test_one_who_would_wait_for_himself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanning, "FAN_OUT_SELF_WAIT_NS", 1)
    monkeypatch.setattr(fanning, "SLOW_POLL_NS", 1_000_000)
    first, second = streams.fan_out(Source(9), 2, max_pending_items=2)
    assert numbers(first, 2) == [0, 1]
    with pytest.raises(RuntimeError, match=r"reader 0 .* reader 1 .* no other thread"):
        next(first)
    assert numbers(second, 1) == [0]
    assert numbers(first, 1) == [2]
    with pytest.raises(RuntimeError):
        next(first)


def test_one_who_would_wait_for_himself_in_an_event_loop_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(async_streams, "FAN_OUT_SELF_WAIT_NS", 1_000_000)

    async def run() -> None:
        first, second = async_streams.fan_out(Source(9).later(), 2, max_pending_items=2)
        assert [(await anext(first)).number for _ in range(2)] == [0, 1]  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match=r"reader 0 .* reader 1 .* no other task"):
            await anext(first)
        behind = asyncio.ensure_future(anext(second))
        assert (await behind).number == 0  # type: ignore[attr-defined]  # an Item
        assert (await anext(first)).number == 2  # type: ignore[attr-defined]  # an Item
        waits = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0.05)  # it was read in another task, which may read on
        assert not waits.done()
        await anext(second)
        assert (await waits).number == 3  # type: ignore[attr-defined]  # an Item

    asyncio.run(asyncio.wait_for(run(), NEVER_S))


def test_a_reader_that_is_dropped_holds_nobody_up() -> None:
    first, second = streams.fan_out(Source(9), 2, max_pending_items=1)
    assert numbers(first, 1) == [0]
    del second
    assert numbers(first) == list(range(1, 9))


def test_a_reader_that_is_closed_lets_who_waits_for_it_go_on() -> None:
    first, second = streams.fan_out(Source(9), 2, max_pending_items=1)
    next(second)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(numbers(first)))
    thread.start()
    with second:
        pass
    thread.join(NEVER_S)
    assert found == list(range(9))
    first.close()


def test_what_the_source_raises_comes_behind_its_last_item_to_each() -> None:
    for branch in streams.fan_out(Source(2, LookupError("lost")), 2):
        assert numbers(branch, 2) == [0, 1]
        with pytest.raises(LookupError, match="lost"):
            next(branch)


def test_several_threads_read_side_by_side() -> None:
    branches = streams.fan_out(Source(300), 4, max_pending_items=3)
    found: list[list[int]] = [[] for _ in branches]
    threads = [
        threading.Thread(target=lambda at=at, b=b: found[at].extend(numbers(b)))
        for at, b in enumerate(branches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(NEVER_S)
    assert found == [list(range(300))] * 4


@pytest.mark.parametrize("make", [streams.fan_out, async_streams.fan_out])
def test_what_is_no_number_of_readers_is_refused(make: Any) -> None:
    source = Source(1) if make is streams.fan_out else Source(1).later()
    with pytest.raises(ValueError, match="at least 1"):
        make(source, 0)
    with pytest.raises(ValueError, match="at least 1"):
        make(source, 1, max_pending_items=0)
    with pytest.raises(TypeError):
        make(source, 1.5)
    (branch,) = make(source, 1)
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(branch)


def test_an_event_loop_has_the_same() -> None:
    async def run() -> None:
        source = Source(50)
        branches = async_streams.fan_out(source.later(), 3, max_pending_items=2)

        async def read(branch: Any, left: int = 1_000) -> list[int]:
            found: list[int] = []
            async for item in branch:
                found.append(item.number)
                left -= 1
                if not left:
                    break
            return found

        last = branches.pop()
        both = asyncio.gather(*[read(branch) for branch in branches])
        assert await read(last, 3) == [0, 1, 2]
        await asyncio.sleep(0.01)
        assert source.asked <= 5
        async with last:
            pass
        await last.aclose()
        assert await read(last) == []
        assert await both == [list(range(50))] * 2

    asyncio.run(asyncio.wait_for(run(), NEVER_S))


def test_a_reader_of_an_event_loop_that_is_dropped_or_cancelled_holds_nobody_up() -> None:
    async def run() -> None:
        first, second = async_streams.fan_out(Source(4).later(), 2, max_pending_items=1)
        await anext(first)
        waits = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0)
        waits.cancel()
        waits = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0)
        del second
        assert (await waits).number == 1  # type: ignore[attr-defined]  # an Item
        (only,) = async_streams.fan_out(Source(1, LookupError("lost")).later(), 1)
        await anext(only)
        with pytest.raises(LookupError):
            await anext(only)

    asyncio.run(asyncio.wait_for(run(), NEVER_S))
