"""Id types and their derivation.

Every id is opaque bytes: 16 of them, 20 for an object (its task's id and a four-byte index). Task
and object ids are derived, never drawn, so an attempt that runs again names its children and its
results as the first one did, and children of different attempts never share a name.
"""

from hashlib import blake2b
from typing import Final, NewType

PeerId = NewType("PeerId", bytes)
NodeId = NewType("NodeId", bytes)
JobId = NewType("JobId", bytes)
LeaseId = NewType("LeaseId", bytes)
FunctionId = NewType("FunctionId", bytes)
TaskId = NewType("TaskId", bytes)
#: An actor is named after the task that creates it.
ActorId = NewType("ActorId", bytes)
#: A stream is named after the task that feeds it.
StreamId = TaskId
ObjectId = NewType("ObjectId", bytes)

ID_BYTES: Final = 16
#: Stands where no task is named.
NO_TASK: Final = TaskId(bytes(ID_BYTES))
#: No process.
NO_PEER: Final = PeerId(bytes(ID_BYTES))
#: Stands where an object is no item of a stream.
NO_STREAM: Final = StreamId(bytes(ID_BYTES))
#: Stands where a task is no call of an actor.
NO_ACTOR: Final = ActorId(bytes(ID_BYTES))
OBJECT_ID_BYTES: Final = 20
#: Stands where no object is named.
NO_OBJECT: Final = ObjectId(b"")

#: Index of a streaming task's completion object; item ``i`` has index ``ITEM_INDEX_FIRST + i``.
COMPLETION_INDEX: Final = 0
ITEM_INDEX_FIRST: Final = 1
#: A region's number ends in this many bits of a count; in front of it stands its node's tag.
_REGION_COUNT_BITS: Final = 31
#: Objects put inside a task take the indices from here on, so that no number of items reaches them.
PUT_INDEX_FIRST: Final = 1 << 31


#: Stands for the puts of a later attempt where the numbers of what it submits never come.
_PUTS_INDEX: Final = 1 << 63


def derive_task_id(parent: TaskId, parent_attempt: int, submit_index: int) -> TaskId:
    """Name the ``submit_index``-th task that attempt ``parent_attempt`` of ``parent`` submits."""
    seed = parent + parent_attempt.to_bytes(4, "big") + submit_index.to_bytes(8, "big")
    return TaskId(blake2b(seed, digest_size=ID_BYTES).digest())


def derive_puts_id(task: TaskId, attempt: int) -> TaskId:
    """Name the task after which what this attempt puts is named.

    Attempts run in different processes, and each owns what it puts: they share no names.
    """
    return derive_task_id(task, attempt, _PUTS_INDEX) if attempt else task


def derive_lease_id(owner: PeerId, request_index: int) -> LeaseId:
    """Name the ``request_index``-th lease that the process ``owner`` asks for."""
    seed = owner + b"lease" + request_index.to_bytes(8, "big")
    return LeaseId(blake2b(seed, digest_size=ID_BYTES).digest())


def derive_actor_lease(actor: ActorId, life: int) -> LeaseId:
    """Name the lease that life ``life`` of ``actor`` runs under."""
    seed = actor + b"life" + life.to_bytes(8, "big")
    return LeaseId(blake2b(seed, digest_size=ID_BYTES).digest())


def handle_object(actor: ActorId) -> ObjectId:
    """Name the object that every handle of ``actor`` refers to."""
    return ObjectId(actor + bytes(OBJECT_ID_BYTES - ID_BYTES))


def derive_loan_id(stream: StreamId, epoch: int, hop: int) -> StreamId:
    """Name a stream in a process that does not own it, by its loan and how often it was passed."""
    seed = stream + b"loan" + epoch.to_bytes(8, "big") + hop.to_bytes(8, "big")
    return StreamId(blake2b(seed, digest_size=ID_BYTES).digest())


def derive_branch_id(stream: StreamId, epoch: int, number: int) -> StreamId:
    """Name one of the readers that a loan of ``stream`` to several of them has."""
    seed = stream + b"branch" + epoch.to_bytes(8, "big") + number.to_bytes(8, "big")
    return StreamId(blake2b(seed, digest_size=ID_BYTES).digest())


def ticket_object(stream: StreamId, epoch: int) -> ObjectId:
    """Name the object that everybody refers to who may hold ``stream`` by this loan."""
    return ObjectId(derive_loan_id(stream, epoch, 0) + bytes(OBJECT_ID_BYTES - ID_BYTES))


def derive_worker_id(node: PeerId, spawn_index: int) -> PeerId:
    """Name the ``spawn_index``-th worker process that a node starts."""
    seed = node + b"worker" + spawn_index.to_bytes(8, "big")
    return PeerId(blake2b(seed, digest_size=ID_BYTES).digest())


def node_tag(node: PeerId) -> int:
    """Return what begins the numbers of a node's regions: no two members have the same."""
    return int.from_bytes(node[:4], "big")


def region_number(tag: int, count: int) -> int:
    """Name the ``count``-th region of the node with this tag."""
    return tag << _REGION_COUNT_BITS | count


def region_tag(region: int) -> int:
    """Return the tag of the node where a region was leased."""
    return region >> _REGION_COUNT_BITS


def hash_function(payload: bytes) -> FunctionId:
    """Name a pickled function or class by its bytes."""
    return FunctionId(blake2b(payload, digest_size=ID_BYTES).digest())


#: What stands behind the id of a task in that of its first result.
FIRST_RESULT: Final = bytes(OBJECT_ID_BYTES - ID_BYTES)


def object_id(task: TaskId, index: int) -> ObjectId:
    """Name result ``index`` of ``task``, the same in every attempt."""
    return ObjectId(task + index.to_bytes(4, "big"))


def completion_object(stream: StreamId) -> ObjectId:
    """Name the object that is ready when ``stream`` has ended, with what its body returned."""
    return object_id(stream, COMPLETION_INDEX)


def item_ids(stream: StreamId, position: int, count: int) -> tuple[ObjectId, ...]:
    """Name ``count`` items of ``stream`` from ``position`` on."""
    first = ITEM_INDEX_FIRST + position
    return tuple([ObjectId(stream + i.to_bytes(4, "big")) for i in range(first, first + count)])


def task_of(object_id: ObjectId) -> TaskId:
    """Return the task whose result or put ``object_id`` is."""
    return TaskId(object_id[:ID_BYTES])


def index_of(object_id: ObjectId) -> int:
    """Return the position of ``object_id`` among its task's objects."""
    return int.from_bytes(object_id[ID_BYTES:], "big")


def short(any_id: bytes) -> str:
    """Return the first eight hex digits, and an object's index, for people to read."""
    if len(any_id) == OBJECT_ID_BYTES:
        return f"{any_id[:4].hex()}.{int.from_bytes(any_id[ID_BYTES:], 'big')}"
    return any_id[:4].hex()
