"""Signals into a runner of its own: what they interrupt, and what they leave alone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.io.test_runner import OWNER, TASK, Memory
from zgen.core.cancel_words import InterruptBody
from zgen.core.effects import Effect, HoldBody, LearnFunction, StartTask
from zgen.core.events import Event, TaskEnded, Yielded
from zgen.exceptions import TaskCancelledError
from zgen.ids import FunctionId, LeaseId, TaskId, hash_function
from zgen.io import serializer
from zgen.io.cancels import CANCEL_SIGNAL
from zgen.io.runner import Runner
from zgen.io.waiter import Waiter
from zgen.limits import CANCEL_AGAIN_NS
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    PushedTask,
)

OTHER = TaskId(b"other".ljust(16, b"."))
#: Longer than any test runs.
LONG_S = 50.0


class Bench:
    """A runner in this thread, and what it reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.woken = 0
        self.runner = Runner(self.post, lambda waiter: True, -1, Memory())
        self.cancels = self.runner.cancels
        self.on_item: Callable[[], None] = lambda: None

    def post(self, event: Event) -> list[Effect]:
        self.events.append(event)
        if type(event) is Yielded:
            self.on_item()
        return []

    def wake(self) -> None:
        self.woken += 1

    def interrupt(self, task: TaskId = TASK, attempt: int = 0) -> None:
        self.runner.perform(InterruptBody(task, attempt))

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        returns_count: int = 1,
        retry_exceptions: bytes = b"",
        attempt: int = 0,
    ) -> TaskEnded:
        named = FunctionId(hash_function(repr(function).encode()))
        self.runner._functions[named] = function
        arguments = serializer.serialize((args, {}))
        assert not isinstance(arguments, serializer.Large)
        task = PushedTask(TASK, attempt, named, "work", returns_count, b"", (), retry_exceptions)
        packed = arguments if args else b""
        self.runner.perform(StartTask(task, OWNER, packed, (), LeaseId(b"l" * 16), 0))
        self.runner.run_next()
        assert self.cancels.running is None
        assert not self.cancels.noted
        ended = self.events[-1]
        assert isinstance(ended, TaskEnded)
        return ended


@pytest.fixture
def bench() -> Iterator[Bench]:
    kept = signal.getsignal(CANCEL_SIGNAL)
    made = Bench()
    made.cancels.install(made.wake)
    yield made
    signal.signal(CANCEL_SIGNAL, kept if kept is not None else signal.SIG_DFL)


def cancelled(ended: TaskEnded) -> bool:
    return (ended.outcome, ended.values) == (OUTCOME_CANCELLED, ())


def from_a_thread(act: Callable[[], Any]) -> threading.Thread:
    """Do something from another thread, a moment after this one went on."""
    thread = threading.Timer(0.05, act)
    thread.start()
    return thread


def sleep_until(act: Callable[[], Any]) -> None:
    """Sleep for long while another thread does something."""
    thread = from_a_thread(act)
    try:
        time.sleep(LONG_S)
    finally:
        thread.join()


@pytest.mark.parametrize("body", [lambda: time.sleep(LONG_S), lambda: threading.Event().wait()])
def test_a_body_that_sleeps_ends_at_once(bench: Bench, body: Callable[[], Any]) -> None:
    thread = from_a_thread(bench.interrupt)
    assert cancelled(bench.run(body))
    thread.join()


def test_a_busy_body_ends_at_once(bench: Bench) -> None:
    def body() -> None:
        while True:
            pass

    thread = from_a_thread(bench.interrupt)
    assert cancelled(bench.run(body))
    thread.join()


def test_a_builtin_function_without_a_frame_of_its_own_is_interrupted(bench: Bench) -> None:
    thread = from_a_thread(bench.interrupt)
    assert cancelled(bench.run(time.sleep, LONG_S))
    thread.join()


def test_what_was_asked_for_before_the_body_began_ends_it_before_its_first_line(
    bench: Bench,
) -> None:
    began: list[int] = []
    bench.interrupt()
    assert cancelled(bench.run(began.append, 1))
    bench.interrupt()
    assert cancelled(bench.run(lambda: began.append(2)))
    assert began == []


def test_arguments_are_unpacked_undisturbed_and_the_body_does_not_begin(bench: Bench) -> None:
    Slow.bench, Slow.loaded = bench, 0
    assert cancelled(bench.run(lambda slow: time.sleep(LONG_S), Slow()))
    assert Slow.loaded == 1


class Slow:
    """Is interrupted while it is unpickled."""

    bench: Bench
    loaded = 0

    @staticmethod
    def load() -> str:
        Slow.bench.interrupt()
        for _ in range(100):
            Slow.loaded = 0
        Slow.loaded += 1
        return "loaded"

    def __reduce__(self) -> tuple[Any, ...]:
        return Slow.load, ()


@pytest.mark.parametrize(("task", "attempt"), [(OTHER, 0), (TASK, 1)])
def test_only_the_execution_that_is_meant_is_interrupted(
    bench: Bench, task: TaskId, attempt: int
) -> None:
    def body() -> str:
        bench.interrupt(task, attempt)
        return "whole"

    assert bench.run(body).outcome == OUTCOME_VALUE
    bench.cancels.deliver()
    assert bench.run(lambda: "next").outcome == OUTCOME_VALUE


def test_what_comes_when_nothing_runs_interrupts_nothing(bench: Bench) -> None:
    bench.interrupt()
    bench.cancels.deliver()
    assert bench.cancels.nudge(0) is None
    assert bench.run(lambda: "next", attempt=1).outcome == OUTCOME_VALUE


def test_it_is_raised_once_and_a_body_may_go_on(bench: Bench) -> None:
    def body() -> str:
        try:
            sleep_until(bench.interrupt)
        except KeyboardInterrupt:
            bench.cancels.repeat()
            bench.cancels.deliver()
        return "went on"

    ended = bench.run(body)  # the core drops what it returns
    assert (ended.outcome, serializer.deserialize(ended.values[0])) == (OUTCOME_VALUE, "went on")


def raises_its_own(bench: Bench) -> Callable[[], Any]:
    def body() -> None:
        try:
            sleep_until(bench.interrupt)
        except KeyboardInterrupt:
            raise ValueError("its own") from None

    return body


@pytest.mark.parametrize(
    ("retry", "outcome"), [(b"", OUTCOME_ERROR), (serializer.dump_plain(True), OUTCOME_RETRY)]
)
def test_an_error_of_its_own_is_told(bench: Bench, retry: bytes, outcome: int) -> None:
    ended = bench.run(raises_its_own(bench), retry_exceptions=retry)
    assert ended.outcome == outcome
    with pytest.raises(ValueError, match="its own"):
        serializer.deserialize(ended.values[0])


def test_the_cancel_of_what_it_waits_for_is_its_own(bench: Bench) -> None:
    def body() -> None:
        try:
            sleep_until(bench.interrupt)
        except KeyboardInterrupt:
            raise TaskCancelledError("child") from None

    assert cancelled(bench.run(body))


@pytest.mark.parametrize("error", [KeyboardInterrupt, TaskCancelledError])
def test_an_error_of_that_class_is_an_error_where_nobody_cancelled(
    bench: Bench, error: type[BaseException]
) -> None:
    def body() -> None:
        raise error

    assert bench.run(body).outcome == OUTCOME_ERROR


# -- generators ------------------------------------------------------------------------------------
def test_a_generator_runs_its_finally_and_is_read_no_further(bench: Bench) -> None:
    ran: list[str] = []

    def body() -> Iterator[int]:
        try:
            yield 0
            time.sleep(LONG_S)
            yield 1
        finally:
            ran.append("finally")

    thread = from_a_thread(bench.interrupt)
    assert cancelled(bench.run(body, returns_count=STREAMING))
    thread.join()
    assert [type(event) for event in bench.events] == [Yielded, TaskEnded]
    assert ran == ["finally"]


def test_a_generator_that_is_interrupted_in_zgen_ends_behind_the_item(bench: Bench) -> None:
    ran: list[str] = []

    def body() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            ran.append("finally")

    def hold() -> None:
        bench.cancels._main, main = None, bench.cancels._main  # its signal is not seen
        bench.interrupt()
        bench.cancels._main = main

    bench.on_item = hold
    assert cancelled(bench.run(body, returns_count=STREAMING))
    assert [type(event) for event in bench.events] == [Yielded, TaskEnded]
    assert ran == ["finally"]


def test_a_generator_that_is_held_ends_and_the_next_one_is_not_held(bench: Bench) -> None:
    held: list[Waiter] = []

    def wait(waiter: Waiter) -> bool:
        if not waiter.done:  # what is held for ever, but for the interrupt
            held.append(waiter)
            bench.interrupt()
            bench.cancels.deliver()
        return waiter.done

    def hold() -> None:
        bench.runner.perform(HoldBody(TASK))

    bench.runner._wait_held = wait
    bench.on_item = hold
    assert cancelled(bench.run(lambda: (n for n in range(9)), returns_count=STREAMING))
    assert [type(event) for event in bench.events] == [Yielded, TaskEnded]
    bench.on_item = lambda: None
    ended = bench.run(lambda: (n for n in range(9)), returns_count=STREAMING, attempt=1)
    assert ended.outcome == OUTCOME_VALUE
    assert len(held) == 1


def test_a_generator_with_a_fixed_number_of_results_tells_of_its_end_alone(bench: Bench) -> None:
    def body() -> Iterator[Any]:
        yield bytes(200_000)
        sleep_until(bench.interrupt)

    memory = bench.runner._objects
    assert isinstance(memory, Memory)
    assert cancelled(bench.run(body, returns_count=2))
    assert memory.values == {}
    ended = bench.run(_fails_midway(bench), returns_count=2, attempt=1)
    assert (ended.outcome, len(ended.values)) == (OUTCOME_ERROR, 1)
    assert memory.values == {}


def _fails_midway(bench: Bench) -> Callable[[], Iterator[Any]]:
    def body() -> Iterator[Any]:
        yield bytes(200_000)
        try:
            sleep_until(lambda: bench.interrupt(TASK, 1))
        except KeyboardInterrupt:
            raise ValueError("its own") from None

    return body


# -- inside zgen -----------------------------------------------------------------------------------
def test_inside_zgen_it_is_noted_and_delivered_where_nothing_is_half_done(bench: Bench) -> None:
    module = {"__name__": "zgen.pretended", "cancels": bench.cancels, "bench": bench}
    exec(
        "def call():\n"
        "    bench.interrupt()\n"
        "    for _ in range(100): pass\n"
        "    assert cancels.noted\n"
        "    cancels.deliver()\n"
        "    raise AssertionError('not delivered')\n",
        module,
    )
    call = module["call"]
    assert callable(call)
    assert cancelled(bench.run(lambda: call()))
    assert bench.woken == 1


def test_what_was_noted_is_repeated_until_it_meets_the_body(bench: Bench) -> None:
    module = {"__name__": "zgen.pretended", "cancels": bench.cancels, "bench": bench}
    exec("def call():\n    bench.interrupt()\n    for _ in range(100): pass\n", module)
    call = module["call"]
    assert callable(call)
    bench.cancels.repeat()  # nothing is noted

    def body() -> None:
        call()
        assert bench.cancels.noted
        sleep_until(bench.cancels.repeat)

    assert cancelled(bench.run(body))


def test_another_thread_delivers_nothing(bench: Bench) -> None:
    def body() -> str:
        bench.cancels._main = None
        bench.interrupt()
        bench.cancels.deliver()
        return "whole"

    assert bench.run(body).outcome == OUTCOME_VALUE


def test_a_signal_that_was_not_seen_is_sent_again_after_a_while(bench: Bench) -> None:
    sent: list[int] = []

    def body() -> None:
        bench.cancels._signal = lambda: sent.append(1)  # type: ignore[method-assign]  # lost ones
        bench.interrupt()
        first_ns = 10**12
        assert bench.cancels.nudge(first_ns) == first_ns + CANCEL_AGAIN_NS
        assert bench.cancels.nudge(first_ns + CANCEL_AGAIN_NS - 1) == first_ns + CANCEL_AGAIN_NS
        assert len(sent) == 2
        del bench.cancels._signal
        sleep_until(lambda: bench.cancels.nudge(first_ns + CANCEL_AGAIN_NS))

    assert cancelled(bench.run(body))


def test_a_forked_child_is_interrupted_by_nobody(bench: Bench) -> None:
    def body() -> str:
        bench.cancels.close()
        bench.interrupt()
        return "whole"

    assert bench.run(body).outcome == OUTCOME_VALUE


def test_functions_that_fail_to_load_end_as_before(bench: Bench) -> None:
    bench.runner.perform(LearnFunction(FunctionId(b"f" * 16), b"no pickle"))
    task = PushedTask(TASK, 0, FunctionId(b"f" * 16), "work", 1, b"", (), b"")
    bench.runner.perform(StartTask(task, OWNER, b"", (), LeaseId(b"l" * 16), 0))
    bench.runner.run_next()
    ended = bench.events[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.outcome == OUTCOME_ERROR
