"""Worker side: routes pushes, yields and ends between admission and reports.

Theory of operation. Pushed tasks queue in ``admission``; the body of the first runs outside, and
what it
yields comes back as events. Where item bytes pile up unacknowledged, or the window of a stream is
full,
the body is held before its next item; nothing is dropped. A task that blocks gives its resources
back to
the node for as long.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.admission import Admission, Waiting
from zgen.core.borrowing import Borrowing
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, LearnFunction, Send, StartTask
from zgen.core.events import BodyBlocked, TaskEnded
from zgen.core.holds import Holds, Reason
from zgen.core.marks import reached
from zgen.core.store_client import StoreClient
from zgen.core.stream_out import StreamsOut
from zgen.ids import LeaseId, ObjectId, PeerId, TaskId
from zgen.limits import ITEM_BYTES_UNACKED_MAX, TASK_LONG_NS
from zgen.wire.lease import WorkerBlocked
from zgen.wire.stream import CloseStream, Consumed
from zgen.wire.task import STREAMING, DefineFunction, Outcome, PushTasks, TasksReturned
from zgen.wire.value import NestedRef, Parcel, Stored, Value, refs_in, unpack

LONG: Final = "the running task has become a long one"


class Executor:
    """What one worker runs for others.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
    """

    def __init__(self, store: StoreClient, borrowing: Borrowing) -> None:
        """Start idle; values may lie in ``store`` and refer to what is in ``borrowing``."""
        self._store = store
        self._borrowing = borrowing
        self.admission = Admission()
        self.reports = StreamsOut(store.dropped)
        #: What the functions close over that were sent here. It is borrowed for as long as they
        #: are known: as this process lives.
        self._closed_over: list[NestedRef] = []
        self.deadlines: Deadlines[str] = Deadlines()
        self.holds = Holds()
        self.node: PeerId | None = None
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            PushTasks: self._on_push_tasks,
            DefineFunction: self._on_define_function,
            CloseStream: self._on_close_stream,
            Consumed: self._on_consumed,
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

    def on_acked(self, stream: TaskId, unacked_bytes: int, out: list[Effect]) -> None:
        """The owner of a body that is held for its bytes may have acknowledged something."""
        if unacked_bytes < ITEM_BYTES_UNACKED_MAX:
            self.holds.release(stream, Reason.BYTES, out)

    def on_task_ended(self, event: TaskEnded, now_ns: int, out: list[Effect]) -> None:
        """Report how the body ended and start the next one."""
        for value in event.values:
            if type(value) is not bytes:
                self._borrowing.hold(value)
                if type(value) is Stored:
                    self._store.stock.reported(value.region, out)
        ended = self.admission.end(event.task, event.attempt)
        assert ended is not None, "the end of a task that does not run"
        self._let_go(ended)
        self.deadlines.clear(LONG)
        self.holds.forget(event.task)
        run_ns = now_ns - self.admission.started_ns
        if ended.task.returns_count == STREAMING:
            self.reports.end(event.task, event.outcome, run_ns, event.values, now_ns, out)
        else:
            outcome = Outcome(event.task, event.attempt, event.outcome, run_ns, ())
            self.reports.add_outcome(ended.owner, outcome, event.values, now_ns, out)
        self._start_next(now_ns, out)

    def on_body_blocked(self, event: BodyBlocked, now_ns: int, out: list[Effect]) -> None:
        """The running body waits for others, or goes on."""
        running = self.admission.running
        if running is None or self.node is None or self.admission.blocked == event.blocked:
            return
        self.admission.blocked = event.blocked
        out.append(Send(self.node, WorkerBlocked(running.lease, event.blocked)))
        self._hand_back(out)

    def on_owner_down(self, owner: PeerId, out: list[Effect]) -> None:
        """An owner is dead: nothing of its is started or reported any more."""
        self._unborrow(self.admission.drop_owner(owner))
        self.reports.drop_owner(owner)
        self.holds.free_of(owner, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Flush what waited long enough; hand back what waits behind a long task."""
        self.reports.on_timer(now_ns, out)
        for _ in self.deadlines.pop_due(now_ns):
            self.admission.long = self.admission.running is not None
            self._hand_back(out)

    def owner_of_running(self) -> PeerId | None:
        """Return who pushed the running task."""
        return self.admission.running.owner if self.admission.running is not None else None

    def check(self) -> None:
        """Assert the invariants of the tables and between them."""
        self.admission.check()
        self.reports.check()
        self.holds.check()
        for stream, record in self.reports.streams.items():
            is_parked = self.holds.is_held(stream, Reason.WINDOW)
            assert is_parked == (record.count >= record.limit), f"parked: {is_parked}, {record}"
        for stream in self.holds.bodies:
            assert stream in self.reports.streams, "a body is held that yields no stream"
        if self.admission.queue and self.admission.running is not None:
            assert LONG in self.deadlines, "tasks wait and nobody looks how long"

    def needs(self) -> list[ObjectId]:
        """Return what values in this table refer to, an object for each value that does."""
        values: list[Value] = []
        running = self.admission.running
        for waiting in (*self.admission.queue, *([running] if running is not None else ())):
            values.extend((waiting.arguments, *waiting.slots))
        for record in self.reports.streams.values():
            values.extend(record.waiting)
        for line in self.reports.lines.values():
            for _, results in line.outcomes:
                values.extend(results)
        return [ref.object for ref in (*refs_in(values), *self._closed_over)]

    def _on_push_tasks(
        self, sender: PeerId, message: PushTasks, now_ns: int, out: list[Effect]
    ) -> None:
        at = 0
        pushed: list[Waiting] = []
        for push, task in enumerate(message.tasks, message.first_push):
            (arguments, *slots), at = unpack((task.arguments, *task.slots), message.buffers, at)
            if slots or type(arguments) is not bytes:
                self._borrowing.take_in(sender, (arguments, *slots), out)
            pushed.append(Waiting(sender, message.lease, push, task, arguments, tuple(slots)))
        if self.admission.is_stale(message.lease, message.returns_seen):
            reached("push from before a hand-back handed back")
            for waiting in pushed:
                self._let_go(waiting)
            back = [(task.task, task.attempt) for task in message.tasks]
            self._return(sender, message.lease, back, out)
            return
        for waiting in pushed:
            if waiting.slots:
                self._borrow(waiting)
        self.admission.push(pushed)
        self._start_next(now_ns, out)
        self._hand_back(out)
        if self.admission.queue:
            self.deadlines.set_if_unset(LONG, self.admission.started_ns + TASK_LONG_NS)

    def _on_define_function(
        self, sender: PeerId, message: DefineFunction, now_ns: int, out: list[Effect]
    ) -> None:
        if message.refs:
            self._closed_over.extend(message.refs)
            self._borrowing.take_in(sender, (Parcel(b"", (), False, message.refs),), out)
        out.append(LearnFunction(message.function, message.payload))

    def _on_close_stream(
        self, sender: PeerId, message: CloseStream, now_ns: int, out: list[Effect]
    ) -> None:
        record = self.reports.streams.get(message.stream)
        if record is None:
            self.admission.close(sender, message.stream, message.attempt)
        elif record.owner == sender:
            self.reports.close(message.stream, message.attempt)
            if record.closed:
                self.holds.release(message.stream, Reason.WINDOW, out)

    def _on_consumed(
        self, sender: PeerId, message: Consumed, now_ns: int, out: list[Effect]
    ) -> None:
        stream = message.stream
        record = self.reports.streams.get(stream)
        if record is None:
            self.admission.grant(sender, stream, message.attempt, message.upto)
        elif record.owner == sender and self.reports.grant(stream, message.attempt, message.upto):
            self.holds.release(stream, Reason.WINDOW, out)

    def _start_next(self, now_ns: int, out: list[Effect]) -> None:
        started = self.admission.start_next(now_ns)
        if started is None:
            return
        task = started.task
        if task.returns_count == STREAMING:
            consumed = max(task.consumed, started.consumed)
            self.reports.open(task.task, task.attempt, started.owner, task.window, consumed)
            if started.closed:
                self.reports.close(task.task, task.attempt)
        slots = started.slots
        if slots:
            begin = self._store.regions.begin
            slots = tuple([begin(slot) if type(slot) is Stored else slot for slot in slots])
        out.append(
            StartTask(
                task,
                started.owner,
                started.arguments,
                slots,
                started.lease,
                started.push,
            )
        )
        if self.admission.queue:
            self.deadlines.set(LONG, now_ns + TASK_LONG_NS)

    def _return(
        self, owner: PeerId, lease: LeaseId, tasks: list[tuple[TaskId, int]], out: list[Effect]
    ) -> None:
        self.admission.note_return(lease)
        out.append(Send(owner, TasksReturned(lease, tuple(tasks))))

    def on_held(self, regions: tuple[int, ...], now_ns: int, out: list[Effect]) -> None:
        """Regions that pushed tasks wait for are held, or known to be lost."""
        self.admission.on_held(regions)
        self._start_next(now_ns, out)

    def _borrow(self, waiting: Waiting) -> None:
        for slot in waiting.slots:
            if type(slot) is Stored and not self._store.regions.borrow(slot):
                waiting.missing[slot.region] = None

    def _unborrow(self, dropped: list[Waiting]) -> None:
        for waiting in dropped:
            self._let_go(waiting)
            for slot in waiting.slots:
                if type(slot) is Stored:
                    self._store.regions.unborrow(slot)

    def _let_go(self, waiting: Waiting) -> None:
        """Let go of what the arguments of a task refer to; their regions go with their views."""
        if waiting.slots or type(waiting.arguments) is not bytes:
            refs = refs_in((waiting.arguments, *waiting.slots))
            if refs:
                self._store.dropped.append(Parcel(b"", (), False, refs))

    def _hand_back(self, out: list[Effect]) -> None:
        back = self.admission.hand_back()
        self._unborrow(back)
        of_lease: dict[tuple[PeerId, LeaseId], list[tuple[TaskId, int]]] = {}
        for waiting in back:
            tasks = of_lease.setdefault((waiting.owner, waiting.lease), [])
            tasks.append((waiting.task.task, waiting.task.attempt))
        for (owner, lease), tasks in of_lease.items():
            reached("queued tasks handed back")
            self._return(owner, lease, tasks, out)
        if not self.admission.queue:
            self.deadlines.clear(LONG)
