"""`zgen timeline`: what this machine's processes ran when, in Chrome's trace-event format.

Each process is a row group, named after its node. Bodies are slices; those that run at the same
time lie on lanes of their own. A task's submission is a slice of half a microsecond, with an arrow
to each of its attempts. What a body that never ended was doing is known by ``ended: false``.
Perfetto (https://ui.perfetto.dev) and chrome://tracing open it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from zgen.io import folders
from zgen.io.clock import now_ns, wall_s
from zgen.io.rotating import OLDER
from zgen.io.timeline import TIMELINE_VARIABLE
from zgen.limits import SECOND
from zgen.runtime import start
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    OUTCOME_WITHDRAWN,
)

TraceEvent = dict[str, Any]

#: Rows of a process: what its program asks for, from here on its bodies, from here on what the
#: threads of its program wait for.
_PROGRAM, _BODIES, _WAITS = 1, 2, 100_000
_SUBMIT_US: Final = 0.5
_OUTCOMES: Final = {
    OUTCOME_VALUE: "value",
    OUTCOME_ERROR: "error",
    OUTCOME_RETRY: "error",
    OUTCOME_CANCELLED: "cancelled",
    OUTCOME_WITHDRAWN: "cancelled",
}


@dataclass
class _Body:
    """One execution of a task.

    Attributes:
        task: The task.
        attempt: Which execution.
        name: Of the function.
        start_ns: When it began.
        end_ns: When it ended; None if nobody saw that.
        outcome: How.
        lane: Its row among the bodies of its process.
        waits: When it began to wait for others, and until when.
    """

    task: str
    attempt: int
    name: str
    start_ns: int
    end_ns: int | None = None
    outcome: int | None = None
    lane: int = 0
    waits: list[tuple[int, int]] = field(default_factory=list)


class _Process:
    """What one process noted."""

    def __init__(self, node: str, role: str, pid: int, rows: list[list[Any]]) -> None:
        self.node, self.role, self.pid, self.rows = node, role, pid, rows
        self.last_ns = max((row[1] for row in rows), default=0)
        self.bodies: list[_Body] = []
        #: Row of each wait of the program, when it began, and until when.
        self.waits: list[tuple[int, int, int]] = []
        self._running: dict[str, _Body] = {}
        self._blocked: dict[str, int] = {}
        for row in rows:
            match row:
                case ["start", ns, task, attempt, name]:
                    self._start(_Body(task, attempt, name, ns))
                case ["end", ns, task, attempt, outcome]:
                    self._end(ns, task, attempt, outcome)
                case ["block", ns, task, blocked]:
                    self._block(ns, task, blocked)
                case _:
                    pass  # no part of a body
        self._lay_waits([(row[1], row[2]) for row in rows if row[0] == "wait"])

    def _start(self, body: _Body) -> None:
        taken = [other.lane for other in self._running.values()]
        body.lane = next(lane for lane in range(len(taken) + 1) if lane not in taken)
        self._running[body.task] = body
        self.bodies.append(body)

    def _end(self, ns: int, task: str, attempt: int, outcome: int) -> None:
        body = self._running.get(task)
        if body is None or body.attempt != attempt:
            return  # its beginning is no longer kept
        self._unblock(body, ns)
        body.end_ns, body.outcome = ns, outcome
        del self._running[task]

    def _block(self, ns: int, task: str, blocked: bool) -> None:
        body = self._running.get(task)
        if body is None and not task.strip("0"):  # the one task of a plain worker
            body = next(iter(self._running.values()), None)
        if body is None:
            return
        if blocked:
            self._blocked.setdefault(body.task, ns)
        else:
            self._unblock(body, ns)

    def _lay_waits(self, waits: list[tuple[int, int]]) -> None:
        """Lay waits on rows, so that those of several threads do not overlap."""
        free_ns: list[int] = []
        for began_ns, until_ns in sorted(waits):
            lane = next((n for n, ns in enumerate(free_ns) if ns <= began_ns), len(free_ns))
            free_ns[lane : lane + 1] = [until_ns]
            self.waits.append((lane, began_ns, until_ns))

    def _unblock(self, body: _Body, ns: int) -> None:
        began_ns = self._blocked.pop(body.task, None)
        if began_ns is not None:
            body.waits.append((began_ns, ns))


def timeline(filename: str | None = None) -> list[TraceEvent] | None:
    """Return or write what the processes of this node ran when, in Chrome's trace-event format.

    Args:
        filename: File to write; None to return the events.

    Raises:
        RuntimeError: Nothing is noted: zgen does not run, or was started without ``timeline=True``.
        OSError: The file cannot be written.
    """
    driver = start.driver
    if driver is None or driver.timeline is None:
        raise RuntimeError(
            f"nothing is noted; start with zgen.init(timeline=True) or {TIMELINE_VARIABLE}=1"
        )
    events = trace_events([driver.node.folder])
    if filename is None:
        return events
    write(filename, events)
    return None


def trace_events(session_folders: list[str]) -> list[TraceEvent]:
    """Return the events of the nodes in these folders: names of rows first, the rest by time."""
    processes = [process for folder in session_folders for process in _processes(folder)]
    offset_ns = round(wall_s() * SECOND) - now_ns()
    started = {(body.task, body.attempt) for process in processes for body in process.bodies}
    attempts: dict[str, list[int]] = {}
    for task, attempt in sorted(started):
        attempts.setdefault(task, []).append(attempt)
    submitted = {row[2] for process in processes for row in process.rows if row[0] == "submit"}
    named = [event for process in processes for event in _rows(process)]
    events = [
        event for process in processes for event in _events(process, attempts, submitted, offset_ns)
    ]
    return named + sorted(events, key=lambda event: float(event["ts"]))


def write(path: str, events: list[TraceEvent]) -> None:
    """Write events to a file that Perfetto opens.

    Raises:
        OSError: It cannot be written.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(trace_text(events))


def trace_text(events: list[TraceEvent]) -> str:
    """Return events as the text of such a file."""
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n"


# -- events ----------------------------------------------------------------------------------------
def _rows(process: _Process) -> Iterator[TraceEvent]:
    """Yield the names of the rows of a process."""
    name = f"{process.role} {process.pid} of node {process.node}"
    lanes = 1 + max((body.lane for body in process.bodies), default=-1)
    threads = {_PROGRAM: "submits"}
    threads |= {_WAITS + lane: f"waits {lane + 1}" for lane, _, _ in process.waits}
    threads |= {_BODIES + lane: f"bodies {lane + 1}" for lane in range(lanes)}
    yield _named("process_name", process.pid, 0, name=name)
    yield _named("process_sort_index", process.pid, 0, sort_index=int(process.role != "driver"))
    for tid, told in threads.items():
        yield _named("thread_name", process.pid, tid, name=told)


def _named(what: str, pid: int, tid: int, **told: Any) -> TraceEvent:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": told}


def _events(
    process: _Process, attempts: dict[str, list[int]], submitted: set[str], offset_ns: int
) -> Iterator[TraceEvent]:
    """Yield what happened in a process; arrows only where both of their ends are known."""

    def event(ph: str, name: str, ns: int, tid: int, **more: Any) -> TraceEvent:
        at = {"pid": process.pid, "tid": tid, "ts": (ns + offset_ns) / 1000}
        return {"ph": ph, "name": name, "cat": "zgen", **at, **more}

    for row in process.rows:
        match row:
            case ["submit", ns, task, name]:
                args = {"task": task}
                yield event("X", f"submit {name}", ns, _PROGRAM, dur=_SUBMIT_US, args=args)
                for attempt in attempts.get(task, ()):
                    yield event("s", name, ns, _PROGRAM, id=f"{task}.{attempt}")
            case ["put", ns, size_bytes]:
                yield event("i", "put", ns, _PROGRAM, s="t", args={"bytes": size_bytes})
            case ["items", ns, task, attempt, count]:
                yield event("C", f"items of {task[:8]}", ns, 0, args={"yielded": count})
            case _:
                pass  # part of a body or a wait
    for lane, ns, until_ns in process.waits:
        yield event("X", "wait", ns, _WAITS + lane, dur=(until_ns - ns) / 1000)
    for body in process.bodies:
        tid = _BODIES + body.lane
        end_ns = process.last_ns if body.end_ns is None else body.end_ns
        told = {"task": body.task, "attempt": body.attempt, "ended": body.end_ns is not None}
        if body.outcome is not None:
            told["outcome"] = _OUTCOMES.get(body.outcome, str(body.outcome))
        dur = (end_ns - body.start_ns) / 1000
        yield event("X", body.name, body.start_ns, tid, dur=dur, args=told)
        if body.task in submitted:
            arrow = f"{body.task}.{body.attempt}"
            yield event("f", body.name, body.start_ns, tid, bp="e", id=arrow)
        if body.attempt:
            yield event("i", f"restart of {body.name}", body.start_ns, tid, s="t")
        for began_ns, until_ns in body.waits:
            yield event("X", "wait", began_ns, tid, dur=(until_ns - began_ns) / 1000)


# -- files -----------------------------------------------------------------------------------------
def _processes(folder: str) -> Iterator[_Process]:
    """Yield what the processes of the node in a session folder noted."""
    node = os.path.basename(folder).removeprefix(folders.NODE_PREFIX)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in dict.fromkeys(name.removesuffix(OLDER) for name in names):
        if name.startswith(folders.TIMELINE_PREFIX):
            role, pid, _ = name.removeprefix(folders.TIMELINE_PREFIX).split("-")
            path = os.path.join(folder, name)
            yield _Process(node, role, int(pid), [*_noted(path + OLDER), *_noted(path)])


def _noted(path: str) -> Iterator[list[Any]]:
    """Yield the rows of a file, as far as they are whole."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # it is being written
    except OSError:
        return
