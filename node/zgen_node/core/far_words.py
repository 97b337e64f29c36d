"""Words of other nodes for their processes: about regions here that those own, or regions there.

Rules of this file: who may speak for whom. What follows is the store's.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, Send
from zgen.ids import PeerId, short
from zgen.wire.store import Evict, RegionsOrphaned, ReleaseRegions
from zgen.wire.transfer import FarEvict, FarOrphaned, FarRelease
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.left_copies import LeftCopies
from zgen_node.core.peers import Peers
from zgen_node.core.storage import Storage


class FarWords:
    """What other nodes say for their processes.

    Attributes:
        messages: What to do about each class of message.
    """

    def __init__(
        self, peers: Peers, storage: Storage, monitors: FarMonitors, left: LeftCopies
    ) -> None:
        """Hear them; ``left`` keeps where copies outlive the nodes of their regions."""
        self._peers = peers
        self._storage = storage
        self._monitors = monitors
        self._left = left
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            FarRelease: self._on_far_release,
            FarEvict: self._on_far_evict,
            FarOrphaned: self._on_far_orphaned,
        }

    def node_of(self, process: PeerId) -> PeerId | None:
        """Return the node of a process of another node whose end will be told here, or None."""
        far = self._monitors.far.get(process)
        return far.node if far is not None else None

    def _on_far_release(
        self, peer: PeerId, said: FarRelease, now_ns: int, out: list[Effect]
    ) -> None:
        if self._speaks_for(peer, said.process, out):
            words = ReleaseRegions(said.regions, said.unwritten)
            self._storage.on_release(said.process, words, now_ns, out)

    def _on_far_evict(self, peer: PeerId, said: FarEvict, now_ns: int, out: list[Effect]) -> None:
        if self._speaks_for(peer, said.process, out):
            self._storage.on_evict(said.process, Evict(said.regions, False), now_ns, out)

    def _on_far_orphaned(
        self, peer: PeerId, said: FarOrphaned, now_ns: int, out: list[Effect]
    ) -> None:
        if not self._monitors.is_node(peer):
            self._peers.refuse("regions of a process that is no node", short(peer), out)
        elif self._storage.is_known(said.process):
            self._left.note(peer, said.process, said.regions)
            out.append(Send(said.process, RegionsOrphaned(said.dead, said.regions)))

    def _speaks_for(self, peer: PeerId, process: PeerId, out: list[Effect]) -> bool:
        """Return whether a process is of the node that says something for it."""
        if self._monitors.is_node(peer) and self.node_of(process) == peer:
            return True
        self._peers.refuse("word for a process of another node", short(peer), out)
        return False
