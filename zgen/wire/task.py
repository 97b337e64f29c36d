"""`DefineFunction PushTasks TasksDone TasksReturned Cancel…`: work and what became of it."""

from typing import Final

from zgen.ids import ActorId, FunctionId, LeaseId, ObjectId, TaskId
from zgen.wire.schema import NO_BUFFERS, Buffers, Entry, message, record
from zgen.wire.value import NestedRef

#: ``returns_count`` of a generator task.
STREAMING: Final = -2
#: The same where its owner gathers what it yields; a worker sees a stream.
DYNAMIC: Final = -1

#: ``window`` of a two-way stream, which yields one item for each input that it is given.
LOCK_STEP: Final = -1

#: ``wanted`` of a task that runs to rebuild what nobody wants any more: no object has this index.
NOTHING: Final = (1 << 32) - 1

#: The function returned, or the generator ended.
OUTCOME_VALUE: Final = 0
#: The function raised; the one entry is the error.
OUTCOME_ERROR: Final = 1
#: It raised something that ``retry_exceptions`` names; the one entry is the error. A generator with
#: a fixed number of results sends all of them: what it yielded, and the error for the others.
OUTCOME_RETRY: Final = 2
#: Those with one entry, the error.
RAISED: Final = (OUTCOME_ERROR, OUTCOME_RETRY)
#: It was cancelled while it ran; there is no entry.
OUTCOME_CANCELLED: Final = 3
#: It was cancelled before it began; there is no entry.
OUTCOME_WITHDRAWN: Final = 4


@record
class PushedTask:
    """One task on its way to a worker.

    Attributes:
        task: The task.
        attempt: Which execution of it, from 0.
        function: Hash of the function.
        name: For people.
        returns_count: Number of results, or ``STREAMING``.
        arguments: Pickle of (args, kwargs); references stand in it as positions in ``slots``.
        slots: Values of the referenced arguments.
        retry_exceptions: Pickle of what may be retried: True or a tuple of classes; empty for
            nothing.
        window: Items of a stream that may be there without being taken; 0 for any number,
            ``LOCK_STEP`` for a two-way one.
        consumed: Items of it that were taken before this push.
        wanted: Indices of its objects that are wanted, where it runs to rebuild these; empty if all
            are.
        resume: Items of a stream that its owner has of earlier attempts: a body that asks may go
            on behind them.
        window_bytes: Bytes of a stream that may be there without being taken; 0 for any number.
        ahead_bytes: Bytes of the items before ``resume`` that were not taken.
        per_yield: Items that each yield of a stream makes; ``window`` counts yields, and whatever
            else counts items is a multiple of this.
    """

    task: TaskId
    attempt: int
    function: FunctionId
    name: str
    returns_count: int
    arguments: Entry
    slots: tuple[Entry, ...]
    retry_exceptions: bytes
    window: int = 0
    consumed: int = 0
    wanted: tuple[int, ...] = ()
    resume: int = 0
    window_bytes: int = 0
    ahead_bytes: int = 0
    per_yield: int = 1


@record
class PushedCall:
    """What a pushed task is a call of.

    Attributes:
        actor: The actor.
        method: Name of the method; ``__init__`` for the task that creates the actor.
        group: Concurrency group that it runs in; empty for the actor's own.
    """

    actor: ActorId
    method: str
    group: str = ""


@record
class Outcome:
    """How one execution of a task with fixed results ended.

    Attributes:
        task: The task.
        attempt: Which execution.
        outcome: One of the ``OUTCOME_`` numbers.
        run_ns: How long its body ran.
        entries: The results, or one error; nothing if it was cancelled.
    """

    task: TaskId
    attempt: int
    outcome: int
    run_ns: int
    entries: tuple[Entry, ...]


@message(0x20)
class DefineFunction:
    """Owner -> executor: this hash is this function; once per worker, before its first push.

    Attributes:
        function: Hash of the payload.
        payload: Pickle of the function.
        refs: References that it closes over.
    """

    function: FunctionId
    payload: bytes
    refs: tuple[NestedRef, ...] = ()


@message(0x21)
class PushTasks:
    """Owner -> executor: run these, in order, under this lease.

    Attributes:
        lease: The lease that allows it.
        first_push: Number of the first of them among all pushes of the lease, from 0.
        tasks: The tasks.
        returns_seen: How many ``TasksReturned`` of the lease had arrived when they were pushed.
        calls: Empty for plain tasks; else what each of ``tasks`` is a call of.
        buffers: Buffers of arguments and slots, in order of the tasks.
    """

    lease: LeaseId
    first_push: int
    tasks: tuple[PushedTask, ...]
    returns_seen: int = 0
    calls: tuple[PushedCall, ...] = ()
    buffers: Buffers = NO_BUFFERS


@message(0x22)
class TasksDone:
    """Executor -> owner: these executions ended.

    Attributes:
        outcomes: One each.
        buffers: Buffers of their entries, in order.
    """

    outcomes: tuple[Outcome, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x23)
class TasksReturned:
    """Executor -> owner: these were not started and will not be; push them elsewhere.

    Attributes:
        lease: Lease under which they were pushed.
        tasks: Task and attempt of each.
    """

    lease: LeaseId
    tasks: tuple[tuple[TaskId, int], ...]


@message(0x24)
class CancelTask:
    """Owner -> executor: end this execution, or never begin it, and tell how it ended.

    What has ended or was handed back before this arrives stays as it is.

    Attributes:
        task: The task.
        attempt: Execution that is meant.
        force: Whether the process that runs it is to die at once.
        recursive: Whether what it has submitted is to be cancelled too.
    """

    task: TaskId
    attempt: int
    force: bool
    recursive: bool


@message(0x25)
class CancelBorrowed:
    """Borrower -> owner: end the task behind this object, as if your own user had asked for it.

    Whoever does not borrow the object is not heard.

    Attributes:
        object: A result, an item or a completion of the task.
        force: Whether the process that runs it is to die; not for a call of an actor.
        recursive: Whether what it has submitted is to be cancelled too.
    """

    object: ObjectId
    force: bool
    recursive: bool


@message(0x28)
class ArgumentsLost:
    """Executor -> owner: this was not started and will not be: arguments in shared memory are gone.

    ``TasksReturned`` follows, with what was queued behind it.

    Attributes:
        lease: Lease under which it was pushed.
        task: The task.
        attempt: Which execution of it.
        slots: Positions of the arguments, and the region in which each of them lay.
        reason: What the executor was told of their loss.
    """

    lease: LeaseId
    task: TaskId
    attempt: int
    slots: tuple[tuple[int, int], ...]
    reason: str
