"""Worker side: routes pushes, yields and ends between admission and reports.

Theory of operation. Pushed tasks queue in ``admission``; the body of the first runs outside, and
what it yields comes back as events. Where item bytes pile up unacknowledged, or the window of a
stream is full, the body is held before its next item; nothing is dropped. A task that blocks gives
its resources back to the node for as long.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from zgen.core.actor_effects import ActorOver
from zgen.core.actor_events import ExitActor
from zgen.core.admission import Admission, Waiting
from zgen.core.arguments import Arguments
from zgen.core.borrowing import Borrowing
from zgen.core.call_admission import CallAdmission, check_calls
from zgen.core.cancel_words import KillSelf
from zgen.core.deadlines import Deadlines
from zgen.core.dialogue import Listening
from zgen.core.effects import Effect, Send, StartTask
from zgen.core.events import BodyBlocked, TaskEnded
from zgen.core.holds import Holds, Reason
from zgen.core.marks import reached
from zgen.core.parking import Parking
from zgen.core.store_client import StoreClient
from zgen.core.stream_out import StreamsOut
from zgen.core.unwanted import End, Unwanted
from zgen.exceptions import RemoteProtocolError
from zgen.ids import LeaseId, ObjectId, PeerId, TaskId
from zgen.limits import CHILDREN_TOLD_NS, ITEM_BYTES_UNACKED_MAX, TASK_LONG_NS
from zgen.wire.actor import ActorExits, EndActor, HostActor
from zgen.wire.lease import WorkerBlocked
from zgen.wire.stream import CloseStream, Consumed, Inputs
from zgen.wire.task import (
    OUTCOME_VALUE,
    STREAMING,
    DefineFunction,
    PushTasks,
    TasksReturned,
)
from zgen.wire.value import Stored, keeping

LONG: Final = "the running task has become a long one"
DOOMED: Final = "what the running task has submitted has heard that it is cancelled"


class Executor:
    """What one worker runs for others.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
        closed_over: References in what known functions close over.
    """

    def __init__(self, store: StoreClient, borrowing: Borrowing) -> None:
        """Start idle; values may lie in ``store`` and refer to what is in ``borrowing``."""
        self._store = store
        self._borrowing = borrowing
        self.admission = Admission()
        self.reports = StreamsOut(store.dropped)
        self._arguments = Arguments(store, borrowing)
        self.closed_over = self._arguments.closed_over
        self.deadlines: Deadlines[str] = Deadlines()
        self.holds = Holds()
        #: Whether this process is about to be killed for what it runs.
        self.is_doomed = False
        self.parking = Parking(self.reports, self.holds)
        self.unwanted = Unwanted(self.reports, self.parking)
        self.listening = Listening(self.reports, self.holds, borrowing, self._queued)
        #: What the creation task that comes or runs is to make this worker.
        self.hosting: tuple[PeerId, HostActor] | None = None
        #: The calls of the actor that lives here, once it was created.
        self.calls: CallAdmission | None = None
        self.node: PeerId | None = None
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            PushTasks: self._on_push_tasks,
            DefineFunction: lambda s, m, now, out: self._arguments.learn(s, m, out),
            CloseStream: self._on_close_stream,
            Consumed: self._on_consumed,
            Inputs: self.listening.on_inputs,
            HostActor: self._on_host_actor,
            EndActor: self._on_end_actor,
        }

    @property
    def all_deadlines(self) -> tuple[Deadlines[Any], ...]:
        """When ``on_timer`` is wanted."""
        return self.deadlines, self.reports.deadlines

    def on_items_sent(
        self, stream: TaskId, owner: PeerId, unacked_bytes: int, out: list[Effect]
    ) -> None:
        """Items left: hold the body if its owner's line carries too many bytes already."""
        if unacked_bytes >= ITEM_BYTES_UNACKED_MAX:
            self.holds.hold(stream, owner, Reason.BYTES, out)

    def on_acked(self, owner: PeerId, unacked_bytes: int, out: list[Effect]) -> None:
        """The owner of bodies that are held for their bytes may have acknowledged something."""
        if unacked_bytes < ITEM_BYTES_UNACKED_MAX:
            self.holds.release_acked(owner, out)

    def on_task_ended(self, event: TaskEnded, now_ns: int, out: list[Effect]) -> None:
        """Report how the body ended and start the next one."""
        if self.is_doomed:
            out.append(KillSelf())
            return
        for value in event.values:
            if type(value) is not bytes:
                self._borrowing.hold(value)
                if type(value) is Stored:
                    self._store.stock.reported(value.region, out)
        if self.calls is not None:
            self._on_call_ended(self.calls, event, now_ns, out)
            return
        ended = self.admission.end(event.task, event.attempt)
        assert ended is not None, "the end of a task that does not run"
        self._arguments.let_go(ended)
        self.deadlines.clear(LONG)
        if ended.call is not None and event.outcome == OUTCOME_VALUE:
            self._become_actor(ended)
        self._report_end(ended, event, self.admission.started_ns, now_ns, out)
        self._start_next(now_ns, out)

    def _report_end(
        self, ended: Waiting, event: TaskEnded, started_ns: int, now_ns: int, out: list[Effect]
    ) -> None:
        self.holds.forget(event.task)
        if self.listening.kept:
            self.listening.let_go(event.task)
        if ended.cancelled and self.unwanted.drop_if_told(ended, event, out):
            return
        if ended.cancelled:
            event = self.unwanted.as_cancelled(event)
        if ended.task.returns_count == STREAMING:
            run_ns = now_ns - started_ns
            self.reports.end(event.task, event.outcome, run_ns, event.values, now_ns, out)
            if self.reports.metering.parked:
                self.parking.go_on(now_ns, out)
        else:
            queue = self.admission if self.calls is None else self.calls
            how = (event.task, event.attempt, event.outcome, now_ns - started_ns)
            self.reports.add_outcome(ended.owner, how, event.values, queue.patience_ns, now_ns, out)

    def on_body_blocked(self, event: BodyBlocked, now_ns: int, out: list[Effect]) -> None:
        """A running body waits for others, or goes on."""
        if self.calls is not None:
            self.calls.set_blocked(event.task, event.blocked)
            self._tell_blocked(self.calls, out)
            return
        running = self.admission.running
        if running is None or self.node is None or self.admission.blocked == event.blocked:
            return
        self.admission.blocked = event.blocked
        out.append(Send(self.node, WorkerBlocked(running.lease, event.blocked)))
        self._hand_back(out)

    def on_owner_down(self, owner: PeerId, died: bool, now_ns: int, out: list[Effect]) -> None:
        """An owner died or left: nothing of its is started or reported any more."""
        self._arguments.drop(self.admission.drop_owner(owner))
        self.reports.drop_owner(owner)
        if self.calls is not None:
            self._arguments.drop(self.calls.drop_owner(owner))
            self.unwanted.abandon(self.calls, owner, died, now_ns, out)
        elif died:
            self.unwanted.orphan(self.admission, owner, now_ns, out)
        self.parking.free_of(owner, now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Flush what waited long enough; hand back what waits behind a long task."""
        self.reports.on_timer(now_ns, out)
        for what in self.deadlines.pop_due(now_ns):
            if what == DOOMED:
                out.append(KillSelf())
                return
            self.admission.long = self.admission.running is not None
            self._hand_back(out)

    def check(self) -> None:
        """Assert the invariants of the tables and between them."""
        self.admission.check()
        self.reports.check()
        self.holds.check()
        self.parking.check()
        for stream in self.holds.bodies:
            assert stream in self.reports.streams, "a body is held that yields no stream"
        if self.admission.queue and self.admission.running is not None:
            assert LONG in self.deadlines, "tasks wait and nobody looks how long"
        if self.calls is not None:
            self.calls.check()
            assert not self.admission.queue, "a plain task waits in an actor's worker"

    def _queued(self) -> Iterable[Waiting]:
        return self.admission.queue if self.calls is None else self.calls.waiting()

    def needs(self) -> list[ObjectId]:
        """Return what values in this table refer to, an object for each value that does."""
        all_waiting = [*self._queued(), *filter(None, [self.admission.running])]
        if self.calls is not None:
            all_waiting += [each.call for each in self.calls.running.values()]
        return self._arguments.needs(all_waiting, self.reports.values() + self.listening.values())

    def _on_push_tasks(
        self, sender: PeerId, message: PushTasks, now_ns: int, out: list[Effect]
    ) -> None:
        if message.calls or self.calls is not None:
            check_calls(self.calls, self.hosting, sender, message)
        pushed = self._arguments.unpack(sender, message, out)
        if self.admission.is_stale(message.lease, message.returns_seen):
            reached("push from before a hand-back handed back")
            for waiting in pushed:
                self._arguments.let_go(waiting)
            self._return(sender, message.lease, [(t.task, t.attempt) for t in message.tasks], out)
            return
        for waiting in pushed:
            if waiting.slots:
                self._arguments.keep(waiting)
        if self.calls is not None:
            self._arguments.drop(self.calls.push(pushed))
            self._start_calls(self.calls, now_ns, out)
            return
        self.admission.push(pushed)
        self._start_next(now_ns, out)
        self._hand_back(out)
        if self.admission.queue:
            self.deadlines.set_if_unset(LONG, self.admission.started_ns + TASK_LONG_NS)

    def _on_close_stream(
        self, sender: PeerId, message: CloseStream, now_ns: int, out: list[Effect]
    ) -> None:
        record = self.reports.streams.get(message.stream)
        if message.stop:
            self.cancel(sender, message, now_ns, out)
        elif record is None:
            (self.calls or self.admission).close(sender, message.stream, message.attempt)
        elif record.owner == sender:
            self.parking.close(message, now_ns, out)

    def _on_consumed(
        self, sender: PeerId, message: Consumed, now_ns: int, out: list[Effect]
    ) -> None:
        record = self.reports.streams.get(message.stream)
        if record is None:
            taken = (sender, message.stream, message.attempt, message.upto)
            (self.calls or self.admission).grant(*taken)
        elif record.owner == sender:
            self.parking.on_consumed(message, now_ns, out)

    def cancel(self, sender: PeerId, message: End, now_ns: int, out: list[Effect]) -> bool:
        """Interrupt an execution or never begin it; return whether it runs, and on for a while.

        By force it is left alone: see ``die``. Nothing is reported of one that has ended, was
        handed back or is not the sender's. What is closed stops at its ``yield`` instead.
        """
        queue = self.calls or self.admission
        waiting = self.unwanted.withdraw(queue, sender, message, now_ns, out)
        if waiting is None:
            return self.unwanted.interrupt(queue, sender, message, now_ns, out)
        self._arguments.drop([waiting])
        if self.calls is not None:
            self._start_calls(self.calls, now_ns, out)
            self._end_when_idle(self.calls, now_ns, out)
            return False
        self._start_next(now_ns, out)
        if not self.admission.queue:
            self.deadlines.clear(LONG)
        return False

    def die(self, is_told: bool, now_ns: int, out: list[Effect]) -> None:
        """End this process for what it runs: at once, or when its children have certainly heard."""
        self.is_doomed = is_told
        if is_told:
            self.deadlines.set(DOOMED, now_ns + CHILDREN_TOLD_NS)
        else:
            out.append(KillSelf())

    def _start_next(self, now_ns: int, out: list[Effect]) -> None:
        queue = self.admission.queue
        if queue and queue[0].slots and self.admission.running is None:
            self._arguments.give_back_lost(self.admission, out)
        started = self.admission.start_next(now_ns)
        if started is None:
            return
        self._start(started, out)
        if self.admission.queue:
            self.deadlines.set(LONG, now_ns + TASK_LONG_NS)

    def _start(self, started: Waiting, out: list[Effect]) -> None:
        task = started.task
        if task.returns_count == STREAMING:
            consumed = max(task.consumed, started.consumed)
            flow = (task.window, consumed, task.resume, task.window_bytes, task.ahead_bytes)
            self.reports.open(task.task, task.attempt, started.owner, *flow, task.per_yield)
            if task.window < 0:
                self.listening.begin(started, out)
            if started.closed:
                self.reports.close(task.task, task.attempt)
        slots = self._arguments.begin(started.slots) if started.slots else ()
        settings = self.hosting[1].settings if self.hosting is not None else None
        how = (slots, started.lease, started.push, started.call, settings)
        out.append(StartTask(task, started.owner, started.arguments, *how))

    def _return(
        self, owner: PeerId, lease: LeaseId, tasks: list[tuple[TaskId, int]], out: list[Effect]
    ) -> None:
        self.admission.note_return(lease)
        out.append(Send(owner, TasksReturned(lease, tuple(tasks))))

    def on_held(self, regions: tuple[int, ...], now_ns: int, out: list[Effect]) -> None:
        """Regions that pushed tasks wait for are held, or known to be lost."""
        if self.calls is not None:
            self.calls.on_held(regions)
            self._start_calls(self.calls, now_ns, out)
            return
        self.admission.on_held(regions)
        self._start_next(now_ns, out)

    def _hand_back(self, out: list[Effect]) -> None:
        back = self.admission.hand_back()
        self._arguments.drop(back)
        of_lease: dict[tuple[PeerId, LeaseId], list[tuple[TaskId, int]]] = {}
        for waiting in back:
            tasks = of_lease.setdefault((waiting.owner, waiting.lease), [])
            tasks.append((waiting.task.task, waiting.task.attempt))
        for (owner, lease), tasks in of_lease.items():
            reached("queued tasks handed back")
            self._return(owner, lease, tasks, out)
        if not self.admission.queue:
            self.deadlines.clear(LONG)

    # -- actors ------------------------------------------------------------------------------------
    def on_exit_actor(self, event: ExitActor, now_ns: int, out: list[Effect]) -> None:
        """The actor or a task ends this process: what it said leaves, what waits never starts."""
        self.reports.flush_all(now_ns, out)
        if self.calls is not None:
            self._arguments.drop(self.calls.leave())
            creator, actor, life = self.calls.creator, self.calls.actor, self.calls.life
        elif self.hosting is not None:
            creator, actor, life = self.hosting[0], self.hosting[1].actor, self.hosting[1].life
        else:
            return
        out += [] if event.is_crash else [Send(creator, ActorExits(actor, life))]

    def _on_host_actor(
        self, sender: PeerId, message: HostActor, now_ns: int, out: list[Effect]
    ) -> None:
        if self.calls is not None or self.admission.running is not None or self.admission.queue:
            raise RemoteProtocolError("an actor for a worker that does something else")
        self.hosting = (sender, message)

    def _on_end_actor(
        self, sender: PeerId, message: EndActor, now_ns: int, out: list[Effect]
    ) -> None:
        calls = self.calls
        if calls is None or (calls.creator, calls.actor) != (sender, message.actor):
            raise RemoteProtocolError("the end of an actor that does not live here")
        calls.is_ending = True
        self._end_when_idle(calls, now_ns, out)

    def _become_actor(self, created: Waiting) -> None:
        assert self.hosting is not None, "a creation task without its actor"
        creator, host = self.hosting
        self.hosting = None
        self.calls = CallAdmission(host, creator, created.lease)
        self.reports.metering.share(host.settings)

    def _start_calls(self, calls: CallAdmission, now_ns: int, out: list[Effect]) -> None:
        started = calls.start(now_ns)
        for call in started:  # it grows: what goes back makes room for others
            if not call.slots or not self._arguments.give_back_call(call, out):
                self._start(call, out)
            else:
                calls.end(call.task.task, call.task.attempt)
                started += calls.start(now_ns)

    def _on_call_ended(
        self, calls: CallAdmission, event: TaskEnded, now_ns: int, out: list[Effect]
    ) -> None:
        ended = calls.end(event.task, event.attempt)
        assert ended is not None, "the end of a call that does not run"
        self._arguments.let_go(ended.call)
        if calls.is_leaving:
            reached("end of a call of an actor that left")
            self._store.dropped.extend(keeping(event.values))
            return
        self._report_end(ended.call, event, ended.started_ns, now_ns, out)
        self._start_calls(calls, now_ns, out)
        if calls.blocked_count or calls.is_blocked:
            self._tell_blocked(calls, out)
        self._end_when_idle(calls, now_ns, out)

    def _tell_blocked(self, calls: CallAdmission, out: list[Effect]) -> None:
        news = calls.blocked_news()
        if news is not None and self.node is not None:
            out.append(Send(self.node, WorkerBlocked(calls.lease, news)))

    def _end_when_idle(self, calls: CallAdmission, now_ns: int, out: list[Effect]) -> None:
        if calls.is_ending and calls.is_idle:
            self.reports.flush_all(now_ns, out)
            out.append(ActorOver())
