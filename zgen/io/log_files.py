"""Read the logs of this machine's nodes as they are written, whatever ends or begins meanwhile.

A node's log is `output.log` in its session folder, or a file in a folder for logs: one JSON object
a line, with the fields of ``zgen.log_lines.LogLine`` but its node. What the processes of an
embedded node write without asking anybody, such as the traceback of one that fails, stands as plain
text in `node.log`; what the daemon says is in both, and taken from the first.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from zgen.io import folders
from zgen.io.rotating import OLDER

_READ_BYTES: Final = 1 << 20
#: How the daemon's own lines begin in `node.log`.
_SAID: Final = "zgen node: "
_LOG_SUFFIX: Final = ".log"


class LogSource:
    """The log of one node.

    Attributes:
        node: First eight digits of its id.
        folder: Where its file is; changes there may mean more lines.
        pids: Processes whose deaths may be its end.
    """

    def __init__(
        self, node: str, path: str, plain_path: str | None = None, pids: tuple[int, ...] = ()
    ) -> None:
        """Read from the beginning of what is kept."""
        self.node = node
        self.folder = os.path.dirname(path)
        self.pids = pids
        self._files = [_GrowingFile(path, _row)]
        if plain_path is not None:
            self._files.append(_GrowingFile(plain_path, _plain))

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines since the last time, each with its node."""
        return [{"node": self.node, **row} for file in self._files for row in file.rows()]

    def close(self) -> None:
        """Close its files."""
        for file in self._files:
            file.close()


class _GrowingFile:
    """One file that grows, and is replaced when it is full."""

    def __init__(self, path: str, parse: Callable[[str], dict[str, Any] | None]) -> None:
        self._path = path
        self._parse = parse
        self._fd = -1
        self._partial = b""
        self._begun = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what stands there since the last time."""
        if not self._begun:
            self._begun = self._open(self._path + OLDER) or self._open(self._path)
        while self._fd >= 0:
            yield from self._parsed()
            if self._is_current():
                return
            # It was full: what was written since has been read above, unless it came just now.
            yield from self._parsed()
            if not self._open(self._path):
                return

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _parsed(self) -> Iterator[dict[str, Any]]:
        rows = (self._parse(line.decode(errors="replace")) for line in self._lines())
        yield from (row for row in rows if row is not None)

    def _lines(self) -> Iterator[bytes]:
        if os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)  # it was emptied
        while data := os.read(self._fd, _READ_BYTES):
            *whole, self._partial = (self._partial + data).split(b"\n")
            yield from whole

    def _is_current(self) -> bool:
        """Return whether no other file has taken its place; one that is gone has none."""
        try:
            there = os.stat(self._path)
        except OSError:
            return True
        here = os.fstat(self._fd)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def _open(self, path: str) -> bool:
        try:
            fresh = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self.close()
        self._fd, self._partial = fresh, b""
        return True


def sources_here() -> list[LogSource]:
    """Return the logs of this user's nodes that run here, embedded ones too."""
    return [_source_of(facts) for facts in folders.living_nodes()]


def sources_kept(folder: str) -> list[LogSource]:
    """Return the logs in a folder for logs, of nodes that run and of those that have ended.

    Raises:
        ValueError: There is no such folder.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ValueError(f"{folder}: {error.strerror}") from None
    return [
        LogSource(name[len(folders.NODE_PREFIX) : -len(_LOG_SUFFIX)], os.path.join(folder, name))
        for name in names
        if name.startswith(folders.NODE_PREFIX) and name.endswith(_LOG_SUFFIX)
    ]


def _source_of(facts: dict[str, Any]) -> LogSource:
    folder = facts["folder"]
    plain = os.path.join(folder, folders.LOG_FILE)
    name = os.path.basename(folder)[len(folders.NODE_PREFIX) :]
    path = facts.get("log", os.path.join(folder, folders.OUTPUT_FILE))
    return LogSource(name, path, plain, (facts["supervisor"], facts["daemon"]))


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None  # the disk was full in the middle of it
    return row if isinstance(row, dict) else None


def _plain(line: str) -> dict[str, Any] | None:
    if line.startswith(_SAID):
        return None
    return {
        "at": None,
        "process": "node",
        "pid": 0,
        "worker": None,
        "stream": "stderr",
        "line": line,
    }
