"""Backpressure in items: a generator is never ahead of its consumer by more than its window."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.watching import wait_until

pytestmark = pytest.mark.usefixtures("runtime")

OPTION = "_generator_backpressure_num_objects"


@zgen.remote
def counted(tally: Tally, count: int) -> Any:
    for index in range(count):
        tally.add()
        yield index


@zgen.remote(num_cpus=2)
def all_cpus() -> None:
    return None


def windowed(tally: Tally, count: int, window: int | None) -> Any:
    return counted.options(_generator_backpressure_num_objects=window).remote(tally, count)


def settle() -> None:
    """Return when no body runs: a parked one has given its CPU away."""
    zgen.get(all_cpus.remote(), timeout=20)


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally(tmp_path / "yields")


# -- the window ------------------------------------------------------------------------------------
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.beside_ray("window_in_items")
def test_a_body_is_ahead_of_its_consumer_by_its_window(tally: Tally, window: int) -> None:
    count = window + 3
    stream = windowed(tally, count, window)
    for index in range(count):
        expected = min(index + window, count)
        wait_until(lambda most=expected: tally.count == most, 20, "the window is full")  # type: ignore[misc]  # bound now
        settle()
        assert tally.count == expected
        assert zgen.get(next(stream)) == index
    assert list(stream) == []


def test_a_wide_window_moves_on_by_parts(tally: Tally) -> None:
    stream = windowed(tally, 1000, 64)
    wait_until(lambda: tally.count == 64, 20, "the window is full")
    settle()
    assert tally.count == 64
    for index in range(64):
        assert zgen.get(next(stream)) == index
    wait_until(lambda: tally.count >= 64 + 32, 20, "there is room for more")
    settle()
    assert tally.count <= 64 + 64
    assert [zgen.get(ref) for ref in stream] == list(range(64, 1000))
    assert tally.count == 1000


@pytest.mark.parametrize("window", [None, -1, 1000])
def test_a_body_that_is_not_ahead_runs_to_its_end(tally: Tally, window: int | None) -> None:
    stream = windowed(tally, 300, window)
    assert zgen.get(stream.completed()) is None
    assert tally.count == 300
    assert [zgen.get(ref) for ref in stream] == list(range(300))


@pytest.mark.parametrize("window", [1, 2, 3, 64])
def test_every_item_comes_once_and_in_order_through_a_window(window: int) -> None:
    @zgen.remote(_generator_backpressure_num_objects=window)
    def numbers(count: int) -> Any:
        yield from range(count)

    assert [zgen.get(ref) for ref in numbers.remote(500)] == list(range(500))


@pytest.mark.parametrize("window", [1, 5, 64])
def test_asynchronous_steps_take_items_too(tally: Tally, window: int) -> None:
    async def read() -> list[int]:
        stream = windowed(tally, 200, window)
        first = await anext(stream)
        while tally.count < window + (window < 16):
            await asyncio.sleep(0.005)
        assert tally.count <= window + 1
        return [await first] + [await ref async for ref in stream]

    assert asyncio.run(read()) == list(range(200))


def test_neither_waiting_nor_getting_takes_an_item(tally: Tally) -> None:
    stream = windowed(tally, 5, 1)
    for _ in range(3):
        assert zgen.wait([stream]) == ([stream], [])
        assert stream.next_ready()
    first = next(stream)
    wait_until(lambda: tally.count == 2, 20, "the second item is yielded")
    for _ in range(3):
        assert zgen.get(first) == 0
    settle()
    assert tally.count == 2
    assert [zgen.get(ref) for ref in stream] == [1, 2, 3, 4]


def test_large_items_count_as_small_ones(tally: Tally) -> None:
    @zgen.remote(_generator_backpressure_num_objects=2)
    def large() -> Any:
        for index in range(6):
            tally.add()
            yield bytes([index]) * 200_000

    stream = large.remote()
    wait_until(lambda: tally.count == 2, 20, "the window is full")
    settle()
    assert tally.count == 2
    assert [zgen.get(ref)[0] for ref in stream] == list(range(6))


def test_an_error_behind_a_full_window_comes_when_there_is_room(tally: Tally) -> None:
    @zgen.remote(_generator_backpressure_num_objects=1)
    def fails() -> Any:
        yield 1
        tally.add()
        raise ValueError("wrong")

    stream = fails.remote()
    settle()
    assert tally.count == 0
    assert zgen.get(next(stream)) == 1
    with pytest.raises(ValueError, match="wrong"):
        zgen.get(next(stream))


# -- parked bodies and others ----------------------------------------------------------------------
def test_streams_that_are_read_side_by_side_do_not_starve_each_other(tally: Tally) -> None:
    """Each wants all CPUs; a parked one gives them away, or the other one never begins."""
    wide = counted.options(num_cpus=2, _generator_backpressure_num_objects=1)
    streams = [wide.remote(tally, 20) for _ in range(3)]
    for index, refs in enumerate(zip(*streams, strict=True)):
        assert [zgen.get(ref) for ref in refs] == [index] * 3
    assert tally.count == 60


def test_a_stream_inside_a_task_has_a_window_too(tally: Tally) -> None:
    @zgen.remote
    def reader() -> int:
        stream = windowed(tally, 30, 1)
        return sum(zgen.get(ref) for ref in stream)

    assert zgen.get(reader.remote()) == sum(range(30))


# -- release ---------------------------------------------------------------------------------------
def test_a_body_whose_generator_is_dropped_runs_on_unhindered(tally: Tally) -> None:
    stream = windowed(tally, 50, 1)
    next(stream)
    wait_until(lambda: tally.count == 2, 20, "the window is full")
    settle()
    assert tally.count == 2
    del stream
    wait_until(lambda: tally.count == 50, 20, "the body runs to its end")


def test_a_generator_that_is_dropped_before_it_begins_has_no_window(
    tally: Tally, gate: Gate
) -> None:
    @zgen.remote(num_cpus=2)
    def hold() -> None:
        gate.wait()

    held = hold.remote()
    stream = windowed(tally, 50, 1)
    del stream
    gate.open()
    zgen.get(held)
    wait_until(lambda: tally.count == 50, 20, "the body runs to its end")


def test_a_parked_body_ends_with_the_task_that_reads_it(tally: Tally) -> None:
    @zgen.remote(max_retries=0)
    def dies() -> None:
        stream = windowed(tally, 50, 1)
        next(stream)
        wait_until(lambda: tally.count == 2, 20, "the second item is yielded")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(zgen.exceptions.WorkerCrashedError):
        zgen.get(dies.remote())
    settle()


def test_a_retried_body_is_not_parked_by_what_was_taken(tally: Tally) -> None:
    runs = Tally(tally.path.with_name("runs"))

    @zgen.remote(retry_exceptions=True, _generator_backpressure_num_objects=2)
    def flaky() -> Any:
        run = runs.add()
        for index in range(10):
            tally.add()
            yield index
            if run == 1 and index == 5:
                raise ValueError("again")

    assert [zgen.get(ref) for ref in flaky.remote()] == list(range(10))
    assert (runs.count, tally.count) == (2, 16)


# -- the option ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "declare",
    [lambda option: zgen.remote(**option)(print), lambda option: counted.options(**option)],
    ids=["decorator", "options"],
)
def test_a_window_of_nothing_is_refused(declare: Any) -> None:
    with pytest.raises(ValueError, match="backpressure_num_objects=0 is not allowed"):
        declare({OPTION: 0})


@pytest.mark.parametrize("wrong", [-2, 1.5, "1", True])
def test_a_window_is_a_number_of_items(wrong: Any) -> None:
    with pytest.raises(ValueError, match=OPTION):
        counted.options(**{OPTION: wrong})


def test_a_call_can_lift_the_window_of_its_function(tally: Tally) -> None:
    narrow = counted.options(_generator_backpressure_num_objects=1)
    for off in (None, -1):
        stream = narrow.options(_generator_backpressure_num_objects=off).remote(tally, 10)
        assert zgen.get(stream.completed()) is None
    assert tally.count == 20


def test_a_function_with_one_result_takes_no_notice_of_a_window() -> None:
    @zgen.remote(_generator_backpressure_num_objects=1)
    def plain() -> int:
        return 1

    assert zgen.get(plain.remote()) == 1
