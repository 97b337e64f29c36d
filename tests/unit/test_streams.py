from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from zgen import async_streams, streams
from zgen.streams import Progress

#: Submits nothing.
WRONG: Any = str


async def one_by_one(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("module", [streams, async_streams])
def test_what_cannot_be_merged_or_mapped_is_refused_at_the_call(module: Any) -> None:
    wrong: list[tuple[Callable[[], Any], type[Exception]]] = [
        (lambda: module.merge([]), TypeError),
        (lambda: module.merge(1), TypeError),
        (lambda: module.mapped(WRONG, [], in_flight=0), ValueError),
        (lambda: module.mapped(WRONG, [], in_flight=1.5), TypeError),
        (lambda: module.mapped(WRONG, [], in_flight=True), TypeError),
    ]
    for call, error in wrong:
        with pytest.raises(error, match=r"merge takes|in_flight"):
            call()


def test_nothing_merges_zips_and_maps_to_nothing() -> None:
    assert list(streams.merge()) == []
    assert list(streams.zipped()) == []
    assert list(streams.mapped(WRONG, [], in_flight=1)) == []
    assert asyncio.run(all_of(async_streams.merge())) == []
    assert asyncio.run(all_of(async_streams.zipped())) == []
    assert asyncio.run(all_of(async_streams.mapped(WRONG, [], in_flight=1))) == []


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_submitted_must_be_one_reference(ordered: bool) -> None:
    with pytest.raises(TypeError, match="one ObjectRef, got str"):
        list(streams.mapped(WRONG, [1], in_flight=1, ordered=ordered))
    with pytest.raises(TypeError, match="one ObjectRef, got str"):
        asyncio.run(all_of(async_streams.mapped(WRONG, [1], in_flight=1, ordered=ordered)))


def test_progress_is_told_now_and_then_and_at_the_end() -> None:
    told: list[tuple[int, bool]] = []

    def report(progress: Progress) -> None:
        assert progress.elapsed_s >= 0
        told.append((progress.count, progress.is_over))

    assert list(streams.tracked("abc", report, every_s=0)) == ["a", "b", "c"]
    assert told == [(1, False), (2, False), (3, False), (3, True)]
    told.clear()
    assert asyncio.run(all_of(async_streams.tracked(one_by_one(2), report, every_s=0))) == [0, 1]
    assert told == [(1, False), (2, False), (2, True)]
    told.clear()
    assert len(list(streams.tracked(range(1000), report, every_s=3600))) == 1000
    assert told == [(1000, True)]


def test_who_leaves_early_is_not_told_of_an_end() -> None:
    told: list[Progress] = []
    items: Iterator[int] = streams.tracked(range(10), told.append, every_s=3600)
    assert next(items) == 0
    del items
    assert told == []


def test_zips_of_other_iterables_end_with_the_shortest_or_say_which_that_was() -> None:
    async def pairs(strict: bool) -> list[Any]:
        zipped: Any = async_streams.zipped
        return [pair async for pair in zipped(one_by_one(3), one_by_one(2), strict=strict)]

    assert asyncio.run(pairs(strict=False)) == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="stream 2 ended before"):
        asyncio.run(pairs(strict=True))
