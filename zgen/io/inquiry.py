"""Ask a node for its state, as a process that is neither driver nor worker."""

import json
import os
from typing import Any

from zgen.core.effects import Effect, Left
from zgen.core.events import (
    Arrived,
    ConnectionLost,
    ConnectionUp,
    Event,
    InboxDrained,
    Join,
    Leave,
    TimerDue,
)
from zgen.core.identity import Identity
from zgen.core.session import Session
from zgen.exceptions import NodeStartError, RemoteProtocolError
from zgen.ids import ID_BYTES, JobId, PeerId
from zgen.io.clock import now_ns
from zgen.io.folders import endpoint_of
from zgen.io.loop import Loop
from zgen.io.mailbox import Mailbox
from zgen.io.release import PYTHON, RELEASE
from zgen.io.waiter import Waiter
from zgen.limits import SECOND
from zgen.wire.codec import decode, encode
from zgen.wire.lease import NodeReport, QueryNode
from zgen.wire.session import Address


class Inquiry:
    """One question and its answer, as a machine.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        lines_closing: Never wanted.
        answer: What the node said; None until it did.
        failure: Why there will be no answer; empty while there may be one.
    """

    def __init__(self, identity: Identity) -> None:
        """Ask as ``identity``; a ``Join`` names the node."""
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self.answer: NodeReport | None = None
        self.failure = ""
        self._session = Session(identity)

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        out: list[Effect] = []
        match event:
            case Join(node):
                self._session.dial(node, out)
                self._session.send(node.peer, encode(QueryNode(1)), now_ns, out)
            case ConnectionUp(peer, epoch):
                self._session.on_connection_up(peer, epoch, now_ns, out)
            case ConnectionLost(peer, epoch):
                self._session.on_connection_lost(peer, epoch, now_ns, out)
            case Arrived(connection, frames):
                self._on_arrived(connection, frames, now_ns, out)
            case TimerDue():
                self._session.on_timer(now_ns, out)
            case Leave(reason):
                self._session.leave(reason, now_ns, out)
            case InboxDrained():
                pass
            case _:
                raise AssertionError(f"an inquiry is never told {event}")
        self.next_deadline_ns = self._session.deadlines.next_ns
        return out

    def check(self) -> None:
        """Assert the invariants of the line."""
        self._session.check()

    def _on_arrived(
        self, connection: bytes, frames: list[bytes], now_ns: int, out: list[Effect]
    ) -> None:
        try:
            _, bodies, gone = self._session.on_arrived(connection, frames, now_ns, out)
            for body in bodies:
                message = decode(body)
                if isinstance(message, NodeReport):
                    self.answer = message
        except RemoteProtocolError as error:
            self.failure = str(error)
            return
        if gone is not None:
            self.failure = gone.reason


def query_node(node: Address, folder: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """Return the state of the node whose sockets lie in ``folder``.

    Raises:
        NodeStartError: It did not answer in time, or speaks another version.
    """
    me = Address(PeerId(os.urandom(ID_BYTES)), 1, "")
    me = Address(me.peer, 1, endpoint_of(folder, me.peer))
    machine = Inquiry(Identity(me, PYTHON, RELEASE))
    left = Waiter()

    def perform(effect: Effect) -> None:
        if isinstance(effect, Left):
            left.done = True

    loop = Loop(machine, Mailbox(me.endpoint), perform)
    deadline_ns = now_ns() + round(timeout_s * SECOND)
    try:
        loop.post(Join(node, JobId(bytes(ID_BYTES)), os.getpid()))
        loop.run(lambda: bool(machine.answer or machine.failure) or now_ns() >= deadline_ns)
        loop.post(Leave("answered"))
        loop.run(lambda: left.done)
    finally:
        loop.close()
    if machine.answer is None:
        failure = machine.failure or f"no answer within {timeout_s:g} s"
        raise NodeStartError(f"{node.endpoint}: {failure}")
    state: dict[str, Any] = json.loads(machine.answer.state)
    return state
