"""Everything that may happen to a process besides the passing of time."""

from typing import TypeAlias

from zgen.core.actor_events import ActorEvent
from zgen.core.cancel_words import CancelRequested, CloseRequested
from zgen.core.handover_words import FanOut, HoldStream, LendStream
from zgen.core.handshake_events import HandshakeEvent
from zgen.core.node_events import NodeEvent
from zgen.core.state_words import AskState
from zgen.core.store_events import StoreEvent
from zgen.core.stream_words import StreamEvent
from zgen.core.task_spec import TaskSpec
from zgen.ids import (
    NO_STREAM,
    FunctionId,
    JobId,
    LeaseId,
    ObjectId,
    PeerId,
    StreamId,
    TaskId,
)
from zgen.slotted import slotted
from zgen.wire.session import Address
from zgen.wire.value import NestedRef, Value


# -- any process -----------------------------------------------------------------------------------
@slotted
class Arrived:
    """Frames came in.

    Attributes:
        connection: The routing id under which they came; fresh for every connection.
        frames: Header, body, buffers.
    """

    connection: bytes
    frames: list[bytes]


@slotted
class ConnectionUp:
    """A connection that was opened can send now.

    Attributes:
        peer: Other end.
        epoch: Which connection to it.
    """

    peer: PeerId
    epoch: int


@slotted
class ConnectionLost:
    """A connection broke or was refused.

    Attributes:
        peer: Other end.
        epoch: Which connection to it.
    """

    peer: PeerId
    epoch: int


@slotted
class TimerDue:
    """``next_deadline_ns`` has come."""


@slotted
class InboxDrained:
    """A look at the inbox found it empty."""


@slotted
class Leave:
    """This process ends, and what it has said is to be heard before.

    Attributes:
        reason: Why, for people; "" if it crashes, of which others hear by its node, with the rest.
    """

    reason: str


# -- owner -----------------------------------------------------------------------------------------
@slotted
class Join:
    """A driver or worker learns of its node.

    Attributes:
        node: Where the daemon is reached.
        job: Job of this process.
        pid: Process id of this process.
    """

    node: Address
    job: JobId
    pid: int


@slotted
class RegisterDriver:
    """The driver tells its node about its job.

    Attributes:
        pid: Process id of this driver.
        sys_path: Module search path of the workers.
        cwd: Working directory of the workers.
        environment: Environment variables of the workers.
    """

    pid: int
    sys_path: tuple[str, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...]


@slotted
class DefineTaskFunction:
    """A function was pickled and may be named by tasks from now on.

    Attributes:
        function: Hash of the payload.
        payload: Pickle of the function.
        refs: References that it closes over.
    """

    function: FunctionId
    payload: bytes
    refs: tuple[NestedRef, ...] = ()


@slotted
class SubmitTask:
    """The user called ``f.remote()``. Each result starts with one local reference.

    Attributes:
        spec: The task.
    """

    spec: TaskSpec


@slotted
class PutObject:
    """The user called ``put``. The object starts with one local reference.

    Attributes:
        object: The new object.
        value: Its value.
    """

    object: ObjectId
    value: Value


@slotted
class TakeItems:
    """The user wants the next items of a stream; each taken one gets one local reference.

    Attributes:
        stream: The stream.
        count_max: How many at most.
    """

    stream: StreamId
    count_max: int


@slotted
class RefCompletion:
    """The user called ``completed()``: one more local reference to a stream's completion object.

    Attributes:
        stream: The stream.
    """

    stream: StreamId


@slotted
class Dropped:
    """User references and stream handles went away.

    Attributes:
        objects: One entry for each reference that went.
        streams: Streams whose handle went.
        views: Region of each view of shared memory that went.
    """

    objects: tuple[ObjectId, ...]
    streams: tuple[StreamId, ...]
    views: tuple[int, ...] = ()


@slotted
class CountRef:
    """A reference was unpickled out of a value: its object has one more in this process.

    Attributes:
        object: The object.
    """

    object: ObjectId


@slotted
class WantValues:
    """Somebody waits for objects that other processes own.

    Attributes:
        objects: The objects; those whose values were asked for already may be among them.
    """

    objects: tuple[ObjectId, ...]


@slotted
class AskNode:
    """Somebody wants to know the node's state; ``NodeAnswered`` follows.

    Attributes:
        query: Number to be repeated in the answer.
    """

    query: int


@slotted
class ProcessExited:
    """The operating system says that a watched process is dead.

    Attributes:
        peer: The process.
        incarnation: Its life.
        reason: What is known, for people.
    """

    peer: PeerId
    incarnation: int
    reason: str


# -- executor --------------------------------------------------------------------------------------
@slotted
class Yielded:
    """The running body yielded.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
        value: What it yielded.
    """

    task: TaskId
    attempt: int
    value: Value


@slotted
class TaskEnded:
    """The running body ended.

    Attributes:
        task: The task that ran.
        attempt: Its execution.
        outcome: One of ``wire.task``'s ``OUTCOME_`` numbers.
        values: The results; for a stream none; or one error.
    """

    task: TaskId
    attempt: int
    outcome: int
    values: tuple[Value, ...]


@slotted
class BodyBlocked:
    """A running body began to wait for others, or its wait is over.

    Attributes:
        blocked: True at the beginning.
        task: Which call of an actor; zeroes for the one task of a plain worker.
    """

    blocked: bool
    task: TaskId = NO_STREAM


# -- node ------------------------------------------------------------------------------------------
@slotted
class WorkerSpawned:
    """The zygote forked a worker.

    Attributes:
        worker: Name that was given to it.
        pid: Its process id.
    """

    worker: PeerId
    pid: int


@slotted
class WorkerExited:
    """A worker is dead.

    Attributes:
        worker: Which one.
        pid: Its process id.
        exit_code: Exit code, or -1 if a signal ended it.
        signal: The signal, or 0.
        log_tail: Its last lines of output.
        lease: Lease under which it last started work; zeroes if none.
        started: Pushes that it had started under that lease.
    """

    worker: PeerId
    pid: int
    exit_code: int
    signal: int
    log_tail: str
    lease: LeaseId
    started: int


@slotted
class WorkerPrinted:
    """A worker printed lines.

    Attributes:
        worker: Which one.
        is_error: True for standard error.
        lines: The lines, without their ends; the last one may be unfinished.
        dropped: Lines lost before these.
    """

    worker: PeerId
    is_error: bool
    lines: tuple[str, ...]
    dropped: int


@slotted
class LinesFlushed:
    """What the workers of ``FlushLines`` had printed until then was handed on.

    Attributes:
        peer: Who asked.
        query: Number of the question.
    """

    peer: PeerId
    query: int


Event: TypeAlias = (
    StoreEvent
    | ActorEvent
    | HandshakeEvent
    | NodeEvent
    | Arrived
    | ConnectionUp
    | ConnectionLost
    | TimerDue
    | InboxDrained
    | Leave
    | Join
    | RegisterDriver
    | DefineTaskFunction
    | SubmitTask
    | CancelRequested
    | CloseRequested
    | LendStream
    | FanOut
    | HoldStream
    | AskState
    | PutObject
    | TakeItems
    | RefCompletion
    | Dropped
    | CountRef
    | WantValues
    | AskNode
    | ProcessExited
    | Yielded
    | TaskEnded
    | StreamEvent
    | BodyBlocked
    | WorkerSpawned
    | WorkerExited
    | WorkerPrinted
    | LinesFlushed
)
