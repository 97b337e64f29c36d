"""A light world for members alone: virtual time, loss, delay, repetition, cuts, pauses, deaths.

Thousands of members fit, since nothing else is simulated. Messages travel through the real codec,
and their bytes are counted: header and body, without what ZeroMQ and TCP add.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from zgen.core.events import TimerDue
from zgen.ids import PeerId
from zgen.limits import MS
from zgen.wire.codec import HEADER_BYTES, decode, encode
from zgen.wire.membership import WELCOME, JoinAnswer, Ping
from zgen_node.core.membership import Membership
from zgen_node.core.membership_profile import Candidate, Profile, lan
from zgen_node.core.membership_view import score_of
from zgen_node.core.membership_words import (
    Fenced,
    Join,
    MemberBuried,
    MemberDown,
    MembershipEvent,
    MemberSuspected,
    MemberUp,
    PeerRefused,
    ProbeReceived,
    SendProbe,
)
from zgen_node.io.rejoining import bounded_seeds
from zgen_node.limits import MEMBERS_FULL_COUNT_MAX, MEMBERS_PARTIAL_COUNT

#: A dial of a port that nobody listens at is refused after this long.
REFUSED_NS = 1 * MS
#: The connection of a process that was killed is cut this long after, at most.
CUT_NS_MAX = 30 * MS
TIMER = TimerDue()


@dataclass(slots=True, eq=False)
class Life:
    """One life of one member.

    Attributes:
        name: Its number in the order of starts.
        node: Its id.
        ended_ns: When it was killed, or None.
        refuses: Whether its port refuses since: its machine lives.
        downs: Node -> when its death was told here, whether it was in the view by then or not.
        fenced: What ended it, if it was told that it is dead.
        seeds: Where it asked to be let in.
    """

    name: int
    node: PeerId
    endpoint: str
    machine: Membership
    offset_ns: int
    ended_ns: int | None = None
    refuses: bool = False
    paused: bool = False
    inbox: list[MembershipEvent] = field(default_factory=list)
    armed_ns: int | None = None
    downs: dict[PeerId, int] = field(default_factory=dict)
    suspected: dict[PeerId, int] = field(default_factory=dict)
    fenced: Fenced | None = None
    seeds: tuple[str, ...] = ()
    effects: list[Any] = field(default_factory=list)
    sent_bytes: int = 0

    @property
    def alive(self) -> bool:
        return self.ended_ns is None and not self.machine.standing.over


class SwimWorld:
    """Members and the network between them.

    Attributes:
        lives: Node -> its life, the dead too.
        blocked: Says whether what one life sends to another is lost now.
        loss: Share of messages that are lost.
        repeat: Share of messages that come twice.
        decoded: Whether messages are decoded on arrival; what is sent is encoded in any case.
        rejoins: Whether who is fenced starts anew, at the same endpoint.
        keep_effects: Whether each life keeps all effects but probes.
    """

    def __init__(self, seed: int, profile: Profile | None = None, loss: float = 0.0) -> None:
        self.random = Random(seed)
        self.profile = profile or lan()
        self.now_ns = 0
        self.loss = loss
        self.repeat = 0.0
        self.slow = 0.05
        self.full_count_max = MEMBERS_FULL_COUNT_MAX
        self.partial_count = MEMBERS_PARTIAL_COUNT
        self.checks_every = 0
        self.keep_effects = False
        self.decoded = True
        self.lives: dict[PeerId, Life] = {}
        self.at_endpoint: dict[str, Life] = {}
        self.blocked: Callable[[Life, Life], bool] | None = None
        self.on_down: Callable[[Life, PeerId, str], None] | None = None
        self.rejoins = False
        self.messages_count = 0
        self.steps_count = 0
        self.sent_bytes = 0
        self._heap: list[tuple[int, int, Any, Any]] = []
        self._ties = 0

    # -- members -----------------------------------------------------------------------------------
    def start(self, endpoint: str = "", **other: str) -> Life:
        """Start a member that is not in yet."""
        name = len(self.lives)
        node = PeerId(self.random.randbytes(16))
        endpoint = endpoint or f"tcp://10.0.{name >> 8}.{name & 255}:7000"
        said = {"cluster": "c", "python": "3.11", "release": "0.1", **other}
        candidate = Candidate(node, endpoint, seed=self.random.randbytes(8), **said)
        machine = Membership(candidate, self.profile, self.full_count_max, self.partial_count)
        offset_ns = self.random.randrange(1 << 50)
        life = Life(name, node, endpoint, machine, offset_ns)
        self.lives[node] = life
        self.at_endpoint[endpoint] = life
        return life

    def found(self, count: int) -> list[Life]:
        """Start members that know each other already, as far as they can."""
        lives = [self.start() for _ in range(count)]
        words = [life.machine.standing.me for life in lives]
        partial = count > self.full_count_max
        nearest = closest([life.node for life in lives], self.partial_count) if partial else None
        for life in lives:
            known = words
            if nearest is not None:
                known = [words[each] for each in next(nearest)]
                life.machine.standing.view.partial = True
            self.step(life, Join(("tcp://nowhere:1",)))
            answer = JoinAnswer(lives[0].node, life.node, WELCOME, "", tuple(known), ())
            self.step(life, ProbeReceived(answer))
        for life in lives:
            life.effects.clear()
        return lives

    def kill(self, life: Life, refuses: bool = False, lines: int = 8) -> None:
        """End a member; if only its process died, its port refuses from now on.

        Then ``lines`` others that had a connection to it see that cut, dial and are refused.
        """
        life.ended_ns = self.now_ns
        life.refuses = refuses
        if refuses:
            others = [each for each in self.lives.values() if each.alive]
            for other in self.random.sample(others, min(lines, len(others))):
                delay_ns = REFUSED_NS + self.random.randrange(CUT_NS_MAX)
                self.at(delay_ns, self.step, (other, PeerRefused(life.node)))

    def pause(self, life: Life, for_ns: int) -> None:
        """Stop a member as SIGSTOP does."""
        life.paused = True
        self.at(for_ns, self.wake, (life,))

    def wake(self, life: Life) -> None:
        """Let a paused member go on: its timers first, then what came in."""
        life.paused = False
        self._on_timer(life, self.now_ns)
        inbox, life.inbox = life.inbox, []
        for event in inbox:
            self.step(life, event)

    def rejoin(self, life: Life) -> None:
        """Start what was fenced under a new id, as a supervisor does."""
        assert life.fenced is not None
        new = self.start(life.endpoint)
        new.seeds = tuple(bounded_seeds((*life.fenced.endpoints, *life.seeds)))
        self.step(new, Join(new.seeds))

    # -- time --------------------------------------------------------------------------------------
    def at(self, delay_ns: int, act: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._ties += 1
        heapq.heappush(self._heap, (self.now_ns + delay_ns, self._ties, act, arguments))

    def run(self, for_ns: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether ``until`` came true."""
        end_ns = self.now_ns + for_ns
        heap, looked_ns = self._heap, self.now_ns
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, act, arguments = heapq.heappop(heap)
            act(*arguments)
            if until is not None and self.now_ns - looked_ns > 10 * MS:
                looked_ns = self.now_ns
                if until():
                    return True
        self.now_ns = end_ns
        return until is not None and until()

    def step(self, life: Life, event: MembershipEvent) -> None:
        """Have a member absorb an event."""
        if life.ended_ns is not None:
            return
        if life.paused:
            life.inbox.append(event)
            return
        machine = life.machine
        self.steps_count += 1
        effects = machine.step(event, self.now_ns + life.offset_ns)
        if self.checks_every and self.steps_count % self.checks_every == 0:
            machine.check()
        for effect in effects:
            if type(effect) is SendProbe:
                self.send(life, effect)
            else:
                self._note(life, effect)
        due_ns = machine.next_deadline_ns
        if due_ns is not None:
            due_ns -= life.offset_ns
            if life.armed_ns is None or due_ns < life.armed_ns:
                life.armed_ns = due_ns
                self.at(max(0, due_ns - self.now_ns), self._on_timer, (life, due_ns))

    def _on_timer(self, life: Life, at_ns: int) -> None:
        if life.paused or life.ended_ns is not None:
            return
        if life.armed_ns is not None and at_ns >= life.armed_ns:
            life.armed_ns = None
        due_ns = life.machine.next_deadline_ns
        if due_ns is None:
            return
        if due_ns - life.offset_ns <= self.now_ns:
            self.step(life, TIMER)
        elif life.armed_ns is None:
            life.armed_ns = due_ns - life.offset_ns
            self.at(life.armed_ns - self.now_ns, self._on_timer, (life, life.armed_ns))

    # -- network -----------------------------------------------------------------------------------
    def send(self, life: Life, effect: SendProbe) -> None:
        frames = encode(effect.message)
        size_bytes = HEADER_BYTES + len(frames[0])
        life.sent_bytes += size_bytes
        self.sent_bytes += size_bytes
        self.messages_count += 1
        other = self.at_endpoint.get(effect.endpoint)
        if other is None or (self.blocked is not None and self.blocked(life, other)):
            return
        random = self.random.random
        if other.ended_ns is not None:
            if other.refuses and type(effect.message) is Ping:
                self.at(REFUSED_NS, self.step, (life, PeerRefused(other.node)))
            return
        if random() < self.loss:
            return
        for _ in range(1 + (random() < self.repeat)):
            delay_ns = 200_000 + int(random() * (50 * MS if random() < self.slow else MS))
            self.at(delay_ns, self._deliver, (other, frames if self.decoded else effect.message))

    def _deliver(self, life: Life, said: Any) -> None:
        if life.ended_ns is None:
            self.step(life, ProbeReceived(decode(said) if self.decoded else said))

    def _note(self, life: Life, effect: Any) -> None:
        kind = type(effect)
        if kind is MemberDown or kind is MemberBuried:  # to its node both are the same death
            assert effect.node not in life.downs, f"{life.name}: second DOWN of one member"
            life.downs[effect.node] = self.now_ns
            if self.on_down is not None:
                self.on_down(life, effect.node, "dead" if kind is MemberBuried else effect.reason)
        elif kind is MemberUp:
            assert effect.member.node not in life.downs, f"{life.name}: one came back from the dead"
        elif kind is MemberSuspected:
            life.suspected.setdefault(effect.node, self.now_ns)
        elif kind is Fenced:
            life.fenced = effect
            if self.rejoins:
                self.at(50 * MS, self.rejoin, (life,))
        if self.keep_effects:
            life.effects.append(effect)


def closest(nodes: list[PeerId], count: int) -> Iterator[list[int]]:
    """Yield, for each node in turn, which others it knows in a cluster too large for all."""
    ids = np.frombuffer(b"".join(node[:8] for node in nodes), dtype=">u8").astype(np.uint64)
    for at, mine in enumerate(ids):
        scores = ids ^ mine
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            scores = (scores ^ (scores >> np.uint64(shift))) * np.uint64(factor)
        scores ^= scores >> np.uint64(31)
        assert int(scores[0]) == score_of(nodes[at], nodes[0])
        scores[at] = np.uint64((1 << 64) - 1)
        yield [int(each) for each in np.argpartition(scores, count)[:count]]


def knows(life: Life, node: PeerId) -> bool:
    """Return whether a member has another in its view."""
    return node in life.machine.standing.view.members
