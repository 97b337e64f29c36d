"""What a node gives away of its regions: parts, to nodes that hold and copy them.

Rules of this file: who may have which part, and who has a copy. How a copy is put together is not
known here.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.core.store_effects import ForgetLine, SendChunks
from zgen.core.store_events import ChunksUnsent
from zgen.ids import PeerId, short
from zgen.limits import CHUNK_BYTES, CHUNKS_ASKED_COUNT_MAX
from zgen.wire.transfer import AskChunk, CopyMade, NoChunk
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.peers import Peers
from zgen_node.core.storage import Storage
from zgen_node.core.view import View


class CopySources:
    """What other nodes copy from this one.

    Attributes:
        messages: What to do about each class of message.
        handlers: What to do about the events that concern it.
    """

    def __init__(self, peers: Peers, storage: Storage, view: View, monitors: FarMonitors) -> None:
        """Start without any."""
        self._peers = peers
        self._objects = storage.rooms.objects
        self._view = view
        self._monitors = monitors
        #: Members that parts were sent to. Removed when they are gone.
        self._sent_to: dict[PeerId, None] = {}
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            AskChunk: self._on_ask_chunk,
            CopyMade: self._on_copy_made,
        }
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            ChunksUnsent: self._on_chunks_unsent,
        }

    def on_gone(self, node: PeerId, out: list[Effect]) -> None:
        """A node is gone: nothing is sent there any more."""
        if self._sent_to.pop(node, False) is None:
            out.append(ForgetLine(node))

    def _on_ask_chunk(self, peer: PeerId, said: AskChunk, now_ns: int, out: list[Effect]) -> None:
        region = self._objects.get(said.region)
        if region is None or peer not in region.holders or region.place is None:
            self._peers.refuse("part of a region that is not held", short(peer), out)
        elif not (0 < said.size_bytes <= CHUNKS_ASKED_COUNT_MAX * CHUNK_BYTES) or not (
            0 <= said.offset <= region.room_bytes - said.size_bytes
        ):
            self._peers.refuse("part that a region has not", short(peer), out)
        elif peer in self._view.members:
            address = self._view.members[peer].state.address
            stretch = (said.pull, said.region, region.place, said.offset, said.size_bytes)
            leaves = address.machine != self._peers.session.identity.address.machine
            self._sent_to[peer] = None
            out.append(SendChunks(peer, address.tcp, *stretch, is_checked=leaves))

    def _on_chunks_unsent(self, event: ChunksUnsent, now_ns: int, out: list[Effect]) -> None:
        if not self._monitors.is_node(event.node):
            reached("part for a node that is gone")
            return
        self._monitors.dial(event.node, out)
        out.append(Send(event.node, NoChunk(event.pull, event.region, event.failure)))

    def _on_copy_made(self, peer: PeerId, said: CopyMade, now_ns: int, out: list[Effect]) -> None:
        region = self._objects.get(said.region)
        if region is None or peer not in region.copied_to:
            reached("copy of a region that is over")
            return
        region.copied_to[peer] = True
