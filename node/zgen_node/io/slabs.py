"""Shared memory of the node: slabs, and the socket where processes get their descriptors.

A slab is a memfd; one that is a single room is a file without a name in a folder of memory that has
huge pages, where there is such a folder. The daemon's descriptor of it is given away as it is to
who writes; who reads gets one that was opened anew for reading only, by which nothing can be mapped
to be written. The socket lies in the session folder, which nobody but this user may enter;
``zgen.io.descriptors`` is its other end and says what a request looks like. What a request cannot
be closes its connection.
"""

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from zgen.io.descriptors import FAILED, GIVEN, REQUEST, SOCKET_NAME, UNKNOWN
from zgen_node.io import linux
from zgen_node.io.processes import Watcher

_BACKLOG_COUNT: Final = 1024
#: Connections, and requests of one connection, that are taken in a row.
_IN_A_ROW_MAX: Final = 16
#: What lists of open files show of a slab.
_NAME: Final = "zgen-slab"
#: Stands for the descriptor of a slab that could not be made.
_NONE: Final = -1


class Slabs:
    """The slabs of a node by their numbers."""

    def __init__(
        self,
        folder: str,
        watcher: Watcher,
        report: Callable[[str, str], None],
        memory_fd: int | None = None,
    ) -> None:
        """Serve descriptors.

        Args:
            folder: Session folder of the node.
            watcher: Tells when there are requests.
            report: Is told (level, text) of what cannot be done.
            memory_fd: Descriptor of a folder to make slabs in, closed by ``end``; None for memfds.

        Raises:
            OSError: The socket cannot be made.
        """
        self._memory_fd = memory_fd
        self._watcher = watcher
        self._report = report
        #: Slab -> its descriptor. Added by ``create``; removed by ``close``.
        self._slabs: dict[int, int] = {}
        #: Who asked at least once, or may. Added when it connects; removed when it is gone.
        self._connections: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        #: Whether nobody is let in for want of descriptors, until one is closed here.
        self._crowded = True
        try:
            self._listener.bind(os.path.join(folder, SOCKET_NAME))
            self._listener.listen(_BACKLOG_COUNT)
        except BaseException:
            self._listener.close()
            raise
        self._let_in()

    # -- slabs -------------------------------------------------------------------------------------
    def create(self, slab: int, size_bytes: int, *, is_shared: bool = False) -> None:
        """Make a slab. If that cannot be, whoever asks for it is told so.

        Args:
            slab: Its number.
            size_bytes: Its bytes.
            is_shared: Whether it is cut into rooms. Those take memory one by one, and a huge page
                would take it for others of them, too.
        """
        assert slab not in self._slabs, slab
        self._slabs[slab] = _NONE
        try:
            descriptor = self._new_file(slab, is_huge=not is_shared)
        except OSError as error:
            self._report("error", f"slab {slab} cannot be made: {error}")
            return
        try:
            os.ftruncate(descriptor, size_bytes)
        except OSError as error:
            os.close(descriptor)
            self._report("error", f"slab {slab} of {size_bytes} bytes cannot be made: {error}")
            return
        self._slabs[slab] = descriptor

    def punch(self, slab: int, offset: int, size_bytes: int) -> None:
        """Give the pages of a part of a slab back to the machine."""
        if self._slabs[slab] == _NONE:
            return
        try:
            linux.punch_hole(self._slabs[slab], offset, size_bytes)
        except OSError as error:
            self._report("error", f"memory of slab {slab} cannot be given back: {error}")

    def close(self, slab: int) -> None:
        """Forget a slab; what others have of it stays."""
        descriptor = self._slabs.pop(slab)
        if descriptor != _NONE:
            os.close(descriptor)
            self._let_in()

    def copy_of(self, slab: int) -> int:
        """Return another descriptor of a slab, to be closed by the caller.

        Raises:
            OSError: The slab could not be made, or no descriptor is left.
        """
        if self._slabs[slab] == _NONE:
            raise OSError(errno.ENOMEM, f"slab {slab} could not be made")
        return os.dup(self._slabs[slab])

    def end(self) -> None:
        """Close everything; harmless twice."""
        if not self._crowded and self._listener.fileno() >= 0:
            self._watcher.unwatch(self._listener.fileno())
        self._crowded = False  # nobody is let in any more
        self._listener.close()
        for connection in list(self._connections.values()):
            self._hang_up(connection)
        for slab in list(self._slabs):
            self.close(slab)
        if self._memory_fd is not None:
            os.close(self._memory_fd)
            self._memory_fd = None

    def _new_file(self, slab: int, *, is_huge: bool) -> int:
        """Return the descriptor of an empty file in memory that nothing else refers to.

        Raises:
            OSError: There is none.
        """
        if self._memory_fd is None or not is_huge:
            return os.memfd_create(_NAME, os.MFD_CLOEXEC)
        name, flags = f"{_NAME}-{slab}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._memory_fd)
        os.unlink(name, dir_fd=self._memory_fd)
        return descriptor

    # -- descriptors -------------------------------------------------------------------------------
    def _let_in(self) -> None:
        """Let processes connect, as a descriptor may be free again."""
        if self._crowded:
            self._crowded = False
            self._watcher.watch(self._listener.fileno(), self._on_connect)

    def _on_connect(self) -> None:
        for _ in range(_IN_A_ROW_MAX):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # it stays readable, so it must not be watched
                self._report("error", f"no process can be given shared memory: {error}")
                self._crowded = True
                self._watcher.unwatch(self._listener.fileno())
                return
            connection.setblocking(False)
            self._connections[connection.fileno()] = connection
            self._watcher.watch(connection.fileno(), partial(self._on_request, connection))

    def _on_request(self, connection: socket.socket) -> None:
        for _ in range(_IN_A_ROW_MAX):
            if connection.fileno() < 0:
                return  # hung up in this round
            try:
                request = connection.recv(REQUEST.size + 1)  # one more tells what is too long
            except BlockingIOError:
                return
            except OSError:
                request = b""
            if not self._answer(connection, request):
                self._hang_up(connection)

    def _answer(self, connection: socket.socket, request: bytes) -> bool:
        """Answer one request; return False if it is none, or if nobody takes the answer."""
        if len(request) != REQUEST.size:
            return False
        slab, writes = REQUEST.unpack(request)
        if writes > 1:
            return False
        held = self._slabs.get(slab)
        if held is None:
            return _send(connection, UNKNOWN, ())
        if held == _NONE:
            return _send(connection, FAILED, ())
        if writes:
            return _send(connection, GIVEN, (held,))
        try:
            readable = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._report("error", f"slab {slab} cannot be opened: {error}")
            return _send(connection, FAILED, ())
        try:
            return _send(connection, GIVEN, (readable,))
        finally:
            os.close(readable)

    def _hang_up(self, connection: socket.socket) -> None:
        del self._connections[connection.fileno()]
        self._watcher.unwatch(connection.fileno())
        connection.close()
        self._let_in()


def _send(connection: socket.socket, status: bytes, descriptors: tuple[int, ...]) -> bool:
    """Send an answer; return False if the other side does not take it."""
    try:
        if descriptors:
            socket.send_fds(connection, [status], descriptors)
        else:
            connection.send(status)
    except OSError as error:
        # Too many descriptors of this user are on their way already.
        return error.errno == errno.ETOOMANYREFS and _send(connection, FAILED, ())
    return True
