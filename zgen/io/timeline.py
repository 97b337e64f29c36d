"""Note when a process submits tasks, runs them and waits, for `zgen timeline`; off by default.

It listens to the steps of a loop, as a recorder does, so nothing is looked at where there is none.
A line of the file is a JSON array: what, when in ns of the machine's clock, and more by what::

    ["submit", ns, task, name]              this process asked for a task or a call
    ["start", ns, task, attempt, name]      a body began here
    ["end", ns, task, attempt, outcome]     it ended, as ``OUTCOME_`` in ``zgen.wire.task`` says
    ["items", ns, task, attempt, count]     it has yielded so many; told at most every millisecond
    ["block", ns, task, blocked]            it began to wait for others, or that is over
    ["put", ns, bytes]                      the user put a value of so many bytes, at least
    ["wait", ns, until_ns]                  the program waited, for 0.1 ms at least

Names are those of functions and methods. Arguments, results and items are never looked into.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from zgen.core.actor_events import CallActor, CreateActor
from zgen.core.effects import Effect, StartTask
from zgen.core.events import BodyBlocked, Event, PutObject, SubmitTask, TaskEnded, Yielded
from zgen.ids import PeerId, TaskId, short
from zgen.io.clock import now_ns
from zgen.io.folders import TIMELINE_PREFIX
from zgen.io.loop import Loop
from zgen.io.rotating import RotatingFile
from zgen.limits import MS
from zgen.wire.value import Parcel, Stored, Value

#: In the environment of a program: record; its workers inherit it.
TIMELINE_VARIABLE: Final = "ZGEN_TIMELINE"
#: Bytes of what one process notes; the oldest goes first.
TIMELINE_BYTES_MAX: Final = 2 << 20
#: Processes of a node whose files are kept; those written least recently go first.
TIMELINES_COUNT_MAX: Final = 256
_ITEMS_PERIOD_NS: Final = 1 * MS
_WAIT_NS_MIN: Final = MS // 10


class Timeline:
    """What one process notes."""

    def __init__(self, folder: str, role: str, peer: PeerId) -> None:
        """Begin a file in the session folder of the node.

        Args:
            folder: The session folder.
            role: ``driver`` or ``worker``.
            peer: Id of this process.

        Raises:
            OSError: The file cannot be made.
        """
        _make_room(folder)
        name = f"{TIMELINE_PREFIX}{role}-{os.getpid()}-{short(peer)}"
        self._file = RotatingFile(os.path.join(folder, name), TIMELINE_BYTES_MAX)
        #: Running generator -> its attempt, how many items it has yielded, and when that was noted.
        #: Added by its first item; removed by its end.
        self._items: dict[TaskId, tuple[int, int, int]] = {}
        self._handlers: dict[type, Callable[[int, Any], None]] = {
            SubmitTask: self._on_submit,
            CallActor: self._on_submit,
            CreateActor: self._on_submit,
            PutObject: self._on_put,
            Yielded: self._on_yielded,
            TaskEnded: self._on_ended,
            BodyBlocked: self._on_blocked,
        }

    def __call__(self, now_ns: int, event: Event, effects: list[Effect]) -> None:
        """Note one step of the machine."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(now_ns, event)
        for effect in effects:
            if type(effect) is StartTask:
                task = effect.task
                self._write("start", now_ns, task.task.hex(), task.attempt, task.name)

    def waited(self, began_ns: int, ended_ns: int) -> None:
        """Note that the program waited, unless that was short."""
        if ended_ns - began_ns >= _WAIT_NS_MIN:
            self._write("wait", began_ns, ended_ns)

    def close(self) -> None:
        """Note nothing more; the file stays until its node ends."""
        self._file.close()

    def _on_submit(self, now_ns: int, event: SubmitTask | CallActor | CreateActor) -> None:
        self._write("submit", now_ns, event.spec.task.hex(), event.spec.name)

    def _on_put(self, now_ns: int, event: PutObject) -> None:
        self._write("put", now_ns, _size_bytes(event.value))

    def _on_yielded(self, now_ns: int, event: Yielded) -> None:
        _, count, noted_ns = self._items.get(event.task, (0, 0, 0))
        if now_ns - noted_ns >= _ITEMS_PERIOD_NS:
            noted_ns = now_ns
            self._write("items", now_ns, event.task.hex(), event.attempt, count + 1)
        self._items[event.task] = event.attempt, count + 1, noted_ns

    def _on_ended(self, now_ns: int, event: TaskEnded) -> None:
        items = self._items.pop(event.task, None)
        if items is not None:
            self._write("items", now_ns, event.task.hex(), *items[:2])
        self._write("end", now_ns, event.task.hex(), event.attempt, event.outcome)

    def _on_blocked(self, now_ns: int, event: BodyBlocked) -> None:
        self._write("block", now_ns, event.task.hex(), event.blocked)

    def _write(self, *row: object) -> None:
        self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")


def is_wanted() -> bool:
    """Return whether the environment asks for it."""
    return os.environ.get(TIMELINE_VARIABLE, "") not in ("", "0")


def begin(loop: Loop, folder: str, role: str, peer: PeerId) -> Timeline | None:
    """Note what ``loop`` steps from now on; None if there is no room for a file.

    A driver's waits are noted too; in a worker ``BodyBlocked`` tells of them.
    """
    try:
        timeline = Timeline(folder, role, peer)
    except OSError:
        return None
    loop.record(timeline)
    if role == "driver":
        loop.wait = _timed(loop.wait, timeline)  # type: ignore[method-assign]  # nothing if it is off
    return timeline


def _timed(wait: Callable[..., bool], timeline: Timeline) -> Callable[..., bool]:
    def timed(*arguments: Any) -> bool:
        began_ns = now_ns()
        try:
            return wait(*arguments)
        finally:
            timeline.waited(began_ns, now_ns())

    return timed


def _size_bytes(value: Value) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Stored):
        return sum(value.sizes)
    return len(value.data) + sum(map(len, value.buffers)) if isinstance(value, Parcel) else 0


def _make_room(folder: str) -> None:
    """Remove the files of processes that wrote nothing for longest."""
    with suppress(OSError), os.scandir(folder) as scan:
        found = [entry for entry in scan if entry.name.startswith(TIMELINE_PREFIX)]
        found.sort(key=lambda entry: entry.stat().st_mtime_ns)
        for entry in found[: -2 * TIMELINES_COUNT_MAX + 2]:
            os.unlink(entry.path)
