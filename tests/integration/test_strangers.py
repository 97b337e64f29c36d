"""Behind the lock only members are heard, whatever others send (rows RS1, RS1b, RS2, RS3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from tests.integration import strangers
from tests.integration.gates import LATE_S
from tests.integration.strangers import HOST, Member, flood, greeting, resident_bytes
from tests.integration.watching import wait_until
from zgen.core.handshake_events import Refusal
from zgen.io import sockets
from zgen.io.keys import ClusterKey, generate
from zgen.io.security import Doorman, Lock
from zgen.wire.parts import PartHeader

WITHIN_S = 10.0
FLOOD_BYTES = 48 << 20


@pytest.fixture
def key() -> ClusterKey:
    return generate()


@pytest.fixture
def victim(tmp_path: Path, key: ClusterKey) -> Iterator[Member]:
    with Member(tmp_path, key) as member:
        yield member


@pytest.fixture
def friend(tmp_path: Path, key: ClusterKey) -> Iterator[Member]:
    with Member(tmp_path, key) as member:
        yield member


def public(key: ClusterKey) -> bytes:
    return z85.encode(Lock(key).member)


def test_members_hear_each_other(victim: Member, friend: Member) -> None:
    friend.reach(victim)
    victim.reach(friend)
    assert not victim.machine.refused


@pytest.mark.parametrize(
    ("locked", "why"),
    [(True, Refusal.OTHER_KEY), (False, Refusal.KEY_ON_ONE_SIDE)],
    ids=["another key", "no key"],
)
def test_who_has_not_the_key_is_not_heard_and_both_ends_know_why(
    victim: Member, tmp_path: Path, locked: bool, why: Refusal
) -> None:
    with Member(tmp_path, generate() if locked else None) as stranger:
        stranger.say(victim.address)
        wait_until(lambda: bool(stranger.machine.failures), WITHIN_S, "the stranger is told")
        assert stranger.machine.failures[0] in (Refusal.CUT_SHORT, why)  # who finds it first
        wait_until(lambda: victim.machine.refused[why] > 0, WITHIN_S, "the other end counts it")
    assert victim.machine.arrived == 0


@pytest.mark.parametrize("said", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\0" * 99])
def test_what_is_no_zeromq_is_cut_off_and_counted(victim: Member, said: bytes) -> None:
    with socket.create_connection((HOST, victim.port), 5) as line:
        line.sendall(said)
        wait_until(lambda: bool(victim.machine.refused), WITHIN_S, "it is counted")
    assert set(victim.machine.refused) <= {Refusal.MALFORMED, Refusal.CUT_SHORT}
    assert victim.machine.arrived == 0


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        greeting(b"NULL"),
        greeting(b"CURVE") + strangers.LONG_COMMAND,
        greeting(b"CURVE") + strangers.LONG_MESSAGE,
    ],
    ids=["bytes", "no key", "a long command", "a long message"],
)
def test_a_flood_of_a_stranger_is_not_kept(victim: Member, beginning: bytes) -> None:
    before = resident_bytes(os.getpid())
    flood(victim.port, beginning, FLOOD_BYTES)
    assert resident_bytes(os.getpid()) - before < FLOOD_BYTES // 4
    assert victim.machine.arrived == 0


def test_who_knows_the_public_key_alone_is_turned_away(victim: Member, key: ClusterKey) -> None:
    context, line = strangers.with_another_key(victim.port, public(key))
    try:
        refused = victim.machine.refused
        wait_until(lambda: refused[Refusal.OTHER_KEY] > 0, WITHIN_S, "he is counted")
        assert victim.machine.arrived == 0
        assert not line.poll(0)
    finally:
        context.destroy(0)


def test_when_the_doorman_fails_nobody_new_is_let_in_and_who_is_in_stays(
    victim: Member, friend: Member, key: ClusterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    friend.reach(victim)
    victim.reach(friend)

    def fail(self: object, asked: list[bytes]) -> list[bytes]:
        raise RuntimeError("the doorman fell asleep")

    monkeypatch.setattr(Doorman, "_answer_to", fail)
    dialled = [strangers.with_another_key(victim.port, public(key))]
    try:
        refused = victim.machine.refused
        took_s = wait_until(
            lambda: refused[Refusal.NOBODY_DECIDES] == 1, WITHIN_S, "it is reported"
        )
        assert took_s < 1 + LATE_S
        dialled.append(strangers.with_another_key(victim.port, public(key)))
        wait_until(lambda: sum(refused.values()) > 1, WITHIN_S, "the next one is refused, too")
        assert victim.machine.let_in == 0
    finally:
        for context, _ in dialled:
            context.destroy(0)
    friend.reach(victim)
    victim.reach(friend)
    assert not victim.machine.lost
    assert not friend.machine.lost


def test_without_a_doorman_nobody_is_let_in(
    tmp_path: Path, key: ClusterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zgen.io.security._ZAP_ENDPOINT", "inproc://elsewhere")
    with Member(tmp_path, key) as victim:
        context, line = strangers.with_another_key(victim.port, public(key))
        try:
            wait_until(lambda: bool(victim.machine.refused), WITHIN_S, "he is refused")
            assert victim.machine.arrived == 0
            assert not line.poll(0)
        finally:
            context.destroy(0)


def test_libzmq_alone_would_let_everybody_in_whom_no_doorman_judges(
    tmp_path: Path, key: ClusterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_option = zmq.Socket.setsockopt

    def leave_out(self: zmq.Socket[bytes], option: int, value: bytes | int) -> None:
        if option not in (zmq.ZAP_ENFORCE_DOMAIN, zmq.ZAP_DOMAIN):
            set_option(self, option, value)

    monkeypatch.setattr("zgen.io.security._ZAP_ENDPOINT", "inproc://elsewhere")
    monkeypatch.setattr(zmq.Socket, "setsockopt", leave_out)
    with Member(tmp_path, key) as victim:
        context, line = strangers.with_another_key(victim.port, public(key))
        try:
            assert not line.poll(0)
            wait_until(lambda: victim.machine.let_in == 1, WITHIN_S, "the stranger is heard")
        finally:
            context.destroy(0)


def test_those_who_say_nothing_do_not_keep_members_out_and_are_closed(
    tmp_path: Path, key: ClusterKey, friend: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_HANDSHAKE_IVL_MS", 500)
    with Member(tmp_path, key) as victim:
        lines = strangers.idle_connections(victim.port, 200)
        try:
            assert friend.reach(victim) < 0.1 + LATE_S
            strangers.wait_until_closed(lines, WITHIN_S)
        finally:
            for line in lines:
                line.close()


def test_malformed_connections_do_no_harm(victim: Member, friend: Member) -> None:
    strangers.malformed_transport(victim.port, 300, seed=1)
    friend.reach(victim)
    assert victim.machine.arrived <= 2, "the friend's hello and what it said"


def test_parts_of_regions_are_taken_from_members_alone_and_if_they_are_well_formed(
    victim: Member, key: ClusterKey
) -> None:
    taken: list[tuple[PartHeader, list[bytes]]] = []
    victim.mailbox.take_parts(
        lambda header, frames: taken.append((header, [frame.bytes for frame in frames]))
    )
    header = PartHeader(1, 2, 3, None)
    said = [[header.pack(), b"a", b"b"], [header.pack()[:-1], b"c"], [header.pack()]]
    context = zmq.Context()
    lines = [sockets.new_socket(context, zmq.DEALER) for _ in range(3)]
    try:
        for line, lock in zip(lines, (Lock(generate()), None, Lock(key)), strict=True):
            if lock is not None:
                lock.open(line)
            line.connect(f"tcp://{HOST}:{victim.port}")
            for message in said:
                line.send_multipart(message)
        wait_until(lambda: victim.machine.arrived == 2, WITHIN_S, "what is malformed is refused")
        assert taken == [(header, [b"a", b"b"])]
    finally:
        context.destroy(0)
