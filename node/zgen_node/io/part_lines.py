"""Connections on which parts of regions go to other nodes, each straight out of the map of a slab.

Rules of this file: it sends what it is told, once. Everything here is of one thread.

Theory of operation. A node's parts leave on one DEALER to the inbox that the other node has for
other machines anyway. A connection that is cut is dialled again by ZeroMQ; what was lost with it is
missed, and asked for again, by who copies. What is asked for again while it has not left yet is
not sent twice.

Under a key every part is authenticated by the connection. Without one each has a checksum, unless
it does not leave this machine.
"""

import mmap
import zlib
from dataclasses import field

import zmq

from zgen.core.store_effects import SendChunks
from zgen.core.store_events import ChunksUnsent
from zgen.ids import PeerId
from zgen.io import clock
from zgen.io.security import Lock, Locks
from zgen.io.sockets import new_socket
from zgen.limits import CHUNK_BYTES, CHUNKS_COUNT_MAX, MS, TCP_PART_BYTES_MAX
from zgen.limits import TRANSFER_LINE_IDLE_NS as IDLE_NS
from zgen.slotted import slotted
from zgen.wire.parts import PartHeader


@slotted
class _Part:
    """A part that is to be sent.

    Attributes:
        stretch: What it is a part of.
        map: The map of its slab.
        offset: Bytes from the start of the region.
        size_bytes: Its bytes.
    """

    stretch: SendChunks
    map: mmap.mmap
    offset: int
    size_bytes: int


@slotted
class _Line:
    """A connection to another node.

    Attributes:
        socket: Its DEALER.
        lock: Key that it is made with; None if with none.
        waiting: Number of the copying and offset -> what is to be sent.
        leaving: What ZeroMQ has not let go of yet, likewise -> when it has.
        used_ns: When something was sent last.
    """

    socket: "zmq.Socket[bytes]"
    lock: Lock | None
    waiting: dict[tuple[int, int], _Part] = field(default_factory=dict)
    leaving: dict[tuple[int, int], zmq.MessageTracker] = field(default_factory=dict)
    used_ns: int = 0


class PartLines:
    """Connections to nodes that copy regions of this one.

    Attributes:
        sent_count: Parts given to ZeroMQ.
    """

    def __init__(self, locks: Locks | None) -> None:
        """Nothing is made before something is sent; ``locks`` are the cluster's, if it has any."""
        self.sent_count = 0
        self._locks = locks
        self._lines: dict[PeerId, _Line] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._lines)

    def send(self, stretch: SendChunks, mapped: mmap.mmap) -> ChunksUnsent | None:
        """Send a stretch of a region part by part; return what to say if it cannot be.

        Args:
            stretch: What to send, and where.
            mapped: The map of its slab.
        """
        line = self._lines.get(stretch.node)
        if line is not None and line.lock is not self._lock_for(stretch.endpoint):
            self.forget(stretch.node)  # what it did not send is asked for again
        try:
            line = self._lines.get(stretch.node) or self._dial(stretch)
        except zmq.ZMQError as error:
            return unsent(stretch, str(error))
        end = stretch.offset + stretch.size_bytes
        for offset in range(stretch.offset, end, CHUNK_BYTES):
            part = _Part(stretch, mapped, offset, min(CHUNK_BYTES, end - offset))
            tracker = line.leaving.get((stretch.pull, offset))
            if tracker is None or tracker.done:  # else it is asked for again too soon
                line.waiting[stretch.pull, offset] = part
        return None

    def forget(self, node: PeerId) -> None:
        """Send nothing more to a node."""
        line = self._lines.pop(node, None)
        if line is not None:
            line.socket.close(0)

    def pump(self) -> None:
        """Send what the connections take, and close those that were not used for long."""
        for line in self._lines.values():
            self._pump(line)
        now_ns = clock.now_ns()
        for node, line in list(self._lines.items()):
            busy = line.waiting or line.leaving
            is_idle = not busy and line.used_ns + IDLE_NS <= now_ns
            is_known = self._locks is None or line.lock in self._locks.each
            if is_idle or not is_known:
                self.forget(node)

    def wait(self, wake_fd: int) -> None:
        """Wait until a connection takes more, or ``wake_fd`` is readable."""
        poller = zmq.Poller()
        poller.register(wake_fd, zmq.POLLIN)
        for line in self._lines.values():
            if line.waiting:
                poller.register(line.socket, zmq.POLLOUT)
        poller.poll(IDLE_NS // MS if self._lines else None)

    def close(self) -> None:
        """Close all."""
        for node in list(self._lines):
            self.forget(node)
        if self._context is not None:
            self._context.destroy(0)
            self._context = None

    def _lock_for(self, endpoint: str) -> Lock | None:
        """Return the key that a node shows, as far as is known from other connections."""
        return None if self._locks is None else self._locks.to_try(endpoint)[0]

    def _dial(self, stretch: SendChunks) -> _Line:
        if self._context is None:
            self._context = zmq.Context()
        socket = new_socket(self._context, zmq.DEALER)
        try:
            socket.setsockopt(zmq.SNDHWM, CHUNKS_COUNT_MAX)
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            socket.setsockopt(zmq.IPV6, int("[" in stretch.endpoint))
            lock = self._lock_for(stretch.endpoint)
            if lock is not None:
                lock.open(socket)
            socket.connect(stretch.endpoint)
        except zmq.ZMQError:
            socket.close(0)
            raise
        line = self._lines[stretch.node] = _Line(socket, lock, used_ns=clock.now_ns())
        return line

    def _pump(self, line: _Line) -> None:
        """Send what the connection takes."""
        waiting = line.waiting
        try:
            while waiting:
                key, part = next(iter(waiting.items()))
                line.leaving[key] = self._send(line.socket, part)
                self.sent_count += 1
                del waiting[key]
                line.used_ns = clock.now_ns()
        except zmq.Again:
            return
        finally:
            while line.leaving:
                key, tracker = next(iter(line.leaving.items()))
                if not tracker.done:
                    break
                del line.leaving[key]

    def _send(self, socket: "zmq.Socket[bytes]", part: _Part) -> zmq.MessageTracker:
        """Send a part, or nothing of it.

        Raises:
            zmq.Again: The connection takes nothing now.
        """
        stretch, at = part.stretch, part.stretch.place.offset + part.offset
        data = memoryview(part.map)[at : at + part.size_bytes]
        checksum = None
        if stretch.is_checked and self._locks is None:
            checksum = checksum_of([data])
        header = PartHeader(stretch.pull, stretch.region, part.offset, checksum)
        socket.send(header.pack(), zmq.NOBLOCK | zmq.SNDMORE)
        last = (part.size_bytes - 1) // TCP_PART_BYTES_MAX * TCP_PART_BYTES_MAX
        for start in range(0, last, TCP_PART_BYTES_MAX):
            frame = data[start : start + TCP_PART_BYTES_MAX]
            socket.send(frame, zmq.NOBLOCK | zmq.SNDMORE, copy=False)
        tracker = socket.send(data[last:], zmq.NOBLOCK, copy=False, track=True)
        assert tracker is not None
        return tracker


def unsent(stretch: SendChunks, why: str) -> ChunksUnsent:
    """Return what to say of a stretch that cannot be sent."""
    return ChunksUnsent(stretch.node, stretch.pull, stretch.region, why)


def checksum_of(data: list[memoryview]) -> int:
    """Return the checksum of a part in frames."""
    checksum = 0
    for frame in data:
        checksum = zlib.crc32(frame, checksum)
    return checksum
