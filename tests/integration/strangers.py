"""A process behind the lock, those who have no business there, and what they do to it."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import zmq

from tests.integration.talker import Mouth, Say
from tests.integration.watching import wait_until
from zgen.core.effects import Effect
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event
from zgen.core.handshake_events import HandshakeFailed, Refusal, StrangersRefused
from zgen.core.identity import Identity
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ID_BYTES, FunctionId, PeerId
from zgen.io.exposure import Exposure
from zgen.io.keys import ClusterKey
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.wire.session import Address
from zgen.wire.task import DefineFunction

STRANGERS_WORDS: Final = b"let me in"
HOST: Final = "127.0.0.1"
#: Begins a frame of 200 MiB that is to follow: a command, and a message.
LONG_COMMAND: Final = b"\x06" + struct.pack("!Q", 200 << 20)
LONG_MESSAGE: Final = b"\x02" + struct.pack("!Q", 200 << 20)
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def greeting(mechanism: bytes) -> bytes:
    """Return what a ZeroMQ process says first."""
    signature = b"\xff" + bytes(8) + b"\x7f"
    return signature + b"\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


class Noting(Mouth):
    """Counts what comes to a process, and keeps what its peers say."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self.arrived = 0
        self.let_in = 0
        self.ups: Counter[PeerId] = Counter()
        self.lost: Counter[PeerId] = Counter()
        self.failures: list[Refusal] = []
        self.refused: Counter[Refusal] = Counter()

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        match event:
            case Arrived(_, frames):
                self.arrived += 1
                self.let_in += frames == [STRANGERS_WORDS]
            case ConnectionUp(peer):
                self.ups[peer] += 1
            case ConnectionLost(peer):
                self.lost[peer] += 1
            case HandshakeFailed():
                self.failures.append(event.why)
            case StrangersRefused(why, count):
                self.refused[why] += count
            case _:
                pass
        try:
            return super().step(event, now_ns)
        except RemoteProtocolError:
            return []


class Member:
    """A process that has a key, or none, and an inbox on tcp."""

    def __init__(self, folder: Path, key: ClusterKey | None) -> None:
        peer = PeerId(os.urandom(ID_BYTES))
        exposure = Exposure(HOST, "*", HOST, peer[:8], key)
        self.mailbox = Mailbox(f"ipc://{folder}/{peer[:4].hex()}", exposure)
        self.port = self.mailbox.tcp_port
        self.address = exposure.told(Address(peer, 1, ""), self.port)
        self.machine = Noting(Identity(self.address, PYTHON, RELEASE))
        self.loop = Loop(self.machine, self.mailbox, lambda effect: None)
        self.loop.start_thread(lambda: None)

    def __enter__(self) -> Member:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.loop.close()
        assert not self.loop.broken, self.loop.broken
        assert self.loop.rescues == 0

    def say(self, to: Address, text: bytes = b"hello") -> None:
        message = DefineFunction(FunctionId(bytes(ID_BYTES)), text)
        self.loop.post(cast(Event, Say(to, message)))

    def has_heard(self, text: bytes = b"hello") -> bool:
        return any(message.payload == text for message in list(self.machine.heard))

    def reach(self, other: Member, within_s: float = 10.0) -> float:
        """Say something to another member, and return how long it took to be heard."""
        text = os.urandom(8)
        self.say(other.address, text)
        return wait_until(lambda: other.has_heard(text), within_s, "it was heard")


def flood(port: int, beginning: bytes, size_bytes: int, within_s: float = 20.0) -> int:
    """Send so much after ``beginning``, as far as it is taken; return how much was."""
    chunk = b"\x01" * (64 << 10)
    sent = 0
    deadline = time.monotonic() + within_s
    try:
        with socket.create_connection((HOST, port), 5) as line:
            line.sendall(beginning)
            while sent < size_bytes and time.monotonic() < deadline:
                sent += line.send(chunk)
    except OSError:
        pass  # it was cut off, or nobody reads
    return sent


def idle_connections(port: int, count: int) -> list[socket.socket]:
    """Open connections and say nothing."""
    return [socket.create_connection((HOST, port), 20) for _ in range(count)]


def wait_until_closed(lines: list[socket.socket], within_s: float) -> float:
    """Wait until the other end has closed every one; return the seconds it took."""
    began = time.monotonic()
    poll = select.poll()
    open_fds = {line.fileno(): line for line in lines}
    for fd, line in open_fds.items():
        line.setblocking(False)
        poll.register(fd, select.POLLIN)
    while open_fds:
        left_s = within_s - (time.monotonic() - began)
        assert left_s > 0, f"{len(open_fds)} of {len(lines)} connections are still open"
        for fd, _ in poll.poll(left_s * 1000):
            try:
                closed = not open_fds[fd].recv(1024)
            except OSError:
                closed = True
            if closed:
                poll.unregister(fd)
                del open_fds[fd]
    return time.monotonic() - began


def malformed_transport(port: int, count: int, seed: int) -> None:
    """Open connections that begin as they should and go on as they should not."""
    dice = random.Random(seed)
    for _ in range(count):
        began = greeting(dice.choice([b"CURVE", b"CURVE", b"NULL", b"PLAIN", b"\xff" * 20]))
        rest = dice.choice(
            [
                dice.randbytes(dice.randrange(300)),
                bytes([dice.choice([0, 1, 2, 4, 6]), 200]) + dice.randbytes(200),
                b"\x04\xc8\x05HELLO" + dice.randbytes(194),
                b"\x06" + struct.pack("!Q", dice.choice([0, 1 << 31, 1 << 63, (1 << 64) - 1])),
                b"",
            ]
        )
        try:
            with socket.create_connection((HOST, port), 5) as line:
                line.sendall(began[: dice.choice([1, 10, 11, 63, 64, 64, 64])] + rest)
        except OSError:
            continue  # it was cut off first


def with_another_key(port: int, server_key: bytes) -> tuple[zmq.Context[Any], zmq.Socket[Any]]:
    """Dial as somebody who knows the public key of the cluster and has a pair of his own."""
    context: zmq.Context[Any] = zmq.Context()
    line = context.socket(zmq.DEALER)
    line.setsockopt(zmq.LINGER, 0)
    public, secret = zmq.curve_keypair()
    line.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    line.setsockopt(zmq.CURVE_PUBLICKEY, public)
    line.setsockopt(zmq.CURVE_SECRETKEY, secret)
    line.connect(f"tcp://{HOST}:{port}")
    line.send(STRANGERS_WORDS)
    return context, line
