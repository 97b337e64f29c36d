"""Make ZeroMQ sockets with the options that all of zgen's have; send and receive whole messages.

A frame that is longer than ``TCP_PART_BYTES_MAX`` would not be let in over tcp, since a stranger
could claim as much: it leaves in several parts. Such a message begins with a plan, which no other
does: ``PLAN`` and the number of parts of each frame.
"""

import os
import struct
from collections.abc import Callable
from typing import Any, Final

import zmq

from zgen.exceptions import NodeStartError, RemoteProtocolError
from zgen.limits import HANDSHAKE_NS_MAX, HEARTBEAT_NS, HEARTBEAT_NS_MAX, MS, TCP_PART_BYTES_MAX

_HANDSHAKE_IVL_MS: Final = HANDSHAKE_NS_MAX // MS
_HEARTBEAT_IVL_MS: Final = HEARTBEAT_NS // MS
_HEARTBEAT_TIMEOUT_MS: Final = HEARTBEAT_NS_MAX // MS

#: Begins the first part of a message of which some frame has several parts.
PLAN: Final = b"zgen-parts"

#: Plain numbers and the compiled method: flags of an enum class and the wrapper above it cost more
#: than the send.
_LAST: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK) | int(zmq.SNDMORE)
_send_frame: Final = zmq.backend.Socket.send


def new_socket(context: "zmq.Context[zmq.Socket[bytes]]", kind: int) -> "zmq.Socket[bytes]":
    """Return a socket that neither lingers nor waits for the silent for long."""
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_IVL_MS)
    made.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_IVL_MS)
    made.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    return made


def bind(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Let a socket listen at an endpoint.

    Raises:
        NodeStartError: It cannot, say because the folder of its node is gone.
    """
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        reason = os.strerror(error.errno or 0)
        raise NodeStartError(f"cannot listen at {endpoint}: {reason}") from None


def watch_monitor(
    context: "zmq.Context[zmq.Socket[bytes]]",
    watched: "zmq.Socket[bytes]",
    address: str,
    events: int,
) -> "zmq.Socket[bytes]":
    """Return a socket that tells of ``events`` of ``watched``, by way of ``inproc`` ``address``."""
    watched.monitor(address, events)
    monitor = context.socket(zmq.PAIR)
    monitor.setsockopt(zmq.LINGER, 0)
    monitor.connect(address)
    return monitor


def read_monitor(monitor: "zmq.Socket[bytes]") -> tuple[int, int] | None:
    """Return the next event of a monitor and its value; None if there is none now."""
    try:
        told, _ = monitor.recv_multipart(zmq.NOBLOCK)
    except zmq.ZMQError:
        return None
    return int.from_bytes(told[:2], "little"), int.from_bytes(told[2:6], "little")


def descriptor(socket: "zmq.Socket[Any]") -> int:
    """Return the descriptor that is readable when something happened to ``socket``."""
    fd = socket.getsockopt(zmq.FD)
    assert isinstance(fd, int)
    return fd


def send(socket: "zmq.Socket[Any]", frames: list[bytes]) -> None:
    """Send all frames of a message, or none.

    Raises:
        zmq.Again: The connection takes nothing now; only before the first frame.
    """
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        _send_frame(socket, frame, _LAST if index == last else _MORE)


def split(frames: list[bytes]) -> list[bytes]:
    """Return what leaves for ``frames`` over tcp."""
    if all(len(frame) <= TCP_PART_BYTES_MAX for frame in frames):
        return frames
    parts: list[Any] = []
    counts: list[int] = []
    for frame in frames:
        whole = memoryview(frame)
        starts = range(0, max(1, len(whole)), TCP_PART_BYTES_MAX)
        parts.extend(whole[start : start + TCP_PART_BYTES_MAX] for start in starts)
        counts.append(len(starts))
    return [PLAN + struct.pack(f"!{len(counts)}I", *counts), *parts]


def joined(parts: list[bytes]) -> list[bytes]:
    """Return the frames of a message that came over tcp.

    Raises:
        RemoteProtocolError: Its plan does not fit its parts.
    """
    if not parts or not parts[0].startswith(PLAN):
        return parts
    try:
        counts = [count for (count,) in struct.iter_unpack("!I", parts[0][len(PLAN) :])]
    except struct.error:
        raise RemoteProtocolError("a plan that is cut off") from None
    if sum(counts) != len(parts) - 1:
        raise RemoteProtocolError("a plan for other parts")
    frames: list[bytes] = []
    at = 1
    for count in counts:
        frames.append(parts[at] if count == 1 else b"".join(parts[at : at + count]))
        at += count
    return frames


#: Reads one frame; the compiled method, as above.
receive_frame: Final[Callable[..., Any]] = zmq.backend.Socket.recv
LAST: Final = _LAST
