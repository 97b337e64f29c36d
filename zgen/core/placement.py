"""Waiting tasks to workers: it joins tasks with the leases that let them run.

Rules of this file: what becomes of a pushed task is not decided here.

Theory of operation. A task that can run is queued under its resource shape. ``pump`` gives queued
tasks to the workers in hand and asks the node for more; every event that adds a task, a lease or
room in one ends in a pump.
"""

from typing import Final, Protocol

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Report, Send
from zgen.core.events import RegisterDriver
from zgen.core.in_stream import InStream
from zgen.core.lease_client import Held, LeaseClient, Locality
from zgen.core.marks import reached
from zgen.core.pushing import Pushing
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ActorId, JobId, LeaseId, ObjectId, PeerId, StreamId, TaskId
from zgen.limits import LINE_TICK_NS
from zgen.wire.lease import (
    Demand,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    QueryNode,
    RegisterJob,
)
from zgen.wire.stream import Consumed, ReportItems
from zgen.wire.value import Fault, Stored

_NOWHERE: Final[Locality] = ()


class Calls(Protocol):
    """Calls of actors and the tasks that create them, which do not go where a lease leads."""

    def on_ready(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> None:
        """A task misses nothing."""

    def call_again(self, spec: TaskSpec, now_ns: int, out: list[Effect]) -> bool:
        """A call that has ended is about to be submitted again; return False if it cannot be."""

    def is_behind(self, actor: ActorId, process: PeerId) -> bool:
        """Return whether a call waits for what a process runs, as it is that of the actor."""

    def take_back(self, entry: TaskEntry, out: list[Effect]) -> bool:
        """The worker of a creation task did not begin it; return False if the actor is there."""

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
        pushing: What sends them to workers.
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
        self.pushing = Pushing(tasks, refs, streams, self.leases)
        self._job = JobId(b"")

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

    def put_back(self, shape: Demand, tasks: list[TaskId]) -> None:
        """Let tasks wait again that were pushed and never started; a pump follows."""
        if tasks:
            self.leases.put_back(shape, tasks, self._tasks.entries)

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
            self.pushing.push(assignment, now_ns, out)

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
        self.put_back(held.shape, again)
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
