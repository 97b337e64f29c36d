"""The loop refuses calls from inside itself, and goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from zgen.core.effects import Effect, Left
from zgen.core.events import Event, InboxDrained, Leave
from zgen.exceptions import InternalError
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.waiter import Waiter

REFUSED = "by a destructor or a signal handler that ran inside zgen"


class Machine:
    """Calls ``inside`` in every step and asks for one effect."""

    next_deadline_ns: int | None = None
    lines_closing = False

    def __init__(self) -> None:
        self.inside: Callable[[], None] = lambda: None
        self.events: list[Event] = []

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        self.events.append(event)
        self.inside()
        return [Left()]

    def check(self) -> None: ...


class Silent:
    """A mailbox into which one event came."""

    writable = ()

    def __init__(self) -> None:
        self.events: list[Event] = [InboxDrained()]

    def poll(self, timeout_s: float) -> bool:
        return True

    def collect(self, count_max: int) -> tuple[list[Event], bool]:
        events, self.events = self.events, []
        return events, True

    def wake(self) -> None: ...


class Dying:
    """Runs something when it dies."""

    def __init__(self, last_words: Callable[[], object]) -> None:
        self.last_words = last_words

    def __del__(self) -> None:
        self.last_words()


@pytest.fixture
def unraised(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What destructors raised."""
    found: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: found.append(said.exc_value))
    return found


def make_loop(machine: Machine, perform: Callable[[Effect], None]) -> Loop:
    return Loop(machine, cast(Mailbox, Silent()), perform)


def within(seconds: float, action: Callable[[], Any]) -> None:
    """Do it in a thread that may hang without hanging the tests."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    assert not failures, failures


def test_a_destructor_that_steps_inside_a_step_is_refused(
    unraised: list[BaseException | None],
) -> None:
    machine = Machine()
    loop = make_loop(machine, lambda effect: None)
    machine.inside = lambda: [Dying(lambda: loop.post(Leave("inner")))].clear()
    within(10, lambda: loop.post(Leave("outer")))
    assert [type(error) for error in unraised] == [RuntimeError]
    assert REFUSED in str(unraised[0])
    assert machine.events == [Leave("outer")]
    machine.inside = lambda: None
    within(10, lambda: loop.post(Leave("later")))
    assert machine.events[1:] == [Leave("later")]
    assert not loop.broken


def test_a_destructor_that_waits_inside_a_step_is_refused(
    unraised: list[BaseException | None],
) -> None:
    machine = Machine()
    loop = make_loop(machine, lambda effect: None)
    machine.inside = lambda: [Dying(lambda: loop.wait(Waiter()))].clear()
    within(10, lambda: loop.post(Leave("outer")))
    assert [type(error) for error in unraised] == [RuntimeError]


def test_what_waits_inside_a_lead_is_refused_and_the_wait_around_it_goes_on() -> None:
    machine = Machine()
    waiter = Waiter()
    refused: list[str] = []

    def perform(effect: Effect) -> None:
        with pytest.raises(RuntimeError) as caught:
            loop.wait(Waiter())
        refused.append(str(caught.value))
        loop.post(Leave("stepping is allowed")) if len(refused) == 1 else waiter.finish()

    loop = make_loop(machine, perform)
    within(10, lambda: loop.wait(waiter))
    assert len(refused) == 2
    assert REFUSED in refused[0]


def test_an_effect_that_raises_on_the_io_thread_breaks_the_loop_and_is_told() -> None:
    def perform(effect: Effect) -> None:
        raise ValueError("cannot be done")

    loop = make_loop(Machine(), perform)
    told = threading.Event()
    loop.on_broken = told.set
    loop.start_thread(lambda: None)
    assert told.wait(10)
    with pytest.raises(InternalError, match="cannot be done"):
        loop.wait(Waiter())


class Sleeping(Silent):
    """A mailbox whose poll sleeps until it is woken, and tells when it begins to."""

    def __init__(self) -> None:
        super().__init__()
        self.events = []
        self.woken = threading.Event()
        self.asleep = threading.Event()
        self.before_sleep: Callable[[], None] = lambda: None

    def poll(self, timeout_s: float) -> bool:
        if timeout_s:
            self.before_sleep()
            self.asleep.set()
        woken = self.woken.wait(timeout_s)
        self.woken.clear()
        return woken

    def look(self) -> None: ...

    def wake(self) -> None:
        self.woken.set()


def leading(mailbox: Sleeping) -> tuple[Loop, Waiter, list[float]]:
    """Return a loop in which each event makes a waiter happen, and where who leads notes sleeps."""
    waiter, slept = Waiter(), []  # type: tuple[Waiter, list[float]]

    def perform_inside(effect: Effect) -> bool:
        waiter.finish()
        return True

    poll = mailbox.poll

    def timed(timeout_s: float) -> bool:
        slept.append(timeout_s)
        return poll(timeout_s)

    mailbox.poll = timed  # type: ignore[method-assign]
    return (
        Loop(Machine(), cast(Mailbox, mailbox), lambda effect: None, perform_inside),
        waiter,
        slept,
    )


def test_a_leader_that_sleeps_is_woken_when_another_thread_makes_what_it_waits_for_happen() -> None:
    mailbox = Sleeping()
    loop, waiter, slept = leading(mailbox)
    other = threading.Thread(target=lambda: mailbox.asleep.wait(20) and loop.post(InboxDrained()))
    other.start()
    assert loop.wait(waiter)
    other.join()
    assert len(slept) == 1  # a lost wake-up would have cost a slow poll, and another look


def test_what_happens_just_before_a_leader_sleeps_keeps_it_awake() -> None:
    mailbox = Sleeping()
    loop, waiter, slept = leading(mailbox)

    def before_sleep() -> int | None:
        if not waiter.done:
            other = threading.Thread(target=loop.post, args=(InboxDrained(),))
            mailbox.asleep.set()
            loop._sleeps_until_ns, before = 0, loop._sleeps_until_ns  # as before it was set
            other.start()
            other.join()
            loop._sleeps_until_ns = before
        return None

    loop._before_sleep = before_sleep
    assert loop.wait(waiter)
    assert slept in ([0], [0.0])
