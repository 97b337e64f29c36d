"""Serialised values, inline or in shared memory, as entries of messages.

Most values are small and have no buffers: they stay plain ``bytes`` everywhere, at the cost of
nothing.
"""

import struct
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, TypeAlias

from zgen.exceptions import RemoteProtocolError
from zgen.ids import NO_ACTOR, NO_PEER, ActorId, ObjectId, PeerId
from zgen.limits import INBODY_BYTES_MAX
from zgen.slotted import slotted
from zgen.wire.schema import Buffers, Entry, record
from zgen.wire.session import Address
from zgen.wire.store import Place

FLAG_ERROR: Final = 1
#: The pickle itself is the first of the entry's buffers, because it is large.
FLAG_FRAMED: Final = 2
#: The data names a region of shared memory where the value lies.
FLAG_STORED: Final = 4
#: The data begins with the references that lie inside the value.
FLAG_REFS: Final = 8

#: Each part of a value in shared memory begins at a multiple of this many bytes of its region.
ALIGNMENT: Final = 64


@record
class NestedRef:
    """A reference that lies inside a value.

    Attributes:
        object: The object that it refers to.
        owner: The process that owns that.
    """

    object: ObjectId
    owner: Address


@slotted
class Parcel:
    """A value that is more than plain bytes.

    Attributes:
        data: The pickle, without its out-of-band buffers.
        buffers: Out-of-band buffers in order.
        is_error: Whether ``get`` raises it.
        refs: References inside it, each object once; an error has none.
    """

    data: bytes
    buffers: tuple[bytes, ...] = ()
    is_error: bool = False
    refs: tuple[NestedRef, ...] = ()


@slotted
class Stored:
    """A value whose large parts lie in a region of a node's shared memory.

    The parts lie one behind the other, each at the next multiple of ``ALIGNMENT``.

    Attributes:
        node: The node.
        region: Number of the region there.
        place: Where the region lay when it was written.
        data: The pickle, without its out-of-band buffers; empty if it is the first of the parts.
        sizes: Bytes of each part.
        refs: References inside it, each object once.
    """

    node: PeerId
    region: int
    place: Place
    data: bytes
    sizes: tuple[int, ...]
    refs: tuple[NestedRef, ...] = ()


#: Region of an argument that its owner finds lost as it pushes the task that takes it.
NO_REGION: Final = 0
#: What stands for such an argument: the task comes back for it, and waits or fails.
GONE: Final = Stored(NO_PEER, NO_REGION, Place(0, 0, 0, 0, False), b"", ())


def room_bytes(sizes: Iterable[int]) -> int:
    """Return how much room parts of these sizes take in a region."""
    return sum([-size // ALIGNMENT * -ALIGNMENT for size in sizes])


class FaultKind(Enum):
    """Which error of ``zgen.exceptions`` a fault becomes."""

    WORKER_CRASHED = "worker crashed"
    OUT_OF_MEMORY = "out of memory"
    NODE_DIED = "node died"
    REPLAY_MISMATCH = "replay mismatch"
    REFUSED = "refused"
    ARGUMENT = "argument"
    SHUT_DOWN = "shut down"
    OBJECT_LOST = "object lost"
    STORE_FULL = "store full"
    ACTOR_DIED = "actor died"
    ACTOR_UNAVAILABLE = "actor unavailable"
    CANCELLED = "cancelled"
    OWNER_DIED = "owner died"
    NOT_REBUILT = "not rebuilt"
    LOG_LOST = "log lost"
    STREAM_LENT = "stream lent"


#: Why a lost object is not rebuilt: ``reason`` of ``ObjectReconstructionFailedError``.
REASON_PUT: Final = "put"
REASON_NO_RETRIES: Final = "not retryable"
REASON_SPENT: Final = "retries spent"
REASON_EVICTED: Final = "lineage evicted"
REASON_CANCELLED: Final = "cancelled"
REASON_NO_ACTOR: Final = "actor gone"
REASON_BEHIND: Final = "its actor waits for it"
REASON_TWO_WAY: Final = "two-way"


@slotted
class Fault:
    """An error that a state machine decided on; it becomes an exception where somebody gets it.

    Attributes:
        kind: Which error.
        name: Name of the task.
        reason: For people; for a crash the last lines of the worker, or how that died if what it
            was sent is lost; for what was cancelled the hex id of the task; for a replay in which
            way it differs, if the first run had ended.
        pid: Process id of the worker that died.
        exit_code: Its exit code, or -1.
        signal: The signal that ended it, or 0.
        attempts: How often the task was started.
        expected: Items known from earlier attempts.
        got: Items of the replay.
        may_have_run: Whether any of it may have run.
        cause: Error of the argument that failed, or of the actor's ``__init__``.
        actor: The actor that died.
        init_failed: Whether its ``__init__`` raised.
        history: How earlier attempts ended, for people.
        rss_bytes: Memory of the worker, if it was ended because that ran out.
        limit_bytes: What its node may use, in that case.
        why: Of what was not rebuilt one of the ``REASON_`` texts.
    """

    kind: FaultKind
    name: str
    reason: str = ""
    pid: int = 0
    exit_code: int = 0
    signal: int = 0
    attempts: int = 1
    expected: int = 0
    got: int = 0
    may_have_run: bool = True
    cause: "Value | None" = None
    actor: ActorId = NO_ACTOR
    init_failed: bool = False
    history: tuple[str, ...] = ()
    rss_bytes: int = 0
    limit_bytes: int = 0
    why: str = ""


Value: TypeAlias = bytes | Parcel | Stored | Fault

#: ``pickle.dumps(None, 5)``: what a task without a result returns.
NONE: Final = b"\x80\x05N."


def size_bytes(value: Value) -> int:
    """Return how many bytes of this process ``value`` holds; shared memory does not count."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Stored):
        return len(value.data)
    if isinstance(value, Parcel):
        return len(value.data) + sum(memoryview(buffer).nbytes for buffer in value.buffers)
    return len(value.reason)


def whole_bytes(value: Value) -> int:
    """Return the bytes of a value wherever they are, in shared memory too."""
    if type(value) is bytes:
        return len(value)
    return size_bytes(value) + (sum(value.sizes) if type(value) is Stored else 0)


def sizes_of(values: Sequence[Value]) -> list[int]:
    """Return the bytes of each of ``values`` as ``whole_bytes`` does."""
    if list(map(type, values)).count(bytes) == len(values):
        return list(map(len, values))  # type: ignore[arg-type]  # counted
    return list(map(whole_bytes, values))


def is_error(value: Value) -> bool:
    """Return whether ``get`` raises ``value``."""
    return isinstance(value, Fault) or (isinstance(value, Parcel) and value.is_error)


def refs_of(value: Value) -> tuple[NestedRef, ...]:
    """Return the references that lie inside ``value``."""
    return value.refs if isinstance(value, (Parcel, Stored)) else ()


def refs_in(values: Iterable[Value]) -> tuple[NestedRef, ...]:
    """Return the references that lie inside ``values``, one for each value that an object is in."""
    return tuple([ref for value in values for ref in refs_of(value)])


def keeping(values: Iterable[Value]) -> list[Parcel | Stored]:
    """Return those of ``values`` that may keep something: a region, or objects they refer to."""
    return [value for value in values if isinstance(value, (Parcel, Stored))]


def unpack_items(entries: Sequence[Entry], buffers: Buffers) -> tuple[list[Value], int, bool]:
    """Return the values of ``entries``, how many lie in shared memory, and whether any has refs.

    Raises:
        RemoteProtocolError: As ``unpack``.
    """
    if list(map(type, entries)).count(bytes) == len(entries):
        return list(entries), 0, False  # type: ignore[arg-type]  # counted
    values, _ = unpack(entries, buffers)
    return values, stored_count(values), any(map(refs_of, values))


def pack_items(
    values: Sequence[Value], buffers: list[bytes]
) -> tuple[tuple[Entry, ...], int, tuple[NestedRef, ...]]:
    """Return the entries for ``values`` as ``pack`` does, the bytes they hold, and their refs."""
    if list(map(type, values)).count(bytes) == len(values):
        lengths = list(map(len, values))  # type: ignore[arg-type]  # counted
        if max(lengths, default=0) <= INBODY_BYTES_MAX:
            return tuple(values), sum(lengths), ()  # type: ignore[arg-type]  # as above
    return pack(values, buffers), sum(map(size_bytes, values)), refs_in(values)


def stored_count(values: Iterable[Value]) -> int:
    """Return how many of ``values`` lie in shared memory."""
    return list(map(type, values)).count(Stored)


def pack(values: Iterable[Value], buffers: list[bytes]) -> tuple[Entry, ...]:
    """Return the entries for ``values``; their buffers are appended. Faults do not travel."""
    entries: list[Entry] = []
    for value in values:
        if isinstance(value, bytes):
            if len(value) <= INBODY_BYTES_MAX:
                entries.append(value)
            else:
                buffers.append(value)
                entries.append((FLAG_FRAMED, b"", 1))
            continue
        if isinstance(value, Stored):
            packed = _pack_stored(value)
            if value.refs:
                entries.append((FLAG_STORED | FLAG_REFS, _pack_refs(value.refs) + packed, 0))
            else:
                entries.append((FLAG_STORED, packed, 0))
            continue
        assert isinstance(value, Parcel), value
        flag, front = FLAG_ERROR if value.is_error else 0, b""
        if value.refs:
            flag, front = flag | FLAG_REFS, _pack_refs(value.refs)
        if len(value.data) <= INBODY_BYTES_MAX:
            entries.append((flag, front + value.data, len(value.buffers)))
        else:
            buffers.append(value.data)
            entries.append((flag | FLAG_FRAMED, front, len(value.buffers) + 1))
        buffers.extend(value.buffers)
    return tuple(entries)


def unpack(entries: Sequence[Entry], buffers: Buffers, start: int = 0) -> tuple[list[Value], int]:
    """Return the values of ``entries`` and the index of the first buffer they did not use.

    Raises:
        RemoteProtocolError: The entries name more buffers than there are, or what is cut off.
    """
    values: list[Value] = []
    at = start
    for entry in entries:
        if isinstance(entry, bytes):
            values.append(entry)
            continue
        flag, data, count = entry
        refs: tuple[NestedRef, ...] = ()
        if flag & FLAG_REFS:
            if flag & FLAG_ERROR:
                raise RemoteProtocolError("an error with references")
            refs, data = _unpack_refs(data)
        if flag & FLAG_STORED:
            values.append(_unpack_stored(data, refs))
            continue
        if at + count > len(buffers):
            raise RemoteProtocolError(f"entries name {at + count} buffers, {len(buffers)} came")
        own = tuple(buffers[at : at + count])
        at += count
        if flag & FLAG_FRAMED:
            if not own:
                raise RemoteProtocolError("a framed entry without a frame")
            data, own = own[0], own[1:]
        is_error = bool(flag & FLAG_ERROR)
        more = own or is_error or refs
        values.append(Parcel(data, own, is_error, refs) if more else data)
    return values, at


def _pack_stored(value: Stored) -> bytes:
    place, count = value.place, len(value.sizes)
    fixed = _STORED.pack(
        value.node,
        value.region,
        place.slab,
        place.offset,
        place.room,
        place.slab_bytes,
        place.is_warm,
        count,
    )
    return fixed + struct.pack(f"!{count}Q", *value.sizes) + value.data


def _unpack_stored(packed: bytes, refs: tuple[NestedRef, ...]) -> Stored:
    try:
        node, region, *place, count = _STORED.unpack_from(packed)
        sizes = struct.unpack_from(f"!{count}Q", packed, _STORED.size)
    except struct.error as error:
        raise RemoteProtocolError(f"a stored value that is cut off: {error}") from None
    data = packed[_STORED.size + 8 * count :]
    stored = Stored(PeerId(node), region, Place(*place), data, sizes, refs)
    where = stored.place
    if room_bytes(sizes) > where.room or where.offset + where.room > where.slab_bytes:
        raise RemoteProtocolError("a stored value that does not fit its region")
    return stored


def _pack_refs(refs: tuple[NestedRef, ...]) -> bytes:
    parts = [_COUNT.pack(len(refs))]
    for ref in refs:
        owner = ref.owner
        where = owner.endpoint.encode(), owner.tcp.encode(), owner.machine
        lengths = [len(part) for part in where]
        parts.append(_REF.pack(ref.object, owner.peer, owner.incarnation, owner.node, *lengths))
        parts.extend(where)
    return b"".join(parts)


def _unpack_refs(packed: bytes) -> tuple[tuple[NestedRef, ...], bytes]:
    """Return the references that ``packed`` begins with, and the rest of it."""
    refs: list[NestedRef] = []
    try:
        (count,) = _COUNT.unpack_from(packed)
        at = _COUNT.size
        for _ in range(count):
            name, peer, incarnation, node, *lengths = _REF.unpack_from(packed, at)
            at += _REF.size
            where: list[bytes] = []
            for length in lengths:
                where.append(packed[at : at + length])
                at += length
            if at > len(packed):
                raise struct.error("an endpoint")
            endpoint, tcp, machine = where
            owner = Address(
                PeerId(peer), incarnation, endpoint.decode(), PeerId(node), tcp.decode(), machine
            )
            refs.append(NestedRef(ObjectId(name), owner))
    except (struct.error, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"references that are cut off: {error}") from None
    return tuple(refs), packed[at:]


#: Number of references; of each the object, its owner's peer, incarnation and node and the lengths
#: of its endpoint, its inbox for other machines and its machine, which follow.
_COUNT: Final = struct.Struct("!I")
_REF: Final = struct.Struct("!20s16sQ16sHHH")
#: Node, region, slab, offset, room, bytes of the slab, whether it is warm, number of sizes; the
#: sizes and the data follow.
_STORED: Final = struct.Struct("!16sQQQQQ?I")
