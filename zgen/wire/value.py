"""Serialised values: plain bytes, or bytes with buffers or an error flag, as entries of messages.

Most values are small and have no buffers: they stay plain ``bytes`` everywhere, at the cost of
nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from zgen.exceptions import RemoteProtocolError
from zgen.limits import INBODY_BYTES_MAX
from zgen.wire.schema import Buffers, Entry

FLAG_ERROR: Final = 1
#: The pickle itself is the first of the entry's buffers, because it is large.
FLAG_FRAMED: Final = 2


@dataclass(slots=True)
class Parcel:
    """A value that is more than plain bytes.

    Attributes:
        data: The pickle, without its out-of-band buffers.
        buffers: Out-of-band buffers in order.
        is_error: Whether ``get`` raises it.
    """

    data: bytes
    buffers: tuple[bytes, ...] = ()
    is_error: bool = False


class FaultKind(Enum):
    """Which error of ``zgen.exceptions`` a fault becomes."""

    WORKER_CRASHED = "worker crashed"
    NODE_DIED = "node died"
    REPLAY_MISMATCH = "replay mismatch"
    REFUSED = "refused"
    ARGUMENT = "argument"
    SHUT_DOWN = "shut down"


@dataclass(slots=True)
class Fault:
    """An error that a state machine decided on; it becomes an exception where somebody gets it.

    Attributes:
        kind: Which error.
        name: Name of the task.
        reason: For people; for a crash the last lines of the worker.
        pid: Process id of the worker that died.
        exit_code: Its exit code, or -1.
        signal: The signal that ended it, or 0.
        attempts: How often the task was started.
        expected: Items known from earlier attempts.
        got: Items of the replay.
        may_have_run: Whether any of it may have run.
        cause: Error of the argument that failed.
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


Value: TypeAlias = bytes | Parcel | Fault

#: ``pickle.dumps(None, 5)``: what a task without a result returns.
NONE: Final = b"\x80\x05N."


def size_bytes(value: Value) -> int:
    """Return how many bytes ``value`` holds."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Parcel):
        return len(value.data) + sum(memoryview(buffer).nbytes for buffer in value.buffers)
    return len(value.reason)


def is_error(value: Value) -> bool:
    """Return whether ``get`` raises ``value``."""
    return not isinstance(value, bytes) and (isinstance(value, Fault) or value.is_error)


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
        assert isinstance(value, Parcel), value
        flag = FLAG_ERROR if value.is_error else 0
        if len(value.data) <= INBODY_BYTES_MAX:
            entries.append((flag, value.data, len(value.buffers)))
        else:
            buffers.append(value.data)
            entries.append((flag | FLAG_FRAMED, b"", len(value.buffers) + 1))
        buffers.extend(value.buffers)
    return tuple(entries)


def unpack(entries: Sequence[Entry], buffers: Buffers, start: int = 0) -> tuple[list[Value], int]:
    """Return the values of ``entries`` and the index of the first buffer they did not use.

    Raises:
        RemoteProtocolError: The entries name more buffers than there are.
    """
    values: list[Value] = []
    at = start
    for entry in entries:
        if isinstance(entry, bytes):
            values.append(entry)
            continue
        flag, data, count = entry
        if at + count > len(buffers):
            raise RemoteProtocolError(f"entries name {at + count} buffers, {len(buffers)} came")
        own = tuple(buffers[at : at + count])
        at += count
        if flag & FLAG_FRAMED:
            if not own:
                raise RemoteProtocolError("a framed entry without a frame")
            data, own = own[0], own[1:]
        is_error = bool(flag & FLAG_ERROR)
        values.append(Parcel(data, own, is_error) if own or is_error else data)
    return values, at
