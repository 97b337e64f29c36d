"""Waiting tasks to workers: leases, functions, pushes.

Rules of this file: it joins the tasks with the leases that let them run. What becomes of a pushed
task is
not decided here.

Theory of operation. A task that can run is queued under its resource shape. ``pump`` gives queued
tasks
to the workers in hand and asks the node for more; every event that adds a task, a lease or room in
one
ends in a pump. A function travels to a worker once, in front of the first task that names it.
"""

from typing import Final, Protocol

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Report, Send
from zgen.core.events import RegisterDriver
from zgen.core.lease_client import Assignment, Held, LeaseClient, Locality
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import InStream, StreamsIn
from zgen.core.task_spec import CREATION, TaskSpec
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import FunctionId, JobId, LeaseId, ObjectId, PeerId, StreamId, TaskId
from zgen.limits import BATCH_BYTES_MAX, INBODY_BYTES_MAX, LINE_TICK_NS
from zgen.wire.lease import (
    Demand,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    QueryNode,
    RegisterJob,
)
from zgen.wire.schema import Buffers
from zgen.wire.stream import CloseStream, Consumed, ReportItems
from zgen.wire.task import (
    DYNAMIC,
    NOTHING,
    STREAMING,
    DefineFunction,
    PushedCall,
    PushedTask,
    PushTasks,
)
from zgen.wire.value import GONE, Fault, NestedRef, Stored, Value, pack, refs_in, size_bytes

_NOWHERE: Final[Locality] = ()


class Calls(Protocol):
    """Calls of actors and the tasks that create them, which do not go where a lease leads."""

    def on_ready(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> None:
        """A task misses nothing."""

    def call_again(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> bool:
        """A call that has ended is about to be submitted again; return False if it cannot be."""

    def released(self, entry: TaskEntry, now_ns: int, out: list[Effect]) -> None:
        """A pushed task ended at its worker."""

    def on_finished(self, entry: TaskEntry) -> None:
        """A task is out of the task table."""

    def on_failed(self, entry: TaskEntry, fault: Fault, now_ns: int, out: list[Effect]) -> None:
        """A task was ended with an error that its body did not raise."""


class Placement:
    """How the tasks of one owner reach workers.

    Attributes:
        leases: The leases in hand and asked for.
        node: The daemon that grants them, or None before ``join`` and after its death.
        deadlines: Shapes whose workers are busy, and when their new tasks are placed at the latest.
        calls: Who places tasks of actors; set before the first of them.
    """

    calls: Calls

    def __init__(self, me: PeerId, tasks: TaskTable, refs: RefTable, streams: StreamsIn) -> None:
        """Place tasks of these tables."""
        self.leases = LeaseClient(me)
        self.node: PeerId | None = None
        self.deadlines: Deadlines[Demand] = Deadlines()
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._job = JobId(b"")
        #: Function -> how workers that do not know it learn it. Lives as long as the process.
        self._functions: dict[FunctionId, DefineFunction] = {}

    # -- the node ----------------------------------------------------------------------------------
    def join(self, node: PeerId, job: JobId) -> None:
        """Ask this node for leases from now on, for this job."""
        self.node = node
        self._job = job

    def register(self, event: RegisterDriver, out: list[Effect]) -> None:
        """Tell the node about this driver's job."""
        assert self.node is not None, "register before join"
        message = RegisterJob(self._job, event.pid, event.sys_path, event.cwd, event.environment)
        out.append(Send(self.node, message))

    @property
    def job(self) -> JobId:
        """The job that leases are asked for."""
        return self._job

    def is_of_this_job(self, job: JobId) -> bool:
        """Return whether ``job`` is the one that this process asks leases for."""
        return job == self._job

    def ask_node(self, query: int, out: list[Effect]) -> None:
        """Ask the node for its state."""
        if self.node is not None:
            out.append(Send(self.node, QueryNode(query)))

    def leave_node(self) -> None:
        """The node is gone: forget what waited or was in flight and place nothing any more."""
        self.node = None
        self.deadlines.clear_all()
        self.leases.clear()

    # -- tasks -------------------------------------------------------------------------------------
    def define(
        self, function: FunctionId, payload: bytes, refs: tuple[NestedRef, ...] = ()
    ) -> None:
        """Keep a function, and what it closes over, for the workers that will need it."""
        self._functions[function] = DefineFunction(function, payload, refs)

    def closed_over(self) -> list[NestedRef]:
        """Return the references that functions close over."""
        return [ref for function in self._functions.values() for ref in function.refs]

    def enqueue(self, task: TaskId, now_ns: int, out: list[Effect]) -> None:
        """Let a task that can run wait for a worker, or give it to one."""
        spec = self._tasks.entries[task].spec
        if spec.method:
            self.calls.on_ready(spec, now_ns, out)
            return
        shape = spec.shape
        self.leases.enqueue(shape, task)
        if self.leases.is_busy(shape, now_ns):
            self.deadlines.set_if_unset(
                shape, now_ns + LINE_TICK_NS
            )  # the next pump takes it along
        else:
            self.pump(shape, now_ns, out)

    def requeue(self, shape: Demand, tasks: list[TaskId]) -> None:
        """Put tasks that were pushed and never started back to the front, in order."""
        for task in reversed(tasks):
            self.leases.enqueue(shape, task, first=True)

    def release(
        self, entry: TaskEntry, task: TaskId, run_ns: int, now_ns: int, out: list[Effect]
    ) -> None:
        """A pushed task ended at its worker; a pump follows."""
        if entry.spec.method:
            self.calls.released(entry, now_ns, out)
            return
        assert entry.lease is not None, entry.doing.story()
        assert self.node is not None, entry.doing.story()
        self.leases.release(entry.lease, task, run_ns, self.node, now_ns, out)

    def withdraw(self, task: TaskId) -> None:
        """Let a waiting task wait no more; a pump follows."""
        self.leases.withdraw(self._tasks.entries[task].spec.shape, task)

    def end_worker(self, lease: LeaseId, out: list[Effect]) -> None:
        """Have the worker of a lease killed by its node."""
        assert self.node is not None, "a lease without a node"
        self.leases.doom(lease, self.node, out)

    def check_producer(self, sender: PeerId, record: InStream, message: ReportItems) -> None:
        """Look at who reports the first items of an attempt; those of older ones count nowhere.

        Raises:
            RemoteProtocolError: The task was not given to that worker.
        """
        entry = self._tasks.entries.get(message.stream)
        if entry is not None and message.attempt == entry.attempt:
            if entry.worker != sender:
                raise RemoteProtocolError("items by a worker that was not given the task")
            record.producer = sender

    def grant(self, stream: StreamId, out: list[Effect]) -> None:
        """Let the producer of a stream with a window go on for what was taken of it."""
        entry = self._tasks.entries.get(stream)
        worker = entry.worker if entry is not None else None
        upto = self._streams.grant(stream) if worker is not None else None
        if entry is not None and worker is not None and upto is not None:
            out.append(Send(worker, Consumed(stream, entry.attempt, upto)))

    def pump(self, shape: Demand, now_ns: int, out: list[Effect]) -> None:
        """Give waiting tasks of a shape to workers, and ask for more workers."""
        assert self.node is not None, "placed without a node"
        if shape in self.deadlines:
            self.deadlines.clear(shape)
        pool = self.leases.pools.get(shape)
        if pool is None:
            reached("shape forgotten before its workers were looked at")
            return  # its last lease went back in this step, and many others were about to wait
        queue = pool.queue
        what, locality, retriable = "", _NOWHERE, True
        if queue:
            spec = self._tasks.entries[queue[0]].spec
            what, locality = spec.name, self._locality(spec.slots) if spec.slots else _NOWHERE
            retriable = spec.retries_max != 0
        job, node = self._job, self.node
        for assignment in self.leases.assign(
            shape, node, job, what, now_ns, out, locality, retriable
        ):
            self.push(assignment, now_ns, out)

    def _locality(self, slots: tuple[ObjectId, ...]) -> Locality:
        """Return the nodes where large arguments lie, and how many bytes of them."""
        found: dict[PeerId, int] = {}
        for name in slots:
            value = self._refs.value_of(name)
            if type(value) is Stored:
                found[value.node] = found.get(value.node, 0) + sum(value.sizes)
        return tuple(found.items())

    def on_returned(
        self,
        sender: PeerId,
        lease: LeaseId,
        tasks: tuple[tuple[TaskId, int], ...],
        now_ns: int,
        out: list[Effect],
    ) -> list[TaskId]:
        """A worker handed tasks back that it did not start; return the cancelled ones of them."""
        held = self.leases.held.get(lease)
        if held is None or held.worker != sender or self.node is None:
            return []
        again: list[TaskId] = []
        cancelled: list[TaskId] = []
        for task, attempt in tasks:
            entry = self._tasks.accept(task, attempt)
            if entry is not None and entry.cancel is not None:
                cancelled.append(task)
                self.leases.release(lease, task, None, self.node, now_ns, out)
            elif self._tasks.on_not_started(task, attempt, now_ns):
                self.leases.release(lease, task, None, self.node, now_ns, out)
                again.append(task)
        self.requeue(held.shape, again)
        if lease in self.leases.held:
            self.leases.stall(lease)
        self.pump(held.shape, now_ns, out)
        return cancelled

    def on_worker_down(self, worker: PeerId, out: list[Effect]) -> list[tuple[LeaseId, Held]]:
        """Give up the leases of a dead worker and return them, with what was in flight."""
        return self.leases.on_worker_down(worker, self.node, out) if self.node is not None else []

    # -- leases ------------------------------------------------------------------------------------
    def on_granted(
        self, sender: PeerId, message: LeaseGranted, now_ns: int, out: list[Effect]
    ) -> None:
        """The node granted a lease.

        Raises:
            RemoteProtocolError: It is not our node.
        """
        if sender != self.node:
            raise RemoteProtocolError("a grant by a stranger")
        shape = self.leases.on_granted(message, sender, now_ns, out)
        if shape is not None:
            self.pump(shape, now_ns, out)

    def on_waiting(
        self, sender: PeerId, message: LeaseWaiting, now_ns: int, out: list[Effect]
    ) -> None:
        """The node says why a request is not met; people hear it if nothing of its shape runs."""
        shape = self.leases.shape_asked(message.lease)
        if shape is not None and not (message.feasible and self.leases.pools[shape].leases):
            queue = self.leases.pools[shape].queue
            name = self._tasks.entries[queue[0]].spec.name if queue else "a task"
            out.append(Report("warning", f"{name}() waits: {message.reason}"))

    def on_refused(self, sender: PeerId, message: LeaseRefused) -> list[TaskId]:
        """The node will not meet a request: return the tasks that waited for it.

        Raises:
            RemoteProtocolError: It is not our node.
        """
        if sender != self.node:
            raise RemoteProtocolError("a refusal by a stranger")
        return self.leases.on_refused(message.lease)

    def on_wanted(
        self, sender: PeerId, message: LeaseWanted, now_ns: int, out: list[Effect]
    ) -> None:
        """Others wait for what idles here, or the node of a lease drains."""
        if sender != self.node:
            return
        if message.closing:
            self.leases.on_closing(message.lease, sender, out)
        else:
            self.leases.on_wanted(sender, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Place what waited for company, and return idle leases that are due."""
        for shape in self.deadlines.pop_due(now_ns):
            self.pump(shape, now_ns, out)
        if self.node is not None:
            self.leases.on_timer(self.node, now_ns, out)

    def push(self, assignment: Assignment, now_ns: int, out: list[Effect]) -> None:
        """Send an assignment, in as many messages as its bytes ask for."""
        pushed: list[PushedTask] = []
        calls: list[PushedCall] = []
        buffers: list[bytes] = []
        refs: tuple[NestedRef, ...] = ()
        size = 0
        closed: list[CloseStream] = []
        first_push, lease, worker = assignment.first_push, assignment.lease, assignment.worker
        for task in assignment.tasks:
            entry = self._tasks.on_pushed(task, lease, worker, now_ns)
            spec = entry.spec
            slots: list[Value] = []
            nested: tuple[NestedRef, ...] = ()
            if spec.returns_count < 0 and entry.wanted is None:
                self._streams.begin_attempt(task, entry.attempt)
                if not self._streams.is_read(task):
                    reached("stream pushed that nobody reads")
                    closed.append(CloseStream(task, entry.attempt))
            method, arguments = spec.method, spec.arguments
            if (not method or method == CREATION) and self.leases.teach(worker, spec.function):
                function = self._functions[spec.function]
                out.append(Send(worker, function, refs=function.refs))
            if spec.slots or type(arguments) is not bytes:
                slots = [self._slot(name) for name in spec.slots]
                added = size_bytes(arguments) + sum(map(size_bytes, slots))
                nested = refs_in((arguments, *slots))
            else:
                added = len(arguments)
            if pushed and size + added > BATCH_BYTES_MAX:
                self._send(assignment, first_push, pushed, calls, buffers, refs, out)
                first_push += len(pushed)
                pushed, calls, buffers, refs, size = [], [], [], (), 0
            size += added
            refs += nested
            consumed = self._streams.grant_first(task) if spec.window else 0
            pushed.append(_pushed_task(spec, entry.attempt, slots, buffers, consumed, entry.wanted))
            if method:
                calls.append(PushedCall(spec.actor, method, spec.group))
        self._send(assignment, first_push, pushed, calls, buffers, refs, out)
        out.extend([Send(worker, message) for message in closed])

    def _send(
        self,
        assignment: Assignment,
        first_push: int,
        pushed: list[PushedTask],
        calls: list[PushedCall],
        buffers: list[bytes],
        refs: tuple[NestedRef, ...],
        out: list[Effect],
    ) -> None:
        message = PushTasks(
            assignment.lease,
            first_push,
            tuple(pushed),
            assignment.returns_seen,
            tuple(calls),
            Buffers(tuple(buffers)),
        )
        token = (assignment.lease, first_push)
        for ref in refs:  # until it has left: the task may end in this step
            self._refs.pin(ref.object)
        out.append(Send(assignment.worker, message, token, 0, refs, refs != ()))

    def _slot(self, name: ObjectId) -> Value:
        value = self._refs.value_of(name)
        if value is None or type(value) is Fault:
            reached("pushed with an argument that is gone")
            return GONE
        return value


def _pushed_task(
    spec: TaskSpec,
    attempt: int,
    slots: list[Value],
    buffers: list[bytes],
    consumed: int,
    wanted: dict[int, None] | None,
) -> PushedTask:
    arguments = spec.arguments
    is_plain = type(arguments) is bytes and len(arguments) <= INBODY_BYTES_MAX
    return PushedTask(
        spec.task,
        attempt,
        spec.function,
        spec.name,
        STREAMING if spec.returns_count == DYNAMIC else spec.returns_count,
        arguments if is_plain else pack((arguments,), buffers)[0],  # type: ignore[arg-type]
        pack(slots, buffers) if slots else (),
        spec.retry_exceptions,
        spec.window if wanted is None else 0,
        consumed,
        () if wanted is None else tuple(wanted) or (NOTHING,),
    )
