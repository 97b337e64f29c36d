"""Generators each of whose yields gives several references."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen import RefTupleGenerator
from zgen.exceptions import GetTimeoutError, NestedRefError, TaskError, YieldCountError

pytestmark = pytest.mark.usefixtures("runtime")

LARGE = 300_000


@zgen.remote(num_objects_per_yield=2)
def pairs(count: int, size: int = 0) -> Generator[Any, None, str]:
    for number in range(count):
        yield bytes(size) + b"%d" % number, number
    return "end"


@zgen.remote(num_objects_per_yield=2)
async def pairs_async(count: int, size: int = 0) -> AsyncIterator[Any]:
    for number in range(count):
        yield [bytes(size) + b"%d" % number, number]
        await asyncio.sleep(0)


class Actor(RemoteClass):
    @zgen.method(num_objects_per_yield=2)
    def pairs(self, count: int, size: int = 0) -> Iterator[Any]:
        for number in range(count):
            yield bytes(size) + b"%d" % number, number


class AsyncActor(RemoteClass):
    @zgen.method(_num_objects_per_yield=2)
    async def pairs(self, count: int, size: int = 0) -> AsyncIterator[Any]:
        for number in range(count):
            yield bytes(size) + b"%d" % number, number


def makers() -> list[Any]:
    threaded = zgen.remote(Actor).options(max_concurrency=2).remote()
    return [
        *(pairs, pairs_async, zgen.remote(Actor).remote().pairs),
        *(threaded.pairs, zgen.remote(AsyncActor).remote().pairs),
    ]


def read(stream: Any) -> list[int]:
    """Check both of each pair, got apart; return the numbers."""
    numbers: list[int] = []
    for text, number in stream:
        numbers.append(zgen.get(number, timeout=20))
        assert zgen.get(text, timeout=20).strip(b"\0") == b"%d" % numbers[-1]
    return numbers


@zgen.remote
def read_there(stream: Any, count: int = 1_000) -> list[int]:
    return read(pair for _, pair in zip(range(count), stream, strict=False))


@pytest.mark.beside_ray("several_refs_per_yield")
def test_each_yield_gives_a_tuple_of_references_that_are_got_apart() -> None:
    stream = pairs.remote(3)
    assert isinstance(stream, RefTupleGenerator)
    for number, (text, index) in enumerate(stream):
        assert zgen.get(index) == number
        assert zgen.get(text) == b"%d" % number
        assert text != index
    assert zgen.get(stream.completed()) == "end"
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == "end"


@pytest.mark.parametrize("size", [0, LARGE])
@pytest.mark.parametrize(
    "flow",
    [{}, {"max_pending_items": 1}, {"max_pending_items": 40}, {"max_pending_bytes": 2 * LARGE}],
    ids=["free", "one", "wide", "bytes"],
)
def test_every_kind_of_body_yields_them_once_and_in_order(flow: dict[str, Any], size: int) -> None:
    count = 8 if size else 100
    for maker in makers():
        assert read(maker.options(**flow).remote(count, size)) == list(range(count))


def test_one_of_a_pair_may_go_while_the_other_is_needed() -> None:
    kept = [number for _, number in pairs.remote(5, LARGE)]
    assert zgen.get(kept) == [0, 1, 2, 3, 4]
    texts = [text for text, _ in pairs.remote(3, LARGE)]
    assert [len(text) for text in zgen.get(texts)] == [LARGE + 1] * 3


def test_they_are_stepped_through_asynchronously_and_for_a_bounded_time(gate: Gate) -> None:
    @zgen.remote(num_objects_per_yield=2)
    def late() -> Iterator[tuple[int, int]]:
        yield 1, 2
        gate.wait()
        yield 3, 4

    async def main() -> list[int]:
        stream = late.remote()
        first, second = await anext(stream)
        with pytest.raises(GetTimeoutError):
            await stream.anext(timeout=0.01)
        with pytest.raises(GetTimeoutError):
            stream.next(timeout=0.01)
        assert not stream.next_ready()
        gate.open()
        return [await first, await second, *[await number async for _, number in stream]]

    assert asyncio.run(main()) == [1, 2, 4]


def test_an_exception_is_raised_by_each_reference_of_a_last_tuple() -> None:
    @zgen.remote(num_objects_per_yield=3)
    def raises() -> Iterator[tuple[int, int, int]]:
        yield 1, 2, 3
        raise LookupError("behind it")

    first, last = raises.remote()
    assert zgen.get(list(first)) == [1, 2, 3]
    assert len({ref.hex() for ref in last}) == 3
    for ref in last:
        with pytest.raises(LookupError, match="behind it"):
            zgen.get(ref)


@pytest.mark.parametrize("wrong", [(1,), (1, 2, 3), 5, "ab"])
def test_a_yield_of_another_length_ends_the_stream_behind_what_came_before(wrong: Any) -> None:
    @zgen.remote(num_objects_per_yield=2)
    def work() -> Iterator[Any]:
        yield 1, 2
        yield wrong

    first, last = work.remote()
    assert zgen.get(list(first)) == [1, 2]
    with pytest.raises(YieldCountError, match="num_objects_per_yield=2") as caught:
        zgen.get(last[1])
    assert isinstance(caught.value, TaskError)
    assert isinstance(caught.value, ValueError)


def test_a_window_counts_yields(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "yielded")

    @zgen.remote(num_objects_per_yield=3, max_pending_items=2)
    def counted(count: int) -> Iterator[tuple[int, int, int]]:
        for number in range(count):
            tally.add()
            yield number, number, number

    stream = counted.remote(10)
    wait_until(lambda: tally.count == 2, 20, "two are yielded")
    assert zgen.wait([stream], timeout=10) == ([stream], [])
    next(stream)
    wait_until(lambda: tally.count == 3, 20, "a third one")
    next(stream)
    wait_until(lambda: tally.count == 4, 20, "a fourth one")
    assert len(list(stream)) == 8


def test_what_all_streams_of_an_actor_may_have_counts_yields() -> None:
    held = zgen.remote(AsyncActor).options(max_pending_items=2).remote()
    streams = [held.pairs.remote(20) for _ in range(2)]
    assert [read(stream) for stream in streams] == [list(range(20))] * 2


def test_combinators_put_pairs_together() -> None:
    merged = zgen.streams.merge(pairs.remote(5), pairs.remote(5))
    assert sorted(read(merged)) == sorted([*range(5), *range(5)])
    assert read(zgen.streams.timed(pairs.remote(5), 20)) == list(range(5))
    for (_, one), (_, other) in zgen.streams.zipped(pairs.remote(3), pairs.remote(3)):
        assert zgen.get(one) == zgen.get(other)
    branches = zgen.streams.fan_out(pairs.remote(5), 2)
    assert [read(branch) for branch in branches] == [list(range(5))] * 2

    @zgen.remote
    def length(text: bytes, number: int) -> int:
        return len(text) + number

    mapped = zgen.streams.mapped(lambda pair: length.remote(*pair), pairs.remote(5), in_flight=2)
    assert [zgen.get(ref) for ref in mapped] == [1, 2, 3, 4, 5]

    async def main() -> list[int]:
        both = zgen.async_streams.merge(pairs.remote(3), pairs.remote(3))
        return [await number async for _, number in both]

    assert sorted(asyncio.run(main())) == [0, 0, 1, 1, 2, 2]


def test_they_are_handed_over_and_come_back_pair_by_pair() -> None:
    assert zgen.get(read_there.remote(pairs.remote(40))) == list(range(40))
    stream = pairs.options(max_pending_items=2).remote(40, LARGE)
    assert read(pair for _, pair in zip(range(3), stream, strict=False)) == [0, 1, 2]
    assert zgen.get(read_there.remote(stream, 5)) == [3, 4, 5, 6, 7]
    assert read(stream)[-1] == 39


def test_they_are_closed_and_cancelled(gate: Gate) -> None:
    @zgen.remote(num_objects_per_yield=2, max_pending_items=1)
    def endless() -> Iterator[tuple[int, int]]:
        try:
            while True:
                yield 1, 2
        finally:
            gate.open()

    with endless.remote() as stream:
        assert zgen.get(list(next(stream))) == [1, 2]
    gate.wait()
    stream = endless.remote()
    next(stream)
    zgen.cancel(stream)
    *_, last = stream
    for ref in last:
        with pytest.raises(zgen.exceptions.TaskCancelledError):
            zgen.get(ref)


def test_a_retry_goes_on_behind_whole_yields(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "made")

    @zgen.remote(num_objects_per_yield=2, max_retries=1, retry_exceptions=True)
    def resumed(count: int) -> Iterator[tuple[int, int]]:
        begin = zgen.stream_position()
        for number in range(begin, count):
            assert zgen.stream_position() == number
            if number == 5 and not begin:
                raise OSError("once")
            tally.add()
            yield number, -number

    numbers = [(zgen.get(one), zgen.get(other)) for one, other in resumed.remote(9)]
    assert numbers == [(number, -number) for number in range(9)]
    assert tally.count == 9


def test_references_inside_of_a_pair_stay_references() -> None:
    @zgen.remote(num_objects_per_yield=2)
    def nested() -> Iterator[Any]:
        yield [zgen.put("inside")], zgen.put("beside")

    ((one, other),) = nested.remote()
    assert zgen.get(zgen.get(one)[0]) == "inside"
    assert zgen.get(zgen.get(other)) == "beside"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"two_way": True}, "is two-way"),
        ({"num_returns": "dynamic"}, 'does not run as num_returns="streaming"'),
        ({"num_returns": 2}, 'does not run as num_returns="streaming"'),
        ({"num_objects_per_yield": 0}, "between 1 and 1000"),
        ({"num_objects_per_yield": 1_001}, "between 1 and 1000"),
        ({"num_objects_per_yield": True}, "between 1 and 1000"),
        ({"num_objects_per_yield": 2, "_num_objects_per_yield": 2}, "are the same option"),
    ],
)
def test_what_does_not_go_with_it_is_refused_at_the_call(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        pairs.options(**options)
    with pytest.raises(ValueError, match=text):
        zgen.remote(Actor).remote().pairs.options(**options)


def test_what_is_no_generator_yields_nothing_together() -> None:
    plural: dict[str, Any] = {"num_objects_per_yield": 2}
    with pytest.raises(ValueError, match="does not run as"):
        zgen.remote(**plural)(len)

    class Wrong(RemoteClass):
        @zgen.method(**plural)  # type: ignore[untyped-decorator]  # as it is refused
        def one(self) -> int:
            return 1

    with pytest.raises(ValueError, match=r"Wrong\.one\(\) does not run as"):
        zgen.remote(Wrong).remote()


def test_a_call_may_ask_for_single_references_again() -> None:
    (ref,) = pairs.options(num_objects_per_yield=1).remote(1)
    assert zgen.get(ref) == (b"0", 0)
    single = zgen.remote(Actor).remote().pairs.options(_num_objects_per_yield=1).remote(1)
    assert [zgen.get(ref) for ref in single] == [(b"0", 0)]


def test_it_is_pickled_by_zgen_alone() -> None:
    with pytest.raises(NestedRefError):
        pickle.dumps(pairs.remote(1))
