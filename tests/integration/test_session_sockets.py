"""A session over real sockets whose connection is cut under it loses nothing; ZeroMQ alone does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, cast

import pytest
import zmq

from tests.integration.relay import Relay
from tests.integration.talker import Mouth, Say
from zgen.core.effects import Effect, Transmit
from zgen.core.events import Event
from zgen.core.identity import Identity
from zgen.ids import ID_BYTES, FunctionId, PeerId
from zgen.io.exposure import Exposure
from zgen.io.keys import ClusterKey, generate
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, decode_header
from zgen.wire.session import Address
from zgen.wire.task import DefineFunction

MESSAGES: Final = 20_000
PAYLOAD_BYTES: Final = 100
CUTS: Final = 20
#: Twenty connections that are cut carry less than all messages do.
CUT_AFTER_BYTES: Final = MESSAGES * PAYLOAD_BYTES // (2 * CUTS)
WITHIN_S: Final = 50.0


class Hearer(Mouth):
    """Says when it has heard enough."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self.heard_all = threading.Event()

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        effects = super().step(event, now_ns)
        if len(self.heard) >= MESSAGES:
            self.heard_all.set()
        return effects


class Sent:
    """Counts what leaves, by sequence number."""

    def __init__(self) -> None:
        self.last = 0
        self.resent = 0

    def __call__(self, now_ns: int, event: Event, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Transmit):
                header = decode_header(effect.frames[0])
                if header.flags & FLAG_BODY and not header.flags & FLAG_UNSEQUENCED:
                    self.resent += header.seq <= self.last
                    self.last = max(self.last, header.seq)


def numbered(index: int) -> DefineFunction:
    payload = index.to_bytes(8, "big").ljust(PAYLOAD_BYTES, b".")
    return DefineFunction(FunctionId(bytes(ID_BYTES)), payload)


def address_behind(relay: Relay) -> Address:
    return Address(PeerId(os.urandom(ID_BYTES)), 1, relay.endpoint)


def plain() -> tuple[Mailbox, str]:
    mailbox = Mailbox("tcp://127.0.0.1:*")
    return mailbox, mailbox.endpoint


def locked(key: ClusterKey, folder: Path) -> tuple[Mailbox, str]:
    exposure = Exposure("127.0.0.1", "*", "127.0.0.1", b"", key)
    mailbox = Mailbox(f"ipc://{folder}/{os.urandom(4).hex()}", exposure)
    return mailbox, f"tcp://127.0.0.1:{mailbox.tcp_port}"


@pytest.mark.integration
@pytest.mark.parametrize("how", ["plain", "locked"])
def test_a_session_loses_and_repeats_nothing_when_its_connection_is_cut_twenty_times(
    how: str, tmp_path: Path
) -> None:
    key = generate()
    (here, here_at), (there, there_at) = [
        plain() if how == "plain" else locked(key, tmp_path) for _ in range(2)
    ]
    with Relay(there_at, CUT_AFTER_BYTES, CUTS) as forth, Relay(here_at) as back:
        sent = Sent()
        speaker = Mouth(Identity(address_behind(back), PYTHON, RELEASE))
        target = address_behind(forth)
        hearer = Hearer(Identity(target, PYTHON, RELEASE))
        speaking = Loop(speaker, here, lambda effect: None, recorder=sent)
        hearing = Loop(hearer, there, lambda effect: None)
        try:
            for loop in (speaking, hearing):
                loop.start_thread(lambda: None)
            for index in range(MESSAGES):
                speaking.post(cast(Event, Say(target, numbered(index))))
            assert hearer.heard_all.wait(WITHIN_S), f"{len(hearer.heard)} of {MESSAGES} arrived"
            for loop, machine in ((speaking, speaker), (hearing, hearer)):
                assert not loop.broken
                with loop.lock:
                    machine.check()
        finally:
            speaking.close()
            hearing.close()
        assert forth.cuts >= CUTS
    assert sent.resent > 0, "nothing was resent, so nothing was lost on the way"
    numbers = [int.from_bytes(message.payload[:8], "big") for message in hearer.heard]
    assert numbers == list(range(MESSAGES))


@pytest.mark.integration
def test_without_the_session_the_same_cuts_lose_messages() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        inbox, outbox = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        for each in (inbox, outbox):
            each.setsockopt(zmq.LINGER, 0)
            each.setsockopt(zmq.SNDHWM, 0)
            each.setsockopt(zmq.RCVHWM, 0)
        outbox.setsockopt(zmq.RECONNECT_IVL, 5)
        inbox.bind("tcp://127.0.0.1:*")
        target = inbox.getsockopt_string(zmq.LAST_ENDPOINT)
        heard: list[int] = []
        with Relay(target, CUT_AFTER_BYTES, CUTS) as forth:
            outbox.connect(forth.endpoint)
            for index in range(MESSAGES):
                outbox.send(index.to_bytes(8, "big").ljust(PAYLOAD_BYTES, b"."))
            # On one connection nothing overtakes: what has not come before this one is lost.
            while not (heard and heard[-1] >= MESSAGES):
                outbox.send(MESSAGES.to_bytes(8, "big"))
                while inbox.poll(50):
                    heard.append(int.from_bytes(inbox.recv_multipart()[-1][:8], "big"))
            assert forth.cuts > 0
    finally:
        context.destroy(0)
    arrived = {index for index in heard if index < MESSAGES}
    assert MESSAGES - len(arrived) > 0, "ZeroMQ alone lost nothing: the cuts do no harm"
