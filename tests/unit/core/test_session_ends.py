"""How lines end: a DOWN held back until quiet, leaving, goodbyes."""

from __future__ import annotations

import pytest

from tests.unit.core.names import lease, peer
from tests.unit.core.pair import Pair, side
from zgen.core.effects import Effect
from zgen.core.identity import Gone
from zgen.core.line import Due
from zgen.limits import (
    ACK_DELAY_NS,
    FLUSH_AT_EXIT_NS,
    MS,
    PASSED_COUNT_MIN,
    QUIET_LINE_NS,
    RECONNECT_NS_MAX,
    SECOND,
)
from zgen.wire.codec import encode_header

A = peer("a")


def closing(pair: Pair) -> bool:
    return pair.b.session.lines_closing


def drained(pair: Pair) -> list[bytes]:
    """Let ``b`` find its inbox empty; return the peers whose lines are quiet."""
    quiet = pair.b.session.on_drained(pair.now_ns)
    return list(quiet)


# -- quiet lines ---------------------------------------------------------------------------------
def test_a_line_is_quiet_after_two_looks_far_enough_apart() -> None:
    pair = Pair().joined()
    assert not closing(pair)
    assert pair.b.session.hold_down(A, pair.now_ns)
    assert closing(pair)
    pair.b.session.check()
    assert drained(pair) == []
    pair.now_ns += QUIET_LINE_NS - 1
    assert drained(pair) == []
    pair.now_ns += 1
    assert drained(pair) == [A]
    assert drained(pair) == []
    assert not closing(pair)


@pytest.mark.parametrize("ack_only", [False, True])
def test_whatever_the_dead_still_say_begins_the_wait_anew_and_is_heard(ack_only: bool) -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"last words")
    pair.b.session.hold_down(A, pair.now_ns)
    drained(pair)
    pair.now_ns += QUIET_LINE_NS
    if ack_only:
        pair.wire[0].frames[:] = [encode_header(0, 0, 0)]
    pair.deliver_all()
    assert drained(pair) == []
    pair.now_ns += QUIET_LINE_NS
    assert drained(pair) == [A]
    assert pair.b.got == ([] if ack_only else [b"last words"])


def test_looks_are_wanted_in_time_though_nothing_comes() -> None:
    pair = Pair().joined()
    pair.b.session.hold_down(A, pair.now_ns)
    due_ns = pair.b.session.deadlines.next_ns
    assert due_ns == pair.now_ns + QUIET_LINE_NS
    pair.timer(pair.b)
    pair.now_ns = due_ns
    pair.timer(pair.b)
    assert pair.on_wire() == []
    drained(pair)
    assert pair.b.session.deadlines.next_ns == pair.now_ns + QUIET_LINE_NS


def test_messages_of_others_pass_for_looks_at_an_inbox_that_is_never_empty() -> None:
    pair = Pair().joined()
    session, count = pair.b.session, PASSED_COUNT_MIN + 2  # for one connection
    session.hold_down(A, pair.now_ns)
    assert [session.on_drained(pair.now_ns, passed=True) for _ in range(2 * count)] == [[]] * (
        2 * count
    ), "no time has gone by"
    pair.now_ns += QUIET_LINE_NS
    assert [session.on_drained(pair.now_ns, passed=True) for _ in range(count - 1)] == [[]] * (
        count - 1
    )
    pair.send(pair.a, b"last words")
    pair.deliver_all()
    pair.now_ns += QUIET_LINE_NS
    assert [session.on_drained(pair.now_ns, passed=True) for _ in range(count)] == [[]] * count
    pair.now_ns += QUIET_LINE_NS
    passed = [session.on_drained(pair.now_ns, passed=True) for _ in range(count)]
    assert passed == [[]] * (count - 1) + [[A]]


def test_a_down_of_whom_there_is_no_line_is_not_held_back() -> None:
    pair = Pair()
    assert not pair.b.session.hold_down(A, pair.now_ns)
    assert not closing(pair)


def test_a_closing_line_is_not_dialled_again() -> None:
    pair = Pair().joined()
    pair.b.session.hold_down(A, pair.now_ns)
    pair.cut(pair.b)
    assert (A, Due.REDIAL) not in pair.b.session.deadlines
    pair.advance(10 * SECOND)
    assert pair.b.open == {}


def test_a_dial_that_waits_is_given_up_when_its_line_closes() -> None:
    pair = Pair().joined()
    pair.cut(pair.b)
    assert (A, Due.REDIAL) in pair.b.session.deadlines
    pair.b.session.hold_down(A, pair.now_ns)
    pair.advance(10 * SECOND)
    assert pair.b.open == {}


def test_the_last_words_may_come_on_a_new_connection_and_a_goodbye_changes_nothing() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"late")
    pair.b.session.hold_down(A, pair.now_ns)
    pair.cut(pair.a)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.a)
    drained(pair)
    pair.now_ns += QUIET_LINE_NS
    pair.deliver()
    assert drained(pair) == [], "a hello ends the quiet"
    pair.leave(pair.a)
    pair.advance(FLUSH_AT_EXIT_NS)
    pair.deliver_all()
    assert pair.has_left(pair.a)
    assert (pair.b.got, pair.b.gone) == ([b"late"], [])
    assert closing(pair)


def test_a_new_life_ends_the_wait_for_the_old_one() -> None:
    pair = Pair().joined()
    pair.b.session.hold_down(A, pair.now_ns)
    pair.a = side("a", incarnation=2)
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.deliver_all()
    assert [gone.incarnation for gone in pair.b.gone] == [1]
    assert not closing(pair)


def test_check_finds_a_closing_line_that_is_none() -> None:
    pair = Pair().joined()
    pair.b.session.hold_down(A, pair.now_ns)
    pair.b.session._lines[A].closing = False
    with pytest.raises(AssertionError):
        pair.b.session.check()


# -- leaving -------------------------------------------------------------------------------------
def test_who_owes_nothing_leaves_at_once_and_says_so() -> None:
    pair = Pair().joined()
    pair.leave(pair.a, "done")
    assert pair.has_left(pair.a)
    assert pair.on_wire() == ["a: bye"]
    pair.deliver_all()
    assert pair.b.gone == [Gone(A, 1, "left: done", [])]
    assert not pair.b.session.knows(A)


def test_who_leaves_waits_until_all_is_acknowledged() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.leave(pair.a)
    pair.deliver_all()
    assert not pair.has_left(pair.a)
    pair.advance(ACK_DELAY_NS)
    pair.deliver()
    assert pair.has_left(pair.a)
    pair.deliver_all()
    assert pair.b.got == [b"x"]
    assert len(pair.b.gone) == 1
    pair.advance(FLUSH_AT_EXIT_NS)
    assert pair.on_wire() == [], "the bye goes once"


def test_who_leaves_without_a_reason_is_heard_and_says_nothing_of_it() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.leave(pair.a, "")
    pair.deliver_all()
    assert not pair.has_left(pair.a)
    pair.advance(ACK_DELAY_NS)
    pair.deliver()
    assert pair.has_left(pair.a)
    assert pair.on_wire() == []
    assert (pair.b.got, pair.b.gone) == ([b"x"], [])


def test_who_leaves_does_not_wait_for_ever() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.leave(pair.a)
    pair.drop_all()
    pair.advance(FLUSH_AT_EXIT_NS - MS)
    assert not pair.has_left(pair.a)
    pair.drop_all()
    pair.advance(MS)
    assert pair.has_left(pair.a)
    assert pair.on_wire() == ["a: bye"]


def test_nobody_waits_for_a_peer_that_cannot_be_dialled_again() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.leave(pair.a)
    pair.cut(pair.a)
    assert not pair.has_left(pair.a), "one lost connection is no death"
    pair.advance(SECOND // 2)
    pair.cut(pair.a)
    assert pair.has_left(pair.a)
    assert pair.on_wire() == [], "there is no connection to say it on"


@pytest.mark.parametrize("held_back", [False, True])
def test_nobody_waits_for_the_dead(held_back: bool) -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x", (lease("lease"), 3))
    if held_back:
        pair.a.session.hold_down(peer("b"), pair.now_ns)
        pair.leave(pair.a)
    else:
        pair.leave(pair.a)
        gone = pair.forget(pair.a)
        assert gone == Gone(peer("b"), 1, "dead", [((lease("lease"), 3), False)])
    assert pair.has_left(pair.a)


def test_who_was_never_connected_leaves_without_a_word() -> None:
    pair = Pair()
    pair.leave(pair.a)
    assert pair.has_left(pair.a)
    assert pair.on_wire() == []
    out: list[Effect] = []
    pair.a.session.on_timer(pair.now_ns + FLUSH_AT_EXIT_NS, out)
    assert out == []
