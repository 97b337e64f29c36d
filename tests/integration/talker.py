"""A driver made of a session and nothing else: says messages to a node and keeps what it hears."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from zgen.core.effects import Effect, Left
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event, Leave, TimerDue
from zgen.core.identity import Identity
from zgen.core.session import Session
from zgen.ids import ID_BYTES, JobId, PeerId
from zgen.io.clock import now_ns
from zgen.io.folders import endpoint_of
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.limits import SECOND
from zgen.wire.codec import decode, encode
from zgen.wire.lease import RegisterJob
from zgen.wire.session import Address

T = TypeVar("T")


@dataclass(slots=True)
class Say:
    """The test says something to a peer."""

    to: Address
    message: Any


class Mouth:
    """The machine of a talker."""

    def __init__(self, identity: Identity) -> None:
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self.heard: list[Any] = []
        self._session = Session(identity)

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        out: list[Effect] = []
        said: Any = event
        match said:
            case Say(to, message):
                self._session.dial(to, out)
                self._session.send(to.peer, encode(message), now_ns, out)
            case ConnectionUp(peer, epoch):
                self._session.on_connection_up(peer, epoch, now_ns, out)
            case ConnectionLost(peer, epoch):
                self._session.on_connection_lost(peer, epoch, now_ns, out)
            case Arrived(connection, frames):
                _, bodies, _ = self._session.on_arrived(connection, frames, now_ns, out)
                self.heard.extend(map(decode, bodies))
            case TimerDue():
                self._session.on_timer(now_ns, out)
            case Leave(reason):
                self._session.leave(reason, now_ns, out)
            case _:
                pass
        self.next_deadline_ns = self._session.deadlines.next_ns
        return out

    def check(self) -> None:
        self._session.check()


class Talker:
    """A process that is in the node's eyes a driver."""

    def __init__(self, node: Address, folder: str) -> None:
        self.node = node
        self.peer = PeerId(os.urandom(ID_BYTES))
        self.job = JobId(os.urandom(ID_BYTES))
        self._left = False
        address = Address(self.peer, 1, endpoint_of(folder, self.peer))
        self._mouth = Mouth(Identity(address, PYTHON, RELEASE))
        self._loop = Loop(self._mouth, Mailbox(address.endpoint), self._perform)

    def say(self, message: Any, to: Address | None = None) -> None:
        self._loop.post(cast(Event, Say(to or self.node, message)))

    def register(self) -> None:
        """Make this process the driver of a job."""
        environment = tuple(os.environ.items())
        self.say(RegisterJob(self.job, os.getpid(), tuple(sys.path), os.getcwd(), environment))

    def hear(self, kind: type[T], within_s: float = 10.0) -> T:
        """Take the next message of a kind; wait for it."""
        deadline_ns = now_ns() + round(within_s * SECOND)
        self._loop.run(lambda: self._has(kind) or now_ns() >= deadline_ns)
        for message in self._mouth.heard:
            if isinstance(message, kind):
                self._mouth.heard.remove(message)
                return message
        raise AssertionError(f"no {kind.__name__} within {within_s} s; heard {self._mouth.heard}")

    def close(self) -> None:
        """Leave politely; a dead node is waited for as long as a session does."""
        self._loop.post(Leave("the test is over"))
        self._loop.run(lambda: self._left)
        self._loop.close()

    def abandon(self) -> None:
        """Leave without a word."""
        self._loop.close()

    def _has(self, kind: type) -> bool:
        return any(isinstance(message, kind) for message in self._mouth.heard)

    def _perform(self, effect: Effect) -> None:
        self._left = self._left or isinstance(effect, Left)
