"""Everything a machine may ask for.

Performed in list order. What a network may do to ``Transmit``, the session makes up for.
"""

from typing import Any, TypeAlias

from zgen.core.actor_effects import ActorEffect
from zgen.core.cancel_words import AbandonBody, InterruptBody, KillSelf, StopBody
from zgen.core.handover_words import FannedOut, StreamHeld, StreamLent, StreamRefusal
from zgen.core.node_effects import NodeEffect
from zgen.core.state_words import StateCame
from zgen.core.store_effects import StoreEffect
from zgen.core.stream_words import StreamEffect
from zgen.ids import FunctionId, LeaseId, ObjectId, PeerId, StreamId, TaskId
from zgen.slotted import slotted
from zgen.wire.actor import ActorSettings
from zgen.wire.session import Address
from zgen.wire.task import PushedCall, PushedTask
from zgen.wire.value import NestedRef, Value

#: Lease and first push of a message with tasks: its sender hears of them if it never arrives.
PushToken: TypeAlias = tuple[LeaseId, int]


# -- any process -----------------------------------------------------------------------------------
@slotted
class OpenConnection:
    """Dial a peer; ``ConnectionUp`` or ``ConnectionLost`` of this epoch follows.

    Attributes:
        peer: Whom.
        endpoint: Where.
        epoch: Number of this connection; an older one to the same peer is closed first.
    """

    peer: PeerId
    endpoint: str
    epoch: int


@slotted
class CloseConnection:
    """Close the connection to a peer and forget it; nothing of this epoch is reported afterwards.

    Attributes:
        peer: Other end.
        epoch: Which connection.
    """

    peer: PeerId
    epoch: int


@slotted
class Transmit:
    """Send frames on the open connection. Not promised: arrival, order against other epochs, once.

    Attributes:
        peer: Whom.
        epoch: Which connection; if it is no longer open, nothing happens.
        frames: Header, body, buffers.
    """

    peer: PeerId
    epoch: int
    frames: list[bytes]


@slotted
class Send:
    """Hand a message to the session: it arrives once and in order, or its peer is DOWN.

    Inside a process's machine only: drivers of machines never see it.

    Attributes:
        peer: Whom.
        message: What.
        token: What to be told of if it never arrives.
        item_bytes: Bytes of stream items in it.
        refs: References inside values in it, which its receiver borrows from here on.
        gives: Whether this process is done with those values once they are sent.
        address: Where to reach ``peer`` if there is no line to it yet.
    """

    peer: PeerId
    message: Any
    token: PushToken | None = None
    item_bytes: int = 0
    refs: tuple[NestedRef, ...] = ()
    gives: bool = False
    address: Address | None = None


@slotted
class Report:
    """Tell a person. Not promised: that anyone reads it.

    Attributes:
        level: ``info``, ``warning`` or ``error``.
        text: One line.
    """

    level: str
    text: str


@slotted
class Left:
    """Everything that had to leave has been acknowledged, or time is up: the process may end."""


@slotted
class Exit:
    """End this process at once.

    Attributes:
        reason: Why, for people.
    """

    reason: str


@slotted
class Rekey:
    """Read the keys in the folder of this process's node again, and use them from now on.

    Not promised: that they can be read; then those stay that there are, and a person is told.
    """


# -- owner -----------------------------------------------------------------------------------------
@slotted
class ObjectsReady:
    """Wake who waits for these objects.

    Attributes:
        objects: Objects that have a value or an error now.
    """

    objects: tuple[ObjectId, ...]


@slotted
class StreamAdvanced:
    """Wake who waits for this stream: it has an item, an error or its end at the cursor.

    Attributes:
        stream: The stream.
    """

    stream: StreamId


@slotted
class ItemsTaken:
    """Answer to ``TakeItems``: items from the cursor on now have a local reference each.

    Attributes:
        stream: The stream.
        objects: The items, in order; none if none is there yet.
        ended: True if there will never be one more than these.
    """

    stream: StreamId
    objects: tuple[ObjectId, ...]
    ended: bool


@slotted
class PrintLines:
    """Show a worker's output to the user.

    Attributes:
        pid: Process id of the worker.
        is_error: True for standard error.
        lines: Whole lines.
        dropped: Lines lost before these.
    """

    pid: int
    is_error: bool
    lines: tuple[str, ...]
    dropped: int


@slotted
class JobReady:
    """The node knows this driver's job.

    Attributes:
        total: Names and amounts of the node's resources.
    """

    total: tuple[tuple[str, int], ...]


@slotted
class NodeAnswered:
    """Answer to ``AskNode``; every line that a worker had printed before was handed out before.

    Attributes:
        query: Number of the question.
        state: JSON object.
    """

    query: int
    state: str


@slotted
class NodeLost:
    """The node is gone; what this process owns can be read, everything else fails.

    Attributes:
        node: The daemon.
        reason: What is known.
    """

    node: PeerId
    reason: str


# -- executor --------------------------------------------------------------------------------------
@slotted
class LearnFunction:
    """Keep the pickle of a function for the tasks that will name it.

    Attributes:
        function: Its hash.
        payload: Pickle of it.
    """

    function: FunctionId
    payload: bytes


@slotted
class StartTask:
    """Run a body; ``Yielded`` and ``TaskEnded`` follow.

    One at a time in a plain worker. In an actor's, as many as its settings allow; where it runs one
    at a time, in the order of these effects.

    Attributes:
        task: The task.
        owner: Who pushed it, and will own what it yields and returns.
        arguments: Pickle of (args, kwargs).
        slots: Values of its referenced arguments, in order. For each ``Stored`` among them one view
            is counted, and its place is where the region lies now; who runs the body makes it.
        lease: Lease that it runs under.
        push: Number of its push under the lease, to be marked as started before its body runs.
        call: What it is a call of; None for a plain task.
        settings: How the actor runs its calls, if this is the task that creates it.
    """

    task: PushedTask
    owner: PeerId
    arguments: Value
    slots: tuple[Value, ...]
    lease: LeaseId
    push: int
    call: PushedCall | None = None
    settings: ActorSettings | None = None


@slotted
class HoldBody:
    """Do not resume a running generator before ``ReleaseBody``.

    Attributes:
        task: Which one.
    """

    task: TaskId


@slotted
class ReleaseBody:
    """Resume a held generator; harmless if it is not held.

    Attributes:
        task: Which one.
    """

    task: TaskId


Effect: TypeAlias = (
    StoreEffect
    | ActorEffect
    | NodeEffect
    | OpenConnection
    | CloseConnection
    | Transmit
    | Send
    | Report
    | Left
    | Exit
    | Rekey
    | ObjectsReady
    | StreamAdvanced
    | ItemsTaken
    | PrintLines
    | JobReady
    | NodeAnswered
    | NodeLost
    | LearnFunction
    | StartTask
    | HoldBody
    | ReleaseBody
    | AbandonBody
    | InterruptBody
    | StopBody
    | KillSelf
    | StateCame
    | StreamEffect
    | StreamLent
    | StreamHeld
    | FannedOut
    | StreamRefusal
)
