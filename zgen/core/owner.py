"""Caller side: routes events to tables, joins their effects.

Rules of this file: it knows every owner table and no table knows another. What a table returns is
translated here into calls of the others.

Theory of operation. A call becomes a task entry, a record for each result (or a stream), and pins on its
arguments. When nothing is missing it queues for a worker; what comes back settles records, feeds streams
or decides on another attempt. A worker's death is acted on only when its line is quiet, so that what it
reported before comes first.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.deadlines import Deadlines
from zgen.core.effects import (
    Effect,
    ItemsTaken,
    JobReady,
    NodeAnswered,
    NodeLost,
    ObjectsReady,
    PrintLines,
    Report,
    Send,
    StreamAdvanced,
)
from zgen.core.events import Dropped, PutObject, RefCompletion, RegisterDriver, SubmitTask, TakeItems, TaskSpec
from zgen.core.lease_client import Assignment, LeaseClient
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import Doing, TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import (
    COMPLETION_INDEX,
    ITEM_INDEX_FIRST,
    FunctionId,
    JobId,
    LeaseId,
    ObjectId,
    PeerId,
    TaskId,
    object_id,
)
from zgen.wire.lease import (
    JobRegistered,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    LogLines,
    NodeReport,
    ProcessDown,
    QueryNode,
    RegisterJob,
    Shape,
)
from zgen.wire.schema import Buffers
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    DefineFunction,
    Outcome,
    PushedTask,
    PushTasks,
    TasksDone,
    TasksReturned,
)
from zgen.wire.value import Fault, FaultKind, Value, is_error, pack, unpack


class Owner:
    """What one process submitted and owns."""

    def __init__(self, me: PeerId) -> None:
        """Start empty and without a node."""
        self.refs = RefTable()
        self.tasks = TaskTable()
        self.streams = StreamsIn()
        self.leases = LeaseClient(me)
        self.deadlines: Deadlines[TaskId] = Deadlines()
        self.node: PeerId | None = None
        self.node_lost: Fault | None = None
        self._job = JobId(b"")
        #: Function -> payload, for the workers that do not know it. Lives as long as the process.
        self._functions: dict[FunctionId, bytes] = {}
        self._handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ReportItems: self._on_report_items,
            ReportEnd: self._on_report_end,
            TasksDone: self._on_tasks_done,
            TasksReturned: self._on_tasks_returned,
            LeaseGranted: self._on_lease_granted,
            LeaseWaiting: self._on_lease_waiting,
            LeaseRefused: self._on_lease_refused,
            LeaseWanted: self._on_lease_wanted,
            JobRegistered: self._on_job_registered,
            LogLines: self._on_log_lines,
            NodeReport: lambda s, m, now, out: out.append(NodeAnswered(m.query, m.state)),
        }

    @property
    def next_deadline_ns(self) -> int | None:
        """When ``on_timer`` is wanted."""
        mine, leases = self.deadlines.next_ns, self.leases.deadlines.next_ns
        if mine is None or leases is None:
            return mine if leases is None else leases
        return min(mine, leases)

    def handles(self, message_class: type) -> bool:
        """Return whether messages of this class are for the owner side."""
        return message_class in self._handlers

    def on_message(self, sender: PeerId, message: Any, now_ns: int, out: list[Effect]) -> None:
        """Absorb one message that ``handles`` accepts.

        Raises:
            RemoteProtocolError: It does not fit what went before.
        """
        self._handlers[type(message)](sender, message, now_ns, out)

    # -- local events ------------------------------------------------------------------------------
    def join(self, node: PeerId, job: JobId) -> None:
        """Ask this node for leases from now on, for this job."""
        self.node = node
        self._job = job

    def register(self, event: RegisterDriver, out: list[Effect]) -> None:
        """Tell the node about this driver's job."""
        assert self.node is not None, "register before join"
        message = RegisterJob(self._job, event.pid, event.sys_path, event.cwd, event.environment)
        out.append(Send(self.node, message))

    def ask_node(self, query: int, out: list[Effect]) -> None:
        """Ask the node for its state."""
        if self.node is not None:
            out.append(Send(self.node, QueryNode(query)))

    def define(self, function: FunctionId, payload: bytes) -> None:
        """Keep a function for the workers that will need it."""
        self._functions[function] = payload

    def submit(self, event: SubmitTask, now_ns: int, out: list[Effect]) -> None:
        """Take a task in: records for its results, pins for its arguments, then a worker."""
        spec = event.spec
        if spec.returns_count == STREAMING:
            self.streams.open(spec.task, spec.name)
        else:
            for index in range(spec.returns_count):
                self.refs.create(object_id(spec.task, index))
        missing: dict[ObjectId, None] = {}
        failed: Value | None = None
        for name in spec.slots:
            self.refs.pin(name)
            value = self.refs.value_of(name)
            if value is None:
                missing[name] = None
            elif failed is None and is_error(value):
                failed = value
        ready = self.tasks.submit(spec, list(missing), now_ns)
        if self.node_lost is not None:
            self._fail(spec.task, self.node_lost, now_ns, "the node is gone", out)
        elif failed is not None:
            fault = Fault(FaultKind.ARGUMENT, spec.name, may_have_run=False, cause=failed)
            self._fail(spec.task, fault, now_ns, "an argument is an error", out)
        elif ready:
            self.leases.enqueue(spec.shape, spec.task)
            self._pump(spec.shape, now_ns, out)

    def put(self, event: PutObject) -> None:
        """Own a new object."""
        self.refs.create(event.object, event.value)

    def take(self, event: TakeItems, out: list[Effect]) -> None:
        """Turn the next items of a stream into references."""
        stream = event.stream
        position, values, ended = self.streams.take(stream, event.count_max)
        first = ITEM_INDEX_FIRST + position
        for offset, value in enumerate(values):
            self.refs.create(object_id(stream, first + offset), value)
        out.append(ItemsTaken(stream, first, len(values), ended))

    def ref_completion(self, event: RefCompletion) -> None:
        """Count a reference to a stream's completion object."""
        name = object_id(event.stream, COMPLETION_INDEX)
        if name in self.refs.records:
            self.refs.add_local(name)
        else:
            self.refs.create(name, self.streams.streams[event.stream].completion)

    def drop(self, event: Dropped, out: list[Effect]) -> None:
        """Count references and handles that went away."""
        for name in event.objects:
            self.refs.drop(name)
        for stream in event.streams:
            if self.streams.close(stream):
                entry = self.tasks.entries.get(stream)
                if entry is not None and entry.lease is not None:
                    worker = self.leases.held[entry.lease].worker
                    out.append(Send(worker, CloseStream(stream, entry.attempt)))

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Queue the retries that are due and return idle leases."""
        for task in self.deadlines.pop_due(now_ns):
            if self.tasks.on_retry_due(task, now_ns):
                spec = self.tasks.entries[task].spec
                self.leases.enqueue(spec.shape, task)
                self._pump(spec.shape, now_ns, out)
        if self.node is not None:
            self.leases.on_timer(self.node, now_ns, out)

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
        if peer == self.node:
            self._lose_node(reason, now_ns, out)
            return
        if self.node is None:
            return
        shapes: dict[Shape, None] = {}
        for lease, held in self.leases.on_worker_down(peer, self.node, out):
            shapes[held.shape] = None
            if down is not None:
                begun = down.started if down.lease == lease else 0
            else:
                begun = min([token[1] for token in unsent if token[0] == lease], default=held.pushes)
            again: list[TaskId] = []
            for task, push in held.in_flight.items():
                entry = self.tasks.entries.get(task)
                if entry is None or entry.lease != lease:
                    continue
                if push >= begun:
                    if self.tasks.on_not_started(task, entry.attempt, now_ns):
                        again.append(task)
                else:
                    self._crashed(task, entry, held.pid, down, reason, now_ns, out)
            for task in reversed(again):
                self.leases.enqueue(held.shape, task, first=True)
        for shape in shapes:
            self._pump(shape, now_ns, out)

    def check(self) -> None:
        """Assert the invariants of all tables and between them."""
        self.refs.check()
        self.tasks.check()
        self.streams.check()
        self.leases.check()
        for task, entry in self.tasks.entries.items():
            if entry.lease is not None:
                assert task in self.leases.held[entry.lease].in_flight, entry.doing.story()
            for name in entry.spec.slots:
                assert self.refs.records[name].pins > 0, entry.doing.story()
        for stream, record in self.streams.streams.items():
            assert record.ended or stream in self.tasks.entries, f"stream {record} has no task"
        waiting = [task for pool in self.leases.pools.values() for task in pool.queue]
        states = [self.tasks.entries[task].doing.state for task in waiting]
        assert all(state is Doing.WAITING_LEASE for state in states), states

    # -- messages ----------------------------------------------------------------------------------
    def _on_report_items(self, sender: PeerId, message: ReportItems, now_ns: int, out: list[Effect]) -> None:
        values, _ = unpack(message.entries, message.buffers)
        if self.streams.report(message.stream, message.attempt, message.first_index, values):
            out.append(StreamAdvanced(message.stream))

    def _on_report_end(self, sender: PeerId, message: ReportEnd, now_ns: int, out: list[Effect]) -> None:
        entry = self._accept(sender, message.stream, message.attempt)
        if entry is None:
            return
        if (message.outcome != OUTCOME_VALUE) != (len(message.entries) == 1):
            raise RemoteProtocolError("an end carries one error or nothing")
        values, _ = unpack(message.entries, message.buffers)
        error = values[0] if values else None
        self.streams.check_end(message.stream, message.attempt, message.count)
        self._release(entry, message.stream, message.run_ns, now_ns, out)
        if message.outcome == OUTCOME_RETRY and self._retry(message.stream, "it raised", now_ns):
            return
        stream = message.stream
        completion = self.streams.finish(stream, message.attempt, message.count, error)
        if completion is not None:
            self._end(stream, now_ns, "it ended", out)
            self._complete_stream(stream, completion, now_ns, out)

    def _on_tasks_done(self, sender: PeerId, message: TasksDone, now_ns: int, out: list[Effect]) -> None:
        ready: list[ObjectId] = []
        shapes: dict[Shape, None] = {}
        at = 0
        for outcome in message.outcomes:
            values, at = unpack(outcome.entries, message.buffers, at)
            entry = self._accept(sender, outcome.task, outcome.attempt)
            if entry is not None:
                shapes[entry.spec.shape] = None
                self._on_outcome(entry, outcome, values, ready, now_ns, out)
        if ready:
            out.append(ObjectsReady(tuple(ready)))
        for shape in shapes:
            self._pump(shape, now_ns, out)

    def _on_outcome(
        self, entry: TaskEntry, outcome: Outcome, values: list[Value], ready: list[ObjectId], now_ns: int, out: list[Effect]
    ) -> None:
        task, spec = outcome.task, entry.spec
        expected = spec.returns_count if outcome.outcome == OUTCOME_VALUE else 1
        if len(values) != expected or spec.returns_count == STREAMING:
            raise RemoteProtocolError(f"{len(values)} results, expected {expected}")
        self._release(entry, task, outcome.run_ns, now_ns, out, pump=False)
        if outcome.outcome == OUTCOME_RETRY and self._retry(task, "it raised", now_ns):
            return
        self._end(task, now_ns, "it ended", out)
        for index in range(spec.returns_count):
            value = values[index] if outcome.outcome == OUTCOME_VALUE else values[0]
            self._settle(object_id(task, index), value, ready, now_ns, out)

    def _on_tasks_returned(self, sender: PeerId, message: TasksReturned, now_ns: int, out: list[Effect]) -> None:
        held = self.leases.held.get(message.lease)
        if held is None or held.worker != sender or self.node is None:
            return
        again: list[TaskId] = []
        for task, attempt in message.tasks:
            if self.tasks.on_not_started(task, attempt, now_ns):
                self.leases.release(message.lease, task, None, self.node, now_ns, out)
                again.append(task)
        for task in reversed(again):
            self.leases.enqueue(held.shape, task, first=True)
        if message.lease in self.leases.held:
            self.leases.stall(message.lease)
        self._pump(held.shape, now_ns, out)

    def _on_lease_granted(self, sender: PeerId, message: LeaseGranted, now_ns: int, out: list[Effect]) -> None:
        if sender != self.node:
            raise RemoteProtocolError("a grant by a stranger")
        shape = self.leases.on_granted(message, sender, now_ns, out)
        if shape is not None:
            self._pump(shape, now_ns, out)

    def _on_lease_waiting(self, sender: PeerId, message: LeaseWaiting, now_ns: int, out: list[Effect]) -> None:
        shape = self.leases.shape_asked(message.lease)
        if shape is not None and not (message.feasible and self.leases.pools[shape].leases):
            out.append(Report("warning", message.reason))

    def _on_lease_refused(self, sender: PeerId, message: LeaseRefused, now_ns: int, out: list[Effect]) -> None:
        if sender != self.node:
            raise RemoteProtocolError("a refusal by a stranger")
        for task in self.leases.on_refused(message.lease):
            name = self.tasks.entries[task].spec.name
            fault = Fault(FaultKind.REFUSED, name, message.reason, may_have_run=False)
            self._fail(task, fault, now_ns, "refused", out)

    def _on_lease_wanted(self, sender: PeerId, message: LeaseWanted, now_ns: int, out: list[Effect]) -> None:
        if sender == self.node:
            self.leases.on_wanted(sender, out)

    def _on_job_registered(self, sender: PeerId, message: JobRegistered, now_ns: int, out: list[Effect]) -> None:
        if message.job == self._job:
            out.append(JobReady(message.total))

    def _on_log_lines(self, sender: PeerId, message: LogLines, now_ns: int, out: list[Effect]) -> None:
        out.append(PrintLines(message.pid, message.is_error, message.lines, message.dropped))

    # -- between the tables ------------------------------------------------------------------------
    def _accept(self, sender: PeerId, task: TaskId, attempt: int) -> TaskEntry | None:
        entry = self.tasks.accept(task, attempt)
        if entry is not None and entry.lease is not None and self.leases.held[entry.lease].worker != sender:
            raise RemoteProtocolError("an outcome by a worker that was not given the task")
        return entry

    def _pump(self, shape: Shape, now_ns: int, out: list[Effect]) -> None:
        if self.node is None or self.node_lost is not None:
            return
        queue = self.leases.pools[shape].queue
        what = self.tasks.entries[queue[0]].spec.name if queue else ""
        for assignment in self.leases.assign(shape, self.node, self._job, what, now_ns, out):
            self._push(assignment, now_ns, out)

    def _push(self, assignment: Assignment, now_ns: int, out: list[Effect]) -> None:
        pushed: list[PushedTask] = []
        buffers: list[bytes] = []
        for task in assignment.tasks:
            entry = self.tasks.on_pushed(task, assignment.lease, now_ns)
            spec = entry.spec
            if spec.returns_count == STREAMING:
                self.streams.begin_attempt(task, entry.attempt)
            if self.leases.teach(assignment.worker, spec.function):
                out.append(Send(assignment.worker, DefineFunction(spec.function, self._functions[spec.function])))
            pushed.append(self._pushed_task(spec, entry.attempt, buffers))
        message = PushTasks(assignment.lease, assignment.first_push, tuple(pushed), Buffers(tuple(buffers)))
        out.append(Send(assignment.worker, message, (assignment.lease, assignment.first_push)))

    def _pushed_task(self, spec: TaskSpec, attempt: int, buffers: list[bytes]) -> PushedTask:
        arguments = pack((spec.arguments,), buffers)[0]
        slots = pack([self._slot(name) for name in spec.slots], buffers) if spec.slots else ()
        return PushedTask(
            spec.task, attempt, spec.function, spec.name, spec.returns_count, arguments, slots, spec.retry_exceptions
        )

    def _slot(self, name: ObjectId) -> Value:
        value = self.refs.value_of(name)
        assert value is not None, "pushed with a missing argument"
        return value

    def _release(
        self, entry: TaskEntry, task: TaskId, run_ns: int, now_ns: int, out: list[Effect], *, pump: bool = True
    ) -> None:
        if entry.lease is None or self.node is None:
            return
        self.leases.release(entry.lease, task, run_ns, self.node, now_ns, out)
        if pump:
            self._pump(entry.spec.shape, now_ns, out)

    def _retry(self, task: TaskId, cause: str, now_ns: int) -> bool:
        """Begin another attempt if the budget allows one."""
        due_ns = self.tasks.retry(task, now_ns, cause)
        if due_ns is None:
            return False
        entry = self.tasks.entries[task]
        self.streams.begin_attempt(task, entry.attempt)
        self.deadlines.set(task, due_ns)
        return True

    def _crashed(
        self, task: TaskId, entry: TaskEntry, pid: int, down: ProcessDown | None, reason: str, now_ns: int, out: list[Effect]
    ) -> None:
        reached("worker died under a task")
        if self._retry(task, "its worker died", now_ns):
            return
        name, attempts = entry.spec.name, entry.started
        if down is None:
            fault = Fault(FaultKind.NODE_DIED, name, reason, attempts=attempts)
        else:
            fault = Fault(
                FaultKind.WORKER_CRASHED, name, down.log_tail, pid, down.exit_code, down.signal, attempts
            )
        self._fail(task, fault, now_ns, "its worker died", out)

    def _fail(self, task: TaskId, fault: Fault, now_ns: int, cause: str, out: list[Effect]) -> None:
        """End a task with an error, whatever it was doing."""
        entry = self.tasks.entries[task]
        if entry.spec.returns_count == STREAMING:
            completion = self.streams.fail(task, fault)
            self._end(task, now_ns, cause, out)
            if completion is not None:
                self._complete_stream(task, completion, now_ns, out)
            return
        ready: list[ObjectId] = []
        self._end(task, now_ns, cause, out)
        for index in range(entry.spec.returns_count):
            self._settle(object_id(task, index), fault, ready, now_ns, out)
        if ready:
            out.append(ObjectsReady(tuple(ready)))

    def _end(self, task: TaskId, now_ns: int, cause: str, out: list[Effect]) -> None:
        entry = self.tasks.finish(task, now_ns, cause)
        self.deadlines.clear(task)
        for name in entry.spec.slots:
            self.refs.unpin(name)

    def _complete_stream(
        self, stream: TaskId, completion: Value, now_ns: int, out: list[Effect]
    ) -> None:
        out.append(StreamAdvanced(stream))
        name = object_id(stream, COMPLETION_INDEX)
        if name in self.refs.records:
            ready: list[ObjectId] = []
            self._settle(name, completion, ready, now_ns, out)
            out.append(ObjectsReady(tuple(ready)))

    def _settle(self, name: ObjectId, value: Value, ready: list[ObjectId], now_ns: int, out: list[Effect]) -> None:
        """Give an object its value, and move the tasks on that missed it."""
        waiting = self.tasks.waiting_for(name)
        if not self.refs.settle(name, value):
            return
        ready.append(name)
        if not waiting:
            return
        if is_error(value):
            for task in waiting:
                if task not in self.tasks.entries:
                    continue  # it also waited for a task that failed with this one
                spec = self.tasks.entries[task].spec
                fault = Fault(FaultKind.ARGUMENT, spec.name, may_have_run=False, cause=value)
                self._fail(task, fault, now_ns, "an argument is an error", out)
            return
        for task in self.tasks.on_settled(name, now_ns):
            spec = self.tasks.entries[task].spec
            self.leases.enqueue(spec.shape, task)
            self._pump(spec.shape, now_ns, out)

    def _lose_node(self, reason: str, now_ns: int, out: list[Effect]) -> None:
        self.node_lost = Fault(FaultKind.NODE_DIED, "", reason)
        self.leases.drain()
        for task in list(self.tasks.entries):
            if task in self.tasks.entries:
                self._fail(task, self.node_lost, now_ns, "the node died", out)
        if self.node is not None:
            out.append(NodeLost(self.node, reason))
