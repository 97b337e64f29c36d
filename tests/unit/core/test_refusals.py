"""Handshakes that fail: noted for who dialled, counted for who was dialled, told now and then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.core.names import address, peer
from tests.unit.core.pair import Packet, Pair
from zgen.core.effects import Effect, OpenConnection, Report
from zgen.core.handshake_events import HandshakeFailed, Refusal, StrangersRefused
from zgen.core.identity import Identity
from zgen.core.refusals import DIALLED, REFUSED, Refusals
from zgen.core.session import Session
from zgen.limits import DIALS_REFUSED_TOLD_COUNT
from zgen.wire.session import ANYBODY

HERE = replace(address("me"), tcp="tcp://here:1", machine=b"here")
FAR = replace(address("far"), tcp="tcp://there:2", machine=b"there")


def reports(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Report)]


def test_strangers_are_told_of_when_there_is_one_and_when_their_number_doubles() -> None:
    refusals, out = Refusals(), list[Effect]()
    for count in (1, 1, 1, 1, 30, 1):
        refusals.strangers(StrangersRefused(Refusal.OTHER_KEY, count), out)
    text = REFUSED[Refusal.OTHER_KEY]
    assert reports(out) == [f"{text} ({count})" for count in (1, 2, 4, 34)]
    assert refusals.counts == {Refusal.OTHER_KEY: 35}


def test_each_reason_is_counted_for_itself() -> None:
    refusals, out = Refusals(), list[Effect]()
    for why in Refusal:
        refusals.strangers(StrangersRefused(why, 1), out)
    assert len(reports(out)) == len(Refusal)
    assert set(DIALLED) == set(REFUSED) == set(Refusal)


def test_a_record_of_steps_can_be_read_back() -> None:
    said = repr(StrangersRefused(Refusal.OTHER_KEY, 2))
    assert said == "StrangersRefused(why=Refusal.OTHER_KEY, count=2)"


def test_a_peer_that_refuses_again_and_again_is_told_of_once_until_it_lets_us_in() -> None:
    session, out = Session(Identity(HERE, "3.11", "0")), list[Effect]()
    session.dial(FAR, out)
    assert out == [OpenConnection(FAR.peer, "tcp://there:2", 1)]
    failed = HandshakeFailed(FAR.peer, 1, Refusal.CUT_SHORT)
    told: list[Effect] = []
    for _ in range(DIALS_REFUSED_TOLD_COUNT - 1):
        session.on_handshake_failed(failed, 0, told)
    assert not told
    assert session.refusals.why(FAR.peer) is Refusal.CUT_SHORT
    for _ in range(DIALS_REFUSED_TOLD_COUNT):
        session.on_handshake_failed(failed, 0, told)
    assert reports(told) == [f"no connection to tcp://there:2: {DIALLED[Refusal.CUT_SHORT]}"]
    session.on_connection_up(FAR.peer, 1, 0, told)
    assert session.refusals.why(FAR.peer) is None


def test_a_handshake_of_an_older_connection_or_a_forgotten_peer_says_nothing() -> None:
    session, out = Session(Identity(HERE, "3.11", "0")), list[Effect]()
    session.dial(FAR, out)
    session.on_handshake_failed(HandshakeFailed(FAR.peer, 2, Refusal.OTHER_KEY), 0, out)
    assert session.refusals.why(FAR.peer) is None
    session.on_handshake_failed(HandshakeFailed(FAR.peer, 1, Refusal.OTHER_KEY), 0, out)
    session.forget(FAR.peer, "over", out)
    session.on_handshake_failed(HandshakeFailed(FAR.peer, 1, Refusal.OTHER_KEY), 0, out)
    assert session.refusals.why(FAR.peer) is None


@pytest.mark.parametrize(
    ("machine", "tcp", "dialled"),
    [(b"there", "tcp://there:2", "tcp://there:2"), (b"here", "tcp://there:2", "ipc://far")],
    ids=["another machine", "the same machine"],
)
def test_who_dials_chooses_the_inbox_by_the_machine(machine: bytes, tcp: str, dialled: str) -> None:
    me = Identity(HERE, "3.11", "0")
    assert me.inbox_of(replace(FAR, machine=machine, tcp=tcp)) == dialled


def test_who_has_no_other_inbox_is_dialled_at_the_one_that_it_has() -> None:
    assert Identity(HERE, "3.11", "0").inbox_of(address("far")) == "ipc://far"


def test_a_hello_to_whoever_is_there_is_answered_with_who_is_there() -> None:
    pair = Pair()
    anybody = replace(address("b"), peer=ANYBODY)
    ring = pair.a.session.identity.hello_to(anybody, 1)
    pair.arrive(Packet(pair.a, peer("b"), b"x", ring))
    assert not pair.b.refused
    assert pair.b.open == {peer("a"): 1}
    pair.up(pair.b)
    assert pair.on_wire() == ["b: hello"]
