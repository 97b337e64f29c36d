"""Detours of one process: what it sends over a link that is cut goes by way of its node.

Rules of this file: turns connections into messages and back. Whether a link is cut, and which way
leads round it, is the node's to know.

Theory of operation. A detour is one more kind of connection, below the session: it is up as soon as
it is opened, and what is transmitted on it goes as ``Relayed`` over the line to whoever is next on
the way. So the session says hello on it, sends everything again that was not acknowledged, and
drops what comes twice, as on any new connection. Going over to a detour and back are two new
connections. What arrives by a detour arrives on a connection that is named after its source.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, OpenConnection, Transmit
from zgen.core.events import Arrived
from zgen.core.marks import reached
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.limits import RELAYED_BYTES_MAX
from zgen.wire.codec import encode
from zgen.wire.detour import EndDetour, Relayed, TakeDetour
from zgen.wire.schema import Buffers

Arrive = Callable[[Arrived, int, list[Effect]], None]


class Detours:
    """Which nodes are reached by a detour.

    Attributes:
        hops: Node -> who is next on the way to it and its processes.
        handlers: What a driver or worker does about each class of message.
    """

    def __init__(self, session: Session, arrive: Arrive) -> None:
        """Start without any; ``arrive`` takes in what came by a detour."""
        self.hops: dict[PeerId, PeerId] = {}
        self._session = session
        self._me = session.identity.address
        self._arrive = arrive
        #: Node -> number of the detour to it. As ``hops``.
        self._turns: dict[PeerId, int] = {}
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            TakeDetour: self._on_take,
            EndDetour: self._on_end,
            Relayed: self._on_relayed,
        }

    def take(self, node: PeerId, hop: PeerId, out: list[Effect]) -> None:
        """Reach a node and its processes by ``hop`` from now on."""
        self.hops[node] = hop
        self._reopen(node, out)

    def end(self, node: PeerId, out: list[Effect]) -> None:
        """Reach a node and its processes directly again."""
        if self.hops.pop(node, None) is not None:
            self._reopen(node, out)

    def reroute(self, effects: list[Effect], now_ns: int) -> list[Effect]:
        """Return effects in which what concerns lines on a detour is replaced by what does it.

        That comes last, since its messages are numbered after those of the same step.
        """
        out: list[Effect] = []
        cut_off: list[tuple[OpenConnection | Transmit, PeerId]] = []
        for effect in effects:
            to_node = None
            if isinstance(effect, OpenConnection | Transmit):
                to_node = self._cut_off(effect.peer)
                if to_node is not None:
                    cut_off.append((effect, to_node))
            if to_node is None:
                out.append(effect)
        for each, node in cut_off:
            self._go_round(each, node, now_ns, out)
        return out

    def send(self, hop: PeerId, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        """Pass something on over the line to ``hop``, unless too much of it is under way there."""
        size_bytes = len(said.buffers[0]) if said.buffers else 0
        waiting_bytes = self._session.item_bytes_unacked(hop)
        if waiting_bytes and waiting_bytes + size_bytes > RELAYED_BYTES_MAX:
            reached("relayed message dropped for want of room")
            self._count("relayed too much")  # it is sent again by whom it is from
            return
        self._session.send(hop, encode(said), now_ns, out, item_bytes=size_bytes)

    def deliver(self, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        """Take in what has come for this process, as on a connection of its source."""
        joined = said.buffers[0] if said.buffers else b""
        if sum(said.sizes) != len(joined) or min(said.sizes, default=0) < 0:
            self._count("relayed frames of other sizes than said")
            return
        frames: list[bytes] = []
        at = 0
        for size_bytes in said.sizes:
            frames.append(joined[at : at + size_bytes])
            at += size_bytes
        name = b"detour %b %d %d" % (said.source, said.incarnation, said.epoch)
        self._arrive(Arrived(name, frames), now_ns, out)

    # -- inside ------------------------------------------------------------------------------------
    def _count(self, reason: str) -> None:
        counts = self._session.counts
        counts[reason] = counts.get(reason, 0) + 1

    def _reopen(self, node: PeerId, out: list[Effect]) -> None:
        for peer in self._session.peers_of(node):
            self._session.reopen(peer, out)

    def _cut_off(self, peer: PeerId) -> PeerId | None:
        """Return the node of a peer if its link is cut."""
        if not self._session.knows(peer):
            return None
        node = self._session.address_of(peer).node
        return node if node in self.hops else None

    def _go_round(
        self, effect: OpenConnection | Transmit, to_node: PeerId, now_ns: int, out: list[Effect]
    ) -> None:
        if isinstance(effect, OpenConnection):
            said: list[Effect] = []
            self._session.on_connection_up(effect.peer, effect.epoch, now_ns, said)
            out += self.reroute(said, now_ns)
            return
        me, frames = self._me, effect.frames
        way = (me.peer, me.node, me.incarnation, effect.epoch, effect.peer, to_node)
        relayed = Relayed(*way, tuple(map(len, frames)), Buffers((b"".join(frames),)))
        self.send(self.hops[to_node], relayed, now_ns, out)

    # -- messages of one's own node ----------------------------------------------------------------
    def _on_take(self, sender: PeerId, said: TakeDetour, now_ns: int, out: list[Effect]) -> None:
        self._require_node(sender)
        if said.node != sender and said.turn > self._turns.get(said.node, 0):
            self._turns[said.node] = said.turn
            self.take(said.node, sender, out)

    def _on_end(self, sender: PeerId, said: EndDetour, now_ns: int, out: list[Effect]) -> None:
        self._require_node(sender)
        self._turns.pop(said.node, None)
        self.end(said.node, out)

    def _on_relayed(self, sender: PeerId, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        self._require_node(sender)
        if said.to != self._me.peer:
            raise RemoteProtocolError("relayed to somebody else")
        self.deliver(said, now_ns, out)

    def _require_node(self, sender: PeerId) -> None:
        if sender != self._me.node:
            raise RemoteProtocolError("a detour by a stranger")
