"""Wait until something changes in some folders, or some processes die: by inotify and pidfds."""

import ctypes
import os
import select
from typing import Final

_IN_MODIFY: Final = 0x0002
_IN_MOVED_FROM: Final = 0x0040
_IN_MOVED_TO: Final = 0x0080
_IN_CREATE: Final = 0x0100
_IN_DELETE: Final = 0x0200
_IN_DELETE_SELF: Final = 0x0400
_CHANGES: Final = (
    _IN_MODIFY | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF
)
_READ_BYTES: Final = 64 << 10


class Changes:
    """What changes in the folders and processes that are watched."""

    def __init__(self) -> None:
        """Watch nothing yet.

        Raises:
            OSError: The kernel allows this user no more of them.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        #: Process id -> its pidfd; -1 once its death was told.
        self._pidfds: dict[int, int] = {}

    def watch(self, folder: str) -> bool:
        """Watch a folder too; harmless twice. Return whether it is there.

        Raises:
            OSError: The kernel allows this user to watch no more.
        """
        path = os.fsencode(folder)
        try:
            self._checked(self._libc.inotify_add_watch(self._fd, path, _CHANGES), folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def watch_process(self, pid: int) -> None:
        """Watch for the death of a process too; harmless twice."""
        if pid not in self._pidfds:
            try:
                self._pidfds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                self._pidfds[pid] = -1
            else:
                self._poll.register(self._pidfds[pid], select.POLLIN)

    def wait(self) -> None:
        """Wait until something has changed since ``watch`` or the last time."""
        ready = [descriptor for descriptor, _ in self._poll.poll()]
        for pid, pidfd in self._pidfds.items():
            if pidfd in ready:
                self._forget(pid)
        try:
            while os.read(self._fd, _READ_BYTES):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Watch nothing any more."""
        for pid in self._pidfds:
            self._forget(pid)
        os.close(self._fd)

    def _forget(self, pid: int) -> None:
        if (pidfd := self._pidfds[pid]) >= 0:
            self._poll.unregister(pidfd)
            os.close(pidfd)
            self._pidfds[pid] = -1

    def _checked(self, result: int, what: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)
        return result
