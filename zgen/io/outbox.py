"""Dial other processes: one DEALER for each connection, with its monitor.

Who is dialled over tcp shows one key, and who dials has to know beforehand which. While keys are
replaced a process has two, so a connection may be made with the second one after the first was
refused; nobody above hears of that.
"""

from collections import deque
from dataclasses import field
from typing import Final

import zmq

from zgen.core.handshake_events import Refusal
from zgen.ids import PeerId
from zgen.io.security import Lock, Locks
from zgen.io.sockets import descriptor, new_socket, watch_monitor
from zgen.limits import CONNECT_NS_MAX, MS
from zgen.slotted import slotted

_MONITORED: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
)
#: What is ever dialled: a peer that names something else gets no connection.
_DIALLED: Final = ("ipc://", "tcp://")
_TCP: Final = "tcp://"


@slotted
class Outbox:
    """One open connection to a peer.

    Attributes:
        peer: Other end.
        endpoint: Where that listens.
        epoch: Number of the connection.
        socket: Its DEALER.
        monitor: PAIR that tells of its fate; used under the receive lock only.
        fd: Descriptor of the DEALER.
        monitor_fd: Descriptor of the PAIR.
        far: Whether it goes over tcp, where long frames leave in parts.
        lock: Key that it is made with; None if with none.
        untried: Keys to try if that one is refused.
        refused: Why that one was, if another one is to be tried.
        waiting: Messages that it would not take yet.
        watched: Whether its descriptor is in the poll set.
    """

    peer: PeerId
    endpoint: str
    epoch: int
    socket: "zmq.Socket[bytes]"
    monitor: "zmq.Socket[bytes]"
    fd: int
    monitor_fd: int
    far: bool
    lock: Lock | None
    untried: tuple[Lock, ...]
    refused: Refusal | None = None
    waiting: deque[list[bytes]] = field(default_factory=deque)
    watched: bool = False


class Dialler:
    """Makes the connections of one process; everything here belongs to the process lock."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", locks: Locks | None) -> None:
        """Dial other machines with these, if any."""
        self._context = context
        self._locks = locks
        self._monitor_count = 0

    def dial(
        self, peer: PeerId, endpoint: str, epoch: int, untried: tuple[Lock, ...] | None
    ) -> Outbox:
        """Begin to connect.

        Args:
            peer: To whom.
            endpoint: Where.
            epoch: Number of the connection.
            untried: Keys that were not refused yet; None for all that there are.

        Raises:
            zmq.ZMQError: There is no such address, or no descriptor is left.
        """
        if not endpoint.startswith(_DIALLED):
            raise zmq.ZMQError(zmq.EPROTONOSUPPORT)
        far = endpoint.startswith(_TCP)
        lock: Lock | None = None
        if far and self._locks is not None:
            each = self._locks.each
            left = [one for one in untried or () if one in each]
            lock, *rest = left or self._locks.to_try(endpoint)
            untried = tuple(rest)
        outbox = new_socket(self._context, zmq.DEALER)
        monitor: zmq.Socket[bytes] | None = None
        try:
            outbox.setsockopt(zmq.IMMEDIATE, 1)
            outbox.setsockopt(zmq.RECONNECT_IVL, -1)
            if far:
                outbox.setsockopt(zmq.TCP_KEEPALIVE, 1)
                outbox.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_NS_MAX // MS)
                outbox.setsockopt(zmq.IPV6, int("[" in endpoint))
                if lock is not None:
                    lock.open(outbox)
            self._monitor_count += 1
            address = f"inproc://monitor-{self._monitor_count}"
            monitor = watch_monitor(self._context, outbox, address, _MONITORED)
            outbox.connect(endpoint)
        except zmq.ZMQError:
            outbox.disable_monitor()
            outbox.close(0)
            if monitor is not None:
                monitor.close(0)
            raise
        fds = descriptor(outbox), descriptor(monitor)
        return Outbox(peer, endpoint, epoch, outbox, monitor, *fds, far, lock, untried or ())
