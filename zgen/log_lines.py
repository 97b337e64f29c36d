"""`zgen logs`: what this machine's nodes and their workers say, as text and as JSON lines."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from zgen.io import folders, log_files
from zgen.io.inotify import Changes
from zgen.io.log_files import LogSource

_STDERR: Final = "stderr"


@dataclass(frozen=True)
class LogLine:
    """One line.

    Attributes:
        node: First eight digits of the node's id.
        at: When the node read it, in seconds since 1970; None if nobody noted that.
        process: Who wrote it: ``worker``, ``daemon``, or ``node`` for any process of the node that
            wrote past its log, such as one that fails.
        pid: Its process id; 0 if that is not known.
        worker: Id of the worker; None of others.
        stream: ``stdout`` or ``stderr``.
        line: The line without its end.
    """

    node: str
    at: float | None
    process: str
    pid: int
    worker: str | None
    stream: str
    line: str


@dataclass(frozen=True)
class LogChoice:
    """Which lines are wanted.

    Attributes:
        node: Id of a node or its beginning, its session folder or its endpoint; None for all.
        pid: Process id; None for all.
        worker: Id of a worker or its beginning; None for all.
        folder: A folder for logs to read in place of the nodes that run; None for those.
    """

    node: str | None = None
    pid: int | None = None
    worker: str | None = None
    folder: str | None = None

    def fits(self, line: LogLine) -> bool:
        """Return whether a line of one of the nodes is wanted."""
        return (self.pid is None or line.pid == self.pid) and (
            self.worker is None or (line.worker or "").startswith(self.worker)
        )


def log_lines(choice: LogChoice, tail: int | None, follow: bool) -> Iterator[LogLine]:
    """Yield what is kept, by time, and with ``follow`` what is written from then on, as it comes.

    With ``follow`` and a node it ends when that node does; with ``follow`` alone it goes on with
    nodes that begin later, and never ends.

    Args:
        choice: Which lines.
        tail: At most so many of what is kept, the last ones; None for all.
        follow: Whether to wait for more.

    Raises:
        ValueError: No such node runs here, or the node is on another machine.
        OSError: The kernel allows this user to wait for no more files.
    """
    followed = _Followed(choice)
    changes = Changes() if follow else None
    try:
        if changes is not None:
            followed.watch(changes)
        kept = sorted(followed.lines(), key=lambda line: line.at or 0.0)
        yield from kept if tail is None else kept[len(kept) - min(tail, len(kept)) :]
        while changes is not None and not followed.over():
            changes.wait()
            followed.look()
            followed.watch(changes)
            yield from followed.lines()
    finally:
        followed.close()
        if changes is not None:
            changes.close()


def line_json(line: LogLine) -> str:
    """Return a line for programs."""
    return json.dumps(asdict(line))


def line_text(line: LogLine) -> str:
    """Return a line for people."""
    at = ""
    if line.at is not None:
        at = datetime.fromtimestamp(line.at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    who = f"{line.process} {line.pid}" if line.pid else line.process
    mark = "!" if line.stream == _STDERR and line.process == "worker" else "|"
    return f"{at:12} {line.node} {who:14} {mark} {line.line}"


class _Followed:
    """The logs that are read."""

    def __init__(self, choice: LogChoice) -> None:
        self._choice = choice
        #: Node -> its log. Added by ``look``; removed once its node has ended and it was read.
        self._sources: dict[str, LogSource] = {}
        self._gone: dict[str, None] = {}
        self.look()
        if not self._sources:
            raise ValueError(_nowhere(choice))

    def look(self) -> None:
        """Find the nodes that are there now."""
        here = {source.node: source for source in self._wanted()}
        for node, source in here.items():
            if node in self._sources:
                source.close()
            else:
                self._sources[node] = source
        self._gone = {node: None for node in self._sources if node not in here}

    def watch(self, changes: Changes) -> None:
        """Watch where these nodes write, and where others would begin."""
        if self._choice.folder is None:
            changes.watch(folders.runtime_folder())
        for source in self._sources.values():
            changes.watch(source.folder)
            for pid in source.pids:
                changes.watch_process(pid)

    def lines(self) -> Iterator[LogLine]:
        """Yield what was written since the last time."""
        for source in self._sources.values():
            for line in (LogLine(**row) for row in source.rows()):
                if self._choice.fits(line):
                    yield line
        for node in self._gone:
            self._sources.pop(node).close()
        self._gone.clear()

    def over(self) -> bool:
        """Return whether nothing more can come."""
        return not self._sources and self._choice.node is not None

    def close(self) -> None:
        """Close all files."""
        for source in self._sources.values():
            source.close()

    def _wanted(self) -> list[LogSource]:
        choice = self._choice
        if choice.folder is not None:
            found = log_files.sources_kept(choice.folder)
        else:
            found = log_files.sources_here()
        if choice.node is None:
            return found
        name = _node_name(choice.node)
        return [each for each in found if each.node.startswith(name) or name.startswith(each.node)]


def _node_name(given: str) -> str:
    """Return the digits of a node's id that its session folder, its endpoint or itself say."""
    if given.startswith("tcp://"):
        raise ValueError(
            f"{given} may be another machine, and logs are read from files of this one: "
            "run `zgen logs` there, or here with --node and an id that `zgen list nodes` shows"
        )
    path = given.removeprefix("ipc://")
    if path.endswith(".sock"):
        path = os.path.dirname(path)
    name = os.path.basename(path.rstrip("/")).removeprefix(folders.NODE_PREFIX)
    if not name:
        raise ValueError("name a node by its id, its folder or its endpoint")
    return name


def _nowhere(choice: LogChoice) -> str:
    if choice.folder is not None:
        return f"{choice.folder} has no log of {choice.node or 'any node'}"
    if choice.node is None:
        return "no node of this user runs here; `zgen logs --folder DIR` reads those that were kept"
    return (
        f"no node {choice.node} of this user runs here; logs of nodes on other machines are "
        "read there"
    )
