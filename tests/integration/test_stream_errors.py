"""Failures in streams: an error at its place after what was reported, then the end for ever."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.watching import wait_until
from zgen.exceptions import TaskError, WorkerCrashedError, ZgenError

pytestmark = pytest.mark.usefixtures("runtime")


class Stubborn:
    """A value that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("it stays here")


@zgen.remote
def numbers_then_fail(count: int) -> Any:
    yield from range(count)
    raise LookupError(f"after {count}")


@pytest.mark.parametrize("count", [0, 1, 5, 300])
@pytest.mark.ray_docs("89-91", "98-100")
def test_an_exception_comes_at_its_place_and_then_the_end_for_ever(count: int) -> None:
    stream = numbers_then_fail.remote(count)
    for expected in range(count):
        assert zgen.get(next(stream)) == expected
    wrong = next(stream)
    for _ in range(2):
        with pytest.raises(LookupError, match=f"after {count}"):
            zgen.get(wrong)
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(stream)


def test_an_exception_that_the_body_catches_is_nobodys_business() -> None:
    @zgen.remote
    def careful() -> Any:
        try:
            raise ValueError("caught")
        except ValueError:
            yield "fine"

    assert zgen.get(list(careful.remote())) == ["fine"]


def test_an_item_that_does_not_pickle_is_an_error_at_its_place_and_ends_the_stream(
    gate: Gate,
) -> None:
    @zgen.remote
    def stubborn() -> Any:
        try:
            yield 1
            yield Stubborn()
            yield "never"
        finally:
            gate.open()

    stream = stubborn.remote()
    assert zgen.get(next(stream)) == 1
    with pytest.raises(RuntimeError, match="it stays here") as raised:
        zgen.get(next(stream))
    assert isinstance(raised.value, TaskError)
    with pytest.raises(StopIteration):
        next(stream)
    gate.wait()  # the body could clean up


@pytest.mark.parametrize("make", [threading.Lock, lambda: (n for n in range(2)), Stubborn])
def test_values_that_nobody_can_pickle_are_errors(make: Any) -> None:
    @zgen.remote
    def stubborn() -> Any:
        yield make()

    stream = stubborn.remote()
    with pytest.raises(TaskError):
        zgen.get(next(stream))
    assert list(stream) == []


def test_an_item_that_cannot_be_unpickled_fails_only_its_own_get() -> None:
    @zgen.remote
    def trap() -> Any:
        class Trap:
            def __reduce__(self) -> Any:
                return int, ("not a number",)

        yield 1
        yield Trap()
        yield 3

    first, second, third = trap.remote()
    assert (zgen.get(first), zgen.get(third)) == (1, 3)
    with pytest.raises(ValueError, match="not a number"):
        zgen.get(second)


def test_an_exception_that_does_not_pickle_is_an_error_at_its_place() -> None:
    @zgen.remote
    def stubborn() -> Any:
        yield 1
        error = RuntimeError("with baggage")
        error.baggage = threading.Lock()  # type: ignore[attr-defined]  # as user code does
        raise error

    stream = stubborn.remote()
    assert zgen.get(next(stream)) == 1
    with pytest.raises(TaskError, match="RuntimeError: with baggage") as raised:
        zgen.get(next(stream))
    assert type(raised.value.cause) is ZgenError
    assert list(stream) == []


def test_stop_iteration_in_a_body_is_an_error_and_not_an_end() -> None:
    @zgen.remote
    def sneaky() -> Any:
        yield 1
        raise StopIteration("sneaky")

    stream = sneaky.remote()
    assert zgen.get(next(stream)) == 1
    with pytest.raises(RuntimeError, match="StopIteration"):
        zgen.get(next(stream))
    assert list(stream) == []


@pytest.mark.ray_docs("89-91", "100-104")
def test_what_was_reported_before_a_crash_comes_before_the_error(gate: Gate) -> None:
    @zgen.remote(max_retries=0)
    def crash() -> Any:
        import os

        yield from range(3)
        gate.wait()
        os._exit(9)

    stream = crash.remote()
    wait_until(stream.next_ready, 10, "an item")
    first = [zgen.get(next(stream)) for _ in range(3)]
    gate.open()
    wrong = next(stream)
    assert first == [0, 1, 2]
    with pytest.raises(WorkerCrashedError):
        zgen.get(wrong)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)
    with pytest.raises(WorkerCrashedError):
        zgen.get(stream.completed())


def test_all_that_was_yielded_before_sys_exit_comes_before_the_error() -> None:
    @zgen.remote(max_retries=0)
    def leave(count: int) -> Any:
        yield from range(count)
        sys.exit(3)

    for count in (0, 1, 300):
        *items, wrong = list(leave.remote(count))
        assert zgen.get(items) == list(range(count))
        with pytest.raises(WorkerCrashedError, match="exit code 3"):
            zgen.get(wrong)


def test_results_that_wait_for_company_are_not_lost_by_sys_exit_of_the_next_task() -> None:
    @zgen.remote(max_retries=0)
    def work(number: int) -> int:
        if number == 15:
            sys.exit()
        return number

    refs = [work.remote(number) for number in range(16)]
    assert zgen.get(refs[:15]) == list(range(15))
    with pytest.raises(WorkerCrashedError):
        zgen.get(refs[15])


def test_a_crash_with_a_retry_left_is_invisible_but_for_its_trace(gate: Gate) -> None:
    tally = Tally(gate.path)

    @zgen.remote
    def crash_once() -> Any:
        import os

        attempt = tally.add()
        for number in range(100):
            if number == 50 and attempt == 1:
                os._exit(1)
            yield number

    assert zgen.get(list(crash_once.remote())) == list(range(100))
    assert tally.count == 2
