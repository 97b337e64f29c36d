"""Calls of actors on their way: queue, push to the actor's worker, and what its death does to them.

Rules of this file: it joins the calls with the tasks that they are, and with what is known of where
actors are. Why an actor lives or dies is not decided here.

Theory of operation. A call is a task whose worker is given: nothing is asked of the node but word
of that worker's end. Whoever calls an actor of another process asks its creator where it is, and
watches that process too. What calls have in flight when a life ends is sent again as far as their
budgets go, or if it certainly never left; the rest fails with the creator's verdict.
"""

from enum import Enum
from typing import TypeAlias

from zgen.core.actor_calls import ActorCalls, Reach, Target
from zgen.core.actor_verdict import Verdict, verdict_of
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, PushToken, Send
from zgen.core.lease_client import Assignment
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.settlement import Settlement, cancelled, log_lost
from zgen.core.stream_in import StreamsIn
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import Doing, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ActorId, LeaseId, ObjectId, PeerId, TaskId, handle_object
from zgen.limits import ACTOR_UNUSED_NS, BATCH_COUNT_MAX, LINE_TICK_NS
from zgen.wire.actor import ActorAt, ActorLost, UnwatchActor, WatchActor
from zgen.wire.object import WatchProcess
from zgen.wire.session import Address


class Due(Enum):
    """What is due for an actor that is called."""

    PUSH = "calls waited for company"
    UNUSED = "nobody may call it any more"

    __hash__ = object.__hash__  # the one of enumerations is Python


When: TypeAlias = tuple[ActorId, Due]


class Calling:
    """The actors that one process calls.

    Attributes:
        calls: What is known of them.
        deadlines: What is due when.
    """

    def __init__(
        self,
        me: PeerId,
        tasks: TaskTable,
        refs: RefTable,
        streams: StreamsIn,
        placement: Placement,
        settlement: Settlement,
    ) -> None:
        """Call with the tasks of these tables."""
        self.calls = ActorCalls()
        self.deadlines: Deadlines[When] = Deadlines()
        self._me = me
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._placement = placement
        self._settlement = settlement

    # -- calls -------------------------------------------------------------------------------------
    def begin(
        self, spec: TaskSpec, creator: Address, now_ns: int, out: list[Effect]
    ) -> tuple[Target, bool]:
        """Queue a call that is about to be submitted; return its actor, and whether it is new."""
        actor = spec.actor
        target, is_new = self.calls.target(actor, creator)
        self.calls.add(target, spec.task)
        if target.pending == 1 and handle_object(actor) in self._refs.records:
            self._refs.pin(handle_object(actor))
            target.is_pinned = True
        if is_new:
            if creator.peer != self._me:
                out.append(Send(creator.peer, WatchActor(actor)))
                self._watch(creator, out)
            self._keep_while_held(actor, now_ns)
        return target, is_new

    def again(self, spec: TaskSpec) -> bool:
        """A call that has ended is about to be submitted again; return False if it cannot be.

        It leaves before the others, once its arguments are there: they may be made by calls too.
        """
        target = self.calls.targets.get(spec.actor)
        if target is None or target.reach is Reach.DEAD:
            return False
        reached("call made again for what was lost")
        target.pending += 1
        if target.pending == 1 and handle_object(spec.actor) in self._refs.records:
            self._refs.pin(handle_object(spec.actor))
            target.is_pinned = True
        return True

    def refuse(self, actor: ActorId, target: Target, now_ns: int, out: list[Effect]) -> None:
        """A call of a dead actor was submitted: it fails."""
        self._fail_queue(actor, target, now_ns, out)

    def on_ready(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> None:
        """A call misses nothing: it leaves as soon as it may."""
        actor = spec.actor
        target = self.calls.targets[actor]
        self.calls.is_ready(target, spec.task)
        if target.reach is Reach.DEAD:
            self._fail_queue(actor, target, now_ns, out)
        elif target.is_busy(now_ns):
            self.deadlines.set_if_unset((actor, Due.PUSH), now_ns + LINE_TICK_NS)
        else:
            self.pump(actor, now_ns, out)

    def failed(self, actor: ActorId, now_ns: int, out: list[Effect]) -> None:
        """A call ended before it left: what it held back may leave now."""
        if self.calls.targets[actor].queue:
            self.pump(actor, now_ns, out)

    def pump(self, actor: ActorId, now_ns: int, out: list[Effect]) -> None:
        """Let the calls leave that may."""
        target = self.calls.targets[actor]
        while True:
            first, calls = self.calls.take(actor, now_ns)
            if not calls:
                return
            assert target.worker is not None, target
            assignment = Assignment(LeaseId(actor), target.worker, first, calls, 0)
            self._placement.pushing.push(assignment, now_ns, out)
            if len(calls) < BATCH_COUNT_MAX:
                return

    def landed(self, actor: ActorId, task: TaskId, now_ns: int, out: list[Effect]) -> None:
        """A call in flight ended at its worker, maybe the last one of a life that is over."""
        target = self.calls.targets[actor]
        target.in_flight.pop(task, None)
        if target.reach is Reach.LOST and target.is_decidable:
            reached("last call in flight ended after its actor")
            self._decide(actor, now_ns, out)

    def forget(self, actor: ActorId, task: TaskId) -> None:
        """A call ended."""
        target = self.calls.forget(actor, task)
        if not target.pending and target.is_pinned:
            target.is_pinned = False
            self._refs.unpin(handle_object(actor))

    def pending_count(self, actor: ActorId) -> int:
        """Return how many calls of an actor have not ended."""
        target = self.calls.targets.get(actor)
        return target.pending if target is not None else 0

    def worker_of(self, actor: ActorId) -> PeerId | None:
        """Return where the calls in flight of an actor are."""
        return self.calls.targets[actor].worker

    # -- news --------------------------------------------------------------------------------------
    def on_at(self, sender: PeerId, message: ActorAt, now_ns: int, out: list[Effect]) -> None:
        """A creator says where its actor is.

        Raises:
            RemoteProtocolError: It is not that actor's creator.
        """
        if self._is_of(message.actor, sender):
            self._watch(message.worker, out)
            self.found(message, now_ns, out)

    def found(self, message: ActorAt, now_ns: int, out: list[Effect]) -> None:
        """An actor is there."""
        if self.calls.found(message):
            self.pump(message.actor, now_ns, out)

    def on_lost(self, sender: PeerId, message: ActorLost, now_ns: int, out: list[Effect]) -> None:
        """A creator says that a life of its actor is over.

        Raises:
            RemoteProtocolError: It is not that actor's creator, or it names buffers that lack.
        """
        if self._is_of(message.actor, sender):
            self.judged(message.actor, verdict_of(message), now_ns, out)

    def judged(self, actor: ActorId, verdict: Verdict, now_ns: int, out: list[Effect]) -> None:
        """A life of an actor is over."""
        if self.calls.judged(actor, verdict):
            self._decide(actor, now_ns, out)

    def on_down(
        self, peer: PeerId, unsent: list[PushToken], now_ns: int, out: list[Effect]
    ) -> None:
        """A process is dead and its line quiet; ``unsent`` certainly never left for it."""
        for actor in self.calls.on_down(peer):
            target = self.calls.targets[actor]
            mine = [push for lease, push in unsent if lease == LeaseId(actor)]
            target.unsent = min(mine, default=target.pushes)
            if target.is_decidable:
                self._decide(actor, now_ns, out)
        for actor in self.calls.created_by(peer):
            reached("creator of a called actor died")
            life = self.calls.targets[actor].life
            self.judged(actor, Verdict(life, True, "its creator died"), now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Let calls leave that waited for company; forget actors that nobody can call."""
        for actor, due in self.deadlines.pop_due(now_ns):
            target = self.calls.targets.get(actor)
            if target is None:
                continue
            if due is Due.PUSH:
                self.pump(actor, now_ns, out)
            elif target.pending or handle_object(actor) in self._refs.records:
                self._keep_while_held(actor, now_ns)
            else:
                self.drop(actor, out)

    def on_handle_gone(self, actor: ActorId, now_ns: int, out: list[Effect]) -> None:
        """The last counted handle is gone; calls by one that does not count may be pending."""
        if self.pending_count(actor):
            reached("counted handle gone while calls by name are pending")
            self._keep_while_held(actor, now_ns)
        else:
            self.drop(actor, out)

    def drop(self, actor: ActorId, out: list[Effect]) -> None:
        """Nobody in this process can call an actor any more."""
        target = self.calls.drop(actor)
        self.deadlines.clear((actor, Due.PUSH))
        self.deadlines.clear((actor, Due.UNUSED))
        if target is not None and target.creator.peer != self._me:
            out.append(Send(target.creator.peer, UnwatchActor(actor)))

    def clear(self) -> None:
        """The node is gone: nothing leaves any more."""
        self.deadlines.clear_all()
        for target in self.calls.targets.values():
            target.reach = Reach.UNKNOWN
            target.verdict = target.next = None

    def needs(self) -> list[ObjectId]:
        """Return the handle objects that pending calls keep."""
        targets = self.calls.targets.items()
        return [handle_object(actor) for actor, target in targets if target.is_pinned]

    def check(self) -> None:
        """Assert the invariants of calls and of the tasks that they are."""
        self.calls.check()
        for actor, target in self.calls.targets.items():
            for call in target.queue:
                state = self._tasks.entries[call].doing.state
                expected = Doing.WAITING_LEASE if call in target.ready else Doing.WAITING_ARGS
                assert state is expected, self._tasks.entries[call].doing.story()
            for call in target.again:
                state = self._tasks.entries[call].doing.state
                assert state is Doing.WAITING_LEASE, self._tasks.entries[call].doing.story()
            for call in target.in_flight:
                state = self._tasks.entries[call].doing.state
                assert state is Doing.PUSHED, self._tasks.entries[call].doing.story()
            handle = self._refs.records.get(handle_object(actor))
            assert not target.is_pinned or (handle is not None and handle.pins > 0), target

    # -- inside ------------------------------------------------------------------------------------
    def _is_of(self, actor: ActorId, sender: PeerId) -> bool:
        target = self.calls.targets.get(actor)
        if target is not None and target.creator.peer != sender:
            raise RemoteProtocolError("word of an actor by a stranger")
        return target is not None

    def _watch(self, process: Address, out: list[Effect]) -> None:
        node = self._placement.node
        if node is not None:
            out.append(Send(node, WatchProcess(process.peer, process.incarnation, process.node)))

    def _keep_while_held(self, actor: ActorId, now_ns: int) -> None:
        """Know an actor until its counted handles are gone, or look again if it has none."""
        handle = handle_object(actor)
        if handle in self._refs.records:
            self._refs.watched[handle] = None
        else:
            self.deadlines.set((actor, Due.UNUSED), now_ns + ACTOR_UNUSED_NS)

    def _decide(self, actor: ActorId, now_ns: int, out: list[Effect]) -> None:
        """Send the calls in flight again that may, and fail the others."""
        target = self.calls.targets[actor]
        verdict, flown = self.calls.decide(actor)
        again: list[TaskId] = []
        failed: list[tuple[TaskId, bool]] = []
        for call, may_have_run in flown:
            entry = self._tasks.entries[call]
            if verdict.is_dead or entry.cancel is not None:
                failed.append((call, may_have_run))
            elif not may_have_run:
                self._tasks.on_not_started(call, entry.attempt, now_ns)
                again.append(call)
            elif self._tasks.retry_at_once(call, now_ns, "its actor died"):
                reached("call sent again to the next life of its actor")
                self._streams.begin_attempt(call, entry.attempt)
                self._settlement.refill(entry)
                again.append(call)
            else:
                failed.append((call, True))
        self.calls.put_back(actor, again)
        for call, may_have_run in failed:
            self._fail(actor, call, may_have_run, now_ns, out)
        if verdict.is_dead:
            self._fail_queue(actor, target, now_ns, out)
        following, target.next = target.next, None
        if following is not None and not verdict.is_dead:
            self.found(following, now_ns, out)

    def _fail_queue(self, actor: ActorId, target: Target, now_ns: int, out: list[Effect]) -> None:
        for call in [*target.again, *target.queue]:
            if call in target.queue or call in target.again:
                self._fail(actor, call, False, now_ns, out)

    def _fail(
        self, actor: ActorId, call: TaskId, may_have_run: bool, now_ns: int, out: list[Effect]
    ) -> None:
        entry = self._tasks.entries[call]
        verdict = self.calls.targets[actor].verdict
        assert verdict is not None, entry.doing.story()
        has_run = may_have_run or entry.started > 0
        if entry.cancel is not None:
            reached("actor died under a cancelled call")
            fault = cancelled(entry.spec, may_have_run=has_run)
        elif entry.log is not None and entry.log.is_missed and not verdict.is_dead:
            fault = log_lost(entry.spec, verdict.reason)
        else:
            fault = verdict.fault(actor, entry.spec.name, may_have_run=has_run)
        self._settlement.fail(call, fault, now_ns, "its actor died", out)
