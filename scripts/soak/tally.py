"""What a soak counts, and the table that it prints."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

from scripts.soak.schedule import GROUPS, KINDS

#: What must not happen.
BAD: Final = ("lost", "repeated", "wrong", "hung", "leaked", "false deaths")
#: What can be left behind, by how it is told; all else is a row of some table.
_LEFT: Final = {
    r"process ": "processes",
    r"thread ": "threads",
    r"descriptor .*socket:": "sockets",
    r"descriptor .*memfd:": "memfds",
    r"descriptor ": "other descriptors",
    r"(session folder|file) ": "files",
    r"\d+ regions ": "regions of shared memory",
    r"": "entries of tables",
}
LEFT_KINDS: Final = tuple(dict.fromkeys(_LEFT.values()))
#: The page for the table, and the lines around it there.
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_BEGIN: Final = "<!-- soak:begin -->"
_END: Final = "<!-- soak:end -->"
#: Stories that are kept in full.
_STORIES_MAX: Final = 20
#: Waits that are too short to tell of, in seconds.
_WAIT_MIN_S: Final = 0.2


class WrongError(Exception):
    """An operation got what it may not get.

    Attributes:
        kind: One of ``BAD``.
    """

    def __init__(self, kind: str, told: str) -> None:
        """Say what, in words."""
        super().__init__(f"{kind}: {told}")
        self.kind = kind


class Tally:
    """Counts faults, operations and what went wrong; used by all threads of a soak.

    Attributes:
        bad: What went wrong, by kind.
        stories: What is known of it, of the first ones.
    """

    def __init__(self) -> None:
        """Count from zero."""
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._fault_at: list[float] = []
        self.faults: Counter[str] = Counter()
        self.skipped = 0
        self.done: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.expected: Counter[tuple[str, str]] = Counter()
        self.bad: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.stories: list[str] = []
        #: What was noticed -> after how many seconds, each time.
        self._noticed: dict[str, list[float]] = {}
        #: Faults with their times, and waits of clients from when to when.
        self._made: list[tuple[float, str]] = []
        self._waits: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Count time from now on."""
        self._began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds from the beginning."""
        return time.monotonic() - self._began

    def fault(self, kind: str) -> None:
        """Count a fault that was made."""
        with self._lock:
            self.faults[kind] += 1
            self._fault_at.append(self.now_s)
            self._made.append((self.now_s, kind))

    def was_fault(self, since_s: float) -> bool:
        """Return whether a fault was made since then, or goes on."""
        with self._lock:
            return bool(self._fault_at) and self._fault_at[-1] >= since_s

    def did(self, operation: str, checked: int) -> None:
        """Count an operation that is over, with the items that were checked."""
        with self._lock:
            self.done[operation] += 1
            self.checked[operation] += checked

    def waited(self, waits: list[tuple[float, float]]) -> None:
        """Take note of when clients waited, by the monotonic clock."""
        long = [wait for wait in waits if wait[1] - wait[0] >= _WAIT_MIN_S]
        with self._lock:
            self._waits += [(begin - self._began, end - self._began) for begin, end in long]

    def noticed(self, what: str, after_s: float) -> None:
        """Count how soon a node has noticed a fault."""
        with self._lock:
            self._noticed.setdefault(what, []).append(after_s)

    def leaked(self, left: list[str], story: str) -> None:
        """Count what was left behind, by its kind."""
        with self._lock:
            for each in left:
                self.left[next(kind for form, kind in _LEFT.items() if re.match(form, each))] += 1
        self.wrong("leaked", story)

    def errs(self, operation: str, error: str) -> None:
        """Count an error that a fault explains."""
        with self._lock:
            self.expected[operation, error] += 1

    def wrong(self, kind: str, story: str) -> bool:
        """Count what may not be; return whether its story was kept."""
        with self._lock:
            self.bad[kind] += 1
            kept = len(self.stories) < _STORIES_MAX
            if kept:
                self.stories.append(f"{self.now_s:.1f} s: {story}")
        if kept:
            print(f"*** {kind} at {self.now_s:.1f} s: {story}", flush=True)
        return kept

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return not any(self.bad.values())

    def table(self, seed: int) -> str:
        """Return all of it as one table in Markdown."""
        with self._lock:
            faults, operations = sum(self.faults.values()), sum(self.done.values())
            lines = [f"| soak, seed {seed}, {self.now_s:.0f} s | count |", "|---|---:|"]
            lines += [f"| **faults** | **{faults}** |"]
            lines += [f"| {KINDS[kind].told} | {n} |" for kind, n in sorted(self.faults.items())]
            lines += [f"| not made, as their nodes were away | {self.skipped} |"] * (
                self.skipped > 0
            )
            lines += [f"| **operations** | **{operations}** |"]
            for name, count in sorted(self.done.items()):
                typed = sorted(self.expected.items())
                said = [f"{error} {n}" for (each, error), n in typed if each == name]
                errors = f", expected errors: {', '.join(said)}" if said else ""
                lines.append(f"| {name}: {self.checked[name]} items checked{errors} | {count} |")
            lines += self._typed()
            lines += self._times()
            lines += [f"| **{kind}** | **{self.bad[kind]}** |" for kind in BAD]
            lines += [f"| leaked {kind} | {self.left[kind]} |" for kind in LEFT_KINDS]
        return "\n".join(lines)

    def _typed(self) -> list[str]:
        found: Counter[str] = Counter()
        for (_, error), count in self.expected.items():
            found[error] += count
        rows = [f"| {error} | {count} |" for error, count in sorted(found.items())]
        return [f"| **typed errors that a fault explains** | **{sum(found.values())}** |", *rows]

    def _times(self) -> list[str]:
        lines = [_row(f"noticed: {what}", found) for what, found in sorted(self._noticed.items())]
        for group, kinds in GROUPS.items():
            went_on = [self._went_on(at_s) for at_s, kind in self._made if kind in kinds]
            if went_on:
                lines.append(_row(f"went on: {group}", went_on))
        return lines

    def _went_on(self, at_s: float) -> float:
        """Return how long it took until all had what they waited for at that time."""
        return max((end - at_s for begin, end in self._waits if begin <= at_s < end), default=0.0)


def _row(what: str, found: list[float]) -> str:
    """Return a row with the median, the 99th percentile and the longest of times."""
    found = sorted(found)
    middle, high = found[len(found) // 2], found[min(len(found) - 1, len(found) * 99 // 100)]
    times = f"{middle:.2f} s / {high:.2f} s / {found[-1]:.2f} s"
    return f"| {what}, {len(found)} times (p50 / p99 / max) | {times} |"


def with_table(page: str, table: str) -> str:
    """Return a page of the documentation with another table of a soak."""
    before, _, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"the page has no {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n{table}\n{end}{after}"
