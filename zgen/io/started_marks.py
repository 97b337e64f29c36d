"""Note outside this process which task it has begun, for who finds it dead."""

import mmap
import struct
from collections.abc import Callable
from typing import Final

from zgen.core.effects import StartTask

#: Layout of the started-marks: lease id, pushes started under it.
_MARK: Final = struct.Struct("=16sQ")


def started_marks(marks_fd: int) -> Callable[[StartTask], None]:
    """Return what notes that a task has begun.

    Args:
        marks_fd: Memory that outlives this process, or -1 to note it nowhere.
    """
    if marks_fd < 0:
        return lambda start: None
    marks = mmap.mmap(marks_fd, _MARK.size)

    def note(start: StartTask) -> None:
        _MARK.pack_into(marks, 0, start.lease, start.push + 1)

    return note
