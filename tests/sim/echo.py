"""A small machine over a session alone, and the world in which several of them talk."""

from __future__ import annotations

from collections.abc import Callable

from zgen.core.effects import Effect
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event, InboxDrained, TimerDue
from zgen.core.identity import Gone, Identity
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.limits import MS, SECOND
from zgen.sim.faults import Faults, Hardship, draw_hardship
from zgen.sim.oracle import InOrderOnce, Kind, Oracle, SimulationFailure
from zgen.sim.trace import Trace
from zgen.sim.world import Life, World, sim_address
from zgen.wire.session import Address

Hear = Callable[["EchoMachine", PeerId, bytes], None]


class EchoMachine:
    """Sends what it is told to and tells what it hears."""

    def __init__(self, address: Address, hear: Hear) -> None:
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self.session = Session(Identity(address, "3.11", "0"))
        self.hear = hear
        self.refused = 0
        self.gone: list[Gone] = []

    def say(self, to: Address, what: bytes, now_ns: int, out: list[Effect]) -> bool:
        self.session.dial(to, out)
        return self.session.send(to.peer, [what], now_ns, out)

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        out: list[Effect] = []
        self._absorb(event, now_ns, out)
        self.next_deadline_ns = self.session.deadlines.next_ns
        self.lines_closing = self.session.lines_closing
        return out

    def _absorb(self, event: Event, now_ns: int, out: list[Effect]) -> None:
        if isinstance(event, Arrived):
            try:
                peer, bodies, gone = self.session.on_arrived(
                    event.connection, event.frames, now_ns, out
                )
            except RemoteProtocolError:
                self.refused += 1
                return
            if gone is not None:
                self.gone.append(gone)
            for body in bodies:
                self.hear(self, peer, b"".join(body))
        elif isinstance(event, ConnectionUp):
            self.session.on_connection_up(event.peer, event.epoch, now_ns, out)
        elif isinstance(event, ConnectionLost):
            self.session.on_connection_lost(event.peer, event.epoch, now_ns, out)
        elif isinstance(event, TimerDue):
            self.session.on_timer(now_ns, out)
        elif isinstance(event, InboxDrained):
            self.session.on_drained(now_ns)
        elif isinstance(event, Say):
            self.say(event.to, event.what, now_ns, out)

    def check(self) -> None:
        self.session.check()


class Say:
    """The user wants ``what`` to be said."""

    def __init__(self, to: Address, what: bytes) -> None:
        self.to = to
        self.what = what

    def __repr__(self) -> str:
        return f"Say({self.what!r})"


class LivesInOrder(Oracle):
    """P7: once a newer life of a process was heard, nothing of an older one is."""

    promise = "P7"

    def __init__(self) -> None:
        self._newest: dict[tuple[str, PeerId], int] = {}

    def heard(self, listener: str, peer: PeerId, incarnation: int) -> None:
        newest = self._newest.get((listener, peer), 0)
        self.require(
            incarnation >= newest, f"{listener} heard life {incarnation} after life {newest}"
        )
        self._newest[listener, peer] = incarnation


class EchoWorld:
    """Some processes that talk to one another; any of them may die and come back."""

    def __init__(self, seed: int, count: int, hardship: Hardship | None = None) -> None:
        self.world = World(seed, Trace())
        random = self.world.random
        self.hardship = hardship or draw_hardship(
            random,
            {
                "cut": 40 * MS,
                "pause": 150 * MS,
                "blackout": 200 * MS,
                "bounce": 200 * MS,
                "zombie": 200 * MS,
            },
        )
        strokes = {"bounce": self.bounce, "zombie": self.zombie}
        self.faults = Faults(self.world, self.hardship, strokes)
        #: Whether everybody talks to those after it only, who thus have nothing to send but acks.
        self.one_way = random.random() < 0.5
        self.in_order = InOrderOnce()
        self.lives_in_order = LivesInOrder()
        self.names = [f"peer{number}" for number in range(count)]
        self.incarnations = dict.fromkeys(self.names, 0)
        self.said = 0
        for name in self.names:
            self.begin(name)

    def begin(self, name: str) -> None:
        self.incarnations[name] += 1
        address = sim_address(name, self.incarnations[name])
        self.world.start(name, address, EchoMachine(address, self.hear), lambda life, effect: None)

    def bounce(self) -> bool:
        """Let a process die and come back under its name, as its next life."""
        alive = list(self.world.lives.values())
        if len(alive) < len(self.names):
            return False
        life = self.world.random.choice(alive)
        self.world.crash(life)
        self.world.at(self.world.random.randrange(20 * MS), self.begin, (life.name,))
        return True

    def zombie(self) -> bool:
        """As ``bounce``, but what the old life said last is heard long after the new one began."""
        alive = list(self.world.lives.values())
        if len(alive) < len(self.names):
            return False
        world, random = self.world, self.world.random
        life = random.choice(alive)
        world.network.mute(life)
        world.network.cut(life)  # it dials again, and its hello is kept too
        world.at(random.randrange(30 * MS), self._end_muted, (life,))
        return True

    def _end_muted(self, life: Life) -> None:
        world, random = self.world, self.world.random
        world.at(random.randrange(20 * MS, 200 * MS), world.network.unmute, (life,))
        if not life.dead:
            world.crash(life)
            world.at(random.randrange(5 * MS), self.begin, (life.name,))

    def hear(self, listener: EchoMachine, peer: PeerId, what: bytes) -> None:
        me = listener.session.identity.address
        sender, life, to, to_life, _ = what.split(b"|")
        assert sender == peer.rstrip(b"\0")
        assert (to, int(to_life)) == (me.peer.rstrip(b"\0"), me.incarnation)
        self.lives_in_order.heard(f"{to.decode()}/{me.incarnation}", peer, int(life))
        self.in_order.heard((sender, life, to, to_life), what)

    def say(self) -> None:
        """Let somebody say something to the present life of somebody else."""
        alive = list(self.world.lives.values())
        if len(alive) < 2:
            return
        speaker, listener = self.world.random.sample(alive, 2)
        if self.one_way and speaker.name > listener.name:
            speaker, listener = listener, speaker
        me, to = speaker.address, listener.address
        machine = speaker.machine
        assert isinstance(machine, EchoMachine)
        if machine.session.knows(to.peer) and machine.session.address_of(to.peer) != to:
            return  # it has not heard of the new life yet
        if machine.session.is_fenced(to.peer, to.incarnation) or speaker.paused:
            return
        self.said += 1
        ends = (me.peer.rstrip(b"\0"), b"%d" % me.incarnation)
        channel = (*ends, to.peer.rstrip(b"\0"), b"%d" % to.incarnation)
        what = b"|".join([*channel, b"%d" % self.said])
        self.in_order.said(channel, what)
        self.world.post(speaker, Say(to, what))  # type: ignore[arg-type]  # an event of this test

    def run(self, messages_count: int) -> None:
        """Talk under faults, then heal, and require that everything between the living arrives."""
        world = self.world
        self.faults.begin()
        spread_ns = 600 * MS
        for _ in range(messages_count):
            world.at(world.random.randrange(spread_ns), self.say)
        world.run(spread_ns)
        self.faults.stop()
        world.run(world.now_ns + 10 * SECOND)
        for life in world.lives.values():
            self.all_acked(life)
        for channel in self.in_order.channels():
            assert isinstance(channel, tuple)
            ends_live = all(
                self.incarnations[name.decode()] == int(number)
                for name, number in (channel[:2], channel[2:])
            )
            missing = self.in_order.missing(channel)
            self.in_order.require(
                not (ends_live and missing), f"{channel}: {missing} never heard", Kind.LIVENESS
            )

    def all_acked(self, life: Life) -> None:
        """Everything that was said to the living is acknowledged by now."""
        machine = life.machine
        assert isinstance(machine, EchoMachine)
        for other in self.world.lives.values():
            line = machine.session._lines.get(other.address.peer)
            if line is not None and line.address == other.address:
                story = f"{life.name} keeps {len(line.kept)} messages to {other.name}"
                self.in_order.require(not line.kept, story, Kind.LIVENESS)


def run_echo(seed: int) -> str:
    """Run one seed; return what went wrong, or nothing."""
    try:
        EchoWorld(seed, 3).run(1000)
    except (SimulationFailure, AssertionError) as failure:
        return f"{type(failure).__name__}: {failure}"
    return ""
