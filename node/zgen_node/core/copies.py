"""Regions between nodes: copies of those of other nodes, and what is said of them.

Rules of this file: joins the store with the view of other nodes. What a region is and how room is
made is the store's; which parts are under way is the table's of pulls.

Theory of operation. Processes speak of any region to their own node. An owner's word about one of
another node goes there, by its number; who asks to hold one gets a copy, which is made once however
many ask. The copying node holds the region where it is meanwhile and asks for it stretch by
stretch, also of nodes that have a copy, as it is told. A copy lives until nobody holds it and room
is wanted, or until its region is no more. What lay on a node that is gone is asked for of all
others; what is copied then lives as long as somebody holds it.
"""

from collections.abc import Callable, Iterable
from typing import Any

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.core.store_effects import CloseCopy, OpenCopy
from zgen.core.store_events import ChunkWritten, RegionRestored
from zgen.ids import NO_PEER, PeerId, node_tag, region_tag, short
from zgen.wire.session import Address
from zgen.wire.store import (
    NODE_GONE,
    RELEASED,
    Evict,
    HoldRegions,
    RegionsHeld,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)
from zgen.wire.transfer import AskChunk, CopyMade, FarEvict, FarRelease, NoChunk
from zgen_node.core.byways import Byways
from zgen_node.core.copy_sources import CopySources
from zgen_node.core.early_words import EarlyWords
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.far_words import FarWords
from zgen_node.core.left_copies import LeftCopies
from zgen_node.core.object_table import Region, RegionState
from zgen_node.core.peers import Peers
from zgen_node.core.pull_byways import PullByways
from zgen_node.core.pulls import Pull, Pulls
from zgen_node.core.storage import Storage
from zgen_node.core.view import View


class Copies:
    """What a node has of other nodes' regions.

    Attributes:
        pulls: Copies under way.
        early: What processes said of regions of nodes that are not known yet.
        left: Copies that outlive the nodes of their regions.
        messages: What to do about each class of message.
        handlers: What to do about the events that concern it.
    """

    def __init__(
        self,
        me: PeerId,
        peers: Peers,
        storage: Storage,
        view: View,
        monitors: FarMonitors,
        byways: Byways,
    ) -> None:
        """Start without copies."""
        self.pulls = Pulls()
        self.early = EarlyWords()
        self._me = me
        self._tag = node_tag(me)
        self._peers = peers
        self._storage = storage
        self.left = LeftCopies(me, peers, storage, view, monitors)
        self._objects = storage.rooms.objects
        self._view = view
        self._monitors = monitors
        self._sources = CopySources(peers, storage, view, monitors)
        self._byways = PullByways(self.pulls, byways, self._send)
        self._words = FarWords(peers, storage, monitors, self.left)
        byways.changed = self._on_way_changed
        storage.elsewhere = self
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            WantRegions: self._on_want,
            HoldRegions: self._on_hold,
            ReleaseRegions: self._on_release,
            Evict: self._on_evict,
            RegionsHeld: self._on_held,
            NoChunk: self._on_no_chunk,
            **self._words.messages,
            **self._sources.messages,
        }
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            ChunkWritten: self._on_chunk_written,
            **self._sources.handlers,
        }

    def check(self) -> None:
        """Assert that each copy on its way is copied, and from a member."""
        self.pulls.check()
        self.early.check()
        self.left.check()
        pulled = dict.fromkeys(pull.region for pull in self.pulls.all())
        for region in self._objects.all():
            tag = region_tag(region.region)
            assert region.is_copy is (tag != self._tag), region.story()
            coming = region.is_copy and region.state is RegionState.RESTORING
            assert coming is (region.region in pulled), region.story()
            owners = (self._me, *self._view.members)  # its own if its node is gone
            assert not coming or region.owner in owners, region.story()

    # -- what the store asks -----------------------------------------------------------------------
    def is_node(self, peer: PeerId) -> bool:
        """Return whether a peer is another node."""
        return self._monitors.is_node(peer)

    def node_of(self, process: PeerId) -> PeerId | None:
        """Return the node of a process of another node whose end will be told here, or None."""
        return self._words.node_of(process)

    def why_lost(self, region: int) -> str:
        """Return why there is no such region."""
        tag = region_tag(region)
        return RELEASED if tag == self._tag or tag in self._view.tags else NODE_GONE

    def pull(self, region: Region, now_ns: int, out: list[Effect]) -> None:
        """Copy a region of another node to its place: have that node hold it first."""
        assert region.place is not None, region.story()
        pull = self.pulls.begin(region.region, region.owner, region.place)
        self._invite(pull, self.left.nodes_of(pull.node), out)

    def owner_of(self, region: Region) -> tuple[Address, ...]:
        """Return who owns the value in a region, if that is known."""
        return self.left.owner_of(region)

    def died(self, process: PeerId) -> None:
        """A process is dead, or a node gone: nothing is kept elsewhere for it."""
        self.left.died(process)

    # -- members -----------------------------------------------------------------------------------
    def on_up(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node became a member: hear what was said of its regions before."""
        self.early.late.pop(node_tag(node), None)
        self._say_again(node_tag(node), now_ns, out)

    def on_gone(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node is gone: with it what it held here, and what is not copied yet."""
        self._byways.on_gone(node)
        for pull in self.pulls.all():
            self._without(pull, node, now_ns, out)
        self._feed(now_ns, out)
        self._sources.on_gone(node, out)
        self.left.keep(node, now_ns, out)
        for region in self._objects.copies_of(node):
            if region.state is RegionState.SPILLED:
                reached("copy wanted whose node went before there was room")
                self._objects.adopt(region, self._me)
        for region in self._objects.copies_of(self._me) if not self._view.members else ():
            self._storage.drop(region, NODE_GONE, now_ns, out)  # it waits for room, and for nobody
        self._storage.died(node, now_ns, out)
        self._say_again(node_tag(node), now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Wait no longer for nodes that did not become known, and for parts that do not come."""
        for pull, node in self.pulls.stalled(now_ns):
            if len(pull.sources) > 1:
                reached("slow source of a copy left for others")
                self.pulls.leave(pull, node)
                self._send(node, UnholdRegions((pull.region,)), out)
            self._ask(pull, now_ns, out)
        for tag in self.early.give_up(now_ns):
            reached("region of a node that never became known")
            self._say_again(tag, now_ns, out)

    # -- processes of this node --------------------------------------------------------------------
    def _on_want(self, peer: PeerId, said: WantRegions, now_ns: int, out: list[Effect]) -> None:
        if said.owner_node not in (NO_PEER, self._me) and self.node_of(said.owner) is None:
            reached("room for an owner that its node has not told of")
            owner = Address(said.owner, said.owner_life, "", said.owner_node)
            self._monitors.watch(owner, now_ns, out)
        self._storage.on_want(peer, said, now_ns, out)

    def _on_hold(self, peer: PeerId, said: HoldRegions, now_ns: int, out: list[Effect]) -> None:
        if self.is_node(peer):
            said = self._byways.asked(said, self._view.tags)
        if said.rooms and (self._storage.is_known(peer) or self.is_node(peer)):
            if self._waits(peer, said, now_ns):
                return
            for number, room in zip(said.regions, said.rooms, strict=False):
                node = self.left.home_of(number)
                if node is not None and self._objects.get(number) is None:
                    room_bytes = self._storage.rooms.slabs.room_bytes(room)
                    if room_bytes is not None:
                        self._objects.copy(number, node, room_bytes)
        self._storage.on_hold(peer, said, now_ns, out)

    def _on_release(
        self, peer: PeerId, said: ReleaseRegions, now_ns: int, out: list[Effect]
    ) -> None:
        far = self._far(said.regions)
        if not far or self.is_node(peer):
            self._storage.on_release(peer, said, now_ns, out)
            return
        if self._waits(peer, said, now_ns):
            return
        here = tuple([number for number in said.regions if self._is_here(peer, number)])
        held = tuple([number for number in far if self._is_held(peer, number)])
        self._storage.on_unhold(peer, UnholdRegions(held), now_ns, out)
        for node, numbers in (*self._by_node(far), *self.left.keepers(peer, far)):
            self._send(node, FarRelease(peer, numbers, said.unwritten), out)
        if here:
            self._storage.on_release(peer, ReleaseRegions(here, said.unwritten), now_ns, out)

    def _on_evict(self, peer: PeerId, said: Evict, now_ns: int, out: list[Effect]) -> None:
        far = self._far(said.regions)
        if not far:
            self._storage.on_evict(peer, said, now_ns, out)
            return
        if self._waits(peer, said, now_ns):
            return
        here = tuple([number for number in said.regions if region_tag(number) == self._tag])
        held = tuple([number for number in far if self._is_held(peer, number)])
        learned = [number for number in far if not self._is_held(peer, number)]
        self._storage.on_unhold(peer, UnholdRegions(held), now_ns, out)
        for node, numbers in self._by_node(learned):
            self._send(node, FarEvict(peer, numbers), out)
        if held or here:
            self._storage.on_evict(peer, Evict(here, said.waits), now_ns, out, gave=bool(held))

    # -- copying: the node of the copy -------------------------------------------------------------
    def _on_held(self, peer: PeerId, said: RegionsHeld, now_ns: int, out: list[Effect]) -> None:
        pull = self.pulls.get(said.request)
        self._byways.answered(peer, said, out)
        if pull is None or peer not in pull.invited:
            if not (self.pulls.was(said.request) and self.is_node(peer)):
                self._peers.refuse("regions held that nobody copies", short(peer), out)
            return
        leased = [each for each in said.regions if each.region == pull.region]
        if not leased:
            self.pulls.leave(pull, peer)
            self._byways.left(pull, peer, out)
            if pull.is_hopeless:
                why = NODE_GONE if pull.node == self._me else said.reason or RELEASED
                self._end(pull, why, now_ns, out, is_full=said.is_full)
            return
        size_bytes = leased[0].place.room
        if not max(pull.size_bytes, 1) <= size_bytes <= pull.place.room:
            self._give_up(pull, f"its node says that it has {size_bytes} bytes", now_ns, out)
            return
        if not pull.size_bytes:
            pull.size_bytes = size_bytes
            out.append(OpenCopy(pull.pull, pull.region, pull.place, size_bytes))
        if self._byways.is_mute(pull, peer):
            self._byways.invite(pull, out)
        else:
            self.pulls.join(pull, peer)
        self.left.learn(pull.region, said.owner)
        self._invite(pull, [node for node in said.copies if not self._byways.is_cut(node)], out)
        self._ask(pull, now_ns, out)
        self._feed(now_ns, out)

    def _on_way_changed(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node is reached another way now, or directly again."""
        for pull in self.pulls.all():
            if self._byways.on_changed(pull, node, out):
                self._send(node, UnholdRegions((pull.region,)), out)
                self._leave(pull, node, "the link to where it could be read is cut", now_ns, out)
            else:
                self._ask(pull, now_ns, out)
        self._feed(now_ns, out)

    def _on_no_chunk(self, peer: PeerId, said: NoChunk, now_ns: int, out: list[Effect]) -> None:
        pull = self.pulls.get(said.pull)
        if pull is None or pull.region != said.region or peer not in pull.sources:
            reached("no part of what is not copied any more")
            return
        self._send(peer, UnholdRegions((pull.region,)), out)
        self._leave(pull, peer, f"its node cannot read it: {said.failure}", now_ns, out)
        self._feed(now_ns, out)

    def _on_chunk_written(self, event: ChunkWritten, now_ns: int, out: list[Effect]) -> None:
        pull = self.pulls.get(event.pull)
        if pull is None:
            reached("part written of a copy that was given up")
            return
        if event.is_damaged and self.pulls.came_damaged(pull, event.offset):
            reached("damaged part asked for again")
            self._ask(pull, now_ns, out)
        elif event.failure:
            self._give_up(pull, event.failure, now_ns, out)
        else:
            self.pulls.written(pull, event.offset, now_ns)
            self._ask(pull, now_ns, out)
            if pull.is_done:
                self._give_up(pull, "", now_ns, out)
        self._feed(now_ns, out)

    # -- inside ------------------------------------------------------------------------------------
    def _ask(self, pull: Pull, now_ns: int, out: list[Effect]) -> None:
        for ask in self.pulls.next_asks(pull, now_ns):
            stretch = AskChunk(pull.pull, pull.region, ask.offset, ask.size_bytes)
            self._send(ask.node, stretch, out)

    def _feed(self, now_ns: int, out: list[Effect]) -> None:
        """Let those ask that could not while too much was under way."""
        for pull in self.pulls.starved():
            self._ask(pull, now_ns, out)

    def _without(self, pull: Pull, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Go on with a copying without a node that is gone; if it was its node, ask all others."""
        if node == pull.node:
            reached("copy finished without its node")
            region = self._objects.get(pull.region)
            assert region is not None, pull
            self._objects.adopt(region, self._me)
            pull.node = self._me
            self._invite(pull, self.left.nodes_of(self._me), out)
        if node in pull.sources or node in pull.invited:
            reached("node gone from which something is copied")
            self._leave(pull, node, NODE_GONE, now_ns, out)

    def _leave(self, pull: Pull, node: PeerId, why: str, now_ns: int, out: list[Effect]) -> None:
        """Count on a source no more; without any, the copy is lost."""
        self.pulls.leave(pull, node)
        self._byways.left(pull, node, out)
        if pull.is_hopeless:
            self._end(pull, why, now_ns, out)
        else:
            self._ask(pull, now_ns, out)

    def _give_up(self, pull: Pull, failure: str, now_ns: int, out: list[Effect]) -> None:
        """End a copying, done or failed: its region need not stay where it is any more."""
        if not failure and pull.node in self._view.members:
            self._send(pull.node, CopyMade(pull.region), out)
        for node in (*pull.sources, *pull.invited):
            self._send(node, UnholdRegions((pull.region,)), out)
        self._end(pull, failure, now_ns, out)

    def _end(
        self, pull: Pull, failure: str, now_ns: int, out: list[Effect], *, is_full: bool = False
    ) -> None:
        self.pulls.end(pull)
        if pull.size_bytes:
            out.append(CloseCopy(pull.pull))
        event = RegionRestored(pull.region, failure)
        self._storage.on_restored(event, now_ns, out, is_full=is_full)
        region = self._objects.get(pull.region)
        if region is not None and region.owner == self._me:
            self._storage.disown(region, now_ns, out)  # its node is gone: it stays while it is held

    def _invite(self, pull: Pull, nodes: Iterable[PeerId], out: list[Effect]) -> None:
        """Have further nodes hold what is copied."""
        for node in nodes:
            if node in self._view.members and self.pulls.invite(pull, node):
                self._send(node, HoldRegions(pull.pull, (pull.region,)), out)

    def _send(self, node: PeerId, message: Any, out: list[Effect]) -> None:
        self._monitors.dial(node, out)
        out.append(Send(node, message))

    def _far(self, numbers: tuple[int, ...]) -> list[int]:
        return [number for number in numbers if region_tag(number) != self._tag]

    def _is_here(self, owner: PeerId, number: int) -> bool:
        """Return whether a region of ``owner`` is this node's, or left here when its own went."""
        region = self._objects.get(number) if region_tag(number) != self._tag else None
        return region_tag(number) == self._tag or (region is not None and region.owner == owner)

    def _is_held(self, peer: PeerId, number: int) -> bool:
        region = self._objects.get(number)
        return region is not None and peer in region.holders

    def _by_node(self, numbers: list[int]) -> list[tuple[PeerId, tuple[int, ...]]]:
        """Return regions by their nodes; those of nodes that are gone are left out."""
        parts: dict[PeerId, list[int]] = {}
        for number in numbers:
            node = self._view.tags.get(region_tag(number))
            if node is not None:
                parts.setdefault(node, []).append(number)
        return [(node, tuple(part)) for node, part in parts.items()]

    def _waits(self, peer: PeerId, said: Any, now_ns: int) -> bool:
        """Return whether a word waits for a node that is not known yet."""
        for number in self._far(said.regions):
            tag = region_tag(number)
            if self._view.may_come(tag) and tag not in self.early.late:
                return self.early.keep(tag, peer, said, now_ns)
        return False

    def _say_again(self, tag: int, now_ns: int, out: list[Effect]) -> None:
        """Hear what was kept until a node is known; it may wait for another one next."""
        for peer, said in self.early.take(tag):
            self.messages[type(said)](peer, said, now_ns, out)
