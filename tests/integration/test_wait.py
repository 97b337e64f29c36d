"""`wait`: what counts as ready, how many, in which order, for how long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate, seconds_since

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def after(gate: Gate, value: Any = None) -> Any:
    gate.wait()
    return value


@zgen.remote(num_cpus=2)
def holds_all(held: Gate, gate: Gate) -> None:
    held.open()
    gate.wait()


@zgen.remote
def fail() -> None:
    raise ValueError("wrong")


@zgen.remote
def numbers(count: int) -> Any:
    yield from range(count)


@zgen.remote
def one_then_wait(gate: Gate) -> Any:
    yield "first"
    gate.wait()
    yield "second"


@zgen.remote
def wait_then_fail(gate: Gate) -> Any:
    gate.wait()
    yield 1
    raise ValueError("wrong")


# -- what is ready ---------------------------------------------------------------------------------
def test_references_become_ready_one_by_one(gate: Gate) -> None:
    gates = [gate.beside(str(number)) for number in range(2)]
    refs = [after.remote(each) for each in gates]
    assert zgen.wait(refs, timeout=0) == ([], refs)
    gates[1].open()
    assert zgen.wait(refs) == ([refs[1]], [refs[0]])
    gates[0].open()
    assert zgen.wait(refs, num_returns=2) == (refs, [])


def test_an_error_is_ready(gate: Gate) -> None:
    pending, wrong = after.remote(gate), fail.remote()
    assert zgen.wait([pending, wrong]) == ([wrong], [pending])
    gate.open()


def test_a_put_object_is_ready_at_once() -> None:
    ref = zgen.put("x")
    assert zgen.wait([ref], timeout=0) == ([ref], [])


@pytest.mark.ray_docs("192-193")
def test_references_and_generators_mix_and_come_back_as_they_were_given(gate: Gate) -> None:
    stream, ref, value = one_then_wait.remote(gate), after.remote(gate), zgen.put(1)
    ready, rest = zgen.wait([ref, stream, value], num_returns=2)
    assert [id(item) for item in ready] == [id(stream), id(value)]
    assert [id(item) for item in rest] == [id(ref)]
    gate.open()


@pytest.mark.ray_docs("48", "182-183")
def test_a_generator_is_ready_when_its_next_item_is(gate: Gate) -> None:
    stream = one_then_wait.remote(gate)
    assert zgen.wait([stream]) == ([stream], [])
    assert zgen.get(next(stream)) == "first"
    assert zgen.wait([stream], timeout=0.05) == ([], [stream])
    gate.open()
    assert zgen.wait([stream]) == ([stream], [])
    assert zgen.get(next(stream)) == "second"


def test_waiting_for_a_generator_takes_nothing_from_it() -> None:
    stream = numbers.remote(3)
    for _ in range(5):
        assert zgen.wait([stream]) == ([stream], [])
    assert zgen.get(list(stream)) == [0, 1, 2]


def test_an_exhausted_generator_is_always_ready() -> None:
    stream, empty = numbers.remote(1), numbers.remote(0)
    next(stream)
    for _ in range(2):
        assert zgen.wait([stream, empty], num_returns=2) == ([stream, empty], [])
        with pytest.raises(StopIteration):
            next(stream)
        with pytest.raises(StopIteration):
            next(empty)
    assert zgen.wait([stream, empty], num_returns=2, timeout=0) == ([stream, empty], [])


def test_an_error_at_the_cursor_makes_a_generator_ready(gate: Gate) -> None:
    stream = wait_then_fail.remote(gate)
    assert zgen.wait([stream], timeout=0) == ([], [stream])
    gate.open()
    assert zgen.wait([stream]) == ([stream], [])
    assert zgen.get(next(stream)) == 1
    assert zgen.wait([stream]) == ([stream], [])
    with pytest.raises(ValueError, match="wrong"):
        zgen.get(next(stream))
    assert zgen.wait([stream], timeout=0) == ([stream], [])


def test_the_end_of_a_generator_wakes_who_waits_for_it(gate: Gate) -> None:
    @zgen.remote
    def silent() -> Any:
        gate.wait()
        yield from ()

    stream, opener = silent.remote(), zgen.remote(gate.open)
    assert zgen.wait([stream], timeout=0.05) == ([], [stream])
    opened = opener.remote()
    assert zgen.wait([stream]) == ([stream], [])
    assert zgen.get(opened) is None


def test_completed_is_ready_when_the_body_has_ended(gate: Gate) -> None:
    stream = one_then_wait.remote(gate)
    done = stream.completed()
    assert zgen.wait([done, stream]) == ([stream], [done])
    gate.open()
    assert zgen.wait([done]) == ([done], [])


@pytest.mark.ray_docs("73", "161-163", "182-183")
def test_the_loop_of_the_documentation_sees_every_item_once() -> None:
    waiting: list[Any] = [numbers.remote(count) for count in (5, 0, 20, 1)]
    seen: list[int] = []
    while waiting:
        ready, waiting = zgen.wait(waiting)
        for stream in ready:
            try:
                seen.append(zgen.get(next(stream)))
                waiting.append(stream)
            except StopIteration:
                continue
    assert sorted(seen) == sorted([*range(5), *range(20), *range(1)])


# -- many ----------------------------------------------------------------------------------------
@zgen.remote(num_cpus=0)
def held_back(gate: Gate, number: int) -> Any:
    gate.wait()
    yield number


def calls_of(act: Callable[[], object]) -> int:
    """Return how many Python functions are called."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("ready", [0, 1, 5])
def test_a_wait_costs_what_is_ready_and_not_what_is_waited_for(gate: Gate, ready: int) -> None:
    """A line of Python for each element of a list would make long lists dear."""
    holder = holds_all.remote(gate.beside("held"), gate)
    gate.beside("held").wait()  # nothing else runs meanwhile
    given: list[Any] = [zgen.put(number) for number in range(ready)]
    costs: list[int] = []
    for count in (2, 100):
        for _ in range(count):
            given += [numbers.remote(1), after.remote(gate)]
        most = len(given)
        assert len(zgen.wait(given, timeout=0, num_returns=most)[0]) == ready
        costs.append(calls_of(partial(zgen.wait, given, timeout=0, num_returns=most)))
    assert costs[0] == costs[1] <= 40
    gate.open()
    assert zgen.wait([*given, holder], num_returns=len(given) + 1)[1] == []


def test_two_threads_wait_for_the_same_generators(gate: Gate) -> None:
    streams = [held_back.remote(gate.beside(str(number)), number) for number in range(4)]
    answers: list[Any] = []

    def wait() -> None:
        answers.append(zgen.wait(streams, num_returns=2, timeout=20))

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in (2, 1):
        gate.beside(str(number)).open()
    for thread in threads:
        thread.join()
    assert answers == [([streams[1], streams[2]], [streams[0], streams[3]])] * 2
    for number in (0, 3):
        gate.beside(str(number)).open()
    assert zgen.wait(streams, num_returns=4)[0] == streams


def test_an_item_that_another_thread_took_meanwhile_is_not_ready(gate: Gate) -> None:
    stream, other = one_then_wait.remote(gate), after.remote(gate.beside("other"))
    zgen.wait([stream])
    assert zgen.get(next(stream)) == "first"
    assert zgen.wait([stream, other], timeout=0.05) == ([], [stream, other])
    gate.open()
    assert zgen.get(next(stream)) == "second"
    assert zgen.wait([stream, other]) == ([stream], [other])
    assert list(stream) == []
    gate.beside("other").open()
    assert zgen.wait([stream, other], num_returns=2) == ([stream, other], [])


def test_what_becomes_ready_during_a_wait_counts_with_what_was(gate: Gate) -> None:
    put, late, never = zgen.put(1), held_back.remote(gate, 7), after.remote(gate.beside("never"))
    timer = threading.Timer(0.05, gate.open)
    timer.start()
    assert zgen.wait([never, late, put], num_returns=2) == ([late, put], [never])
    timer.join()
    gate.beside("never").open()


# -- sizes and order -------------------------------------------------------------------------------
@pytest.mark.ray_docs("190")
def test_never_more_are_ready_than_were_asked_for_and_both_lists_keep_the_order() -> None:
    refs = [zgen.put(number) for number in range(6)]
    assert zgen.wait(refs) == (refs[:1], refs[1:])
    assert zgen.wait(refs, num_returns=4) == (refs[:4], refs[4:])
    assert zgen.wait(refs, num_returns=6) == (refs, [])


def test_the_order_is_that_of_the_list_and_not_of_readiness(gate: Gate) -> None:
    first, last = gate.beside("first"), gate.beside("last")
    late, early, never = after.remote(first), after.remote(last), wait_then_fail.remote(gate)
    last.open()
    zgen.wait([early])
    first.open()
    zgen.wait([late])
    assert zgen.wait([late, never, early], num_returns=2) == ([late, early], [never])
    assert zgen.wait([never, early, late], num_returns=2) == ([early, late], [never])
    gate.open()
    zgen.wait([never])


@pytest.mark.ray_docs("190")
def test_fewer_than_asked_for_come_back_at_the_timeout(gate: Gate) -> None:
    refs = [after.remote(gate), zgen.put(1), after.remote(gate)]
    assert zgen.wait(refs, num_returns=3, timeout=0.05) == ([refs[1]], [refs[0], refs[2]])
    gate.open()
    assert zgen.wait(refs, num_returns=3) == (refs, [])


def test_the_list_itself_is_left_alone() -> None:
    refs = [zgen.put(1), zgen.put(2)]
    given = list(refs)
    ready, rest = zgen.wait(given)
    assert given == refs
    assert ready is not given
    assert rest is not given


def test_an_empty_list_gives_two_empty_lists() -> None:
    assert zgen.wait([]) == ([], [])
    assert zgen.wait([], num_returns=3, timeout=0) == ([], [])


def test_a_thousand_generators_at_once() -> None:
    @zgen.remote(num_cpus=0)
    def one(number: int) -> Any:
        yield number

    waiting = [one.remote(number) for number in range(1000)]
    ready, rest = zgen.wait(waiting, num_returns=1000)
    assert (len(ready), rest) == (1000, [])
    assert [zgen.get(next(stream)) for stream in ready] == list(range(1000))


# -- timeouts --------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [after, wait_then_fail], ids=["reference", "generator"])
def test_a_timeout_is_kept(gate: Gate, make: Any) -> None:
    pending = make.remote(gate)
    began = time.monotonic()
    assert zgen.wait([pending], timeout=0.2) == ([], [pending])
    assert 0.2 <= seconds_since(began) < 0.2 + LATE_S
    gate.open()


def test_timeout_zero_only_looks(gate: Gate) -> None:
    pending = [after.remote(gate) for _ in range(2)]
    began = time.monotonic()
    for _ in range(20):
        assert zgen.wait(pending, num_returns=2, timeout=0) == ([], pending)
    assert seconds_since(began) < LATE_S
    gate.open()


def test_what_comes_in_time_ends_the_wait_before_the_timeout(gate: Gate) -> None:
    gate.open()
    began = time.monotonic()
    ref = after.remote(gate)
    assert zgen.wait([ref], timeout=30) == ([ref], [])
    assert seconds_since(began) < 10


def test_a_wait_that_timed_out_can_be_repeated(gate: Gate) -> None:
    stream = one_then_wait.remote(gate)
    next(stream)
    for _ in range(3):
        assert zgen.wait([stream], timeout=0.01) == ([], [stream])
    gate.open()
    assert zgen.wait([stream]) == ([stream], [])


# -- errors ----------------------------------------------------------------------------------------
def test_a_single_reference_or_generator_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="list"):
        zgen.wait(zgen.put(1))  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(TypeError, match="list"):
        zgen.wait(numbers.remote(1))


@pytest.mark.parametrize("shape", [tuple, iter, set], ids=lambda shape: shape.__name__)
def test_anything_but_a_list_is_a_type_error(shape: Any) -> None:
    with pytest.raises(TypeError, match="list"):
        zgen.wait(shape([zgen.put(1)]))


@pytest.mark.parametrize("wrong", [None, 7, "ref", []])
def test_a_list_with_something_else_in_it_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=type(wrong).__name__):
        zgen.wait([zgen.put(1), wrong])


def test_duplicates_are_a_value_error() -> None:
    ref, other, stream = zgen.put(1), zgen.put(1), numbers.remote(1)
    for twice in ([ref, other, ref], [stream, stream]):
        with pytest.raises(ValueError, match="duplicates"):
            zgen.wait(twice, num_returns=2)
    assert len(zgen.wait([ref, other], num_returns=2)[0]) == 2


@pytest.mark.parametrize("count", [0, -1, 3])
def test_a_count_out_of_range_is_a_value_error(count: int) -> None:
    with pytest.raises(ValueError, match="num_returns"):
        zgen.wait([zgen.put(1), zgen.put(2)], num_returns=count)


@pytest.mark.parametrize("count", ["1", None, 1.0])
def test_a_count_that_is_no_integer_is_a_type_error(count: Any) -> None:
    with pytest.raises(TypeError, match="num_returns must be an integer"):
        zgen.wait([zgen.put(1)], num_returns=count)


@pytest.mark.parametrize("refs", [0, 1])
def test_a_negative_timeout_is_a_value_error(refs: int) -> None:
    with pytest.raises(ValueError, match="timeout"):
        zgen.wait([zgen.put(1)][:refs], timeout=-0.1)


def test_options_are_keywords_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        zgen.wait([zgen.put(1)], 1)  # type: ignore[call-arg]  # what this is about


@pytest.mark.parametrize("fetch_local", [True, False])
@pytest.mark.ray_docs("190")
def test_fetch_local_makes_no_difference_on_one_machine(fetch_local: bool) -> None:
    ref = zgen.put(1)
    assert zgen.wait([ref], fetch_local=fetch_local) == ([ref], [])
