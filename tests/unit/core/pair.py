"""Two sessions with a list as the wire: what is on it is delivered, dropped or repeated by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.unit.core.names import address
from zgen.core.effects import (
    CloseConnection,
    Effect,
    Left,
    OpenConnection,
    PushToken,
    Report,
    Transmit,
)
from zgen.core.identity import Gone, Identity
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, decode_header
from zgen.wire.session import Address

PYTHON, RELEASE = "3.11", "0"


@dataclass
class Side:
    """One process.

    Attributes:
        name: What its peer id starts with.
        session: Its session.
        open: Epoch of its connection to each peer; absent while closed.
        got: Bodies that were delivered to it.
        gone: Lives that it saw end.
        refused: Why frames were refused.
        reports: What it tells a person.
        left: Whether it may end.
    """

    name: str
    session: Session
    address: Address
    open: dict[PeerId, int] = field(default_factory=dict)
    got: list[bytes] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    left: bool = False


@dataclass
class Packet:
    """Frames on their way, under the routing id of the connection that carries them."""

    sender: Side
    to: PeerId
    connection: bytes
    frames: list[bytes]

    def __str__(self) -> str:
        """Return what it is, for assertions: ``hello 1``, ``ack 3``, ``body 2 ack 3``, ``bye``."""
        header = decode_header(self.frames[0])
        if header.flags & FLAG_UNSEQUENCED:
            return "bye" if self.frames[1][:2] == b"\x94\x02" else "hello"
        return f"{header.seq}" if header.flags & FLAG_BODY else f"ack {header.ack}"


def side(name: str, incarnation: int = 1, release: str = RELEASE) -> Side:
    where = address(name, incarnation)
    return Side(name, Session(Identity(where, PYTHON, release)), where)


class Pair:
    """Two sides, ``a`` and ``b``, the wire between them and one clock."""

    def __init__(self, a: Side | None = None, b: Side | None = None) -> None:
        self.a = a or side("a")
        self.b = b or side("b")
        self.now_ns = 1_000
        self.wire: list[Packet] = []

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.a, self.b

    def on_wire(self) -> list[str]:
        """Return what is on the wire, readable: ``a: hello``."""
        return [f"{packet.sender.name}: {packet}" for packet in self.wire]

    def joined(self) -> Pair:
        """Let ``a`` dial ``b``, and both halves come up."""
        self.dial(self.a, self.b)
        self.up(self.a)
        self.deliver_all()
        self.up(self.b)
        self.deliver_all()
        return self

    # -- what happens ------------------------------------------------------------------------------
    def dial(self, who: Side, whom: Side) -> None:
        out: list[Effect] = []
        who.session.dial(whom.address, out)
        self.perform(who, out)

    def send(
        self, who: Side, body: bytes, token: PushToken | None = None, item_bytes: int = 0
    ) -> bool:
        out: list[Effect] = []
        to = self.other(who).address.peer
        sent = who.session.send(to, [body], self.now_ns, out, token, item_bytes)
        self.perform(who, out)
        return sent

    def up(self, who: Side) -> None:
        """The connection of ``who`` to the other can send."""
        out: list[Effect] = []
        peer = self.other(who).address.peer
        who.session.on_connection_up(peer, who.open[peer], self.now_ns, out)
        self.perform(who, out)

    def cut(self, who: Side, *, with_wire: bool = True) -> None:
        """The connection of ``who`` breaks; what is on it is lost."""
        peer = self.other(who).address.peer
        epoch = who.open[peer]
        if with_wire:
            self.wire = [packet for packet in self.wire if packet.sender is not who]
        out: list[Effect] = []
        who.session.on_connection_lost(peer, epoch, self.now_ns, out)
        self.perform(who, out)

    def deliver(self, index: int = 0) -> list[Effect]:
        """Deliver what lies at ``index`` of the wire and take it off."""
        return self.arrive(self.wire.pop(index))

    def arrive(self, packet: Packet) -> list[Effect]:
        """Let frames arrive that may have arrived before."""
        to = self.other(packet.sender)
        out: list[Effect] = []
        if packet.to != to.address.peer:
            return out
        try:
            _, bodies, gone = to.session.on_arrived(
                packet.connection, packet.frames, self.now_ns, out
            )
        except RemoteProtocolError as error:
            to.refused.append(str(error))
        else:
            to.got += [body[0] for body in bodies]
            if gone is not None:
                to.gone.append(gone)
        self.perform(to, out)
        return out

    def deliver_all(self) -> None:
        while self.wire:
            self.deliver()

    def drop_all(self) -> None:
        self.wire.clear()

    def advance(self, by_ns: int) -> None:
        """Let time pass and every deadline on the way be kept; nothing is delivered."""
        until_ns = self.now_ns + by_ns
        while True:
            due = [s.session.deadlines.next_ns for s in self.sides]
            soonest = min([at_ns for at_ns in due if at_ns is not None], default=until_ns + 1)
            if soonest > until_ns:
                break
            self.now_ns = max(self.now_ns, soonest)
            for who in self.sides:
                self.timer(who)
        self.now_ns = until_ns

    def timer(self, who: Side) -> None:
        out: list[Effect] = []
        who.session.on_timer(self.now_ns, out)
        self.perform(who, out)

    def leave(self, who: Side, reason: str = "done") -> None:
        out: list[Effect] = []
        who.session.leave(reason, self.now_ns, out)
        self.perform(who, out)

    def forget(self, who: Side, reason: str = "dead") -> Gone | None:
        out: list[Effect] = []
        gone = who.session.forget(self.other(who).address.peer, reason, out)
        self.perform(who, out)
        return gone

    # -- what is known -----------------------------------------------------------------------------
    def has_left(self, who: Side) -> bool:
        return who.left

    def other(self, who: Side) -> Side:
        return self.b if who is self.a else self.a

    def perform(self, who: Side, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case OpenConnection():
                    who.open[effect.peer] = effect.epoch
                case CloseConnection():
                    if who.open.get(effect.peer) == effect.epoch:
                        del who.open[effect.peer]
                case Transmit():
                    if who.open.get(effect.peer) == effect.epoch:
                        life = who.address.incarnation
                        routing = f"{who.name}.{life}.{effect.epoch}".encode()
                        self.wire.append(Packet(who, effect.peer, routing, effect.frames))
                case Report():
                    who.reports.append(effect.text)
                case Left():
                    who.left = True
                case _:
                    raise AssertionError(effect)
        who.session.check()
