"""Windows in bytes, and of all streams of an actor, by the public options."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen import state

pytestmark = pytest.mark.usefixtures("runtime")

#: Bytes of an item, of which some more are pickled.
INLINE, LARGE = 1_000, 200_000
#: A window that takes three of them.
WIDE = {INLINE: 3_500, LARGE: 700_000}


@zgen.remote
def sized(tally: Tally, sizes: list[int]) -> Any:
    for index, size in enumerate(sizes):
        tally.add()
        yield bytes([index % 256]) * size


@zgen.remote(num_cpus=2)
def all_cpus() -> None:
    return None


def is_at(tally: Tally, count: int) -> None:
    """Wait until so many items were made, and for the body to have given its CPU away."""
    wait_until(lambda: tally.count >= count, 20, f"{count} items are made")
    zgen.get(all_cpus.remote(), timeout=20)
    assert tally.count == count


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally(tmp_path / "yields")


@pytest.mark.beside_ray("window_in_bytes")
@pytest.mark.parametrize("size", [INLINE, LARGE])
def test_a_body_is_ahead_of_its_consumer_by_the_bytes_of_its_window(
    tally: Tally, size: int
) -> None:
    stream = sized.options(max_pending_bytes=WIDE[size]).remote(tally, [size] * 9)
    for index in range(9):
        is_at(tally, min(index + 4, 9))  # three wait, and one is made that does not fit
        assert zgen.get(next(stream))[:1] == bytes([index])
    assert list(stream) == []


def test_an_item_that_is_larger_than_its_window_comes_alone(tally: Tally) -> None:
    sizes = [10, LARGE, 10, 2_000, LARGE, LARGE, 10]
    stream = sized.options(max_pending_bytes=1_000).remote(tally, sizes)
    is_at(tally, 2)
    assert [len(zgen.get(ref)) for ref in stream] == sizes


def test_many_small_items_go_through_a_window_in_bytes_in_order(tally: Tally) -> None:
    stream = sized.options(max_pending_bytes=2_000, max_pending_items=200).remote(
        tally, [10] * 2_000
    )
    assert [zgen.get(ref)[0] for ref in stream] == [index % 256 for index in range(2_000)]


@pytest.mark.parametrize("how", ["wait", "poll", "async"])
def test_who_looks_before_he_takes_lets_a_large_item_come(tally: Tally, how: str) -> None:
    """What was handed over ahead was taken; that the producer hears of it depends on nobody."""
    sizes = [300] * 6 + [9_000, 300]
    stream = sized.options(max_pending_bytes=10_000).remote(tally, sizes)
    is_at(tally, 7)
    taken = [next(stream) for _ in range(6)]
    if how == "wait":
        assert zgen.wait([stream], timeout=20) == ([stream], [])
    elif how == "poll":
        wait_until(stream.next_ready, 20, "the large one is there")
    else:
        taken.append(asyncio.run(asyncio.wait_for(anext(stream), 20)))
    assert [len(zgen.get(ref)) for ref in (*taken, *stream)] == sizes


def test_a_retried_body_is_held_back_by_what_is_unread_alone(tally: Tally) -> None:
    runs = Tally(tally.path.with_name("runs"))

    @zgen.remote(retry_exceptions=True, max_pending_bytes=2_500)
    def flaky() -> Any:
        run = runs.add()
        for index in range(zgen.stream_position(), 10):
            tally.add()
            yield bytes([index]) * 1_000
            if run == 1 and index == 1:
                raise ValueError("again")

    stream = flaky.remote()
    wait_until(lambda: runs.count == 2, 20, "it runs again")
    is_at(tally, 3)
    assert [zgen.get(ref)[0] for ref in stream] == list(range(10))
    assert tally.count == 10


class Source(RemoteClass):
    """An actor that yields items of a thousand bytes."""

    def __init__(self) -> None:
        self.made = [0, 0, 0]

    def run(self, number: int, items: int) -> Iterator[bytes]:
        for _ in range(items):
            self.made[number] += 1
            yield bytes(INLINE)

    def made_so_far(self) -> list[int]:
        return self.made


class AsyncSource(Source):
    """The same in an event loop."""

    async def run_async(self, number: int, items: int) -> AsyncIterator[bytes]:
        for _ in range(items):
            self.made[number] += 1
            yield bytes(INLINE)


@pytest.mark.parametrize("kind", ["threaded", "async", "sync in async"])
def test_all_streams_of_an_actor_share_its_window(kind: str) -> None:
    """Six items of all three: two of each; and another one of each that is kept back."""
    threads = {"max_concurrency": 5} if kind == "threaded" else {}
    source = Source if kind == "threaded" else AsyncSource
    actor: Any = zgen.remote(max_pending_bytes=6_600, num_cpus=0, **threads)(source).remote()
    method = actor.run_async if kind == "async" else actor.run
    streams = [method.remote(number, 20) for number in range(3)]
    opened = [next(stream) for stream in streams]
    wait_until(lambda: sum(zgen.get(actor.made_so_far.remote())) >= 9, 20, "all wait")
    assert sum(zgen.get(actor.made_so_far.remote())) <= 3 + 6 + 3
    assert len([*opened, *(ref for stream in streams for ref in stream)]) == 60
    assert zgen.get(actor.made_so_far.remote()) == [20, 20, 20]


def test_the_list_of_streams_says_why_a_body_waits(tally: Tally) -> None:
    by_items = sized.options(max_pending_items=2).remote(tally, [10] * 5)
    by_bytes = sized.options(max_pending_bytes=100).remote(tally, [80] * 5)

    def said() -> list[str]:
        rows = {row.stream_id: row.parked_by for row in state.list_streams()}
        return [rows[stream.task_id().hex()] for stream in (by_items, by_bytes)]

    wait_until(lambda: said() == ["items", "bytes"], 20, "both wait")


@pytest.mark.parametrize("name", ["max_pending_items", "max_pending_bytes"])
@pytest.mark.parametrize("wrong", [0, -2, 1.5, "1", True])
def test_a_window_is_a_number_of_something(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        sized.options(**{name: wrong})
    with pytest.raises(ValueError, match=name):
        zgen.method(**{name: wrong})(print)
    with pytest.raises(ValueError, match=name):
        zgen.remote(**{name: wrong})(Source)


def test_a_window_has_one_name_at_a_time() -> None:
    both = {"max_pending_items": 2, "_generator_backpressure_num_objects": 2}
    with pytest.raises(ValueError, match="are the same option"):
        sized.options(**both)
