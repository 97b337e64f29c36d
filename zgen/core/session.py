"""All lines of one process: hello, incarnation fence, connections, resend, quiet lines.

Rules of this file: who speaks and whether it may; where lines are dialled. What messages mean is
not known here: bodies go up and down as frames.

Theory of operation. Each side opens its own send-only connection, so a line has two independent
halves. A hello binds a connection to one life of one peer; data on a connection that never said
hello is from a stranger and dropped. A life that was declared dead is fenced: its hellos and data
are refused. A DOWN that overtook data is held back until the line is quiet: two looks at an empty
inbox, ``QUIET_LINE_NS`` apart, with nothing from the peer between; if that is never empty, many
messages of others in a row are a look.

Source: the Harmony pattern of the zguide; fresh routing ids because ROUTER handover steals or
drops.
"""

from zgen.core.backoff import backoff_ns
from zgen.core.deadlines import Deadlines
from zgen.core.effects import (
    CloseConnection,
    Effect,
    Left,
    OpenConnection,
    PushToken,
    Report,
    Transmit,
)
from zgen.core.handshake_events import HandshakeFailed
from zgen.core.identity import Gone, Identity
from zgen.core.line import Due, Line
from zgen.core.marks import reached
from zgen.core.refusals import Refusals
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, short
from zgen.limits import (
    ACK_AFTER_COUNT,
    ACK_DELAY_NS,
    CONNECTIONS_COUNT_MAX,
    FENCED_COUNT_MAX,
    FLUSH_AT_EXIT_NS,
    PASSED_COUNT_MIN,
    QUIET_LINE_NS,
    RECONNECT_FIRST_NS,
    RECONNECT_NS_MAX,
    RESEND_FIRST_NS,
)
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_UNSEQUENCED,
    decode,
    decode_header,
    encode,
    encode_header,
)
from zgen.wire.session import Address, Goodbye, Hello


class Session:
    """The lines of one process.

    Attributes:
        deadlines: What to do when, by peer.
        counts: How often what was dropped, by reason.
        refusals: Handshakes that failed.
    """

    def __init__(self, identity: Identity) -> None:
        """Start without lines."""
        self.identity = identity
        self.deadlines: Deadlines[tuple[PeerId, Due]] = Deadlines()
        self.counts: dict[str, int] = {}
        self.refusals = Refusals()
        #: Peer -> its line. Added by ``dial`` and by a hello; removed by ``forget``.
        self._lines: dict[PeerId, Line] = {}
        #: Routing id -> peer. Added by a hello; removed by a newer hello of that peer and by
        #: ``forget``.
        self._connections: dict[bytes, PeerId] = {}
        #: Peer -> last life of it that is dead. Added by ``forget``; the oldest go beyond the
        #: bound.
        self._fenced: dict[PeerId, int] = {}
        #: Lines with a DOWN held back. Added by ``hold_down``; removed when quiet or forgotten.
        self.closing: dict[PeerId, None] = {}
        self._leaving: str | None = None

    @property
    def lines_closing(self) -> bool:
        """Whether looks at an empty inbox should be told."""
        return bool(self.closing)

    def knows(self, peer: PeerId) -> bool:
        """Return whether there is a line to ``peer``."""
        return peer in self._lines

    def address_of(self, peer: PeerId) -> Address:
        """Return where ``peer`` is reached; it must have a line."""
        return self._lines[peer].address

    def item_bytes_unacked(self, peer: PeerId) -> int:
        """Return the item bytes that ``peer`` has not acknowledged."""
        line = self._lines.get(peer)
        return line.item_bytes_kept if line else 0

    def dial(self, address: Address, out: list[Effect]) -> None:
        """Have a line to ``address``; an existing one stays as it is, a fenced life gets none."""
        if address.peer in self._lines or self._fenced.get(address.peer, 0) >= address.incarnation:
            return
        line = self._lines[address.peer] = Line(address)
        self._open(line, out)

    def send(
        self,
        peer: PeerId,
        frames: list[bytes],
        now_ns: int,
        out: list[Effect],
        token: PushToken | None = None,
        item_bytes: int = 0,
    ) -> bool:
        """Send a message once and in order; return False if ``peer`` has no line any more."""
        line = self._lines.get(peer)
        if line is None:
            self._count("sent to nobody")
            return False
        kept = line.keep(frames, token, item_bytes)
        if line.up:
            out.append(Transmit(peer, line.epoch, line.frames_of(kept, now_ns)))
            self.deadlines.set_if_unset((peer, Due.RESEND), now_ns + line.resend_wait_ns)
        return True

    def on_connection_up(self, peer: PeerId, epoch: int, now_ns: int, out: list[Effect]) -> None:
        """Say hello on a new connection, then everything that was not acknowledged."""
        line = self._lines.get(peer)
        if line is None or epoch != line.epoch:
            return
        line.on_up()
        self.refusals.forget(peer)
        out.append(self._hello(line))
        for kept in line.kept:
            if kept.sent_ns is not None:
                reached("resent on a new connection")
            out.append(Transmit(peer, epoch, line.frames_of(kept, now_ns)))
        if line.kept:
            self.deadlines.set((peer, Due.RESEND), now_ns + line.resend_wait_ns)
        elif line.acks_owed:
            self.deadlines.set_if_unset((peer, Due.ACK), now_ns + ACK_DELAY_NS)

    def on_handshake_failed(self, event: HandshakeFailed, now_ns: int, out: list[Effect]) -> None:
        """Note why a connection will be lost."""
        line = self._lines.get(event.peer)
        if line is not None and event.epoch == line.epoch:
            self.refusals.dial_failed(event, self.identity.inbox_of(line.address), out)

    def on_connection_lost(self, peer: PeerId, epoch: int, now_ns: int, out: list[Effect]) -> None:
        """Dial again after a pause, unless the peer took its leave."""
        line = self._lines.get(peer)
        if line is None or epoch != line.epoch or (peer, Due.REDIAL) in self.deadlines:
            return
        line.up = False
        line.redials += 1
        out.append(CloseConnection(peer, epoch))
        if not line.closing:
            wait_ns = backoff_ns(line.redials + 1, RECONNECT_FIRST_NS, RECONNECT_NS_MAX, peer)
            self.deadlines.set((peer, Due.REDIAL), now_ns + wait_ns)
        if self._leaving is not None:
            self._leave_when_flushed(out)

    def on_arrived(
        self, connection: bytes, frames: list[bytes], now_ns: int, out: list[Effect]
    ) -> tuple[PeerId, list[list[bytes]], Gone | None]:
        """Take in frames of a connection.

        Returns:
            Who sent them, the bodies that are deliverable now, and an older life that this one
            replaces.

        Raises:
            RemoteProtocolError: They are not for us, or not of this protocol.
        """
        header = decode_header(frames[0]) if frames else None
        if header is None:
            raise RemoteProtocolError("no header")
        if header.flags & FLAG_UNSEQUENCED:
            return self._on_unsequenced(connection, frames[1:], now_ns, out)
        peer = self._connections.get(connection)
        line = self._lines.get(peer) if peer is not None else None
        if peer is None or line is None:
            reached("stranger's data dropped")
            self._count("data before hello")
            return PeerId(b""), [], None
        backing_off = line.resend_wait_ns > RESEND_FIRST_NS
        if line.absorb_ack(header.ack) and backing_off and line.kept:
            reached("resend goes on after an ack")
            self.deadlines.set((peer, Due.RESEND), now_ns)
        line.heard()
        ready: list[list[bytes]] = []
        if header.flags & FLAG_BODY:
            if header.seq <= line.arrived and line.up and not line.hello_acked:
                # Repetitions say that our acks are not heard: perhaps our hello was not.
                reached("hello repeated with an ack")
                out.append(self._hello(line))
            ready = line.absorb(header, frames[1:])
            if line.acks_owed >= ACK_AFTER_COUNT and line.up:
                out.append(Transmit(peer, line.epoch, line.ack_frames()))
            else:
                self.deadlines.set_if_unset((peer, Due.ACK), now_ns + ACK_DELAY_NS)
        if self._leaving is not None:
            self._leave_when_flushed(out)
        return peer, ready, None

    def hold_down(self, peer: PeerId, now_ns: int) -> bool:
        """Hold a DOWN of ``peer`` back until its line is quiet; False if it has no line."""
        line = self._lines.get(peer)
        if line is None:
            return False
        line.closing = True
        line.heard()
        self.closing[peer] = None
        self.deadlines.set((peer, Due.QUIET), now_ns + QUIET_LINE_NS)
        return True

    def on_drained(self, now_ns: int, *, passed: bool = False) -> list[PeerId]:
        """Note an empty inbox, or a message that ``passed``; return the closing lines now quiet."""
        passed_min = PASSED_COUNT_MIN + 2 * len(self._connections) if passed else 0
        quiet: list[PeerId] = []
        for peer in list(self.closing):
            line = self._lines[peer]
            if line.look(passed_min, now_ns):
                del self.closing[peer]
                quiet.append(peer)
            elif line.closing_seen_ns == now_ns:
                self.deadlines.set((peer, Due.QUIET), now_ns + QUIET_LINE_NS)
        return quiet

    def forget(self, peer: PeerId, reason: str, out: list[Effect]) -> Gone | None:
        """End the line to ``peer`` and fence this life of it; None if there is no line."""
        line = self._lines.pop(peer, None)
        if line is None:
            return None
        self.fence(peer, line.address.incarnation)
        self.refusals.forget(peer)
        self.closing.pop(peer, None)
        self._connections = {c: p for c, p in self._connections.items() if p != peer}
        for due in Due:
            self.deadlines.clear((peer, due))
        out.append(CloseConnection(peer, line.epoch))
        undelivered = [
            (kept.token, kept.sent_ns is None) for kept in line.kept if kept.token is not None
        ]
        if self._leaving is not None:
            self._leave_when_flushed(out)
        return Gone(peer, line.address.incarnation, reason, undelivered)

    def peers_of(self, node: PeerId) -> list[PeerId]:
        """Return which processes of a node, itself too, there are lines to."""
        return [peer for peer, line in self._lines.items() if line.address.node == node]

    def reopen(self, peer: PeerId, out: list[Effect]) -> None:
        """Go on with a line on a new connection, unless its peer is dead."""
        line = self._lines[peer]
        if not line.closing:
            self.deadlines.clear((peer, Due.REDIAL))
            out.append(CloseConnection(peer, line.epoch))
            self._open(line, out)

    def fence(self, peer: PeerId, incarnation: int) -> None:
        """Refuse this and earlier lives of ``peer`` from now on."""
        self._fenced[peer] = max(self._fenced.pop(peer, 0), incarnation)
        if len(self._fenced) > FENCED_COUNT_MAX:
            del self._fenced[next(iter(self._fenced))]

    def unfence(self, peer: PeerId) -> None:
        """Hear a peer again, which was held for dead too soon."""
        self._fenced.pop(peer, None)

    def is_fenced(self, peer: PeerId, incarnation: int) -> bool:
        """Return whether this life of ``peer`` was declared dead."""
        return self._fenced.get(peer, 0) >= incarnation

    def leave(self, reason: str, now_ns: int, out: list[Effect]) -> None:
        """End everything: ``Left`` follows when all is acknowledged, or after ``FLUSH_AT_EXIT_NS``.

        A peer that could not be dialled again is not waited for. Without a reason nobody is told.
        """
        self._leaving = reason
        self.deadlines.set((self.identity.address.peer, Due.LEAVE), now_ns + FLUSH_AT_EXIT_NS)
        self._leave_when_flushed(out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Do what is due."""
        for peer, due in self.deadlines.pop_due(now_ns):
            line = self._lines.get(peer)
            if due is Due.LEAVE:
                self._say_goodbye(out)
            elif line is None or due is Due.QUIET:
                continue  # a look at the inbox follows, which is all that was wanted
            elif due is Due.ACK:
                if line.acks_owed and line.up:
                    out.append(Transmit(peer, line.epoch, line.ack_frames()))
            elif due is Due.REDIAL:
                if not line.up and not line.closing:
                    self._open(line, out)
            elif line.up:
                self._resend_oldest(line, now_ns, out)

    def check(self) -> None:
        """Assert the invariants of every line."""
        for peer, line in self._lines.items():
            line.check()
            fenced = self.is_fenced(peer, line.address.incarnation)
            assert not fenced, f"a line to the dead {short(peer)}"
        for peer in self.closing:
            assert self._lines[peer].closing

    def _open(self, line: Line, out: list[Effect]) -> None:
        line.epoch += 1
        line.up = False
        inbox = self.identity.inbox_of(line.address)
        out.append(OpenConnection(line.address.peer, inbox, line.epoch))

    def _hello(self, line: Line) -> Transmit:
        frames = self.identity.hello_to(line.address, line.epoch)
        return Transmit(line.address.peer, line.epoch, frames)

    def _resend_oldest(self, line: Line, now_ns: int, out: list[Effect]) -> None:
        due_ns = line.oldest_due_ns()
        if due_ns is None:
            return
        if due_ns > now_ns:
            self.deadlines.set((line.address.peer, Due.RESEND), due_ns)
            return
        reached("oldest resent after a timeout")
        if not line.hello_acked:
            out.append(self._hello(line))
        out.append(Transmit(line.address.peer, line.epoch, line.frames_of(line.kept[0], now_ns)))
        line.double_resend_wait()
        self.deadlines.set((line.address.peer, Due.RESEND), now_ns + line.resend_wait_ns)

    def _on_unsequenced(
        self, connection: bytes, frames: list[bytes], now_ns: int, out: list[Effect]
    ) -> tuple[PeerId, list[list[bytes]], Gone | None]:
        said = decode(frames)
        if isinstance(said, Hello):
            return said.sender.peer, [], self._on_hello(connection, said, out)
        if not isinstance(said, Goodbye):
            raise RemoteProtocolError(f"{type(said).__name__} outside the session")
        line = self._lines.get(said.sender)
        if line is None or line.closing or self._connections.get(connection) != said.sender:
            return said.sender, [], None
        return said.sender, [], self.forget(said.sender, f"left: {said.reason}", out)

    def _on_hello(self, connection: bytes, hello: Hello, out: list[Effect]) -> Gone | None:
        me, sender = self.identity, hello.sender
        if not me.is_meant(hello):
            raise RemoteProtocolError("hello for somebody else")
        line = self._lines.get(sender.peer)
        newest = line.address.incarnation if line is not None else 0
        if self.is_fenced(sender.peer, sender.incarnation) or sender.incarnation < newest:
            reached("hello of the dead refused")
            raise RemoteProtocolError("hello of a life that was declared dead")
        mismatch = me.mismatch(hello)
        gone = None
        if line is not None and sender.incarnation > newest:
            reached("hello of a newer life")
            gone = self.forget(sender.peer, "replaced by a newer life", out)
            line = None
        if line is None:
            line = self._lines[sender.peer] = Line(sender)
            self._open(line, out)  # also after a mismatch, so that the other side can name it too
        if mismatch:
            out.append(Report("error", f"{me.inbox_of(sender)} was refused: {mismatch}"))
            raise RemoteProtocolError(mismatch)
        line.heard()  # the last words of the dead may follow on this connection
        if hello.epoch >= line.hello_epoch:
            if hello.epoch > line.hello_epoch:
                self._connections = {c: p for c, p in self._connections.items() if p != sender.peer}
            if len(self._connections) < CONNECTIONS_COUNT_MAX:
                self._connections[connection] = sender.peer
            line.hello_epoch = hello.epoch
        return gone

    def _leave_when_flushed(self, out: list[Effect]) -> None:
        if not any(
            line.kept and not line.closing and line.redials < 2 for line in self._lines.values()
        ):
            self._say_goodbye(out)

    def _say_goodbye(self, out: list[Effect]) -> None:
        if self._leaving is None:
            return
        me, reason = self.identity.address, self._leaving
        body = encode(Goodbye(me.peer, me.incarnation, reason))
        self._leaving = None
        for peer, line in self._lines.items():
            if line.up and reason:
                frames = [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, line.arrived), *body]
                out.append(Transmit(peer, line.epoch, frames))
        out.append(Left())

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
