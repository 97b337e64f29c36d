"""Creators' side of actors: create, restart, end, and tell those who call.

Rules of this file: it joins the actors of this process with the tasks that create them. What
becomes of calls is not decided here.

Theory of operation. The creation task of an actor is pushed under a lease of its own, and counts as
being at its worker for as long as the actor lives: so its arguments stay pinned while a restart
needs them, its budget is that of the restarts, and its worker's death is what ends a life. Every
change is told to those who watch, and to this process's own calls, before anything else is done
about it.
"""

from typing import TypeAlias

from zgen.core.actor_events import CreateActor
from zgen.core.actor_table import Actor, ActorTable, Standing
from zgen.core.actor_verdict import Verdict, verdict_of_death
from zgen.core.calling import Calling
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, PushToken, Send
from zgen.core.lease_client import Assignment
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.settlement import Result, Settlement
from zgen.core.task_table import Doing, TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ActorId, ObjectId, PeerId, TaskId, handle_object, short, task_of
from zgen.limits import ACTOR_END_NS
from zgen.wire.actor import (
    ActorAt,
    ActorExits,
    EndActor,
    FreeName,
    HostActor,
    KillActor,
    UnwatchActor,
    WatchActor,
)
from zgen.wire.lease import (
    LeaseGranted,
    LeaseRefused,
    ProcessDown,
    RequestLease,
    ReturnLease,
    shape_of,
    strategy_of,
)
from zgen.wire.task import OUTCOME_VALUE
from zgen.wire.value import NONE, Fault, Value

#: What is known of the end of a worker: what its node says, or a reason for people.
End: TypeAlias = ProcessDown | str

KILLED = "The actor is dead because it was killed by `ray.kill` or `zgen.kill`"
NO_HANDLE = "its last handle is gone"
EXITED = "it ended itself"


class Supervision:
    """The actors that one process created.

    Attributes:
        table: What is known of them.
        deadlines: Whose worker is ended by force when.
    """

    def __init__(
        self,
        tasks: TaskTable,
        refs: RefTable,
        placement: Placement,
        settlement: Settlement,
        calling: Calling,
    ) -> None:
        """Create with the tasks of these tables."""
        self.table = ActorTable()
        self.deadlines: Deadlines[ActorId] = Deadlines()
        self.calling = calling
        self._tasks = tasks
        self._refs = refs
        self._placement = placement
        self._settlement = settlement

    def worker_of(self, actor: ActorId) -> PeerId | None:
        """Return where an actor is or is being created."""
        worker = self.table.actors[actor].worker
        return worker.peer if worker is not None else None

    # -- local events ------------------------------------------------------------------------------
    def begin(self, event: CreateActor) -> None:
        """Know an actor whose creation task is about to be submitted."""
        spec = event.spec
        assert spec.creates_actor, "an actor is named after its creation task"
        assert spec.returns_count == 1, "the only result is the handle object"
        spec.retries_max = event.settings.max_restarts
        self.table.add(spec.actor, event.settings)
        self._refs.watched[handle_object(spec.actor)] = None

    def welcome(self, actor: ActorId, now_ns: int, out: list[Effect]) -> None:
        """This process calls an actor for the first time: tell what holds."""
        record = self.table.actors.get(actor)
        if record is None:
            verdict: Verdict | None = Verdict(0, True, NO_HANDLE)
        else:
            verdict = record.verdict
        if verdict is not None:
            self.calling.judged(actor, verdict, now_ns, out)
        elif record is not None and record.standing.state is Standing.ALIVE:
            self.calling.found(self._at(actor, record), now_ns, out)

    def kill(self, actor: ActorId, no_restart: bool, now_ns: int, out: list[Effect]) -> None:
        """End a life of an actor at once."""
        record = self.table.actors.get(actor)
        if record is None or record.standing.state is Standing.DEAD:
            reached("kill of a dead actor ignored")
            return
        if no_restart:
            self._die(actor, Verdict(record.life, True, KILLED, record.pid), now_ns, out)
            self.end_lease(actor, out)
        elif record.worker is not None and record.lease is not None:
            self._return(record, out)  # its worker's death is a crash like any other

    def on_handles_gone(self, gone: list[ObjectId], now_ns: int, out: list[Effect]) -> None:
        """The records of these handle objects are gone: nobody can call their actors any more."""
        for name in gone:
            actor = ActorId(task_of(name))
            self.calling.on_handle_gone(actor, now_ns, out)
            record = self.table.actors.get(actor)
            if record is None:
                continue
            record.has_handle = False
            if record.standing.state is Standing.ALIVE:
                assert record.worker is not None, record.standing.story()
                self._die(actor, Verdict(record.life, True, NO_HANDLE, record.pid), now_ns, out)
                out.append(Send(record.worker.peer, EndActor(actor)))
                self.deadlines.set(actor, now_ns + ACTOR_END_NS)
            elif record.standing.state is not Standing.DEAD:
                reached("actor dropped before it was created")
                self._die(actor, Verdict(record.life, True, NO_HANDLE, record.pid), now_ns, out)
                self.end_lease(actor, out)
            else:
                self.table.forget_if_over(actor)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """End the workers that had time to end in peace."""
        for actor in self.deadlines.pop_due(now_ns):
            reached("actor too slow to end in peace")
            self.end_lease(actor, out)

    def leave_node(self, now_ns: int) -> None:
        """The node is gone, and with it every worker."""
        self.deadlines.clear_all()
        for actor, record in list(self.table.actors.items()):
            self.table.end_lease(actor)
            if record.standing.state is not Standing.DEAD:
                created = self._is_created(actor)
                record.verdict = Verdict(record.life, True, "its node died", record.pid)
                record.standing.move(Standing.DEAD, now_ns, "the node died")
                if created:
                    self._settlement.close(TaskId(actor), now_ns, "the node died")
            self.table.forget_if_over(actor)
        self.calling.clear()

    # -- messages ----------------------------------------------------------------------------------
    def on_granted(self, message: LeaseGranted, now_ns: int, out: list[Effect]) -> bool:
        """A lease was granted; return False if it is none of an actor."""
        if message.lease not in self.table.by_lease:
            return False
        actor = self.table.granted(message.lease, message.worker, message.pid)
        if actor is not None:
            record, task = self.table.actors[actor], TaskId(actor)
            entry = self._tasks.entries[task]
            worker = message.worker.peer
            record.life = entry.attempt
            holds = bool(entry.spec.shape)
            out.append(Send(worker, HostActor(actor, record.life, record.settings, holds)))
            assignment = Assignment(message.lease, worker, 0, [task], 0)
            self._placement.pushing.push(assignment, now_ns, out)
        return True

    def on_refused(self, message: LeaseRefused, now_ns: int, out: list[Effect]) -> bool:
        """A lease will not be granted; return False if it is none of an actor."""
        actor = self.table.by_lease.get(message.lease)
        if actor is None:
            return False
        self.table.end_lease(actor)
        life = self.table.actors[actor].life
        self._die(actor, Verdict(life, True, message.reason, init_failed=True), now_ns, out)
        self.table.forget_if_over(actor)
        return True

    def on_created(
        self, entry: TaskEntry, outcome: int, values: list[Value], now_ns: int, out: list[Effect]
    ) -> list[Result]:
        """``__init__`` ended; return the handle object's value, if it has none yet.

        Raises:
            RemoteProtocolError: It ended before.
        """
        actor = entry.spec.actor
        record = self.table.actors[actor]
        if record.standing.state not in (Standing.CREATING, Standing.RESTARTING):
            raise RemoteProtocolError("an actor created twice")
        if outcome != OUTCOME_VALUE:
            verdict = Verdict(
                record.life,
                True,
                "its __init__ raised",
                record.pid,
                init_failed=True,
                error=values[0],
            )
            self._die(actor, verdict, now_ns, out)
            self.end_lease(actor, out)
            return []
        record.standing.move(Standing.ALIVE, now_ns, "created")
        if entry.retries_left == 0:
            self._settlement.unpin_arguments(entry)
        at = self._at(actor, record)
        out.extend(Send(watcher, at) for watcher in record.watchers)
        handle = self._refs.records[handle_object(actor)]
        results: list[Result] = [] if handle.value is not None else [(handle_object(actor), NONE)]
        self.calling.found(at, now_ns, out)
        return results

    def on_watch(self, sender: PeerId, message: WatchActor, now_ns: int, out: list[Effect]) -> None:
        """Another process calls an actor for the first time: tell what holds."""
        actor = message.actor
        record = self.table.watch(actor, sender)
        if record is None:
            if not self.table.awaits(actor, sender):
                out.append(Send(sender, Verdict(0, True, NO_HANDLE).message(actor)))
        elif record.verdict is not None:
            out.append(Send(sender, record.verdict.message(actor)))
        elif record.standing.state is Standing.ALIVE:
            out.append(Send(sender, self._at(actor, record)))

    def on_unwatch(
        self, sender: PeerId, message: UnwatchActor, now_ns: int, out: list[Effect]
    ) -> None:
        """Another process calls an actor no more."""
        self.table.unwatch(message.actor, sender)

    def on_kill(self, sender: PeerId, message: KillActor, now_ns: int, out: list[Effect]) -> None:
        """Another process wants a life of an actor to end."""
        self.kill(message.actor, message.no_restart, now_ns, out)

    def on_exits(self, sender: PeerId, message: ActorExits, now_ns: int, out: list[Effect]) -> None:
        """An actor ends itself.

        Raises:
            RemoteProtocolError: It does not live there.
        """
        record = self.table.actors.get(message.actor)
        if record is None or record.standing.state is Standing.DEAD:
            reached("exit of a dead actor ignored")
            return
        if record.worker is None or record.worker.peer != sender:
            raise RemoteProtocolError("an exit by a worker that the actor does not live at")
        verdict = Verdict(record.life, True, EXITED, record.pid)
        self._die(message.actor, verdict, now_ns, out)
        self.deadlines.set(message.actor, now_ns + ACTOR_END_NS)

    def on_down(
        self,
        peer: PeerId,
        end: End,
        unsent: list[PushToken],
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """A process is dead and its line quiet: restart the actor that lived there, or bury it."""
        self.table.forget_watcher(peer)
        for actor in self.table.on_worker(peer):
            record = self.table.actors[actor]
            lease = record.lease
            self.end_lease(actor, out)
            if record.standing.state is Standing.DEAD:
                continue
            if record.standing.state is Standing.ALIVE:
                begun = True
            elif isinstance(end, str) or end.started < 0:  # nobody knows
                begun = not any(token[0] == lease for token in unsent)
            else:
                begun = end.lease == lease and end.started > 0
            if not begun and self._tasks.on_lost(TaskId(actor), now_ns):
                reached("worker died before it began to create its actor")
                self.ask(actor, out)
                continue
            self._crashed(actor, record, end, now_ns, out)
        self.calling.on_down(peer, unsent, now_ns, out)

    def check(self) -> None:
        """Assert the invariants of the actors and of the tasks that create them."""
        self.table.check()
        for actor, record in self.table.actors.items():
            entry = self._tasks.entries.get(TaskId(actor))
            is_dead = record.standing.state is Standing.DEAD
            assert (entry is None) is is_dead, record.standing.story()
            handle = handle_object(actor)
            is_held = handle in self._refs.records or handle in self._refs.gone
            assert is_held or not record.has_handle, record.standing.story()
            if entry is not None:
                pushed = entry.doing.state is Doing.PUSHED
                assert pushed == (record.worker is not None), record.standing.story()

    # -- inside ------------------------------------------------------------------------------------
    def _at(self, actor: ActorId, record: Actor) -> ActorAt:
        assert record.worker is not None, record.standing.story()
        return ActorAt(actor, record.life, record.worker, record.in_order)

    def ask(self, actor: ActorId, out: list[Effect]) -> None:
        """Ask for a worker: the creation task misses nothing."""
        spec = self._tasks.entries[TaskId(actor)].spec
        lease, node = self.table.ask(actor), self._placement.node
        assert node is not None, f"actor {short(actor)} is created without a node"
        shape, strategy = shape_of(spec.shape), strategy_of(spec.shape)
        job, retriable = self._placement.job, spec.retries_max != 0
        asked = RequestLease(lease, job, shape, spec.name, strategy, (), retriable)
        out.append(Send(node, asked))
        if shape:
            # The node asks nobody to return what serves the same owner and shape: it knows of
            # tasks only, which wait for these very leases.
            self._placement.leases.on_wanted(node, out)

    def _crashed(
        self, actor: ActorId, record: Actor, end: End, now_ns: int, out: list[Effect]
    ) -> None:
        """A life of an actor is over that had begun."""
        pid, task = record.pid, TaskId(actor)
        verdict = verdict_of_death(record.life, pid, end)
        if self._settlement.retry(task, "its worker died", now_ns):
            reached("actor restarted")
            if record.standing.state is not Standing.RESTARTING:
                record.standing.move(Standing.RESTARTING, now_ns, "its worker died")
            record.life = self._tasks.entries[task].attempt
            self._tell(actor, record, verdict, now_ns, out)
        else:
            verdict.is_dead = True
            self._die(actor, verdict, now_ns, out)
            self.table.forget_if_over(actor)

    def _die(self, actor: ActorId, verdict: Verdict, now_ns: int, out: list[Effect]) -> None:
        """End an actor for good; its lease is not touched."""
        record, task = self.table.actors[actor], TaskId(actor)
        self._note_death(actor, record, verdict, now_ns, out)
        if self._is_created(actor):
            self._settlement.close(task, now_ns, verdict.reason)
        else:
            fault = verdict.fault(actor, self._tasks.entries[task].spec.name, may_have_run=True)
            self._settlement.fail(task, fault, now_ns, verdict.reason, out)
        self._tell(actor, record, verdict, now_ns, out)

    def on_failed(self, entry: TaskEntry, fault: Fault, now_ns: int, out: list[Effect]) -> None:
        """A creation task failed before it left for a worker: an argument is an error."""
        actor = entry.spec.actor
        record = self.table.actors.get(actor)
        if record is None or record.verdict is not None:
            return
        verdict = Verdict(
            record.life, True, "an argument is an error", init_failed=True, error=fault.cause
        )
        self._note_death(actor, record, verdict, now_ns, out)
        self._tell(actor, record, verdict, now_ns, out)

    def _note_death(
        self, actor: ActorId, record: Actor, verdict: Verdict, now_ns: int, out: list[Effect]
    ) -> None:
        record.verdict = verdict
        record.standing.move(Standing.DEAD, now_ns, verdict.reason)
        settings, node = record.settings, self._placement.node
        if settings.name and node is not None:
            out.append(Send(node, FreeName(settings.namespace, settings.name, actor)))

    def _tell(
        self, actor: ActorId, record: Actor, verdict: Verdict, now_ns: int, out: list[Effect]
    ) -> None:
        if record.watchers:
            message = verdict.message(actor)
            out.extend(Send(watcher, message) for watcher in record.watchers)
        self.calling.judged(actor, verdict, now_ns, out)

    def _is_created(self, actor: ActorId) -> bool:
        """Return whether the handle object has its value, or is gone."""
        handle = self._refs.records.get(handle_object(actor))
        return handle is None or handle.value is not None

    def end_lease(self, actor: ActorId, out: list[Effect]) -> None:
        """Have the worker of an actor end, or a request for one forgotten."""
        self.deadlines.clear(actor)
        self._return(self.table.actors[actor], out)
        self.table.end_lease(actor)
        self.table.forget_if_over(actor)

    def _return(self, record: Actor, out: list[Effect]) -> None:
        node = self._placement.node
        if record.lease is not None and node is not None:
            out.append(Send(node, ReturnLease(record.lease, False)))
