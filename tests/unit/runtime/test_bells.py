"""Bells: one call for a burst, no lock held, and nothing left of who went."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from zgen.runtime.bells import Bell, Bells


class Place:
    """Where callbacks run when the test says so; closed, it takes none."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.closed = False

    def call(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls.append(callback)

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for callback in calls:
            callback()


class Waiter:
    def __init__(self, then: Callable[[], Any] = lambda: None) -> None:
        self.told = 0
        self.then = then

    def tell(self) -> None:
        self.told += 1
        self.then()


def test_a_burst_is_one_call_and_tells_everybody_once() -> None:
    bells, place = Bells(), Place()
    waiters = [Waiter() for _ in range(100)]
    for waiter in waiters:
        bells.join(place, place.call).hang(waiter)
    assert place.calls == []
    bells.ring()
    assert len(place.calls) == 1
    place.run()
    assert [waiter.told for waiter in waiters] == [1] * 100
    bells.ring()
    assert place.calls == []


def test_each_place_has_one_bell_that_goes_with_the_last_who_waits() -> None:
    bells, here, there = Bells(), Place(), Place()
    first, second, third = [bells.join(each, each.call) for each in (here, there, here)]
    assert first is third
    assert second is not first
    bells.leave(first)
    bells.leave(second)
    assert not bells.is_idle()
    bells.leave(third)
    assert bells.is_idle()
    assert bells.join(here, here.call) is not first


def test_what_is_hung_while_the_others_are_told_is_told_too() -> None:
    bells, place = Bells(), Place()
    bell = bells.join(place, place.call)
    late = Waiter()
    bell.hang(Waiter(lambda: bell.hang(late)))
    bells.ring()
    place.run()
    assert late.told == 1
    bells.ring()
    place.run()  # a call in vain, rather than none
    assert late.told == 1


def test_a_place_that_takes_no_calls_keeps_nobody_and_harms_no_other() -> None:
    bells, closed, place = Bells(), Place(), Place()
    closed.closed = True
    lost, told = Waiter(), Waiter()
    bells.join(closed, closed.call).hang(lost)
    bells.join(place, place.call).hang(told)
    bells.ring()
    place.run()
    assert (lost.told, told.told) == (0, 1)
    again = Waiter()
    bell = bells.join(closed, closed.call)
    bell.hang(again)
    assert bells.due == [bell]
    bells.ring()
    assert not bells.due
    assert not bell._finished


def test_many_threads_hang_and_ring_and_everybody_is_told_once() -> None:
    bells, lock = Bells(), threading.Lock()

    def at_once(callback: Callable[[], None]) -> None:
        callback()

    bell: Bell = bells.join("place", at_once)
    waiters = [[Waiter() for _ in range(500)] for _ in range(4)]

    def work(mine: list[Waiter]) -> None:
        for waiter in mine:
            with lock:
                bell.hang(waiter)
            bells.ring()

    threads = [threading.Thread(target=work, args=(mine,)) for mine in waiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [waiter.told for mine in waiters for waiter in mine] == [1] * 2000
    assert not bells.due


def test_what_the_collector_left_is_done_at_the_next_turn() -> None:
    bells, place, done = Bells(), Place(), list[int]()
    bell = bells.join(place, place.call)
    bells.abandoned.append(lambda: bells.leave(bell))
    bells.abandoned.append(lambda: done.append(1))
    waiter = Waiter()
    bell.hang(waiter)
    bells.tend()
    place.run()
    assert done == [1]
    assert waiter.told == 1
    assert bells.is_idle()
