"""Retries: which failures are repeated, how often, and what is told when they are spent."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import TaskError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


def counted(gate: Gate, error: Any, good_after: int) -> Any:
    """Return a function that fails until it has run ``good_after`` times."""
    tally = Tally(gate.path)

    def flaky() -> int:
        run = tally.add()
        if run < good_after:
            error()
        return run

    return flaky, tally


def raise_value_error() -> None:
    raise ValueError("again")


def test_exceptions_are_not_retried_by_default(gate: Gate) -> None:
    flaky, tally = counted(gate, raise_value_error, 2)
    with pytest.raises(ValueError, match="again"):
        zgen.get(zgen.remote(flaky).remote())
    assert tally.count == 1


@pytest.mark.parametrize("retriable", [True, [ValueError], [KeyError, Exception], (ValueError,)])
def test_wanted_exceptions_are_retried(gate: Gate, retriable: Any) -> None:
    flaky, tally = counted(gate, raise_value_error, 3)
    assert zgen.get(zgen.remote(retry_exceptions=retriable)(flaky).remote()) == 3
    assert tally.count == 3


@pytest.mark.parametrize("retriable", [False, [], [KeyError]])
def test_other_exceptions_are_not_retried(gate: Gate, retriable: Any) -> None:
    flaky, tally = counted(gate, raise_value_error, 2)
    with pytest.raises(ValueError, match="again"):
        zgen.get(zgen.remote(retry_exceptions=retriable)(flaky).remote())
    assert tally.count == 1


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_no_more_than_max_retries_follow_and_the_last_error_is_told(
    gate: Gate, max_retries: int
) -> None:
    flaky, tally = counted(gate, raise_value_error, 100)
    function = zgen.remote(retry_exceptions=True, max_retries=max_retries)(flaky)
    with pytest.raises(ValueError, match="again") as raised:
        zgen.get(function.remote())
    assert tally.count == max_retries + 1
    assert isinstance(raised.value, TaskError)
    assert raised.value.attempt == max_retries


@pytest.mark.ray_docs("47", "144")
def test_a_retried_exception_is_no_item_and_what_was_taken_is_not_repeated(gate: Gate) -> None:
    tally = Tally(gate.path)

    @zgen.remote(retry_exceptions=[OSError])
    def flaky() -> Any:
        run = tally.add()
        for number in range(10):
            if run < 3 and number == 3 * run:
                raise OSError("the line broke")
            yield number

    assert zgen.get(list(flaky.remote())) == list(range(10))
    assert tally.count == 3


def test_when_retries_are_spent_the_error_follows_what_was_reported(gate: Gate) -> None:
    @zgen.remote(retry_exceptions=True, max_retries=1)
    def flaky() -> Any:
        yield from range(4)
        raise OSError("the line broke")

    stream = flaky.remote()
    assert [zgen.get(next(stream)) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(OSError, match="the line broke"):
        zgen.get(next(stream))
    assert list(stream) == []


def test_when_retries_are_spent_fixed_results_keep_what_was_yielded(gate: Gate) -> None:
    tally = Tally(gate.path)

    @zgen.remote(num_returns=4, retry_exceptions=True, max_retries=1)
    def flaky(size: int) -> Any:
        tally.add()
        yield "a" * size
        yield "b" * size
        raise OSError("the line broke")

    for runs, size in ((2, 1), (4, 200_000)):
        first, second, *missing = flaky.remote(size)
        assert zgen.get([first, second]) == ["a" * size, "b" * size]
        for ref in missing:
            with pytest.raises(OSError, match="the line broke"):
                zgen.get(ref)
        assert tally.count == runs


def test_fixed_results_of_a_run_that_succeeds_in_the_end_are_whole(gate: Gate) -> None:
    tally = Tally(gate.path)

    @zgen.remote(num_returns=3, retry_exceptions=True)
    def flaky() -> Any:
        run = tally.add()
        for number in range(3):
            if run < 3 and number == run:
                raise OSError("the line broke")
            yield bytes([run, number]) * 100_000

    assert [value[:2] for value in zgen.get(flaky.remote())] == [b"\3\0", b"\3\1", b"\3\2"]
    assert tally.count == 3


def exit_hard() -> None:
    import os

    os._exit(7)


def exit_softly() -> None:
    sys.exit(7)


@pytest.mark.parametrize("leave", [exit_hard, exit_softly])
def test_a_body_that_ends_its_process_is_retried_as_a_crash(gate: Gate, leave: Any) -> None:
    flaky, tally = counted(gate, leave, 3)
    assert zgen.get(zgen.remote(max_retries=2)(flaky).remote()) == 3
    assert tally.count == 3


@pytest.mark.parametrize("leave", [exit_hard, exit_softly])
def test_a_crash_without_retries_left_is_told_with_its_exit_code(gate: Gate, leave: Any) -> None:
    flaky, tally = counted(gate, leave, 100)
    with pytest.raises(WorkerCrashedError) as raised:
        zgen.get(zgen.remote(max_retries=1)(flaky).remote())
    assert (raised.value.exit_code, raised.value.signal, raised.value.attempts) == (7, None, 2)
    assert raised.value.may_have_run
    assert tally.count == 2


@pytest.mark.ray_docs("144")
def test_crashes_and_exceptions_share_one_budget(gate: Gate) -> None:
    def either() -> None:
        if tally.count % 2:
            exit_hard()
        raise_value_error()

    flaky, tally = counted(gate, either, 100)
    with pytest.raises(WorkerCrashedError):
        zgen.get(zgen.remote(max_retries=2, retry_exceptions=True)(flaky).remote())
    assert tally.count == 3


@zgen.remote
class Moody(RemoteClass):
    """Fails once."""

    failed = False

    @zgen.method(max_task_retries=1, retry_exceptions=[ValueError])
    def give(self, gate: Gate) -> int:
        gate.wait()
        if not self.failed:
            self.failed = True
            raise ValueError
        return 1

    def take(self, given: int) -> int:
        return given + 1


def test_a_call_that_runs_again_is_not_held_back_by_those_that_wait_for_its_result(
    gate: Gate,
) -> None:
    moody = Moody.remote()
    given = moody.give.remote(gate)
    taken = [moody.take.remote(given), moody.take.remote(5)]
    gate.open()
    assert zgen.get([given, *taken], timeout=20) == [1, 2, 6]
