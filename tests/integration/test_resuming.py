"""`stream_position`: a body that runs again goes on from there; bounded steps lose nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from zgen.exceptions import GetTimeoutError, LocalProtocolError

pytestmark = pytest.mark.usefixtures("runtime")


def resumed(tally: Tally, count: int, fails_at: int) -> Iterator[int]:
    """Yield numbers; fail once, and count what was made."""
    begin = zgen.stream_position()
    for number in range(begin, count):
        assert zgen.stream_position() == number
        if number == fails_at and begin < fails_at:
            raise OSError("once")
        tally.add()
        yield number


async def resumed_async(tally: Tally, count: int, fails_at: int) -> AsyncIterator[int]:
    for number in resumed(tally, count, fails_at):
        yield number
        await asyncio.sleep(0)


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("body", [resumed, resumed_async])
@pytest.mark.beside_ray("resume")
def test_a_retry_makes_nothing_again_but_what_its_window_asks_for(
    body: Any, window: int | None, tmp_path: Path
) -> None:
    tally = Tally(tmp_path / "made")
    function = zgen.remote(body).options(
        num_returns="streaming",
        max_retries=1,
        retry_exceptions=True,
        _generator_backpressure_num_objects=window,
    )
    values = [zgen.get(ref) for ref in function.remote(tally, 12, 7)]
    assert values == list(range(12))
    assert tally.count - 12 in (0, 1) if window else tally.count == 12


def test_a_body_that_does_not_ask_begins_anew(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "made")

    @zgen.remote(max_retries=1, retry_exceptions=True)
    def anew() -> Iterator[int]:
        for number in range(5):
            if tally.add() == 4:
                raise OSError("once")
            yield number

    assert [zgen.get(ref) for ref in anew.remote()] == list(range(5))
    assert tally.count == 4 + 5


def test_outside_of_a_generator_that_streams_it_is_an_error() -> None:
    with pytest.raises(LocalProtocolError, match="for the body of a generator"):
        zgen.stream_position()

    @zgen.remote
    def plain() -> int:
        return zgen.stream_position()

    @zgen.remote(num_returns=2)
    def two() -> Iterator[int]:
        yield zgen.stream_position()
        yield 1

    for ref in (plain.remote(), two.remote()[0]):
        with pytest.raises(LocalProtocolError, match="for the body of a generator"):
            zgen.get(ref)


# -- bounded steps ---------------------------------------------------------------------------------
@zgen.remote
def late(gate: Gate) -> Iterator[int]:
    gate.wait()
    yield 0
    yield 1


def test_a_bounded_asynchronous_step_raises_and_loses_nothing(gate: Gate) -> None:
    async def main() -> None:
        stream = late.remote(gate)
        for bound in (0, 0.01, 0.01):
            with pytest.raises(GetTimeoutError, match="next item"):
                await stream.anext(timeout=bound)
        gate.open()
        assert await (await stream.anext(timeout=20)) == 0
        assert await (await stream.anext()) == 1
        for last in (None, 0):
            with pytest.raises(StopAsyncIteration):
                await stream.anext(timeout=last)

    asyncio.run(main())


def test_what_is_there_needs_no_time() -> None:
    async def main() -> None:
        stream = late.remote(Open())
        await stream.completed()
        assert [await (await stream.anext(timeout=0)) for _ in range(2)] == [0, 1]

    asyncio.run(main())


class Open(Gate):
    """Whoever waits for it goes on at once."""

    def __init__(self) -> None:
        super().__init__(Path("/"))


@pytest.mark.parametrize(("bound", "error"), [(-1, ValueError), ("soon", TypeError)])
def test_a_bound_that_is_none_is_refused(bound: Any, error: type[Exception]) -> None:
    stream = late.remote(Open())
    with pytest.raises(error):
        asyncio.run(stream.anext(timeout=bound))
    with pytest.raises(error):
        stream.next(timeout=bound)


def test_a_cancel_from_outside_is_none_of_the_bound(gate: Gate) -> None:
    async def main() -> None:
        stream = late.remote(gate)
        waiting = asyncio.ensure_future(stream.anext(timeout=60))
        await asyncio.sleep(0.01)
        waiting.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began < 30
        gate.open()
        assert await (await stream.anext(timeout=20)) == 0

    asyncio.run(main())
