"""Actors of one process: those that it created and those that it calls.

Rules of this file: it hands on. What a task of an actor needs of the tables goes to the creators'
side if the task creates the actor, and to the callers' side if it is a call.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.actor_calls import Reach
from zgen.core.actor_effects import CharterCame, NameAnswered
from zgen.core.actor_events import CallActor, CreateActor, KillActorNow
from zgen.core.actor_table import Standing
from zgen.core.calling import Calling
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, PushToken, Send
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.settlement import Settlement
from zgen.core.stream_in import StreamsIn
from zgen.core.supervision import End, Supervision
from zgen.core.task_spec import CREATION, TaskSpec
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.ids import ActorId, ObjectId, PeerId
from zgen.wire.actor import (
    ActorAt,
    ActorExits,
    ActorLost,
    ActorRestarted,
    KeepActor,
    KillActor,
    NameAnswer,
    UnwatchActor,
    WatchActor,
)
from zgen.wire.lease import LeaseGranted, LeaseRefused
from zgen.wire.value import Fault, FaultKind


class Actors:
    """Both sides of actors, as the owner uses them.

    Attributes:
        calling: The actors that this process calls.
        supervision: The actors that it created.
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
    """

    def __init__(
        self,
        me: PeerId,
        tasks: TaskTable,
        refs: RefTable,
        streams: StreamsIn,
        placement: Placement,
        settlement: Settlement,
        submit: Callable[[TaskSpec, int, list[Effect]], None],
    ) -> None:
        """Create and call with the tasks of these tables, taken in by ``submit``."""
        self.calling = Calling(me, tasks, refs, streams, placement, settlement)
        self.supervision = Supervision(tasks, refs, placement, settlement, self.calling)
        self._me = me
        self._tasks = tasks
        self._submit = submit
        self._placement = placement
        self._settlement = settlement
        placement.calls = self
        supervision = self.supervision
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            LeaseGranted: self._on_lease_granted,
            LeaseRefused: self._on_lease_refused,
            ActorAt: self.calling.on_at,
            ActorLost: self.calling.on_lost,
            WatchActor: supervision.on_watch,
            UnwatchActor: supervision.on_unwatch,
            KillActor: supervision.on_kill,
            ActorExits: supervision.on_exits,
            NameAnswer: self._on_name_answer,
            KeepActor: lambda s, m, now, out: out.append(
                CharterCame(m.query, m.payload, m.restarts)
            ),
        }

    @property
    def deadlines(self) -> tuple[Deadlines[Any], ...]:
        """When ``on_timer`` is wanted."""
        return self.calling.deadlines, self.supervision.deadlines

    def pending_count(self, actor: ActorId) -> int:
        """Return how many calls of an actor have not ended."""
        return self.calling.pending_count(actor)

    # -- local events ------------------------------------------------------------------------------
    def create(self, event: CreateActor, now_ns: int, out: list[Effect]) -> None:
        """Take in an actor: its creation task is submitted like any other."""
        self.supervision.begin(event)
        self._submit(event.spec, now_ns, out)

    def call(self, event: CallActor, now_ns: int, out: list[Effect]) -> None:
        """Take in a call of an actor, whose creator has a line already if it is another process."""
        spec = event.spec
        target, is_new = self.calling.begin(spec, event.creator, now_ns, out)
        self._submit(spec, now_ns, out)
        if is_new and event.creator.peer == self._me:
            self.supervision.welcome(spec.actor, now_ns, out)
        if target.reach is Reach.DEAD:
            self.calling.refuse(spec.actor, target, now_ns, out)

    def kill(self, event: KillActorNow, now_ns: int, out: list[Effect]) -> None:
        """End a life of an actor, or tell its creator to."""
        if event.creator.peer == self._me:
            self.supervision.kill(event.actor, event.no_restart, now_ns, out)
        else:
            out.append(Send(event.creator.peer, KillActor(event.actor, event.no_restart)))

    def on_handles_gone(self, gone: list[ObjectId], now_ns: int, out: list[Effect]) -> None:
        """Nobody can call the actors of these handle objects any more."""
        self.supervision.on_handles_gone(gone, now_ns, out)

    def on_down(
        self, peer: PeerId, end: End, unsent: list[PushToken], now_ns: int, out: list[Effect]
    ) -> None:
        """A process is dead and its line quiet; ``unsent`` certainly never left for it."""
        self.supervision.on_down(peer, end, unsent, now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Do what is due on either side."""
        self.calling.on_timer(now_ns, out)
        self.supervision.on_timer(now_ns, out)

    def check(self) -> None:
        """Assert the invariants of both sides."""
        self.supervision.check()
        self.calling.check()

    # -- what placement and settlement ask about the tasks of actors -------------------------------
    def on_ready(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> None:
        """A task misses nothing."""
        if spec.method == CREATION:
            node, settings = (
                self._placement.node,
                self.supervision.table.actors[spec.actor].settings,
            )
            if settings.detached and node is not None:
                life = self._tasks.entries[spec.task].attempt
                out.append(Send(node, ActorRestarted(spec.actor, life)))
            self.supervision.ask(spec.actor, out)
        else:
            self.calling.on_ready(spec, now_ns, out)

    def call_again(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> bool:
        """A call that has ended is about to be submitted again; return False if it cannot be."""
        return self.calling.again(spec)

    def is_behind(self, actor: ActorId, process: PeerId) -> bool:
        """Return whether a call waits for what a process runs, as it is that of the actor."""
        target = self.calling.calls.targets.get(actor)
        return target is not None and target.in_order and target.worker == process

    def take_back(self, entry: TaskEntry, out: list[Effect]) -> bool:
        """The worker of a creation task did not begin it; return False if the actor is there."""
        actor = entry.spec.actor
        if self.supervision.table.actors[actor].standing.state is Standing.ALIVE:
            return False
        reached("argument of an actor is gone")
        self.supervision.end_lease(actor, out)
        return True

    def released(self, entry: TaskEntry, now_ns: int, out: list[Effect]) -> None:
        """A call ended at its worker."""
        self.calling.landed(entry.spec.actor, entry.spec.task, now_ns, out)

    def on_finished(self, entry: TaskEntry) -> None:
        """A task is out of the task table."""
        spec = entry.spec
        if spec.method != CREATION:
            self.calling.forget(spec.actor, spec.task)

    def on_failed(self, entry: TaskEntry, fault: Fault, now_ns: int, out: list[Effect]) -> None:
        """A task was ended with an error that its body did not raise."""
        if entry.spec.creates_actor:
            self.supervision.on_failed(entry, fault, now_ns, out)
        else:
            self.calling.failed(entry.spec.actor, now_ns, out)

    def _on_name_answer(
        self, sender: PeerId, message: NameAnswer, now_ns: int, out: list[Effect]
    ) -> None:
        self.supervision.table.answered(message.query, message.actor)
        out.append(
            NameAnswered(
                message.query,
                message.actor,
                message.creator,
                message.description,
                message.refusal,
                message.is_new,
            )
        )

    def _on_lease_granted(
        self, sender: PeerId, message: LeaseGranted, now_ns: int, out: list[Effect]
    ) -> None:
        is_ours = sender == self._placement.node
        if not (is_ours and self.supervision.on_granted(message, now_ns, out)):
            self._placement.on_granted(sender, message, now_ns, out)

    def _on_lease_refused(
        self, sender: PeerId, message: LeaseRefused, now_ns: int, out: list[Effect]
    ) -> None:
        is_ours = sender == self._placement.node
        if is_ours and self.supervision.on_refused(message, now_ns, out):
            return
        for task in self._placement.on_refused(sender, message):
            name = self._tasks.entries[task].spec.name
            fault = Fault(FaultKind.REFUSED, name, message.reason, may_have_run=False)
            self._settlement.fail(task, fault, now_ns, "refused", out)
