"""Write down what goes through a machine, one line a step, for replay and for people.

The first line of a record makes the machine, as an expression; each further one is a step::

    now_ns <tab> event <tab> list of effects

Events and effects stand there as their reprs, which read back: ``eval`` in a namespace of the
classes of ``zgen.core`` and ``zgen.wire`` gives equal ones. A killed process may leave a last line
without its end.
"""

import os
from typing import Final, Protocol

from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.ids import PeerId, short

#: Folder to record into; unset means no recording.
RECORD_VARIABLE: Final = "ZGEN_RECORD"


class Recorder(Protocol):
    """Writes down what went through a machine."""

    def __call__(self, now_ns: int, event: Event, effects: list[Effect]) -> None:
        """Note one step."""


def beside(first: Recorder | None, second: Recorder) -> Recorder:
    """Return what tells both of each step."""
    if first is None:
        return second

    def tell(now_ns: int, event: Event, effects: list[Effect]) -> None:
        first(now_ns, event, effects)
        second(now_ns, event, effects)

    return tell


class FileRecorder:
    """Writes a record; each line is in the file before the effects of its step are performed."""

    def __init__(self, path: str, machine: str) -> None:
        """Begin a new file at ``path`` with the expression that makes the machine."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._write(machine)

    def __call__(self, now_ns: int, event: Event, effects: list[Effect]) -> None:
        """Note one step."""
        if self._fd >= 0:
            self._write(line_of(now_ns, event, effects))

    def close(self) -> None:
        """Close the file; steps after that are not noted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: str) -> None:
        left = memoryview(f"{line}\n".encode())
        while left:
            left = left[os.write(self._fd, left) :]


def line_of(now_ns: int, event: Event, effects: list[Effect]) -> str:
    """Return what is written for one step, without the line's end."""
    return f"{now_ns}\t{event!r}\t{effects!r}"


def recorder_from_environment(role: str, peer: PeerId, machine: str) -> FileRecorder | None:
    """Return a recorder if ``ZGEN_RECORD`` names a folder.

    Args:
        role: What the process is: ``driver``, ``worker`` or ``daemon``.
        peer: Its id, which names the file.
        machine: Expression that makes its machine.
    """
    folder = os.environ.get(RECORD_VARIABLE)
    if not folder:
        return None
    return FileRecorder(os.path.join(folder, f"{role}-{short(peer)}.record"), machine)
