"""How often messages were hit: counters in files, which outlive who counts."""

import mmap
import os
import struct
from contextlib import suppress
from typing import Final

from zgen.mishaps.catalogue import Action, names
from zgen.slotted import slotted

_KINDS_COUNT: Final = 256
_COLUMNS: Final = (None, *Action)
_NUMBER: Final = struct.Struct("=Q")
_FILE_BYTES: Final = _NUMBER.size * (1 + _KINDS_COUNT * len(_COLUMNS))


@slotted
class Counted:
    """What one process counted.

    Attributes:
        name: What it is, and the how manieth of these: ``worker-3``.
        pid: Its process id.
        kinds: Name of a kind -> name of an action, or ``seen`` -> how often; without zeros.
    """

    name: str
    pid: int
    kinds: dict[str, dict[str, int]]


class Tally:
    """Counters of this process, in a file that no other one has.

    Attributes:
        name: Role and number of this process, the same in another run that starts them in order.
    """

    def __init__(self, folder: str, role: str) -> None:
        """Make the file in ``folder``.

        Raises:
            OSError: It cannot be made.
        """
        os.makedirs(folder, 0o700, exist_ok=True)
        descriptor, number = -1, 0
        while descriptor < 0:
            number += 1
            self.name = f"{role}-{number}"
            with suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(os.path.join(folder, self.name), flags, 0o600)
        try:
            os.ftruncate(descriptor, _FILE_BYTES)
            self._memory = mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            os.close(descriptor)
        _NUMBER.pack_into(self._memory, 0, os.getpid())

    def note(self, kind: int, action: Action | None) -> None:
        """Count a message of a kind that was seen, or what befell one."""
        at = _offset(kind & 0xFF, _COLUMNS.index(action))
        _NUMBER.pack_into(self._memory, at, _NUMBER.unpack_from(self._memory, at)[0] + 1)

    def close(self) -> None:
        """Count no more; the file stays."""
        self._memory.close()


def read(folder: str) -> list[Counted]:
    """Return what the processes counted whose files lie in ``folder``."""
    known = names()
    found: list[Counted] = []
    try:
        files = sorted(os.listdir(folder))
    except OSError:
        return []
    for name in files:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read(_FILE_BYTES + 1)
        except OSError:
            continue  # its folder goes
        if len(data) == _FILE_BYTES:
            kinds = {
                each: counts for kind, each in known.items() if (counts := _counts(data, kind))
            }
            found.append(Counted(name, _NUMBER.unpack_from(data, 0)[0], kinds))
    return found


def total(counted: list[Counted]) -> dict[str, dict[str, int]]:
    """Return the sums over processes, by kind and action."""
    sums: dict[str, dict[str, int]] = {}
    for each in counted:
        for kind, counts in each.kinds.items():
            row = sums.setdefault(kind, {})
            for what, count in counts.items():
                row[what] = row.get(what, 0) + count
    return sums


def hits(sums: dict[str, dict[str, int]]) -> int:
    """Return how many messages were hit."""
    return sum(count for row in sums.values() for what, count in row.items() if what != SEEN)


#: Name of the column with messages that left for the first time.
SEEN: Final = "seen"


def _counts(data: bytes, kind: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for column, action in enumerate(_COLUMNS):
        count = _NUMBER.unpack_from(data, _offset(kind, column))[0]
        if count:
            counts[SEEN if action is None else action.value] = count
    return counts


def _offset(kind: int, column: int) -> int:
    return _NUMBER.size * (1 + kind * len(_COLUMNS) + column)
