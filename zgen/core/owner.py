"""Caller side: routes events to tables, joins their effects.

Rules of this file: it knows every owner table and no table knows another. What a table returns is
translated here into calls of the others.

Theory of operation. A call becomes a task entry, a record for each result (or a stream), and pins
on its arguments. When nothing is missing it queues for a worker; what comes back settles records,
feeds streams or decides on another attempt. A worker's death is acted on only when its line is
quiet, so that what it reported before comes first.
"""

from collections.abc import Callable
from typing import Any

from zgen.core import owner_audit
from zgen.core.actors import Actors
from zgen.core.borrowing import Borrowing
from zgen.core.cancel_words import CancelRequested
from zgen.core.cancellation import Cancellation
from zgen.core.closing import Closing
from zgen.core.deadlines import Deadlines
from zgen.core.dialogue import Speaking
from zgen.core.effects import (
    Effect,
    ItemsTaken,
    JobReady,
    NodeAnswered,
    NodeLost,
    PrintLines,
    Send,
    StreamAdvanced,
)
from zgen.core.events import Dropped, PutObject, RefCompletion, TakeItems
from zgen.core.gathering import Gathering
from zgen.core.handover import Handover
from zgen.core.lineage_pins import LineagePins
from zgen.core.outcomes import Outcomes
from zgen.core.placement import Placement
from zgen.core.recovery import Recovery
from zgen.core.ref_table import RefTable
from zgen.core.refilling import Refilling
from zgen.core.restarting import Restarting
from zgen.core.settlement import Settlement
from zgen.core.store_client import StoreClient
from zgen.core.stream_in import StreamsIn
from zgen.core.stream_words import SendRequested
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import (
    FIRST_RESULT,
    ITEM_INDEX_FIRST,
    LeaseId,
    ObjectId,
    PeerId,
    StreamId,
    TaskId,
    completion_object,
    index_of,
    item_ids,
    object_id,
    task_of,
)
from zgen.wire.lease import (
    Demand,
    JobRegistered,
    LeaseWaiting,
    LeaseWanted,
    LogLines,
    NodeReport,
    ProcessDown,
)
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems, StreamParked
from zgen.wire.task import (
    DYNAMIC,
    STREAMING,
    CancelBorrowed,
    TasksDone,
    TasksReturned,
)
from zgen.wire.value import (
    Fault,
    FaultKind,
    Parcel,
    Stored,
    Value,
    is_error,
    stored_count,
    unpack_items,
)


class Owner:
    """What one process submitted and owns.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
        wishes: What to do where the user wants no more of something.
    """

    def __init__(self, me: PeerId, store: StoreClient) -> None:
        """Start empty and without a node; values may lie in ``store``."""
        self._regions = store.regions
        self.refs = RefTable(store.dropped)
        self.tasks = TaskTable()
        self.streams = StreamsIn(store.dropped)
        placement = self.placement = Placement(me, self.tasks, self.refs, self.streams)
        self.borrowing = Borrowing(me, self.refs)
        pins = self.pins = LineagePins(self.refs)
        tables = (self.tasks, self.refs, self.streams)
        self.settlement = Settlement(*tables, placement, self.borrowing, pins, store)
        joined = (placement, self.settlement, self.borrowing)
        restarting = self.restarting = Restarting(self.tasks, self.streams, placement, pins)
        self.recovery = Recovery(*tables, *joined, pins, store, restarting)
        self.refilling = Refilling(*tables, self.settlement, pins, store.regions, restarting)
        self._filling, self._kept = pins.filling, pins.lineage.entries
        self.gathering = Gathering(self.refs, self.streams, self._regions, self.borrowing)
        self.actors = Actors(
            me, self.tasks, self.refs, self.streams, self.placement, self.settlement, self.submit
        )
        lent = self.borrowing.lent
        self.cancellation = Cancellation(self.tasks, placement, self.settlement, self.refs, lent)
        closing = self.closing = Closing(self.tasks, self.streams, pins, self.cancellation)
        self.speaking = Speaking(self.tasks, self.streams, self.refs, self.borrowing)
        ends = (*joined, self.cancellation, self.actors.supervision, self.gathering, store)
        parts = (*ends, self.recovery, self.refilling, pins, restarting)
        self.outcomes = Outcomes(self.tasks, self.streams, *parts)
        lends = (placement, self._take_out, self._close)
        handover = Handover(me, (self.refs, self.streams, self.borrowing), lends, closing.request)
        self.handover = handover
        #: Streams of this process that are or were lent, and those of others: empty as a rule.
        self._handed, self._far = handover.lending.handles, handover.far.held
        self.wishes: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            CancelRequested: self.cancellation.request,
            SendRequested: self.speaking.request,
            **self.handover.wishes,
        }
        self.node_lost: Fault | None = None
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ReportItems: self._on_report_items,
            ReportEnd: self.outcomes.on_report_end,
            StreamParked: self._on_stream_parked,
            TasksDone: self.outcomes.on_tasks_done,
            TasksReturned: self.cancellation.on_returned,
            CancelBorrowed: self.cancellation.on_borrowed,
            LeaseWaiting: self.placement.on_waiting,
            LeaseWanted: self.placement.on_wanted,
            JobRegistered: self._on_job_registered,
            LogLines: lambda s, m, now, out: out.append(
                PrintLines(m.pid, m.is_error, m.lines, m.dropped)
            ),
            NodeReport: lambda s, m, now, out: out.append(NodeAnswered(m.query, m.state)),
            **self.recovery.handlers,
            **self.actors.handlers,
            **self.handover.handlers,
        }

    @property
    def deadlines(self) -> tuple[Deadlines[Any], ...]:
        """When ``on_timer`` is wanted."""
        placement, lent = self.placement, self.borrowing.lent.deadlines
        plain = self.settlement.deadlines, placement.deadlines, placement.leases.deadlines
        ends = self.cancellation.deadlines, self.restarting.deadlines
        return *plain, *ends, *self.actors.deadlines, lent

    # -- local events ------------------------------------------------------------------------------
    def submit(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> None:
        """Take a task in: records for its results, pins for its arguments, then a worker."""
        if spec.returns_count == 1:
            self.refs.create(ObjectId(spec.task + FIRST_RESULT))
        elif spec.returns_count == STREAMING:
            flow = (spec.window, spec.window_bytes, spec.per_yield)
            self.streams.open(spec.task, spec.name, *flow)
        elif spec.returns_count == DYNAMIC:
            self.gathering.begin(spec.task, spec.name)
        else:
            for index in range(spec.returns_count):
                self.refs.create(object_id(spec.task, index))
        if type(spec.arguments) is Parcel:
            self.borrowing.hold(spec.arguments)
        missing: dict[ObjectId, None] = {}
        failed: Value | None = None
        for name in spec.slots:
            self.refs.pin(name)
            value = self.refs.value_of(name)
            if value is None:
                missing[name] = None
            elif failed is None and is_error(value):
                failed = value
        if missing:
            self.borrowing.want(missing, out)
        ready = self.tasks.submit(spec, list(missing), now_ns)
        if self.node_lost is not None:
            self.settlement.fail(spec.task, self.node_lost, now_ns, "the node is gone", out)
        elif failed is not None:
            self.settlement.fail_for_argument(spec.task, failed, now_ns, out)
        elif ready:
            self.placement.enqueue(spec.task, now_ns, out)

    def put(self, event: PutObject) -> None:
        """Own a new object."""
        if type(event.value) is Stored:
            self._regions.own(event.value)
        self.borrowing.hold(event.value)
        self.refs.create(event.object, event.value)

    def take(self, event: TakeItems, now_ns: int, out: list[Effect]) -> None:
        """Turn the next items of a stream into references."""
        stream = event.stream
        if (self._handed or self._far) and self.handover.take(event, out):
            return
        names, ended = self._take_out(stream, event.count_max, now_ns)
        out.append(ItemsTaken(stream, names, ended))
        if self.streams.streams[stream].step:
            self.placement.grant(stream, out)

    def _take_out(
        self, stream: StreamId, count_max: int, now_ns: int
    ) -> tuple[tuple[ObjectId, ...], bool]:
        """Make references of the next items; return them, and whether none will follow."""
        position, values, ended, stored = self.streams.take(stream, count_max, now_ns)
        for at in stored:
            self._regions.take(values[at])  # type: ignore[arg-type]  # it lies in shared memory
        names = item_ids(stream, position, len(values))
        self.refs.create_all(names, values)
        for at in stored:
            self.pins.take(self.tasks.entries.get(stream), names[at])
        if stored and ended and stream in self._kept:
            self.pins.close(stream)
        return names, ended

    def holds_back(self, stream: StreamId, now_ns: int) -> bool:
        """Return whether the producer of a stream should wait for its consumer to make room.

        Not if somebody holds the completion: he may wait for the end before he takes anything.
        """
        is_held = completion_object(stream) in self.refs.records and stream not in self._handed
        return self.streams.holds_back(stream, now_ns) and not is_held

    def readable(self, name: ObjectId) -> Value | None:
        """Return the value of an object, or of an item that nobody has taken; None without one."""
        record = self.refs.records.get(name)
        if record is not None:
            return record.value
        return self.streams.unread_at(task_of(name), index_of(name) - ITEM_INDEX_FIRST)

    def ref_completion(self, event: RefCompletion) -> None:
        """Count a reference to a stream's completion object."""
        name = self.handover.completion(event.stream)
        if name in self.refs.records:
            self.refs.add_local(name)
        else:
            self.refs.create(name, self.streams.streams[event.stream].completion)

    def drop(self, event: Dropped, now_ns: int, out: list[Effect]) -> None:
        """Count references and handles that went away; who spoke to a body leaves it no other."""
        self.refs.drop_all(event.objects)
        streams = event.streams
        if self.streams.gathered:
            streams += self.gathering.unwanted(event.objects)
        for stream in streams:
            if not ((self._handed or self._far) and self.handover.dropped(stream, out)):
                self._close(stream, now_ns, out)

    def _close(self, stream: StreamId, now_ns: int, out: list[Effect]) -> None:
        """Nobody reads a stream any more."""
        if self.streams.close(stream):
            entry = self.tasks.entries[stream]
            worker = entry.worker
            if entry.spec.window < 0:
                self.closing.stop(entry, now_ns, out)
            elif self.restarting.close(stream) and worker is not None:
                out.append(Send(worker, CloseStream(stream, entry.attempt)))
        elif stream in self._kept and stream not in self.streams.streams:
            self.pins.close(stream)
        while self.streams.unkept:
            self.refs.unpin(completion_object(self.streams.unkept.pop()))

    def on_gone(self, gone: list[ObjectId], now_ns: int, out: list[Effect]) -> None:
        """These objects are gone, of which somebody wants to know."""
        gone = self.pins.on_gone(gone)
        if self.handover.lending.lent:
            gone = self.handover.on_gone(gone, now_ns, out)
        self.actors.on_handles_gone(gone, now_ns, out)  # arguments go with an actor

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Queue the retries that are due and return idle leases."""
        self.settlement.on_timer(now_ns, out)
        self.cancellation.on_timer(now_ns, out)
        self.restarting.on_timer(now_ns, out)
        self.placement.on_timer(now_ns, out)
        self.actors.on_timer(now_ns, out)

    def on_down(
        self,
        peer: PeerId,
        down: ProcessDown | None,
        reason: str,
        unsent: list[tuple[LeaseId, int]],
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """A peer is dead and its line is quiet: decide on what it had in flight.

        Args:
            peer: The dead process.
            down: What its node says of its death, if it could say anything.
            reason: For people.
            unsent: (lease, first push) of messages that certainly never left.
            now_ns: The time.
            out: Effects are added here.
        """
        is_node = peer == self.placement.node
        if self._handed or self._far:
            self.handover.on_down(peer, reason, is_node, now_ns, out)
        if is_node:
            self._lose_node(peer, reason, now_ns, out)
            return
        shapes: dict[Demand, None] = {}
        for lease, held in self.placement.on_worker_down(peer, out):
            shapes[held.shape] = None
            if down is not None and down.started >= 0:
                begun = down.started if down.lease == lease else 0
            else:
                begun = min(
                    [token[1] for token in unsent if token[0] == lease], default=held.pushes
                )
            again: list[TaskId] = []
            for task, push in held.in_flight.items():
                if push < begun:
                    self.settlement.crash(task, held.pid, down or reason, now_ns, out)
                elif self.settlement.lose(task, held.pid, down or reason, now_ns, out):
                    again.append(task)
            self.placement.put_back(held.shape, again)
        for shape in shapes:
            self.placement.pump(shape, now_ns, out)
        self.actors.on_down(peer, down or reason, unsent, now_ns, out)

    def check(self) -> None:
        """Assert the invariants of all tables and between them."""
        self.refs.check()
        owner_audit.check_regions(self.refs, self.streams, self._regions)
        self.tasks.check()
        self.streams.check()
        self.cancellation.check()
        leases = self.placement.leases
        leases.check()
        self.actors.check()
        self.pins.check()
        self.handover.check()
        owner_audit.check_tasks(self.tasks, leases, self.streams, self.refs)

    # -- messages ----------------------------------------------------------------------------------
    def _on_report_items(
        self, sender: PeerId, message: ReportItems, now_ns: int, out: list[Effect]
    ) -> None:
        values, stored, nested = unpack_items(message.entries, message.buffers)
        stream = message.stream
        record = self.streams.streams.get(stream)
        if record is not None and record.producer != sender:
            self.placement.check_producer(sender, record, message)
        if nested:
            self.borrowing.take_in(sender, values, out)
        if stored:
            for value in values:
                if type(value) is Stored:
                    self._regions.own(value, stream)
        first = message.first_index
        if self._filling and stream in self._filling:
            values = self.refilling.on_items(sender, message, values, now_ns, out)
            if not values:
                return
            stored = stored_count(values)
        if self.streams.report(stream, message.attempt, first, values, now_ns, stored):
            out.append(StreamAdvanced(stream))

    def _on_stream_parked(
        self, sender: PeerId, message: StreamParked, now_ns: int, out: list[Effect]
    ) -> None:
        entry = self.tasks.accept(message.stream, message.attempt)
        if entry is not None and entry.worker != sender:
            raise RemoteProtocolError("a wait by a worker that was not given the task")
        if entry is not None and self.streams.park(message.stream, message.parked_by):
            self.placement.grant(message.stream, out)

    def _on_job_registered(
        self, sender: PeerId, message: JobRegistered, now_ns: int, out: list[Effect]
    ) -> None:
        if self.placement.is_of_this_job(message.job):
            out.append(JobReady(message.total))

    # -- between the tables ------------------------------------------------------------------------
    def _lose_node(self, node: PeerId, reason: str, now_ns: int, out: list[Effect]) -> None:
        self.node_lost = Fault(FaultKind.NODE_DIED, "", reason)
        self.placement.leave_node()
        self.actors.supervision.leave_node(now_ns)
        for task in list(self.tasks.entries):
            if task in self.tasks.entries:
                self.settlement.fail(task, self.node_lost, now_ns, "the node died", out)
        out.append(NodeLost(node, reason))
