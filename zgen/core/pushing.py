"""What workers are sent: assignments in as many messages as their bytes ask for.

Rules of this file: a function travels to a worker once, in front of the first task that names it.
Which task goes to which worker is not decided here.
"""

from dataclasses import replace

from zgen.core.effects import Effect, Send
from zgen.core.input_log import InputLog, feed
from zgen.core.lease_client import Assignment, LeaseClient
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.core.task_spec import CREATION, TaskSpec
from zgen.core.task_table import TaskTable
from zgen.ids import FunctionId, ObjectId, TaskId
from zgen.limits import BATCH_BYTES_MAX, INBODY_BYTES_MAX
from zgen.wire.schema import Buffers
from zgen.wire.stream import CloseStream
from zgen.wire.task import (
    DYNAMIC,
    NOTHING,
    STREAMING,
    DefineFunction,
    PushedCall,
    PushedTask,
    PushTasks,
)
from zgen.wire.value import GONE, Fault, NestedRef, Value, pack, refs_in, size_bytes


class Pushing:
    """How the tasks of one owner travel to workers."""

    def __init__(
        self, tasks: TaskTable, refs: RefTable, streams: StreamsIn, leases: LeaseClient
    ) -> None:
        """Push tasks of these tables, through these leases."""
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._leases = leases
        #: Function -> how workers that do not know it learn it. Lives as long as the process.
        self._functions: dict[FunctionId, DefineFunction] = {}

    def define(
        self, function: FunctionId, payload: bytes, refs: tuple[NestedRef, ...] = ()
    ) -> None:
        """Keep a function, and what it closes over, for the workers that will need it."""
        self._functions[function] = DefineFunction(function, payload, refs)

    def closed_over(self) -> list[NestedRef]:
        """Return the references that functions close over."""
        return [ref for function in self._functions.values() for ref in function.refs]

    def push(self, assignment: Assignment, now_ns: int, out: list[Effect]) -> None:
        """Send an assignment, in as many messages as its bytes ask for."""
        pushed: list[PushedTask] = []
        calls: list[PushedCall] = []
        buffers: list[bytes] = []
        refs: tuple[NestedRef, ...] = ()
        size = 0
        closed: list[CloseStream] = []
        fed: list[tuple[tuple[TaskId, int, int], InputLog]] = []
        first_push, lease, worker = assignment.first_push, assignment.lease, assignment.worker
        for task in assignment.tasks:
            entry = self._tasks.on_pushed(task, lease, worker, now_ns)
            spec = entry.spec
            slots: list[Value] = []
            nested: tuple[NestedRef, ...] = ()
            if spec.returns_count < 0 and entry.wanted is None:
                self._streams.begin_attempt(task, entry.attempt)
                if entry.is_stopping:
                    reached("stream stopped before it had begun")
                    entry.is_stopping = False
                    self._streams.rewind(task, 0, fills=True)
                if not self._streams.is_read(task):
                    reached("stream pushed that nobody reads")
                    closed.append(CloseStream(task, entry.attempt))
                if entry.log is not None:
                    assert not entry.log.is_lost, entry.doing.story()
                    fed.append(((task, entry.attempt, 0), entry.log))
            method, arguments = spec.method, spec.arguments
            if (not method or method == CREATION) and self._leases.teach(worker, spec.function):
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
            is_windowed = spec.window or spec.window_bytes
            consumed = self._streams.grant_first(task) if is_windowed else 0
            plain = _pushed_task(spec, entry.attempt, slots, buffers, consumed, entry.wanted)
            resumes = entry.attempt and spec.returns_count < 0 and spec.window >= 0
            if resumes and entry.wanted is None:
                record = self._streams.streams[task]
                plain = replace(plain, resume=record.resume, ahead_bytes=record.ahead_bytes)
            pushed.append(plain)
            if method:
                calls.append(PushedCall(spec.actor, method, spec.group))
        self._send(assignment, first_push, pushed, calls, buffers, refs, out)
        out.extend([Send(worker, message) for message in closed])
        for where, log in fed:
            feed(worker, where, log.inputs, self._refs.pin, out)

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
        window_bytes=spec.window_bytes if wanted is None else 0,
        per_yield=spec.per_yield,
    )
