"""An owner with actors, whose node, workers and other callers are played by the test."""

from __future__ import annotations

from typing import Any

from tests.unit.core.bench import ERROR_ENTRY, PID, OwnerBench
from tests.unit.core.names import JOB, NODE, ONE, WORKER, address, named, spec
from zgen.core.actor_events import CallActor, CreateActor, KillActorNow
from zgen.core.effects import Effect, Send
from zgen.ids import ActorId, LeaseId, ObjectId, PeerId, TaskId, derive_actor_lease, handle_object
from zgen.wire.actor import ActorAt, ActorLost, ActorSettings, HostActor
from zgen.wire.lease import LeaseGranted, ProcessDown, RequestLease, ReturnLease, Shape
from zgen.wire.session import Address
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE, Outcome, PushTasks, TasksDone
from zgen.wire.value import NONE, Fault, Value

ACTOR = ActorId(named("actor"))
HANDLE = handle_object(ACTOR)
#: Where calls of an actor of another process go.
CREATOR = address("creator")
MINE = address("me")


def lease_of(number: int = 0) -> LeaseId:
    return derive_actor_lease(ACTOR, number)


def wanted(number: int = 0, *, retriable: bool = False) -> Send:
    """Return the request of the actor's ``number``-th try."""
    return Send(NODE, RequestLease(lease_of(number), JOB, ONE, "actor", retriable=retriable))


def returned(number: int = 0) -> Send:
    return Send(NODE, ReturnLease(lease_of(number), False))


def at(life: int = 0, worker: str = "worker", *, in_order: bool = True) -> ActorAt:
    return ActorAt(ACTOR, life, address(worker), in_order)


def lost(life: int = 0, *, dead: bool = False, reason: str = "it died") -> ActorLost:
    return ActorLost(ACTOR, life, dead, reason, PID, -1, 9, False, ())


def down(
    worker: PeerId = WORKER,
    under: LeaseId | None = None,
    started: int = 1,
) -> ProcessDown:
    return ProcessDown(worker, 1, PID, -1, 9, "last words", under or lease_of(), started)


def calls_in(effects: list[Effect]) -> list[tuple[PeerId, int, list[str]]]:
    """Return who was sent which calls, and the number of the first."""
    return [
        (effect.peer, effect.message.first_push, [task.name for task in effect.message.tasks])
        for effect in effects
        if isinstance(effect, Send)
        and isinstance(effect.message, PushTasks)
        and effect.message.lease == LeaseId(ACTOR)
    ]


class ActorBench(OwnerBench):
    """One process with one actor, its own or another's."""

    # -- the user ----------------------------------------------------------------------------------
    def create(
        self,
        settings: ActorSettings | None = None,
        slots: tuple[ObjectId, ...] = (),
        shape: Shape = ONE,
    ) -> list[Effect]:
        made = spec("actor", slots=slots, shape=shape)
        made.actor, made.method = ACTOR, "__init__"
        out: list[Effect] = []
        event = CreateActor(made, settings or ActorSettings())
        self.owner.actors.create(event, self.now_ns, out)
        return self._checked(out)

    def call(
        self,
        name: str,
        creator: Address = MINE,
        *,
        retries: int = 0,
        slots: tuple[ObjectId, ...] = (),
        returns: int = 1,
        window: int = 0,
    ) -> list[Effect]:
        made = spec(name, returns, slots, retries)
        made.window = window
        made.actor, made.method = ACTOR, "method"
        out: list[Effect] = []
        self.owner.actors.call(CallActor(made, creator), self.now_ns, out)
        return self._checked(out)

    def kill(self, creator: Address = MINE, *, no_restart: bool = True) -> list[Effect]:
        out: list[Effect] = []
        event = KillActorNow(ACTOR, creator, no_restart)
        self.owner.actors.kill(event, self.now_ns, out)
        return self._checked(out)

    def let_go(self, *objects: ObjectId) -> list[Effect]:
        """Drop references; what follows of handles that are gone is done as in a process."""
        out = self.drop_unchecked(*(objects or (HANDLE,)))
        return self.settle_handles(out)

    def drop_unchecked(self, *objects: ObjectId) -> list[Effect]:
        self.owner.refs.drop_all(objects)
        return []

    def settle_handles(self, out: list[Effect]) -> list[Effect]:
        gone = list(self.owner.refs.gone)
        self.owner.refs.gone.clear()
        self.owner.actors.on_handles_gone(gone, self.now_ns, out)
        return self._checked(out)

    # -- the others --------------------------------------------------------------------------------
    def grant_actor(self, number: int = 0, worker: str = "worker") -> list[Effect]:
        return self.hear(NODE, LeaseGranted(lease_of(number), address(worker), PID))

    def created(
        self, *entries: Any, attempt: int = 0, worker: PeerId = WORKER, kind: int = OUTCOME_VALUE
    ) -> list[Effect]:
        outcome = Outcome(TaskId(ACTOR), attempt, kind, 0, entries or (NONE,))
        return self.hear(worker, TasksDone((outcome,)))

    def raised(self, attempt: int = 0) -> list[Effect]:
        return self.created(ERROR_ENTRY, attempt=attempt, kind=OUTCOME_ERROR)

    def ended(self, name: str, attempt: int = 0, worker: PeerId = WORKER) -> list[Effect]:
        outcome = Outcome(TaskId(named(name)), attempt, OUTCOME_VALUE, 0, (b"value",))
        return self.hear(worker, TasksDone((outcome,)))

    def alive(self, settings: ActorSettings | None = None) -> ActorBench:
        """Let an actor of this process be created and live at ``worker``."""
        self.create(settings)
        self.grant_actor()
        self.created()
        return self

    def remote(self, *calls: str, retries: int = 0) -> ActorBench:
        """Call an actor of another process, which lives at ``worker``."""
        for name in calls:
            self.call(name, CREATOR, retries=retries)
        self.hear(CREATOR.peer, at())
        return self

    # -- what is known -----------------------------------------------------------------------------
    def fault(self, name: str) -> Fault:
        value: Value | None = self.value(ObjectId(named(name) + bytes(4)))
        assert isinstance(value, Fault), value
        return value

    def is_known(self) -> bool:
        return ACTOR in self.owner.actors.supervision.table.actors


def hosted(
    life: int = 0,
    settings: ActorSettings | None = None,
    worker: PeerId = WORKER,
    *,
    holds: bool = True,
) -> Send:
    return Send(worker, HostActor(ACTOR, life, settings or ActorSettings(), holds))
