"""Ways round cut links: which node is reached by way of which third one, and what passes here.

Rules of this file: judges when a detour is taken, by whom, and when it ends; passes on what others
relay. How a line goes on over a detour is decided in ``zgen.core.detours``.

Theory of operation. Membership tells of a member that lives and that this node and only this node
does not hear, and who hears both. Both ends of the link are told, each on its own, and go over to a
detour with all processes; what arrives by one is taken in whatever this node thinks of the link. A
message takes two steps between nodes, from the source's to a third one and from that to the
target's: who relays does so over a link of its own that is not cut, or says that it cannot. Then
the next member is tried, and whenever the one on the way dies or is cut off. With the first answer
to a probe of its own a node goes back to the link itself.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.detours import Detours
from zgen.core.effects import Effect, Send
from zgen.core.events import Arrived, ConnectionUp
from zgen.core.marks import reached
from zgen.core.node_events import LinkCut, LinkHealed
from zgen.ids import NO_PEER, PeerId, short
from zgen.limits import DETOUR_TRY_NS
from zgen.slotted import slotted
from zgen.wire.detour import EndDetour, NoDetour, Relayed, TakeDetour
from zgen.wire.session import Address
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.peers import Peers
from zgen_node.core.view import View


@slotted
class Byway:
    """The way to one node.

    Attributes:
        hop: By way of whom; ``NO_PEER`` if nobody is left.
        turn: Number of this way, counted over all; a new one means that another node is tried.
        since_ns: When it was taken.
    """

    hop: PeerId
    turn: int
    since_ns: int


class Byways:
    """The detours of a node.

    Attributes:
        ways: Node -> the way to it. Added by ``LinkCut``; removed by ``LinkHealed`` and its end.
        detours: Those of the node's own lines.
        handlers: What to do about the events that concern it.
        messages: What to do about each class of message.
        changed: Called with each node that is reached another way now.
    """

    def __init__(self, me: Address, peers: Peers, view: View, monitors: FarMonitors) -> None:
        """Start without any; ``arrive`` and ``changed`` are set by who joins the tables."""
        self.ways: dict[PeerId, Byway] = {}
        self.detours = Detours(peers.session, self._take_in)
        self.arrive: Callable[[Arrived, int, list[Effect]], None] | None = None
        self.changed: Callable[[PeerId, int, list[Effect]], None] = lambda node, now, out: None
        self._me = me.peer
        self._peers = peers
        self._view = view
        self._monitors = monitors
        self._turn = 0
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            LinkCut: self._on_cut,
            LinkHealed: self._on_healed,
        }
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            Relayed: self._on_relayed,
            NoDetour: self._on_no_detour,
        }

    def hop_to(self, node: PeerId) -> PeerId | None:
        """Return by way of whom a node is reached, or None if directly, or not at all."""
        way = self.ways.get(node)
        return None if way is None or way.hop == NO_PEER else way.hop

    def hops_to(self, node: PeerId) -> list[PeerId]:
        """Return by way of whom a node may be reached, the present way first."""
        hop = self.hop_to(node)
        others = [each for each in self._view.members if self._may_relay(each, node)]
        return others if hop is None else [hop, *[each for each in others if each != hop]]

    def is_cut(self, node: PeerId) -> bool:
        """Return whether a node is not reached directly."""
        return node in self.ways

    def on_connection_up(self, event: ConnectionUp, now_ns: int, out: list[Effect]) -> None:
        """Tell a process of this node, as a connection to it is up, which links are cut."""
        self._peers.on_connection_up(event, now_ns, out)
        if self.ways and self._is_mine(event.peer):
            for node, way in self.ways.items():
                out.append(Send(event.peer, TakeDetour(node, way.turn)))

    def on_up(self, now_ns: int, out: list[Effect]) -> None:
        """A node joined: it may be a way where there was none."""
        for node, way in list(self.ways.items()):
            if way.hop == NO_PEER:
                self._turn_to_next(node, now_ns, out)

    def on_gone(self, gone: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node is gone: it needs no way, and is none."""
        self._end(gone, now_ns, out)
        for node, way in list(self.ways.items()):
            if way.hop == gone:
                reached("node on the way of a detour is gone")
                self._turn_to_next(node, now_ns, out)

    def check(self) -> None:
        """Assert that ways lead by members that are reached directly."""
        for node, way in self.ways.items():
            assert node in self._view.members, f"a way to {short(node)}, which is no member"
            if way.hop != NO_PEER:
                assert way.hop in self._view.members, f"a way by {short(way.hop)}, which is gone"
                assert way.hop not in self.ways, f"a way by {short(way.hop)}, which is cut off"
                assert self.detours.hops[node] == way.hop
        assert list(self.detours.hops) == list(self.ways)

    # -- membership --------------------------------------------------------------------------------
    def _on_cut(self, event: LinkCut, now_ns: int, out: list[Effect]) -> None:
        node = event.node
        if node not in self._view.members or node in self.ways:
            reached("cut link to who is no member, or is reached otherwise already")
            return
        hop = event.by if self._may_relay(event.by, node) else self._next_hop(node, NO_PEER)
        self._go_by(node, hop, now_ns, out)
        for other, way in list(self.ways.items()):
            if way.hop == node:
                reached("node on the way of a detour cut off")
                self._turn_to_next(other, now_ns, out)

    def _on_healed(self, event: LinkHealed, now_ns: int, out: list[Effect]) -> None:
        self._end(event.node, now_ns, out)
        self.on_up(now_ns, out)

    # -- messages ----------------------------------------------------------------------------------
    def _on_relayed(self, peer: PeerId, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        """Take in, hand to a process of this node, or pass on what is on its way."""
        is_ours = said.source_node == self._me and said.source == peer
        is_theirs = said.source_node != self._me and peer in self._view.members
        if not (is_ours and self._is_mine(peer)) and not is_theirs:
            self._peers.refuse("relayed by who may not", short(peer), out)
        elif said.to_node == self._me:
            self._hand_over(said, now_ns, out)
        elif is_ours:
            hop = self.hop_to(said.to_node) if self.is_cut(said.to_node) else said.to_node
            if hop is not None and hop in self._view.members:
                self._pass_on(hop, said, now_ns, out)
        elif peer != said.source_node:
            self._peers.refuse("relayed twice", short(peer), out)
        elif self.is_cut(said.to_node) or said.to_node not in self._view.members:
            reached("node on the way reaches the other one as little")
            out.append(Send(peer, NoDetour(said.to_node)))
        else:
            self._pass_on(said.to_node, said, now_ns, out)

    def _on_no_detour(self, peer: PeerId, said: NoDetour, now_ns: int, out: list[Effect]) -> None:
        way = self.ways.get(said.node)
        if way is None or way.hop != peer or now_ns - way.since_ns < DETOUR_TRY_NS:
            reached("word against a detour that was not just taken")
            return
        self._turn_to_next(said.node, now_ns, out)

    # -- inside ------------------------------------------------------------------------------------
    def _is_mine(self, peer: PeerId) -> bool:
        """Return whether a peer is a process of this node, and not the node itself."""
        session = self._peers.session
        if peer == self._me or not session.knows(peer):
            return False
        return session.address_of(peer).node == self._me

    def _may_relay(self, hop: PeerId, node: PeerId) -> bool:
        return hop in self._view.members and hop != node and hop not in self.ways

    def _next_hop(self, node: PeerId, last: PeerId) -> PeerId:
        """Return whom to try after ``last``, or ``NO_PEER``."""
        members = list(self._view.members)
        start = members.index(last) + 1 if last in members else 0
        for hop in members[start:] + members[:start]:
            if self._may_relay(hop, node):
                return hop
        return NO_PEER

    def _turn_to_next(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        self._go_by(node, self._next_hop(node, self.ways[node].hop), now_ns, out)

    def _go_by(self, node: PeerId, hop: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Take a way, the first or another one, with all processes of this node."""
        self._turn += 1
        self.ways[node] = Byway(hop, self._turn, now_ns)
        if hop != NO_PEER:
            self._monitors.dial(hop, out)
        self.detours.take(node, hop, out)
        self._tell(TakeDetour(node, self._turn), out)
        self.changed(node, now_ns, out)

    def _end(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        if self.ways.pop(node, None) is not None:
            self.detours.end(node, out)
            self._tell(EndDetour(node), out)
            self.changed(node, now_ns, out)

    def _tell(self, message: TakeDetour | EndDetour, out: list[Effect]) -> None:
        mine = self._peers.session.peers_of(self._me)
        out.extend([Send(peer, message) for peer in mine if peer != self._me])

    def _hand_over(self, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        if said.to == self._me:
            self.detours.deliver(said, now_ns, out)
        elif self._is_mine(said.to):
            self.detours.send(said.to, said, now_ns, out)
        else:
            reached("relayed to a process that is gone")

    def _pass_on(self, hop: PeerId, said: Relayed, now_ns: int, out: list[Effect]) -> None:
        self._monitors.dial(hop, out)
        self.detours.send(hop, said, now_ns, out)

    def _take_in(self, event: Arrived, now_ns: int, out: list[Effect]) -> None:
        assert self.arrive is not None
        self.arrive(event, now_ns, out)
