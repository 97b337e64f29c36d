"""Creator's side of actors: each one's life, its lease, and who is told what becomes of it.

Rules of this file: what may follow what in an actor's life, and who watches. How often it may run
again is the budget of its creation task, which is not known here.

Theory of operation. The creation task of an actor keeps its lease for as long as the actor lives.
Every change is told to each watcher once, in order, and to a new one what holds when it comes. A
dead actor is remembered until its last handle is gone and its worker is, so that late callers hear
why it died.
"""

from dataclasses import field
from enum import Enum
from typing import Final

from zgen.core.actor_verdict import Verdict
from zgen.core.lifecycle import Lifecycle
from zgen.ids import ActorId, LeaseId, PeerId, derive_actor_lease, short
from zgen.slotted import slotted
from zgen.wire.actor import ActorSettings
from zgen.wire.session import Address


class Standing(Enum):
    """How an actor is."""

    CREATING = "being created"
    ALIVE = "takes calls"
    RESTARTING = "being created again"
    DEAD = "dead"


LEGAL: Final = {
    Standing.CREATING: (Standing.ALIVE, Standing.RESTARTING, Standing.DEAD),
    Standing.ALIVE: (Standing.RESTARTING, Standing.DEAD),
    Standing.RESTARTING: (Standing.ALIVE, Standing.DEAD),
    Standing.DEAD: (),
}


@slotted
class Actor:
    """One actor that this process created.

    Attributes:
        settings: How it runs its calls.
        standing: How it is.
        life: Which life of it, from 0.
        asked: Leases asked for so far.
        lease: Lease of this life, asked for or granted; None while there is none.
        worker: Where it lives, once its lease is granted.
        pid: Process id of its worker.
        watchers: Other processes that are told of changes.
        has_handle: Whether anybody may still call it.
        verdict: Why it is dead, once it is.
    """

    settings: ActorSettings
    standing: Lifecycle[Standing]
    life: int = 0
    asked: int = 0
    lease: LeaseId | None = None
    worker: Address | None = None
    pid: int = 0
    watchers: dict[PeerId, None] = field(default_factory=dict)
    has_handle: bool = True
    verdict: Verdict | None = None

    @property
    def in_order(self) -> bool:
        """Whether it runs one call at a time, in the order of each caller."""
        settings = self.settings
        return settings.max_concurrency == 1 and not settings.is_async and not settings.groups


class ActorTable:
    """The actors that this process created."""

    def __init__(self) -> None:
        """Start without actors."""
        #: Actor -> record. Added by ``add``; removed by ``forget_if_over``.
        self.actors: dict[ActorId, Actor] = {}
        #: Lease -> its actor. Added by ``ask``; removed by ``end_lease``.
        self.by_lease: dict[LeaseId, ActorId] = {}
        #: Actor that is to have a name before it is created -> who has found it by that already.
        #: Added by ``expect``; removed by ``add`` and ``refused``.
        self._expected: dict[ActorId, dict[PeerId, None]] = {}
        #: Question about a name -> the actor that is to have it. Removed by the answer.
        self._asked: dict[int, ActorId] = {}

    def expect(self, query: int, actor: ActorId) -> None:
        """Know that an actor will be created if it gets its name, by which others may find it."""
        self._asked[query] = actor
        self._expected[actor] = {}

    def answered(self, query: int, actor: ActorId) -> None:
        """A question about a name is answered; the actor that it was for may not have got it."""
        mine = self._asked.pop(query, actor)
        if mine != actor:
            self._expected.pop(mine, None)

    def awaits(self, actor: ActorId, watcher: PeerId) -> bool:
        """Have ``watcher`` told of an actor once it is created; False if it will not be."""
        watchers = self._expected.get(actor)
        if watchers is not None:
            watchers[watcher] = None
        return watchers is not None

    def add(self, actor: ActorId, settings: ActorSettings) -> None:
        """Begin an actor, before its creation task is submitted."""
        assert actor not in self.actors, f"actor {short(actor)} was created twice"
        standing = Lifecycle(f"actor {short(actor)}", LEGAL, Standing.CREATING)
        watchers = self._expected.pop(actor, {})
        self.actors[actor] = Actor(settings, standing, watchers=watchers)

    def ask(self, actor: ActorId) -> LeaseId:
        """Name the lease that the next try is to have."""
        record = self.actors[actor]
        assert record.lease is None, record.standing.story()
        lease = record.lease = derive_actor_lease(actor, record.asked)
        record.asked += 1
        self.by_lease[lease] = actor
        return lease

    def granted(self, lease: LeaseId, worker: Address, pid: int) -> ActorId | None:
        """The lease was granted: return whose it is, or None if nobody's or granted before."""
        actor = self.by_lease.get(lease)
        if actor is None or self.actors[actor].worker is not None:
            return None
        record = self.actors[actor]
        record.worker, record.pid = worker, pid
        return actor

    def end_lease(self, actor: ActorId) -> LeaseId | None:
        """Give up the lease of an actor and return it, or None if it has none."""
        record = self.actors[actor]
        lease, record.lease, record.worker = record.lease, None, None
        if lease is not None:
            del self.by_lease[lease]
        return lease

    def on_worker(self, worker: PeerId) -> list[ActorId]:
        """Return the actors that live or are being created at ``worker``: one at most."""
        return [
            actor
            for actor, record in self.actors.items()
            if record.worker is not None and record.worker.peer == worker
        ]

    def watch(self, actor: ActorId, watcher: PeerId) -> Actor | None:
        """Have ``watcher`` told of changes; return the actor, None if it is not known any more."""
        record = self.actors.get(actor)
        if record is not None:
            record.watchers[watcher] = None
        return record

    def unwatch(self, actor: ActorId, watcher: PeerId) -> None:
        """Tell ``watcher`` of this actor no more."""
        record = self.actors.get(actor)
        watchers = self._expected.get(actor, {}) if record is None else record.watchers
        watchers.pop(watcher, None)

    def forget_watcher(self, watcher: PeerId) -> None:
        """Tell a dead process nothing more."""
        for record in self.actors.values():
            record.watchers.pop(watcher, None)
        for watchers in self._expected.values():
            watchers.pop(watcher, None)

    def forget_if_over(self, actor: ActorId) -> None:
        """Remove an actor that is dead, whose worker is gone, and that nobody can call."""
        record = self.actors[actor]
        dead = record.standing.state is Standing.DEAD
        if dead and record.lease is None and not record.has_handle:
            del self.actors[actor]

    def check(self) -> None:
        """Assert the invariants of every actor."""
        for lease, actor in self.by_lease.items():
            assert self.actors[actor].lease == lease, f"lease {short(lease)} is no actor's"
        for actor, record in self.actors.items():
            story = f"actor {short(actor)}: {record.standing.state}\n{record.standing.story()}"
            state = record.standing.state
            assert record.lease is None or self.by_lease[record.lease] == actor, story
            assert record.worker is None or record.lease is not None, story
            assert state is not Standing.ALIVE or record.worker is not None, story
            assert (record.verdict is not None) == (state is Standing.DEAD), story
            over = state is Standing.DEAD and record.lease is None and not record.has_handle
            assert not over, story
