"""Bodies that may not go on: from the first reason to the end of the last one."""

from __future__ import annotations

import pytest

from tests.unit.core.names import ME, peer, task
from zgen.core.effects import Effect, HoldBody, ReleaseBody
from zgen.core.holds import Holds, Reason

S, T = task("s"), task("t")
OTHER = peer("other")
BYTES, WINDOW = Reason.BYTES, Reason.WINDOW


class Bodies:
    """The table, and what it asks for; every call is followed by ``check()``."""

    def __init__(self) -> None:
        self.table = Holds()

    def hold(self, *reasons: Reason, stream: object = S, owner: object = ME) -> list[Effect]:
        out: list[Effect] = []
        for reason in reasons:
            self.table.hold(stream, owner, reason, out)  # type: ignore[arg-type]  # ids
        self.table.check()
        return out

    def release(self, reason: Reason) -> list[Effect]:
        out: list[Effect] = []
        self.table.release(S, reason, out)
        self.table.check()
        return out


def test_a_body_is_held_once_however_often_its_reason_is_given() -> None:
    bodies = Bodies()
    assert bodies.hold(WINDOW) == [HoldBody(S)]
    assert bodies.hold(WINDOW) == []
    assert bodies.release(WINDOW) == [ReleaseBody(S)]
    assert bodies.release(WINDOW) == []
    assert bodies.hold(WINDOW) == [HoldBody(S)]


@pytest.mark.parametrize("first", [BYTES, WINDOW])
def test_a_body_goes_on_when_its_last_reason_is_gone(first: Reason) -> None:
    bodies = Bodies()
    assert bodies.hold(BYTES, WINDOW) == [HoldBody(S)]
    assert bodies.release(first) == []
    assert bodies.table.is_held(S, WINDOW) == (first is BYTES)
    assert bodies.release(WINDOW if first is BYTES else BYTES) == [ReleaseBody(S)]
    assert not bodies.table.is_held(S, WINDOW)


def test_bodies_are_held_independently() -> None:
    bodies = Bodies()
    bodies.hold(BYTES)
    assert bodies.hold(BYTES, WINDOW, stream=T, owner=OTHER) == [HoldBody(T)]
    assert bodies.table.unacked == {ME: {S: None}, OTHER: {T: None}}
    assert bodies.release(BYTES) == [ReleaseBody(S)]
    assert bodies.table.unacked == {OTHER: {T: None}}
    assert bodies.table.is_held(T, WINDOW)


def test_what_an_owner_acknowledges_releases_its_bodies_and_no_others() -> None:
    bodies, out = Bodies(), []  # type: tuple[Bodies, list[Effect]]
    bodies.hold(BYTES)
    bodies.hold(BYTES, WINDOW, stream=task("u"))
    bodies.hold(BYTES, stream=T, owner=OTHER)
    bodies.table.release_acked(ME, out)
    bodies.table.check()
    assert out == [ReleaseBody(S)]
    assert bodies.table.unacked == {OTHER: {T: None}}
    bodies.table.forget(T)
    bodies.table.check()
    assert bodies.table.unacked == {}


def test_a_body_that_nobody_waits_for_goes_on_whatever_held_it() -> None:
    bodies, out = Bodies(), []  # type: tuple[Bodies, list[Effect]]
    bodies.hold(BYTES, WINDOW)
    bodies.hold(WINDOW, stream=T, owner=OTHER)
    bodies.table.free_of(ME, out)
    bodies.table.free(S, out)
    assert out == [ReleaseBody(S)]
    assert bodies.table.is_held(T, WINDOW)
    bodies.table.check()


def test_a_body_that_ended_is_forgotten_and_not_released() -> None:
    bodies = Bodies()
    bodies.hold(WINDOW)
    bodies.table.forget(S)
    bodies.table.forget(S)
    assert bodies.release(WINDOW) == []


def test_check_finds_a_body_that_is_held_for_nothing() -> None:
    bodies = Bodies()
    bodies.hold(WINDOW)
    bodies.table.bodies[S].reasons.clear()
    with pytest.raises(AssertionError, match="for nothing"):
        bodies.table.check()
