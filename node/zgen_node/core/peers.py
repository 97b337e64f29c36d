"""Lines to other processes: what they say, who is forgotten, whose DOWN is told to whom.

Rules of this file: joins the session, the codec and the monitors. What a message does, and which
process is a driver or a worker, is not known here.

Theory of operation. A process that is dead says nothing more from the moment its DOWN is noted:
what its line still delivers is dropped. So its watchers are told at once: each of them waits by
itself for the line that it has to the dead. When the line here is quiet it is forgotten and the
life fenced. A process of which the operating system tells nothing (a tool, a driver before it
registered) is forgotten after ``REDIALS_FAILED_MAX`` failed dials in a row.
"""

from typing import Any

from zgen.core.effects import Effect, Report, Send
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp
from zgen.core.identity import Gone, Identity
from zgen.core.marks import reached
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, short
from zgen.limits import REDIALS_FAILED_MAX
from zgen.wire.codec import decode, encode
from zgen.wire.lease import ProcessDown
from zgen_node.core.monitors import Monitors

_DETAIL_CHARS_MAX = 200


class Peers:
    """The processes that a node has a line to, and the dead whose line is not quiet yet.

    Attributes:
        session: The lines; its counts also count what is refused here.
        monitors: Who is told of whose DOWN.
    """

    def __init__(self, identity: Identity) -> None:
        """Start without lines."""
        self.session = Session(identity)
        self.monitors = Monitors()
        #: Dead process -> what its watchers are told. Added by ``down``; removed by ``bury``.
        self._downs: dict[PeerId, ProcessDown] = {}
        #: Peer -> failed dials in a row, for those that nobody watches. Removed by a success, by
        #: ``watched`` and with the line.
        self._redials: dict[PeerId, int] = {}

    def is_down(self, peer: PeerId) -> bool:
        """Return whether ``peer`` is dead and its line not forgotten yet."""
        return peer in self._downs

    def refuse(self, reason: str, detail: str, out: list[Effect]) -> None:
        """Count what a peer may not say, and report it the 1st, 2nd, 4th, 8th … time."""
        counts = self.session.counts
        count = counts[reason] = counts.get(reason, 0) + 1
        if count & (count - 1) == 0:
            out.append(Report("warning", f"{reason} ({count}): {detail[:_DETAIL_CHARS_MAX]}"))

    def receive(
        self, event: Arrived, now_ns: int, out: list[Effect]
    ) -> tuple[PeerId, list[Any], Gone | None]:
        """Take in frames; return who sent them, the messages, and a life that ended by them."""
        try:
            peer, bodies, gone = self.session.on_arrived(
                event.connection, event.frames, now_ns, out
            )
        except RemoteProtocolError as error:
            self.refuse("frames refused", str(error), out)
            return PeerId(b""), [], None
        messages: list[Any] = []
        for body in bodies:
            if peer in self._downs:
                reached("message of the dead dropped")
                break
            try:
                messages.append(decode(body))
            except RemoteProtocolError as error:
                self.refuse("malformed message", str(error), out)
        return peer, messages, gone

    def send(self, effects: list[Effect], now_ns: int) -> list[Effect]:
        """Return ``effects`` with every ``Send`` replaced by what the session makes of it."""
        out: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send):
                frames = encode(effect.message)
                self.session.send(effect.peer, frames, now_ns, out, effect.token, effect.item_bytes)
            else:
                out.append(effect)
        return out

    def watched(self, peer: PeerId) -> None:
        """Leave the end of ``peer`` to the operating system from now on."""
        self._redials.pop(peer, None)

    def on_connection_up(self, event: ConnectionUp, now_ns: int, out: list[Effect]) -> None:
        """Pass a connection on to the session."""
        self._redials.pop(event.peer, None)
        self.session.on_connection_up(event.peer, event.epoch, now_ns, out)

    def on_connection_lost(
        self, event: ConnectionLost, watched: bool, now_ns: int, out: list[Effect]
    ) -> None:
        """Pass a lost connection on; forget the line after too many, unless its peer is watched."""
        peer = event.peer
        self.session.on_connection_lost(peer, event.epoch, now_ns, out)
        if watched or peer in self._downs or not self.session.knows(peer):
            return
        failed_count = self._redials.get(peer, 0) + 1
        if failed_count < REDIALS_FAILED_MAX:
            self._redials[peer] = failed_count
            return
        reached("line to a stranger forgotten")
        self._redials.pop(peer, None)
        self.session.forget(peer, "cannot be reached", out)

    def watch(
        self, watcher: PeerId, watched: PeerId, lives: bool, dead: ProcessDown, out: list[Effect]
    ) -> None:
        """Tell ``watcher`` of a death when it comes, or now if it did.

        Args:
            watcher: Who wants to know.
            watched: Of whom.
            lives: Whether that lives, as far as the node knows.
            dead: What is told if it was forgotten already.
            out: Effects are added here.
        """
        if lives:
            self.monitors.add(watcher, watched)
        else:
            reached("watch of the dead answered at once")
            out.append(Send(watcher, self._downs.get(watched, dead)))

    def down(self, down: ProcessDown, now_ns: int, out: list[Effect]) -> bool:
        """Tell the watchers of a death, each once; return whether it has no line to be buried."""
        peer = down.peer
        self._downs[peer] = down
        self._redials.pop(peer, None)
        watchers = self.monitors.down(peer)
        out.extend(Send(watcher, down) for watcher in watchers if self.session.knows(watcher))
        if self.session.knows(peer) and self._life(peer) == down.incarnation:
            self.session.hold_down(peer, now_ns)
            return False
        self.bury(peer, out)
        return True

    def bury(self, peer: PeerId, out: list[Effect]) -> None:
        """Forget the line of a dead process and fence its life."""
        down = self._downs.pop(peer)
        if self.session.knows(peer) and self._life(peer) == down.incarnation:
            self.session.forget(peer, "process is down", out)
        self.session.fence(peer, down.incarnation)

    def check(self) -> None:
        """Assert the invariants of session, monitors and what waits to be told."""
        self.session.check()
        self.monitors.check()
        for peer in self._downs:
            assert self.session.knows(peer), f"DOWN of {short(peer)} waits for no line"
        for peer, count in self._redials.items():
            assert 0 < count < REDIALS_FAILED_MAX
            assert self.session.knows(peer), f"redials of {short(peer)}, which has no line"

    def _life(self, peer: PeerId) -> int:
        return self.session.address_of(peer).incarnation
