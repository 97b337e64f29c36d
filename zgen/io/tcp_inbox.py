"""The inbox for other machines: a ROUTER on tcp, who may connect to it, and who was refused.

Everything here belongs to the receive lock. It is a socket of its own, since a plain client on ipc
stays mute at one that wants CURVE.

A listener shows one key to all who dial, the one of when it was bound. To show another it is bound
anew at a socket of the system that listens all the while, so that nobody who dials meanwhile is
refused, which would look like a death. What was connected by the old listener is cut with it.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, Final

import zmq

from zgen.core.events import Arrived, Event
from zgen.core.handshake_events import Refusal, StrangersRefused
from zgen.exceptions import NodeStartError, RemoteProtocolError
from zgen.io.endpoints import endpoint
from zgen.io.exposure import Exposure
from zgen.io.security import Doorman, Lock, Locks
from zgen.io.sockets import (
    LAST,
    bind,
    descriptor,
    joined,
    new_socket,
    read_monitor,
    receive_frame,
    watch_monitor,
)
from zgen.limits import BACKLOG_COUNT, TCP_PART_BYTES_ADDED_MAX, TCP_PART_BYTES_MAX
from zgen.wire.parts import PARTS, PartHeader, read_header

TakePart = Callable[[PartHeader, list[Any]], None]
_MONITORED: Final = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
)
#: What libzmq says when the mechanisms differ, and when a box cannot be opened.
_MECHANISMS_DIFFER: Final = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
_NOT_OPENED: Final = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
#: So that no name of a connection equals one of the other inbox.
_PREFIX: Final = b"tcp"


def refusal_of(event: int, value: int) -> Refusal | None:
    """Return why a handshake failed, by what a monitor says; None if it says something else."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return Refusal.OTHER_KEY
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        if value == _MECHANISMS_DIFFER:
            return Refusal.KEY_ON_ONE_SIDE
        return Refusal.OTHER_KEY if value == _NOT_OPENED else Refusal.MALFORMED
    return Refusal.CUT_SHORT if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else None


class TcpInbox:
    """Where processes of other machines are heard.

    Attributes:
        port: Port that it has.
        pending: Whether it may hold something that nobody looked for yet.
        take_part: Takes parts of regions as they came: the header, and the frames with the bytes;
            None where nobody asks for any.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", exposure: Exposure, locks: Locks | None
    ) -> None:
        """Bind it.

        Raises:
            NodeStartError: It cannot be bound there.
        """
        self._router = new_socket(context, zmq.ROUTER)
        self._router.setsockopt(zmq.BACKLOG, BACKLOG_COUNT)
        self._router.setsockopt(zmq.MAXMSGSIZE, TCP_PART_BYTES_MAX + TCP_PART_BYTES_ADDED_MAX)
        self._router.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._router.setsockopt(zmq.IPV6, int(":" in exposure.host))
        self._locks = locks
        self._doorman = None if locks is None else Doorman(context, locks.members)
        #: Those who are let in at the listener that there is, the first shown; none without locks.
        self._bound: tuple[Lock, ...] = ()
        self._listening: socket.socket | None = None
        #: Descriptor of a connection -> handshakes that had ended when it was accepted. Removed
        #: when it is closed.
        self._accepted: dict[int, int] = {}
        self._monitor = watch_monitor(
            context, self._router, "inproc://monitor-of-tcp-inbox", _MONITORED
        )
        try:
            if locks is None:
                bind(self._router, endpoint(exposure.host, exposure.port))
            else:
                self._listening = listen(exposure.host, exposure.port)
                self._bind(locks)
                if not self._bound:
                    raise NodeStartError("no descriptor is left to listen with")
        except NodeStartError:
            self.close()
            raise
        bound = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(bound.rpartition(":")[2])
        self.pending = True
        self.take_part: TakePart | None = None
        self._fd = descriptor(self._router)
        #: Refusals found and not collected yet.
        self._refused: dict[Refusal, int] = {}
        self._handshakes = 0
        # A socket that was never looked into does not say that something came.
        self._read_monitor()
        self._ask_doorman()

    def readers(self) -> list[tuple[int, Callable[[], None]]]:
        """Return the descriptors to watch, and what to do when one is readable."""
        watched = [(self._fd, self._look), (descriptor(self._monitor), self._read_monitor)]
        if self._doorman is not None:
            watched.append((self._doorman.fd, self._ask_doorman))
        return watched

    def collect(self, events: list[Event], count_max: int) -> None:
        """Add what arrived, up to ``count_max`` messages; ``pending`` says whether more may be."""
        for _ in range(count_max):
            try:
                frame = receive_frame(self._router, LAST, False)
            except zmq.Again:
                self.pending = False
                return
            connection = _PREFIX + frame.bytes
            frames: list[Any] = []
            while frame.more:
                frame = receive_frame(self._router, LAST, False)
                frames.append(frame)
            if len(frames) > 1 and self._handed_over(frames[0], frames[1:]):
                continue
            parts: list[bytes] = [frame.bytes for frame in frames]
            try:
                parts = joined(parts)
            except RemoteProtocolError:
                parts = []  # refused and counted as any message without a header
            events.append(Arrived(connection, parts))

    def rekey(self) -> None:
        """Let those in who have the keys that there are now; cut all, if one of before is gone."""
        locks, doorman = self._locks, self._doorman
        if locks is None or doorman is None:
            return
        doorman.allowed = locks.members
        each = locks.each
        if each[0] is self._bound[0] and all(lock in each for lock in self._bound):
            self._bound = each
        else:
            self._bind(locks)

    def take_refusals(self) -> list[Event]:
        """Return how many strangers were refused since the last call."""
        if self._locks is not None and self._bound[0] is not self._locks.each[0]:
            self.rekey()  # no descriptor was left for it
        if not self._refused:
            return []
        found = [StrangersRefused(why, count) for why, count in self._refused.items()]
        self._refused.clear()
        return list[Any](found)

    def close(self) -> None:
        """Close every socket of it."""
        self._router.disable_monitor()
        self._router.close(0)
        self._monitor.close(0)
        if self._doorman is not None:
            self._doorman.close()
        if self._listening is not None:
            self._listening.close()

    def _bind(self, locks: Locks) -> None:
        """Listen under the first lock, in place of the listener that there may be."""
        listening = self._listening
        assert listening is not None
        try:
            mine = os.dup(listening.fileno())
        except OSError:
            return  # no descriptor is left: tried again at the next look
        if self._bound:
            self._router.unbind(self._router.getsockopt_string(zmq.LAST_ENDPOINT))
            self._accepted.clear()
        each = locks.each
        each[0].shut(self._router)
        self._router.setsockopt(zmq.USE_FD, mine)
        host, port = listening.getsockname()[:2]
        bind(self._router, endpoint(host, port))
        self._bound = each

    def _handed_over(self, first: Any, others: list[Any]) -> bool:
        """Hand a message over that is a part of a region, uncopied; return False if it is not."""
        header = first.bytes
        if self.take_part is None or not header.startswith(PARTS):
            return False
        try:
            self.take_part(read_header(header), others)
        except RemoteProtocolError:
            return False  # refused and counted as any message without a header
        return True

    def _look(self) -> None:
        self.pending = True

    def _ask_doorman(self) -> None:
        doorman = self._doorman
        if doorman is None or doorman.gone:
            return
        try:
            doorman.answer()
        except Exception:
            # Whatever it is: nobody new is let in from now on, and who is in stays.
            doorman.close()
            self._note(Refusal.NOBODY_DECIDES)

    def _read_monitor(self) -> None:
        while (told := read_monitor(self._monitor)) is not None:
            event, value = told
            if event == zmq.EVENT_ACCEPTED:
                self._accepted[value] = self._handshakes
            elif event == zmq.EVENT_DISCONNECTED:
                # No handshake ended since it was accepted, so its own did not either.
                if self._accepted.pop(value, -1) == self._handshakes:
                    self._note(Refusal.MALFORMED)
            else:
                self._handshakes += 1
                why = refusal_of(event, value)
                if why is not None:
                    self._note(why)

    def _note(self, why: Refusal) -> None:
        self._refused[why] = self._refused.get(why, 0) + 1


def listen(host: str, port: str) -> socket.socket:
    """Return a socket that listens at a numeric host; ``*`` is any port.

    Raises:
        NodeStartError: It cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, 0 if port == "*" else int(port)))
        made.listen(BACKLOG_COUNT)
    except OSError as error:
        made.close()
        reason = error.strerror or str(error)
        raise NodeStartError(f"cannot listen at {endpoint(host, port)}: {reason}") from None
    return made
