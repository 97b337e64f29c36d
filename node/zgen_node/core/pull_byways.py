"""Copies of regions of nodes that are not reached: made by way of a node that reaches both.

Rules of this file: who else is asked to hold a region, and of whom no parts are asked.

Theory of operation. Parts go straight from node to node, on connections of their own, and cannot
take a detour. But a node may copy from any other one that has a copy. So once the region's node
holds it, the node on the way there is asked to hold it too, and to make a copy for that; it becomes
a source like any other. The region's own node is *mute* meanwhile: it stays invited, since it holds
the region, and is a source again once the link is whole.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect
from zgen.core.marks import reached
from zgen.ids import NO_PEER, PeerId, region_tag
from zgen.wire.store import HoldRegions, RegionsHeld, UnholdRegions
from zgen_node.core.byways import Byways
from zgen_node.core.pulls import Pull, Pulls

Say = Callable[[PeerId, Any, list[Effect]], None]


class PullByways:
    """Which nodes were asked to make copies for this one to copy."""

    def __init__(self, pulls: Pulls, byways: Byways, say: Say) -> None:
        """Ask nobody yet; ``say`` sends to another node."""
        self._pulls = pulls
        self._byways = byways
        self._say = say
        #: Copying and node that was asked to make a copy for it -> its region. Removed when that
        #: answers or is gone.
        self._asked: dict[tuple[int, PeerId], int] = {}

    def invite(self, pull: Pull, out: list[Effect]) -> None:
        """Ask the node on the way to that of a region to make a copy, if there is a way."""
        hop = self._byways.hop_to(pull.node)
        if hop is not None and hop not in pull.vain:
            self._ask(pull, hop, out)

    def asked(self, said: HoldRegions, nodes: dict[int, PeerId]) -> HoldRegions:
        """Return what another node asks for, without copies if this one could not make them.

        Two nodes that do not reach a third one would wait for each other.
        """
        if any(self._byways.is_cut(nodes.get(region_tag(n), NO_PEER)) for n in said.regions):
            reached("copy not made for another node, since the link is cut here too")
            return HoldRegions(said.request, said.regions)
        return said

    def is_mute(self, pull: Pull, node: PeerId) -> bool:
        """Return whether no part can come from the region's node, which holds it, for now."""
        return node == pull.node and self.is_cut(node)

    def answered(self, node: PeerId, said: RegionsHeld, out: list[Effect]) -> None:
        """Note an answer; what is held for a copying that ended meanwhile is let go."""
        region = self._asked.pop((said.request, node), None)
        if region is None or not said.regions:
            return
        later = [pull for pull in self._pulls.all() if pull.region == region]
        if not any(node in pull.invited or node in pull.sources for pull in later):
            reached("copy made on the way that nobody waits for any more")
            self._say(node, UnholdRegions((region,)), out)

    def on_gone(self, node: PeerId) -> None:
        """Wait for no answer of a node that is gone."""
        self._asked = {key: region for key, region in self._asked.items() if key[1] != node}

    def left(self, pull: Pull, node: PeerId, out: list[Effect]) -> None:
        """Ask another one if nobody but the mute node is left; without any, that is left too."""
        if pull.sources or list(pull.invited) != [pull.node] or not self.is_mute(pull, pull.node):
            return
        pull.vain[node] = None
        for hop in self._byways.hops_to(pull.node):
            if hop not in pull.vain:
                reached("copy asked for of another node on the way")
                self._ask(pull, hop, out)
                return
        reached("copy that no node on the way could make")
        self._pulls.leave(pull, pull.node)
        self._say(pull.node, UnholdRegions((pull.region,)), out)

    def is_cut(self, node: PeerId) -> bool:
        """Return whether no part can come from a node."""
        return self._byways.is_cut(node)

    def on_changed(self, pull: Pull, node: PeerId, out: list[Effect]) -> bool:
        """Act on a change of the way to a node; return whether it is to be counted on no more.

        What a node owes that is mute now is asked of others by the caller.
        """
        if node != pull.node:
            return self.is_cut(node) and (node in pull.sources or node in pull.invited)
        if not self.is_cut(node):
            if node in pull.invited and pull.size_bytes:
                reached("copy asked for of its node again")
                self._say(node, HoldRegions(pull.pull, (pull.region,)), out)
            return False
        if node in pull.sources:
            reached("source of a copy cut off")
            self._pulls.leave(pull, node)
            self._pulls.invite(pull, node)
        if pull.size_bytes:  # else the node of the region has not answered
            self.invite(pull, out)
        return False

    def _ask(self, pull: Pull, hop: PeerId, out: list[Effect]) -> None:
        if self._pulls.invite(pull, hop):
            reached("copy asked for of a node on the way")
            self._asked[pull.pull, hop] = pull.region
            self._say(hop, HoldRegions(pull.pull, (pull.region,), (pull.place.room,)), out)
