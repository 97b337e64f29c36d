"""Virtual time, processes, crash and pause, run-until, digest.

Rules of this file: the world drives machines as ``zgen.core.machine`` says and knows no kind of
process; what an effect beyond connections and exits does is its process's own performer's affair.

Theory of operation. All that will happen lies in one heap of (time, tie-breaker, action). A
process's events are stepped when they come, or wait in its inbox while it is paused. Its clock is
the world's plus an offset of its own, so that no two agree. After every step,
or every few, the machine's invariants are checked, its effects are performed in order, a look at
the empty inbox is told if it is wanted, and its next deadline is armed. One seed makes one history.
"""

import heapq
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from zgen.core.effects import CloseConnection, Effect, Exit, Left, OpenConnection, Transmit
from zgen.core.events import Arrived, Event, InboxDrained, TimerDue
from zgen.core.machine import Machine
from zgen.ids import NO_PEER, PeerId
from zgen.limits import SECOND
from zgen.mishaps.harm import Harm
from zgen.sim.network import Network
from zgen.sim.oracle import Kind, Oracle, SimulationFailure
from zgen.sim.trace import Trace
from zgen.wire.session import Address

Performer: TypeAlias = Callable[["Life", Effect], None]
Mourner: TypeAlias = Callable[["Life", str], None]

#: Acts of one world; a run of the largest cluster here takes a tenth of them.
ACTS_COUNT_MAX: Final = 200_000

_TIMER: Final = TimerDue()
_DRAINED: Final = InboxDrained()
#: Events that break nothing if nothing follows from them; what they did break, the next step shows.
_QUIET: Final = (InboxDrained, TimerDue, Arrived)


@dataclass(slots=True, eq=False)
class Life:
    """One life of one simulated process.

    Attributes:
        name: For people; unique among the living.
        number: Unique in its world.
        address: Where it listens.
        machine: What it runs.
        perform: Does what the world cannot.
        clock_offset_ns: Its clock minus the world's.
        dead: Whether it is over.
        paused: Whether it takes nothing in and fires no timer.
        inbox: Events that came during a pause, oldest first.
        timer_ns: World time at which its timer is armed, or None.
        steps: Events taken in.
        oracles: Who looks at every step of this life alone.
        harm: What befalls its messages on purpose, or None.
    """

    name: str
    number: int
    address: Address
    machine: Machine
    perform: Performer
    clock_offset_ns: int
    dead: bool = False
    paused: bool = False
    inbox: deque[Event] = field(default_factory=deque)
    timer_ns: int | None = None
    steps: int = 0
    oracles: list[Oracle] = field(default_factory=list)
    harm: Harm | None = None


class World:
    """Simulated processes and what connects them.

    Attributes:
        now_ns: Virtual time.
        random: The only dice.
        network: Connections and messages.
        trace: What happened.
        lives: The living by name. Added by ``start``; removed by ``end``.
        started_count: Lives that began.
        crashes_count: Lives that ended by ``crash``.
        pauses_count: How often a process was paused.
        oracles: Who looks at every step of everybody.
        mourners: Who is told of every death, with its reason.
        timer_late_ns_max: How late a timer may fire.
        checks_every: After how many steps of a life its invariants are checked; they are at its end
            too.
        harm_of: Makes what befalls the messages of a life, or None if nothing does.
        acts_left: What may still happen before the run is called a livelock.
    """

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        """Start empty at time zero."""
        self.now_ns = 0
        self.random = Random(seed)
        self.trace = trace or Trace()
        self.network = Network(self.random, self.at, self.post)
        self.lives: dict[str, Life] = {}
        self.started_count = 0
        self.crashes_count = 0
        self.pauses_count = 0
        self.oracles: list[Oracle] = []
        self.mourners: list[Mourner] = []
        self.timer_late_ns_max = 0
        self.checks_every = 1
        self.harm_of: Callable[[Life], Harm] | None = None
        self.acts_left = ACTS_COUNT_MAX
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._ties = 0

    # -- time --------------------------------------------------------------------------------------
    def at(self, delay_ns: int, act: Callable[..., None], arguments: tuple[Any, ...] = ()) -> None:
        """Do ``act`` after ``delay_ns``."""
        self._ties += 1
        heapq.heappush(self._heap, (self.now_ns + delay_ns, self._ties, act, arguments))

    def run(self, until_ns: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to ``until_ns``, or until ``done``; return whether it is done.

        Raises:
            SimulationFailure: Far too much happens, or one of a step's failures.
        """
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.acts_left -= 1
            if not self.acts_left:
                raise SimulationFailure(Kind.LIVENESS, f"a livelock: {ACTS_COUNT_MAX} acts")
            self.now_ns, _, act, arguments = heapq.heappop(heap)
            act(*arguments)
            if done is not None and done():
                return True
        self.now_ns = until_ns
        return done is not None and done()

    # -- processes ---------------------------------------------------------------------------------
    def start(self, name: str, address: Address, machine: Machine, perform: Performer) -> Life:
        """Begin a life; it listens at once."""
        assert name not in self.lives, f"{name} lives already"
        self.started_count += 1
        offset_ns = self.random.randrange(1000 * SECOND)
        life = Life(name, self.started_count, address, machine, perform, offset_ns)
        if self.harm_of is not None:
            life.harm = self.harm_of(life)
        self.lives[name] = life
        self.trace.names[address.peer] = name
        self.trace.note(self.now_ns, name, "*", f"starts, life {address.incarnation}")
        self.network.listen(life)
        return life

    def crash(self, life: Life, reason: str = "crash") -> None:
        """End a life at once; its messages in flight arrive or not."""
        if not life.dead:
            self.crashes_count += 1
            self.end(life, reason)

    def end(self, life: Life, reason: str) -> None:
        """End a life, whose invariants hold to the last, and tell the mourners."""
        if life.dead:
            return
        self._check(life, reason)
        life.dead = True
        life.inbox.clear()
        del self.lives[life.name]
        self.trace.note(self.now_ns, life.name, "*", f"ends: {reason}")
        self.network.on_death(life)
        for mourner in self.mourners:
            mourner(life, reason)

    def check_all(self) -> None:
        """Check the invariants of everybody who lives.

        Raises:
            SimulationFailure: One does not hold.
        """
        for life in self.lives.values():
            self._check(life, "at rest")

    def pause(self, life: Life, for_ns: int) -> None:
        """Let a process take nothing in and fire no timer for a while."""
        if life.dead or life.paused:
            return
        self.pauses_count += 1
        life.paused = True
        self.trace.note(self.now_ns, life.name, "*", "pauses")
        self.at(for_ns, self.wake, (life,))

    def wake(self, life: Life) -> None:
        """End a pause: what came meanwhile is taken in, before or after a timer that is due."""
        if life.dead or not life.paused:
            return
        life.paused = False
        self.trace.note(self.now_ns, life.name, "*", "wakes")
        life.timer_ns = None
        deadline_ns = life.machine.next_deadline_ns
        due = deadline_ns is not None and deadline_ns <= self.now_ns + life.clock_offset_ns
        lives = True
        if due and self.random.random() < 0.5:
            lives = self._step(life, _TIMER)
        while lives and life.inbox:
            lives = self._step(life, life.inbox.popleft())
        self._settle(life)

    # -- events ------------------------------------------------------------------------------------
    def post(self, life: Life, event: Event) -> None:
        """Let a process take in an event now, or when its pause is over."""
        if life.harm is not None and isinstance(event, Arrived) and not life.dead:
            life.harm.receive(event.connection, event.frames, self.now_ns)
        if life.dead:
            return
        if life.paused:
            life.inbox.append(event)
            return
        self._step(life, event)
        self._settle(life)

    def post_later(self, life: Life, event: Event, delay_ns: int = 0) -> None:
        """Let a process take in an event after ``delay_ns``; performers must not nest steps."""
        self.at(delay_ns, self.post, (life, event))

    def _settle(self, life: Life) -> None:
        """Tell of the empty inbox if that is wanted, and arm the next deadline."""
        if life.dead or life.paused:
            return
        if life.machine.lines_closing and not self._step(life, _DRAINED):
            return
        deadline_ns = life.machine.next_deadline_ns
        if deadline_ns is None:
            return
        due_ns = max(deadline_ns - life.clock_offset_ns, self.now_ns)
        if life.timer_ns is None or due_ns < life.timer_ns:
            if self.timer_late_ns_max:
                due_ns += self.random.randrange(self.timer_late_ns_max)
            life.timer_ns = due_ns
            self.at(due_ns - self.now_ns, self._on_timer, (life, due_ns))

    def _on_timer(self, life: Life, due_ns: int) -> None:
        if life.dead or life.paused or life.timer_ns != due_ns:
            return
        life.timer_ns = None
        deadline_ns = life.machine.next_deadline_ns
        if deadline_ns is not None and deadline_ns <= self.now_ns + life.clock_offset_ns:
            self._step(life, _TIMER)
        self._settle(life)

    def _check(self, life: Life, when: object) -> None:
        try:
            life.machine.check()
        except Exception as error:
            raise self._failure(life, error, when) from error

    @staticmethod
    def _failure(life: Life, error: Exception, by: object) -> SimulationFailure:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename.rpartition('/')[2]}:{where.lineno} {where.line}"
        story = f"{life.name}: {type(error).__name__}: {error}\n  at {place}\n  by {by}"
        return SimulationFailure(Kind.CRASH, story)

    def _step(self, life: Life, event: Event) -> bool:
        """Step a machine and do what it asks for; return whether its life goes on."""
        note, now_ns = self.trace.note, self.now_ns
        note(now_ns, life.name, "<", event)
        life.steps += 1
        machine = life.machine
        try:
            effects = machine.step(event, now_ns + life.clock_offset_ns)
            if life.steps % self.checks_every == 0 and (effects or type(event) not in _QUIET):
                machine.check()
        except Exception as error:
            raise self._failure(life, error, event) from error
        for effect in effects:
            note(now_ns, life.name, ">", effect)
            if type(effect) is Transmit:
                self.network.transmit(life, effect, now_ns)
            elif type(effect) is OpenConnection:
                self.network.open(life, effect)
            elif type(effect) is CloseConnection:
                self.network.close(life, effect)
            elif type(effect) is Exit:
                self.end(life, f"exit: {effect.reason}")
                break
            elif type(effect) is Left:
                self.end(life, "left")
                break
            else:
                life.perform(life, effect)
                if life.dead:
                    break
        for oracle in self.oracles:
            oracle.after_step(life, event, effects)
        for oracle in life.oracles:
            oracle.after_step(life, event, effects)
        return not life.dead


def sim_address(name: str, incarnation: int = 1, node: PeerId = NO_PEER) -> Address:
    """Return an address in the world for the process ``name``, the same endpoint in every life."""
    return Address(PeerId(name.encode().ljust(16, b"\0")), incarnation, f"sim://{name}", node)
