"""A node and its membership of a cluster, as one machine.

Rules of this file: passes on. What a node does is decided in ``node``, who is in the cluster in
``membership``.

Theory of operation. What the one says of itself the other publishes; who joins, changes and goes
is told back. Probes come in among everything else, marked in their header, and never reach the
session. A node that is declared dead does nothing more: its supervisor ends it with all its
processes and starts another one.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, Left, Report
from zgen.core.events import (
    Arrived,
    ConnectionLost,
    ConnectionUp,
    Event,
    Leave,
    TimerDue,
)
from zgen.core.handshake_events import HandshakeFailed
from zgen.core.marks import reached
from zgen.core.node_effects import ClusterJoined, NodeFenced, NotJoined, PublishState
from zgen.core.node_events import (
    DialRefused,
    JoinCluster,
    LinkCut,
    LinkHealed,
    MemberGone,
    MemberSaid,
)
from zgen.exceptions import RemoteProtocolError
from zgen.ids import short
from zgen.limits import MEMBER_PAYLOAD_BYTES_MAX
from zgen.wire.codec import decode, encode, is_probe
from zgen_node.core import membership_words as words
from zgen_node.core.membership import Membership
from zgen_node.core.node import NodeMachine
from zgen_node.core.probe_lines import ProbeLines, is_probe_line
from zgen_node.limits import LEAVE_PROBES_NS, LEAVE_WORD_NS


class MemberNode:
    """One node of a cluster.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        lines_closing: Whether ``InboxDrained`` is wanted.
        node: What it does.
        membership: Whom it knows.
        lines: Where probes go.
        counts: How often what was dropped, by reason.
    """

    def __init__(self, node: NodeMachine, membership: Membership) -> None:
        """Start outside; ``JoinCluster`` is the first event."""
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self.node = node
        self.membership = membership
        self.lines = ProbeLines()
        self.counts: dict[str, int] = {}
        node.cluster.publishes = True
        #: Why this node leaves, from when it was told to.
        self._leave: Leave | None = None
        self._left = False
        #: When to say so, and then until when its end is held back, so that others hear of it.
        self._leaves_ns: int | None = None
        self._said_ns = -LEAVE_PROBES_NS
        self._over = False
        self._handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            Arrived: self._on_arrived,
            ConnectionUp: self._on_connection_up,
            ConnectionLost: self._on_connection_lost,
            HandshakeFailed: self._on_handshake_failed,
            JoinCluster: self._on_join,
            DialRefused: self._on_dial_refused,
            TimerDue: self._on_timer_due,
            Leave: self._on_leave,
        }

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        out: list[Effect] = []
        if not self._over:
            handler = self._handlers.get(type(event), self._step_node)
            handler(event, now_ns, out)
        self._settle()
        return out

    def check(self) -> None:
        """Assert every invariant, of both."""
        self.node.check()
        self.membership.check()
        self.lines.check()
        known = self.membership.standing.view
        for node in self.node.cluster.view.members:
            assert self._over or known.partial or node in known.members, f"{short(node)} is unknown"

    def _settle(self) -> None:
        self.lines_closing = self.node.lines_closing and not self._over
        due = (
            self.node.next_deadline_ns,
            self.membership.next_deadline_ns,
            self.lines.deadlines.next_ns,
            self._leaves_ns,
        )
        known = [next_ns for next_ns in due if next_ns is not None]
        self.next_deadline_ns = min(known) if known and not self._over else None

    # -- what comes in -----------------------------------------------------------------------------
    def _on_arrived(self, event: Arrived, now_ns: int, out: list[Effect]) -> None:
        if not is_probe(event.frames):
            self._step_node(event, now_ns, out)
            return
        try:
            message = decode(event.frames[1:])
        except RemoteProtocolError as error:
            self._refuse("malformed probe", str(error), out)
            return
        self._step_members(words.ProbeReceived(message), now_ns, out)

    def _on_connection_up(self, event: ConnectionUp, now_ns: int, out: list[Effect]) -> None:
        if is_probe_line(event.peer):
            self.lines.on_up(event.peer, event.epoch, out)
        else:
            self._step_node(event, now_ns, out)

    def _on_connection_lost(self, event: ConnectionLost, now_ns: int, out: list[Effect]) -> None:
        if is_probe_line(event.peer):
            self.lines.on_lost(event.peer, event.epoch, out)
        else:
            self._step_node(event, now_ns, out)

    def _on_handshake_failed(self, event: HandshakeFailed, now_ns: int, out: list[Effect]) -> None:
        if not is_probe_line(event.peer):
            self._step_node(event, now_ns, out)

    def _on_dial_refused(self, event: DialRefused, now_ns: int, out: list[Effect]) -> None:
        node = self.lines.take_refused(event.endpoint)
        if node is not None:
            self._step_members(words.PeerRefused(node), now_ns, out)

    def _on_join(self, event: JoinCluster, now_ns: int, out: list[Effect]) -> None:
        payload = encode(self.node.cluster.state())[0]
        self._step_members(words.Publish(payload), now_ns, out)
        self._step_members(words.Join(event.seeds), now_ns, out)

    def _on_leave(self, event: Leave, now_ns: int, out: list[Effect]) -> None:
        if self._leave is None:
            self._leave = event
            self._leaves_ns = now_ns + LEAVE_WORD_NS
            self._step_node(event, now_ns, out)

    def _on_timer_due(self, event: TimerDue, now_ns: int, out: list[Effect]) -> None:
        if _is_due(self.membership.next_deadline_ns, now_ns):
            self._step_members(event, now_ns, out)
        if _is_due(self.node.next_deadline_ns, now_ns):
            self._step_node(event, now_ns, out)
        self.lines.on_timer(now_ns, out)
        if _is_due(self._leaves_ns, now_ns):
            self._leaves_ns = None
            if self._left:
                out.append(Left())
            else:
                reached("node leaves before its lines are flushed")
                self._say_leave(now_ns, out)

    # -- what follows ------------------------------------------------------------------------------
    def _step_node(self, event: Event, now_ns: int, out: list[Effect]) -> None:
        for effect in self.node.step(event, now_ns):
            if type(effect) is PublishState:
                self._publish(effect.payload, now_ns, out)
            elif type(effect) is Left:
                self._on_left(now_ns, out)
            else:
                out.append(effect)

    def _on_left(self, now_ns: int, out: list[Effect]) -> None:
        """The lines are flushed and closed: tell the cluster too, and live on until it heard."""
        self._left = True
        self._say_leave(now_ns, out)
        until_ns = self._said_ns + LEAVE_PROBES_NS
        if until_ns <= now_ns:
            out.append(Left())
        else:
            self._leaves_ns = until_ns

    def _say_leave(self, now_ns: int, out: list[Effect]) -> None:
        if self._leave is None or self.membership.standing.over:
            return
        has_others = self.membership.joined and self.membership.standing.view.members
        self._said_ns = now_ns if has_others else now_ns - LEAVE_PROBES_NS
        self._step_members(self._leave, now_ns, out)

    def _publish(self, payload: bytes, now_ns: int, out: list[Effect]) -> None:
        assert len(payload) <= MEMBER_PAYLOAD_BYTES_MAX, "more resources than can be told"
        if self.node.draining.begun:
            self._step_members(words.Drain(), now_ns, out)
        self._step_members(words.Publish(payload), now_ns, out)

    def _step_members(self, event: words.MembershipEvent, now_ns: int, out: list[Effect]) -> None:
        for effect in self.membership.step(event, now_ns):
            match effect:
                case words.SendProbe(node, endpoint, message):
                    self.lines.send(node, endpoint, message, now_ns, out)
                case words.MemberUp(member) | words.MemberChanged(member):
                    self._step_node(MemberSaid(member.payload), now_ns, out)
                case words.MemberDown(node, reason, proven):
                    out.append(Report("warning", f"node {short(node)} is gone: {reason}"))
                    self._step_node(MemberGone(node, reason, proven), now_ns, out)
                case words.MemberBuried(node):
                    self._step_node(MemberGone(node, "it was dead before"), now_ns, out)
                case words.MemberSuspected(node):
                    out.append(Report("info", f"node {short(node)} is not heard of"))
                case words.MemberTrusted(node):
                    out.append(Report("info", f"node {short(node)} is heard of again"))
                case words.LinkBroken(node, by):
                    out.append(Report("warning", f"node {short(node)} lives, but not for this one"))
                    self._step_node(LinkCut(node, by), now_ns, out)
                case words.LinkRestored(node):
                    out.append(Report("info", f"node {short(node)} answers this one again"))
                    self._step_node(LinkHealed(node), now_ns, out)
                case words.Joined(count):
                    out.append(ClusterJoined(count))
                case words.JoinRefused(_, detail):
                    self._over = True
                    out.append(NotJoined(detail))
                case words.Fenced(reason, endpoints):
                    reached("node declared dead ends")
                    self._over = True
                    out.append(NodeFenced(reason, endpoints))
                case Report():
                    out.append(effect)
                case _:
                    pass  # who is not listed any more means nothing to a node

    def _refuse(self, reason: str, detail: str, out: list[Effect]) -> None:
        """Count what a member may not say, and report it the 1st, 2nd, 4th, 8th ... time."""
        count = self.counts[reason] = self.counts.get(reason, 0) + 1
        if count & (count - 1) == 0:
            out.append(Report("warning", f"{reason} ({count}): {detail}"))


def _is_due(deadline_ns: int | None, now_ns: int) -> bool:
    return deadline_ns is not None and deadline_ns <= now_ns
