"""Which handler an interrupt reaches when others are installed, chained and put back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from zgen.io.interrupts import Interrupts

Handler = Callable[[int, FrameType | None], Any]


@pytest.fixture(autouse=True)
def handler_kept() -> Iterator[None]:
    kept = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, kept)


def noting(calls: list[str], name: str, then: Handler | None = None) -> Handler:
    def handle(signum: int, frame: FrameType | None) -> None:
        calls.append(name)
        if then is not None and len(calls) < 10:
            then(signum, frame)

    return handle


def install(handler: Handler) -> Any:
    return signal.signal(signal.SIGINT, handler)


def test_a_handler_that_calls_the_one_before_it_reaches_what_was_wrapped_then() -> None:
    calls: list[str] = []
    install(noting(calls, "first"))
    interrupts = Interrupts()
    install(noting(calls, "second", then=signal.getsignal(signal.SIGINT)))  # type: ignore[arg-type]  # ours
    interrupts.enter()
    signal.raise_signal(signal.SIGINT)
    assert calls == ["second", "first"]
    interrupts.close()


def test_a_handler_that_is_put_back_is_wrapped_as_before() -> None:
    calls: list[str] = []
    install(noting(calls, "first"))
    interrupts = Interrupts()
    before = install(noting(calls, "for a while"))
    interrupts.enter()
    install(before)
    interrupts.enter()
    signal.raise_signal(signal.SIGINT)
    interrupts.noted = True
    interrupts.deliver()
    assert calls == ["first", "first"]
    interrupts.close()


def test_at_rest_the_programs_own_handler_is_installed_and_it_is_wrapped_at_the_next_entry() -> (
    None
):
    calls: list[str] = []
    first, second = noting(calls, "first"), noting(calls, "second")
    install(first)
    interrupts = Interrupts()
    interrupts.rest()
    assert install(second) is first
    interrupts.rest()
    assert signal.getsignal(signal.SIGINT) is second
    interrupts.enter()
    assert signal.getsignal(signal.SIGINT) is not second
    signal.raise_signal(signal.SIGINT)
    interrupts.close()
    assert calls == ["second"]
    assert signal.getsignal(signal.SIGINT) is second


def test_what_was_noted_before_the_rest_is_delivered_at_the_next_entry() -> None:
    calls: list[str] = []
    install(noting(calls, "handled"))
    interrupts = Interrupts()
    interrupts.noted = True
    interrupts.rest()
    interrupts.wrap()
    assert calls == []
    interrupts.enter()
    assert calls == ["handled"]
    interrupts.close()


def test_a_handler_left_by_a_runtime_that_another_thread_ended_is_seen_through() -> None:
    calls: list[str] = []
    first = noting(calls, "first")
    install(first)
    ended = Interrupts()
    thread = threading.Thread(target=ended.close)
    thread.start()
    thread.join()
    interrupts = Interrupts()
    signal.raise_signal(signal.SIGINT)
    assert calls == ["first"]
    interrupts.close()
    assert signal.getsignal(signal.SIGINT) is first
