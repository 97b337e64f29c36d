"""A file that begins anew when it is full, and the one before it: few bytes are kept."""

import os
from typing import Final

#: Behind the name of the file that was full.
OLDER: Final = ".1"


class RotatingFile:
    """A file that is only appended to.

    Attributes:
        lost: How many writes failed, as on a full disk; whoever tells of them sets it to 0.
    """

    def __init__(self, path: str, size_bytes_max: int) -> None:
        """Append to ``path``; half of ``size_bytes_max`` is this file's, half the older one's.

        Raises:
            OSError: It cannot be made or opened.
        """
        self.lost = 0
        self._path = path
        self._size_bytes_max = size_bytes_max // 2
        self._fd = self._open()
        self._size_bytes = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Append whole lines; what the disk does not take is counted, and nothing is raised."""
        try:
            if self._size_bytes and self._size_bytes + len(data) > self._size_bytes_max:
                self._begin_anew()
            self._size_bytes += os.write(self._fd, data)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin_anew(self) -> None:
        os.replace(self._path, self._path + OLDER)
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh
        self._size_bytes = 0

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)
