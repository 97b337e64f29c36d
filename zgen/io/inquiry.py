"""Ask a node for its state and that of its processes, as neither driver nor worker."""

import json
import os
from typing import Any, TypeAlias

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
from zgen.core.handshake_events import HandshakeFailed
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
from zgen.limits import SECOND, STATE_GRACE_NS
from zgen.wire.cluster import DrainNode, ReloadKeys
from zgen.wire.codec import decode, encode
from zgen.wire.lease import NodeReport, QueryNode
from zgen.wire.session import Address
from zgen.wire.state import ListState, StateRows, StateTold

Question: TypeAlias = QueryNode | ListState | DrainNode | ReloadKeys


class Inquiry:
    """One question and its answer, as a machine.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        lines_closing: Never wanted.
        answers: What the node said.
        answered: Whether that is all.
        failure: Why there will be no answer; empty while there may be one.
    """

    def __init__(self, identity: Identity, question: Question) -> None:
        """Ask ``question`` as ``identity``; a ``Join`` names the node."""
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self.answers: list[Any] = []
        self.answered = False
        self._question = question
        self._told_count = 0
        self.failure = ""
        self._session = Session(identity)

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        out: list[Effect] = []
        match event:
            case Join(node):
                self._session.dial(node, out)
                self._session.send(node.peer, encode(self._question), now_ns, out)
            case ConnectionUp(peer, epoch):
                self._session.on_connection_up(peer, epoch, now_ns, out)
            case ConnectionLost(peer, epoch):
                self._session.on_connection_lost(peer, epoch, now_ns, out)
            case Arrived(connection, frames):
                self._on_arrived(connection, frames, now_ns, out)
            case HandshakeFailed():
                self._session.on_handshake_failed(event, now_ns, out)
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
                if isinstance(message, (NodeReport, StateRows, StateTold)):
                    self.answers.append(message)
                    if isinstance(message, StateTold):
                        self._told_count += 1
                        self.answered = self._told_count >= message.nodes_count
                    else:
                        self.answered = isinstance(message, NodeReport)
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
    (report,) = _ask(QueryNode(1), node, folder, timeout_s)
    state: dict[str, Any] = json.loads(report.state)
    return state


def drain_node(node: Address, folder: str, patience_s: float) -> dict[str, Any]:
    """Tell the node whose sockets lie in ``folder`` to leave its cluster; return its state.

    Args:
        node: The node.
        folder: Where its sockets lie.
        patience_s: After how long it ends what still runs.

    Raises:
        NodeStartError: It did not answer in time, or speaks another version.
    """
    (report,) = _ask(DrainNode(1, round(patience_s * SECOND)), node, folder, 5.0)
    state: dict[str, Any] = json.loads(report.state)
    return state


def reload_keys(node: Address, folder: str) -> dict[str, Any]:
    """Have the node whose sockets lie in ``folder`` read its key file again; return its state.

    Raises:
        NodeStartError: It did not answer in time, or speaks another version.
    """
    (report,) = _ask(ReloadKeys(1), node, folder, 5.0)
    state: dict[str, Any] = json.loads(report.state)
    return state


def query_state(
    node: Address, folder: str, what: str, limit: int, patience_s: float
) -> tuple[list[StateRows], list[StateTold]]:
    """Return what the processes of a cluster own, as they say it, and who they are, by node.

    Args:
        node: Whom to ask.
        folder: Where its sockets lie.
        what: What is to be listed.
        limit: Rows that each process tells at most.
        patience_s: How long to wait for each; the node gets some more.

    Raises:
        NodeStartError: It did not answer in time, or speaks another version.
    """
    question = ListState(1, what, limit, round(patience_s * SECOND), everywhere=True)
    answers = _ask(question, node, folder, patience_s + STATE_GRACE_NS / SECOND)
    told = [each for each in answers if isinstance(each, StateTold)]
    return [each for each in answers if isinstance(each, StateRows)], told


def _ask(question: Question, node: Address, folder: str, timeout_s: float) -> list[Any]:
    me = Address(PeerId(os.urandom(ID_BYTES)), 1, "")
    me = Address(me.peer, 1, endpoint_of(folder, me.peer), machine=node.machine)
    machine = Inquiry(Identity(me, PYTHON, RELEASE), question)
    left = Waiter()

    def perform(effect: Effect) -> None:
        if isinstance(effect, Left):
            left.done = True

    loop = Loop(machine, Mailbox(me.endpoint), perform)
    deadline_ns = now_ns() + round(timeout_s * SECOND)
    try:
        loop.post(Join(node, JobId(bytes(ID_BYTES)), os.getpid()))
        loop.run(lambda: bool(machine.answered or machine.failure) or now_ns() >= deadline_ns)
        loop.post(Leave("answered"))
        loop.run(lambda: left.done)
    finally:
        loop.close()
    if not machine.answered:
        failure = machine.failure or f"no answer within {timeout_s:g} s"
        raise NodeStartError(f"{node.endpoint}: {failure}")
    return machine.answers
