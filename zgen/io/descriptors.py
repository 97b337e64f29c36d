"""Ask the node of this machine for the descriptor of a slab of shared memory.

A SOCK_SEQPACKET socket in the session folder. One request is one packet, the number of a slab and
whether it will be written; one answer is one packet, a status byte with the descriptor beside it.
Answers come in the order of requests. A daemon that is stopped is waited for; one that is dead
closes the socket, since nobody else has its end.
"""

import errno
import os
import socket
import struct
import threading
from contextlib import suppress
from typing import Final

from zgen.exceptions import NodeDiedError, ObjectLostError
from zgen.io.folders import NODE_PREFIX

#: Name of the node's socket in its session folder.
SOCKET_NAME: Final = "objects"
#: Number of the slab, and 1 if it will be written or 0 if not.
REQUEST: Final = struct.Struct("=QB")
#: The descriptor lies beside this answer.
GIVEN: Final = b"\0"
#: The node has no such slab.
UNKNOWN: Final = b"\1"
#: The node could not open it; it has no descriptors left, for one.
FAILED: Final = b"\2"

_FD: Final = struct.Struct("=i")


class Descriptors:
    """Where the slabs of one node are asked for; from any thread.

    A node that is gone never comes back under the same folder, so nobody looks for it again.
    """

    def __init__(self, folder: str) -> None:
        """Ask the node in ``folder``, from the first ``fetch`` on."""
        self._folder = folder
        self._lock = threading.Lock()
        #: Opened by the first ``fetch``; after a request without its answer, by the next one.
        self._socket: socket.socket | None = None
        #: Why nobody answers any more; empty while somebody may.
        self._gone = ""

    def fetch(self, slab: int, *, write: bool) -> int:
        """Return a descriptor of a slab, to be closed by the caller.

        Args:
            slab: Its number.
            write: Whether it will be written; otherwise it cannot be.

        Raises:
            NodeDiedError: The node is gone, or this was closed.
            ObjectLostError: The node has no such slab.
            OSError: The node could not open it, or this process has no descriptors left.
        """
        with self._lock:
            status, descriptors = self._ask(REQUEST.pack(slab, write))
        if descriptors:
            return descriptors[0]
        if status == UNKNOWN:
            raise ObjectLostError(story=f"its node has no slab {slab}")
        if status == GIVEN:
            raise OSError(errno.EMFILE, f"no descriptor is left here for slab {slab}")
        raise OSError(errno.EMFILE, f"the node could not open slab {slab}")

    def close(self) -> None:
        """Let go of the connection, and of who waits for it; what was fetched stays."""
        self._gone = self._gone or "zgen was shut down"
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._drop()

    def _ask(self, request: bytes) -> tuple[bytes, list[int]]:
        status, descriptors = b"", list[int]()
        try:
            if not self._gone:
                connection = self._socket or self._connect()
                connection.send(request, socket.MSG_NOSIGNAL)
                status, descriptors = receive(connection, 1, 1)
        except (ConnectionError, FileNotFoundError) as error:
            self._gone = self._gone or str(error)
        finally:
            if not status:  # its answer may still come, and is nobody's
                self._drop()
        if not status:
            self._gone = self._gone or "it closed the connection"
            node = os.path.basename(self._folder).removeprefix(NODE_PREFIX)
            raise NodeDiedError(node, self._gone)
        return status, descriptors

    def _connect(self) -> socket.socket:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.connect(os.path.join(self._folder, SOCKET_NAME))
        return self._socket

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def receive(
    connection: socket.socket, size_bytes: int, descriptors_count: int
) -> tuple[bytes, list[int]]:
    """Return the next packet and the descriptors with it, which no child process inherits.

    ``socket.recv_fds`` of Python 3.11 forgets its flags.
    """
    room = socket.CMSG_LEN(descriptors_count * _FD.size)
    packet, beside, _, _ = connection.recvmsg(size_bytes, room, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for _, _, data in beside:
        whole = len(data) - len(data) % _FD.size
        descriptors += [descriptor for (descriptor,) in _FD.iter_unpack(data[:whole])]
    return packet, descriptors
