"""Questions about the state of a node's processes, and what each says of what it owns.

A tool or a process asks its node by ``ListState``. The node asks every process that it knows by
``TellState``, hands on what they answer as it comes, and says by ``StateTold`` that this is all. If
other nodes are to be asked too, it asks them the same, and hands on what each of them says.
"""

from typing import Final

from zgen.ids import NO_ACTOR, ActorId, JobId, ObjectId, PeerId, StreamId, TaskId
from zgen.wire.schema import message, record

#: What may be listed.
OBJECTS: Final = "objects"
TASKS: Final = "tasks"
ACTORS: Final = "actors"
WORKERS: Final = "workers"
STREAMS: Final = "streams"
KINDS: Final = (OBJECTS, TASKS, ACTORS, WORKERS, STREAMS)
#: What nodes say of themselves, and no process of theirs.
NODES: Final = "nodes"

#: Where the bytes of an object are.
PENDING: Final = "pending"
ERROR: Final = "error"
INLINE: Final = "inline"
SHARED: Final = "shared memory"
DISK: Final = "disk"

#: Stands in ``ObjectSaid`` of what lies in no region.
NO_REGION: Final = -1


@record
class HoldSaid:
    """One reason why an object is held.

    Attributes:
        reason: Of which kind.
        by: Who or what holds it; for another process its name.
        count: How often.
    """

    reason: str
    by: str
    count: int


@record
class ObjectSaid:
    """One object, as a process says that owns or borrows it.

    Attributes:
        object: The object.
        owner: Who owns it.
        size_bytes: Bytes of its value; 0 while it is not known.
        place: Where they are.
        region: Region of shared memory that they are in, or ``NO_REGION``.
        holds: Why it is held, the first reasons of many.
        more: How many further reasons there are.
    """

    object: ObjectId
    owner: PeerId
    size_bytes: int
    place: str
    region: int
    holds: tuple[HoldSaid, ...]
    more: int = 0


@record
class TotalSaid:
    """All objects of one process that are held for one reason, or all of them.

    Attributes:
        reason: Which reason; empty for all.
        count: How many objects.
        size_bytes: Bytes of their values.
    """

    reason: str
    count: int
    size_bytes: int


@record
class TaskSaid:
    """One task that has not ended, as the process says that submitted it.

    Attributes:
        task: The task.
        name: What it calls.
        state: Where it stands.
        attempt: Which execution counts, from 0.
        retries_left: How often it may run again; -1 for ever.
        parent: The task that submitted it, or the program.
        actor: The actor that it is a call of; zeroes for a plain task.
        worker: Where it was pushed to; zeroes for nowhere.
        waits_for: What it misses, for people.
        creates_actor: Whether it makes that actor.
    """

    task: TaskId
    name: str
    state: str
    attempt: int
    retries_left: int
    parent: TaskId
    actor: ActorId
    worker: PeerId
    waits_for: str
    creates_actor: bool = False


@record
class ActorSaid:
    """One actor, as the process says that created it.

    Attributes:
        actor: The actor.
        class_name: Its class.
        name: Its name; empty for none.
        namespace: Where that counts.
        state: How it is.
        restarts: How often it was made anew.
        worker: Where it lives; zeroes for nowhere.
        pid: Process id of that; 0 for none.
        reason: Why it is dead; empty if it is not.
    """

    actor: ActorId
    class_name: str
    name: str
    namespace: str
    state: str
    restarts: int
    worker: PeerId
    pid: int
    reason: str


@record
class StreamSaid:
    """One stream, as the process says that reads it.

    Attributes:
        stream: The stream.
        name: The generator.
        attempt: Which execution counts, from 0.
        reported: Items that were reported.
        taken: Items that were handed out.
        unread: Items that wait to be taken.
        unread_bytes: Their bytes.
        ended: Whether nothing will follow.
        is_held: Whether anybody holds the generator.
        window: Items that may be there without being taken; 0 for any number.
        worker: Where its body is; zeroes for nowhere.
        window_bytes: Bytes that may be there without being taken; 0 for any number.
        parked_by: Why its body waits for its consumer, one of the ``PARKED_BY_`` numbers; 0 if it
            does not.
    """

    stream: StreamId
    name: str
    attempt: int
    reported: int
    taken: int
    unread: int
    unread_bytes: int
    ended: bool
    is_held: bool
    window: int
    worker: PeerId
    window_bytes: int = 0
    parked_by: int = 0


@record
class ProcessSaid:
    """One process of a node, as the node says.

    Attributes:
        process: Its name.
        pid: Its process id; 0 if it is not known yet.
        is_driver: Whether it is a program, and no worker of one.
        job: The job that it is of.
        state: What it does, in the node's words.
        what: What its lease was asked for.
        silence: Why it said nothing; empty if it answered.
    """

    process: PeerId
    pid: int
    is_driver: bool
    job: JobId
    state: str
    what: str
    silence: str


@message(0x70)
class ListState:
    """Asker -> node: ask your processes what they own.

    Attributes:
        query: Number to repeat in the answers.
        what: One of ``KINDS``, or ``NODES``.
        limit: Rows that each of them tells at most.
        patience_ns: How long to wait for them.
        everywhere: Whether the other nodes of the cluster are to be asked too.
    """

    query: int
    what: str
    limit: int
    patience_ns: int
    everywhere: bool = False


@message(0x71)
class TellState:
    """Node -> process: tell what you own.

    Attributes:
        query: Number to repeat in the answer.
        what: One of ``KINDS``.
        limit: Rows at most.
    """

    query: int
    what: str
    limit: int


@message(0x72)
class StateRows:
    """Process -> node and asker: what I own, or a part of it.

    Attributes:
        query: Number of the question.
        process: Who says it.
        is_last: Whether that is all.
        actor: The actor that lives there; zeroes for none.
        count: How many rows there are of what was asked for, told or not.
        objects: Objects that it owns, and those that it borrows.
        totals: All objects that it owns, by reason.
        tasks: Tasks that it submitted.
        running: Tasks of others that run there.
        actors: Actors that it created.
        streams: Streams that it reads.
    """

    query: int
    process: PeerId
    is_last: bool
    actor: ActorId = NO_ACTOR
    count: int = 0
    objects: tuple[ObjectSaid, ...] = ()
    totals: tuple[TotalSaid, ...] = ()
    tasks: tuple[TaskSaid, ...] = ()
    running: tuple[TaskId, ...] = ()
    actors: tuple[ActorSaid, ...] = ()
    streams: tuple[StreamSaid, ...] = ()


@message(0x73)
class StateTold:
    """Node -> asker: these are my processes, and who of them answered has.

    Attributes:
        query: Number of the question.
        node: The node.
        processes: Its processes.
        nodes_count: How many nodes are told of in answer to the question, this one among them.
        silence: Why nothing is known of the node; empty if it answered.
        report: How it fares, as JSON, if that was asked.
    """

    query: int
    node: PeerId
    processes: tuple[ProcessSaid, ...]
    nodes_count: int = 1
    silence: str = ""
    report: str = ""
