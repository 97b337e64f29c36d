"""Pairs of sessions over a wire that loses, repeats and reorders."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.core.names import address, lease, peer
from tests.unit.core.pair import Packet, Pair, side
from zgen.core import session as session_module
from zgen.core.effects import Effect, OpenConnection
from zgen.core.identity import Gone, Identity
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.limits import (
    ACK_AFTER_COUNT,
    ACK_DELAY_NS,
    MS,
    RECONNECT_NS_MAX,
    RESEND_FIRST_NS,
    SECOND,
)
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, encode, encode_header
from zgen.wire.lease import EndJob
from zgen.wire.session import Goodbye

TOKEN = (lease("lease"), 0)


def bodies(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def send_all(pair: Pair, count: int, first: int = 0) -> list[bytes]:
    for body in bodies(count, first):
        pair.send(pair.a, body)
    return bodies(count, first)


# -- coming up -----------------------------------------------------------------------------------
def test_whoever_is_greeted_dials_back_and_greets() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    assert pair.a.open == {peer("b"): 1}
    assert pair.on_wire() == []
    pair.up(pair.a)
    assert pair.on_wire() == ["a: hello"]
    pair.deliver_all()
    assert pair.b.open == {peer("a"): 1}
    assert pair.b.session.address_of(peer("a")) == address("a")
    pair.up(pair.b)
    assert pair.on_wire() == ["b: hello"]
    pair.deliver_all()
    assert not pair.a.refused + pair.b.refused


def test_a_line_is_dialled_once_and_never_to_the_dead() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    out: list[Effect] = []
    pair.a.session.dial(address("b"), out)
    pair.a.session.fence(peer("c"), 2)
    pair.a.session.dial(address("c", 2), out)
    assert out == []
    assert not pair.a.session.knows(peer("c"))
    pair.a.session.dial(address("c", 3), out)
    assert out == [OpenConnection(peer("c"), "ipc://c", 1)]


def test_what_was_sent_before_the_line_was_up_follows_the_hello() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    sent = send_all(pair, 3)
    assert pair.on_wire() == []
    pair.up(pair.a)
    assert pair.on_wire() == ["a: hello", "a: 1", "a: 2", "a: 3"]
    pair.deliver_all()
    assert pair.b.got == sent


def test_a_message_to_nobody_is_counted() -> None:
    pair = Pair()
    assert not pair.send(pair.a, b"x")
    assert pair.a.session.counts == {"sent to nobody": 1}
    assert pair.a.session.item_bytes_unacked(peer("b")) == 0


def test_data_without_a_hello_is_a_strangers() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    pair.send(pair.a, b"x")
    pair.up(pair.a)
    del pair.wire[0]
    pair.deliver_all()
    assert pair.b.got == []
    assert pair.b.session.counts == {"data before hello": 1}


@pytest.mark.parametrize("epoch_off", [-1, 1])
def test_news_of_another_connection_changes_nothing(epoch_off: int) -> None:
    pair = Pair().joined()
    out: list[Effect] = []
    epoch = pair.a.open[peer("b")] + epoch_off
    pair.a.session.on_connection_lost(peer("b"), epoch, pair.now_ns, out)
    pair.a.session.on_connection_up(peer("b"), epoch, pair.now_ns, out)
    pair.a.session.on_connection_up(peer("unknown"), 1, pair.now_ns, out)
    pair.a.session.on_connection_lost(peer("unknown"), 1, pair.now_ns, out)
    assert out == []
    pair.send(pair.a, b"still up")
    assert pair.on_wire() == ["a: 1"]


# -- acknowledgement -----------------------------------------------------------------------------
def test_an_ack_waits_for_company_and_then_goes_alone() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.deliver_all()
    pair.advance(ACK_DELAY_NS - 1)
    assert pair.on_wire() == []
    pair.advance(1)
    assert pair.on_wire() == ["b: ack 1"]
    pair.deliver_all()
    pair.advance(10 * SECOND)
    assert pair.on_wire() == [], "what is acknowledged is not sent again, nor is an ack"


def test_an_ack_rides_on_traffic() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x", item_bytes=7)
    pair.deliver_all()
    assert pair.a.session.item_bytes_unacked(peer("b")) == 7
    pair.send(pair.b, b"y")
    pair.deliver_all()
    assert pair.a.session.item_bytes_unacked(peer("b")) == 0
    pair.advance(ACK_DELAY_NS)
    assert pair.on_wire() == ["a: ack 1"]


def test_an_ack_goes_at_once_after_so_many_messages() -> None:
    pair = Pair().joined()
    send_all(pair, ACK_AFTER_COUNT)
    pair.deliver_all()
    assert pair.a.session.item_bytes_unacked(peer("b")) == 0
    assert len(pair.b.got) == ACK_AFTER_COUNT
    pair.drop_all()
    pair.advance(RESEND_FIRST_NS)
    assert pair.on_wire() == []


def test_what_came_while_the_way_back_was_down_is_acknowledged_when_it_is_up() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.send(pair.a, b"x")
    pair.deliver_all()
    pair.advance(ACK_DELAY_NS)
    assert pair.on_wire() == []
    pair.up(pair.b)
    pair.advance(ACK_DELAY_NS)
    assert pair.on_wire() == ["b: hello", "b: ack 1"]


# -- loss, repetition, reordering ----------------------------------------------------------------
def test_a_lost_message_is_sent_again_and_nothing_overtakes_it() -> None:
    pair = Pair().joined()
    sent = send_all(pair, 3)
    del pair.wire[0]
    pair.deliver_all()
    assert pair.b.got == []
    pair.advance(RESEND_FIRST_NS + MS)
    assert pair.on_wire() == ["a: hello", "a: 1"], "nothing says yet that the hello arrived"
    pair.deliver_all()
    assert pair.b.got == sent


def test_repeated_messages_are_delivered_once() -> None:
    pair = Pair().joined()
    sent = send_all(pair, 3)
    pair.wire += list(pair.wire)
    pair.deliver_all()
    assert pair.b.got == sent


def test_reordered_messages_are_delivered_in_order() -> None:
    pair = Pair().joined()
    sent = send_all(pair, 5)
    pair.wire.reverse()
    pair.deliver_all()
    assert pair.b.got == sent


def test_resends_slow_down_while_nothing_is_heard() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.drop_all()
    times = []
    for _ in range(600):
        pair.advance(10 * MS)
        times += [pair.now_ns // (10 * MS)] * ("a: 1" in pair.on_wire())
        pair.drop_all()
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[:2] == [50, 100]
    assert gaps[2:] == [100] * len(gaps[2:])
    assert len(gaps) >= 4


def test_after_a_silence_one_ack_lets_the_next_lost_message_go_at_once() -> None:
    pair = Pair().joined()
    sent = send_all(pair, 3)
    pair.drop_all()
    pair.advance(RESEND_FIRST_NS + MS)
    pair.deliver_all()
    pair.advance(ACK_DELAY_NS)
    pair.deliver_all()
    pair.timer(pair.a)
    assert pair.on_wire() == ["a: 2"]
    for _ in range(4):
        pair.advance(RESEND_FIRST_NS + MS)
        pair.deliver_all()
    assert pair.b.got == sent


def test_a_resend_that_is_due_while_the_line_is_down_waits_for_the_line() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.cut(pair.a)
    out: list[Effect] = []
    pair.a.session.on_timer(pair.now_ns + RESEND_FIRST_NS, out)
    assert [type(effect) for effect in out] == [OpenConnection]


def test_a_deadline_of_something_that_was_acknowledged_passes_unnoticed() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    pair.deliver_all()
    pair.advance(ACK_DELAY_NS)
    pair.deliver_all()
    pair.advance(RESEND_FIRST_NS - 10 * MS)
    pair.send(pair.a, b"y")
    pair.deliver_all()
    pair.advance(11 * MS)
    assert pair.on_wire() == [], "y is not due yet"


# -- connections ---------------------------------------------------------------------------------
def test_what_was_lost_with_a_connection_goes_again_on_the_next_one() -> None:
    pair = Pair().joined()
    sent = send_all(pair, 3)
    pair.deliver()
    pair.cut(pair.a)
    pair.send(pair.a, b"3")
    assert pair.on_wire() == []
    pair.advance(RECONNECT_NS_MAX)
    assert pair.a.open == {peer("b"): 2}
    pair.drop_all()
    pair.up(pair.a)
    assert pair.on_wire() == ["a: hello", "a: 1", "a: 2", "a: 3", "a: 4"]
    pair.deliver_all()
    assert pair.b.got == [*sent, b"3"]


def test_what_arrives_late_on_the_old_connection_is_a_strangers() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"x")
    late = pair.wire[0]
    pair.cut(pair.a)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.a)
    pair.deliver()
    pair.arrive(late)
    assert pair.b.got == []
    assert pair.b.session.counts == {"data before hello": 1}
    pair.deliver_all()
    assert pair.b.got == [b"x"]


def test_an_older_hello_does_not_take_the_line_back() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    older = pair.wire[0]
    pair.cut(pair.a)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.a)
    pair.deliver_all()
    pair.arrive(older)
    pair.send(pair.a, b"x")
    pair.deliver_all()
    assert pair.b.got == [b"x"]
    pair.arrive(Packet(pair.a, peer("b"), older.connection, [encode_header(FLAG_BODY, 2, 0), b"y"]))
    assert pair.b.got == [b"x"]


def test_each_failed_dial_waits_longer_and_a_loss_is_counted_once() -> None:
    pair = Pair()
    pair.dial(pair.a, pair.b)
    waits = []
    for _ in range(12):
        pair.cut(pair.a)
        out: list[Effect] = []
        pair.a.session.on_connection_lost(
            peer("b"), pair.a.session._lines[peer("b")].epoch, pair.now_ns, out
        )
        assert out == []
        due_ns = pair.a.session.deadlines.next_ns
        assert due_ns is not None
        waits.append(due_ns - pair.now_ns)
        pair.advance(waits[-1])
    assert waits[0] < 10 * MS
    assert waits[-1] > RECONNECT_NS_MAX // 2
    assert max(waits) <= RECONNECT_NS_MAX


def test_a_hello_that_was_lost_goes_again_with_the_resend() -> None:
    pair = Pair().joined()
    pair.cut(pair.a)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.a)
    pair.drop_all()
    pair.send(pair.a, b"x")
    pair.deliver_all()
    assert pair.b.got == []
    pair.advance(RESEND_FIRST_NS + MS)
    assert pair.on_wire() == ["a: hello", "a: 1"]
    pair.deliver_all()
    assert pair.b.got == [b"x"]


def test_a_hello_goes_again_where_repetitions_say_that_acks_are_not_heard() -> None:
    pair = Pair().joined()
    pair.cut(pair.b)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.b)
    pair.drop_all()
    pair.send(pair.a, b"x")
    again = pair.wire[0]
    pair.deliver_all()
    pair.advance(ACK_DELAY_NS)
    pair.deliver_all()
    assert pair.a.session.counts == {"data before hello": 1}
    pair.arrive(again)
    assert pair.on_wire() == ["b: hello", "b: ack 1"]
    pair.deliver_all()
    pair.drop_all()
    pair.advance(SECOND)
    assert pair.on_wire() == []


def test_a_full_table_of_connections_binds_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECTIONS_COUNT_MAX", 0)
    pair = Pair()
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.send(pair.a, b"x")
    pair.deliver_all()
    assert pair.b.got == []
    monkeypatch.undo()
    pair.advance(RESEND_FIRST_NS + MS)
    pair.deliver_all()
    assert pair.b.got == [b"x"]


# -- lives ---------------------------------------------------------------------------------------
def test_a_new_life_replaces_the_old_one_and_says_what_never_arrived() -> None:
    pair = Pair().joined()
    pair.send(pair.b, b"sent", TOKEN)
    pair.send(pair.b, b"untold")
    pair.cut(pair.b)
    pair.send(pair.b, b"kept", (lease("lease"), 1))
    pair.a = side("a", incarnation=2)
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.send(pair.a, b"new")
    pair.deliver_all()
    reason = "replaced by a newer life"
    undelivered = [(TOKEN, False), ((lease("lease"), 1), True)]
    assert pair.b.gone == [Gone(peer("a"), 1, reason, undelivered)]
    assert pair.b.got == [b"new"]
    assert pair.b.session.address_of(peer("a")) == address("a", 2)
    assert pair.b.session.is_fenced(peer("a"), 1)
    assert not pair.b.session.is_fenced(peer("a"), 2)


def test_an_older_life_is_refused_where_a_newer_one_is_known() -> None:
    pair = Pair(side("a"), side("b"))
    out: list[Effect] = []
    pair.b.session.dial(address("a", 2), out)
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.send(pair.a, b"old")
    pair.deliver_all()
    assert pair.b.refused == ["hello of a life that was declared dead"]
    assert pair.b.got == []


def test_a_fenced_life_is_heard_no_more() -> None:
    pair = Pair().joined()
    pair.send(pair.a, b"late")
    assert pair.forget(pair.b) == Gone(peer("a"), 1, "dead", [])
    pair.deliver_all()
    pair.cut(pair.a)
    pair.advance(RECONNECT_NS_MAX)
    pair.up(pair.a)
    pair.deliver_all()
    assert pair.b.got == []
    assert pair.b.refused == ["hello of a life that was declared dead"]
    assert pair.b.open == {}
    assert pair.forget(pair.b) is None


def test_what_is_fenced_stays_fenced_when_an_older_life_is_fenced_after_it() -> None:
    session = side("a").session
    session.fence(peer("b"), 3)
    session.fence(peer("b"), 1)
    assert session.is_fenced(peer("b"), 3)


def test_the_oldest_fence_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FENCED_COUNT_MAX", 2)
    session = side("a").session
    for name in ("b", "c", "b", "d"):
        session.fence(peer(name), 1)
    assert [session.is_fenced(peer(name), 1) for name in "bcd"] == [True, False, True]


def test_a_hello_for_somebody_else_or_another_life_is_refused() -> None:
    pair = Pair(side("a"), side("b", incarnation=2))
    out: list[Effect] = []
    pair.a.session.dial(address("b", 1), out)
    pair.perform(pair.a, out)
    pair.up(pair.a)
    pair.deliver_all()
    stranger = Identity(address("a"), "3.11", "0").hello_to(address("c", 2), 1)
    pair.arrive(Packet(pair.a, peer("b"), b"x", stranger))
    assert pair.b.refused == ["hello for somebody else"] * 2
    assert not pair.b.session.knows(peer("a"))


def test_a_mismatch_is_told_on_both_sides_and_nothing_else_is_heard() -> None:
    pair = Pair(side("a"), side("b", release="1"))
    pair.dial(pair.a, pair.b)
    pair.up(pair.a)
    pair.send(pair.a, b"x")
    pair.deliver_all()
    pair.up(pair.b)
    pair.deliver_all()
    assert pair.b.reports == ["ipc://a was refused: zgen 0 there, 1 here"]
    assert pair.a.reports == ["ipc://b was refused: zgen 1 there, 0 here"]
    assert pair.b.got == []


# -- malformed -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"short"],
        [encode_header(FLAG_UNSEQUENCED, 0, 0)],
        [encode_header(FLAG_UNSEQUENCED | FLAG_BODY, 0, 0), b"\xc1"],
        [encode_header(FLAG_UNSEQUENCED | FLAG_BODY, 0, 0), *encode(EndJob(b"j" * 16))],  # type: ignore[arg-type]  # any id
    ],
)
def test_what_is_malformed_is_refused_and_changes_nothing(frames: list[bytes]) -> None:
    pair = Pair().joined()
    out: list[Effect] = []
    with pytest.raises(RemoteProtocolError):
        pair.b.session.on_arrived(b"a.1.1", frames, pair.now_ns, out)
    assert out == []
    pair.send(pair.a, b"x")
    pair.deliver_all()
    assert pair.b.got == [b"x"]


def goodbye_of(pair: Pair, connection: bytes) -> Packet:
    body = encode(Goodbye(peer("a"), 1, "over"))
    frames = [encode_header(FLAG_UNSEQUENCED | FLAG_BODY, 0, 0), *body]
    return Packet(pair.a, peer("b"), connection, frames)


def test_only_the_peer_itself_says_goodbye() -> None:
    pair = Pair().joined()
    pair.arrive(goodbye_of(pair, b"of another"))
    assert pair.b.gone == []
    pair.arrive(goodbye_of(pair, b"a.1.1"))
    assert pair.b.gone == [Gone(peer("a"), 1, "left: over", [])]
    pair.arrive(goodbye_of(pair, b"a.1.1"))
    assert len(pair.b.gone) == 1


# -- check ---------------------------------------------------------------------------------------
def test_check_finds_a_line_to_the_dead() -> None:
    session: Session = Pair().joined().a.session
    session.fence(peer("b"), 1)
    with pytest.raises(AssertionError, match="a line to the dead"):
        session.check()
