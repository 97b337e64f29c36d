"""Connections between simulated processes: loss, repetition, delay, reordering, partition.

Rules of this file: a connection is one-way and belongs to its dialler, as in ``zgen.io``; the
receiver sees a routing id that is fresh for every connection. What frames mean is not known here.

Theory of operation. A connection is bound to the life that listens when it is dialled, so nothing
sent to a dead life reaches the one that took its endpoint. Messages of one connection arrive in
order, unless the reordering hardship takes one out of the line. What is in flight when a connection
breaks arrives or not, each message by a throw of its own: harder than TCP, which loses a tail.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from zgen.core.effects import CloseConnection, OpenConnection, Transmit
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event
from zgen.ids import PeerId
from zgen.limits import MS, US
from zgen.mishaps.harm import Harm
from zgen.slotted import slotted

if TYPE_CHECKING:
    from zgen.sim.world import Life

Post = Callable[[int, Callable[..., None], tuple[object, ...]], None]

CONNECT_NS_MAX: Final = 500 * US
#: How long after it a broken connection, or a refused dial, is noticed.
NOTICE_NS_MAX: Final = 3 * MS
#: A dial into a partition ends after this long.
DIAL_NS_MAX: Final = 200 * MS


@slotted
class Rates:
    """How bad the network is. Chances are per message, from 0 to 1.

    Attributes:
        loss: A message disappears.
        repeat: A message arrives twice.
        reorder: A message arrives outside the order of its connection.
        garble: A damaged copy arrives too.
        survive: A message in flight on a connection that breaks arrives nevertheless.
        delay_ns_min: Least time in flight.
        delay_ns_max: Greatest time in flight, save for reordered ones, which may take five times as
            long.
    """

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    garble: float = 0.0
    survive: float = 0.5
    delay_ns_min: int = 20 * US
    delay_ns_max: int = 200 * US


@dataclass(slots=True, eq=False)
class Connection:
    """One attempt to speak to a peer.

    Attributes:
        dialler: Who speaks.
        peer: Who was meant.
        epoch: The dialler's number of it.
        routing_id: Name of it at the receiver.
        target: Who listens; None until it is up.
        broken: Whether it is closed, cut, or one of its ends is dead.
        arrival_ns: When the last message in order arrives.
    """

    dialler: "Life"
    peer: PeerId
    epoch: int
    routing_id: bytes
    target: "Life | None" = None
    broken: bool = False
    arrival_ns: int = 0


@slotted
class Counts:
    """What happened to messages."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    garbled: int = 0
    cuts: int = 0


@dataclass(slots=True, eq=False)
class Network:
    """All connections of one world.

    Attributes:
        random: Dice of the world.
        rates: How bad it is now.
        counts: What happened so far.
    """

    random: Random
    at: Post
    deliver: "Callable[[Life, Event], None]"
    rates: Rates = field(default_factory=Rates)
    counts: Counts = field(default_factory=Counts)
    #: Endpoint -> who listens. Added by ``listen``; removed by ``on_death``.
    _listeners: "dict[str, Life]" = field(default_factory=dict)
    #: (number of the dialler's life, peer) -> its newest connection. Removed when closed or broken.
    _connections: dict[tuple[int, PeerId], Connection] = field(default_factory=dict)
    #: Number of a life -> what it said since ``mute``. Added by ``mute``; removed by ``unmute``.
    _muted: dict[int, list[tuple[Connection, list[bytes]]]] = field(default_factory=dict)
    #: Routing id -> who dialled. Added by ``open``; lives as long as the world, for those who check
    #: it.
    _diallers: "dict[bytes, Life]" = field(default_factory=dict)
    #: (from, to) by process name: nothing passes. Added by ``partition``; removed by ``repair``.
    _cut_off: dict[tuple[str, str], None] = field(default_factory=dict)
    #: (from, to) by process name -> what waits. Added by ``hold``; removed by ``release``.
    _held: dict[tuple[str, str], list[tuple[Connection, list[bytes]]]] = field(default_factory=dict)
    _dialled: int = 0

    def listen(self, life: "Life") -> None:
        """Take the endpoint of ``life``."""
        self._listeners[life.address.endpoint] = life

    def dialler_of(self, routing_id: bytes) -> "Life":
        """Return who dialled the connection of this name."""
        return self._diallers[routing_id]

    # -- what machines ask for ---------------------------------------------------------------------
    def open(self, life: "Life", effect: OpenConnection) -> None:
        """Dial; the outcome follows."""
        self._break(self._connections.pop((life.number, effect.peer), None))
        self._dialled += 1
        routing_id = b"c%d" % self._dialled
        dialled = Connection(life, effect.peer, effect.epoch, routing_id)
        self._diallers[routing_id] = life
        self._connections[life.number, effect.peer] = dialled
        delay_ns = self.random.randrange(20 * US, CONNECT_NS_MAX)
        self.at(delay_ns, self._dial, (dialled, effect.endpoint))

    def close(self, life: "Life", effect: CloseConnection) -> None:
        """Hang up; what is in flight may arrive."""
        key = (life.number, effect.peer)
        connection = self._connections.get(key)
        if connection is not None and connection.epoch == effect.epoch:
            self._break(self._connections.pop(key))

    def transmit(self, life: "Life", effect: Transmit, now_ns: int) -> None:
        """Carry frames, or not."""
        harm = life.harm
        if harm is None:
            self._carry(life, effect, now_ns)
            return
        for each in harm.send(effect, now_ns):
            self._carry(life, each, now_ns)
        if harm.next_ns is not None:
            self.at(harm.next_ns - now_ns, self._carry_late, (life, harm, harm.next_ns))

    def _carry_late(self, life: "Life", harm: Harm, now_ns: int) -> None:
        """Carry what a process kept back until now."""
        for each in harm.due(now_ns):
            self._carry(life, each, now_ns)
        if harm.next_ns is not None:
            self.at(harm.next_ns - now_ns, self._carry_late, (life, harm, harm.next_ns))

    def _carry(self, life: "Life", effect: Transmit, now_ns: int) -> None:
        connection = self._connections.get((life.number, effect.peer))
        if connection is None or connection.target is None or connection.epoch != effect.epoch:
            return
        counts, rates, dice = self.counts, self.rates, self.random
        counts.sent += 1
        if rates.loss and dice.random() < rates.loss:
            counts.lost += 1
            return
        self._fly(connection, effect.frames, now_ns)
        if rates.repeat and dice.random() < rates.repeat:
            counts.repeated += 1
            self._fly(connection, effect.frames, now_ns)
        if rates.garble and dice.random() < rates.garble:
            counts.garbled += 1
            self._fly(connection, self._garbled(effect.frames), now_ns)

    # -- what the world does -----------------------------------------------------------------------
    def on_death(self, life: "Life") -> None:
        """Break every connection from and to ``life``; those who dialled it notice soon."""
        if self._listeners.get(life.address.endpoint) is life:
            del self._listeners[life.address.endpoint]
        for key, connection in list(self._connections.items()):
            if connection.dialler is life:
                self._break(self._connections.pop(key))
            elif connection.target is life:
                self._break(connection)
                self._notice(connection)

    def cut(self, one: "Life | None" = None) -> bool:
        """Break one connection (of ``one``) that is up; its dialler notices soon."""
        up = [
            connection
            for connection in self._connections.values()
            if connection.target is not None
            and not connection.broken
            and (one is None or connection.dialler is one or connection.target is one)
        ]
        if not up:
            return False
        connection = self.random.choice(up)
        self.counts.cuts += 1
        self._break(connection)
        self._notice(connection)
        return True

    def partition(self, one: str, other: str) -> None:
        """Let nothing pass between two processes."""
        self.partition_oneway(one, other)
        self.partition_oneway(other, one)

    def partition_oneway(self, sender: str, receiver: str) -> None:
        """Let nothing pass from ``sender`` to ``receiver``."""
        self._cut_off[sender, receiver] = None

    def repair(self, one: str, other: str) -> None:
        """End a partition."""
        self._cut_off.pop((one, other), None)
        self._cut_off.pop((other, one), None)

    def passes(self, sender: str, receiver: str) -> bool:
        """Return whether what ``sender`` sends may reach ``receiver``."""
        return (sender, receiver) not in self._cut_off

    def hold(self, sender: str, receiver: str) -> None:
        """Keep what arrives at ``receiver`` from ``sender`` until ``release``."""
        self._held.setdefault((sender, receiver), [])

    def release(self, sender: str, receiver: str) -> None:
        """Let what was held arrive now, in order."""
        for connection, frames in self._held.pop((sender, receiver), []):
            self._arrive(connection, frames)

    def mute(self, life: "Life") -> None:
        """Keep what arrives of this life, wherever, until ``unmute``; its next life is heard."""
        self._muted.setdefault(life.number, [])

    def unmute(self, life: "Life") -> None:
        """Let what was kept of a life arrive now, in order, even if it is dead."""
        for connection, frames in self._muted.pop(life.number, []):
            self._arrive(connection, frames)

    def heal(self) -> None:
        """End every partition and hold, and make the network a good one."""
        self._cut_off.clear()
        for sender, receiver in list(self._held):
            self.release(sender, receiver)
        for number in list(self._muted):
            for connection, frames in self._muted.pop(number):
                self._arrive(connection, frames)
        self.rates = Rates()

    # -- inside ------------------------------------------------------------------------------------
    def _fly(self, connection: Connection, frames: list[bytes], now_ns: int) -> None:
        rates, dice = self.rates, self.random
        spread_ns = rates.delay_ns_max - rates.delay_ns_min
        delay_ns = rates.delay_ns_min + int(dice.random() * spread_ns)
        if rates.reorder and dice.random() < rates.reorder:
            self.counts.reordered += 1
            self.at(
                delay_ns + int(dice.random() * 4 * spread_ns), self._arrive, (connection, frames)
            )
            return
        connection.arrival_ns = max(now_ns + delay_ns, connection.arrival_ns + 1)
        self.at(connection.arrival_ns - now_ns, self._arrive, (connection, frames))

    def _arrive(self, connection: Connection, frames: list[bytes]) -> None:
        target = connection.target
        assert target is not None
        way = (connection.dialler.name, target.name)
        if connection.dialler.number in self._muted:
            self._muted[connection.dialler.number].append((connection, frames))
        elif way in self._held:
            self._held[way].append((connection, frames))
        elif (
            target.dead
            or way in self._cut_off
            or (connection.broken and self.random.random() >= self.rates.survive)
        ):
            self.counts.lost += 1
        else:
            self.counts.delivered += 1
            self.deliver(target, Arrived(connection.routing_id, list(frames)))

    def _dial(self, connection: Connection, endpoint: str) -> None:
        if connection.broken:
            return
        target = self._listeners.get(endpoint)
        if target is None:
            self._break(connection)
            self._notice(connection)
        elif (connection.dialler.name, target.name) in self._cut_off:
            self._break(connection)
            self.at(self.random.randrange(DIAL_NS_MAX), self._lost, (connection,))
        else:
            connection.target = target
            self.deliver(connection.dialler, ConnectionUp(connection.peer, connection.epoch))

    def _break(self, connection: Connection | None) -> None:
        if connection is not None:
            connection.broken = True

    def _notice(self, connection: Connection) -> None:
        self.at(self.random.randrange(NOTICE_NS_MAX), self._lost, (connection,))

    def _lost(self, connection: Connection) -> None:
        key = (connection.dialler.number, connection.peer)
        if self._connections.get(key) is connection:
            del self._connections[key]
            self.deliver(connection.dialler, ConnectionLost(connection.peer, connection.epoch))

    def _garbled(self, frames: list[bytes]) -> list[bytes]:
        """Return ``frames`` with a bit flipped, a tail cut off, or a frame gone or doubled."""
        dice, damaged = self.random, list(frames)
        at = dice.randrange(len(damaged))
        frame = bytearray(damaged[at])
        how = dice.randrange(4)
        if how == 0 and frame:
            bit = dice.randrange(8 * len(frame))
            frame[bit // 8] ^= 1 << bit % 8
            damaged[at] = bytes(frame)
        elif how == 1 and frame:
            damaged[at] = bytes(frame[: dice.randrange(len(frame))])
        elif how == 2:
            del damaged[at]
        else:
            damaged.insert(at, bytes(frame))
        return damaged
