"""What a soak counts, and the table that it prints."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Final

from scripts.soak.schedule import KINDS

#: What must not happen.
BAD: Final = ("lost", "repeated", "wrong", "hung", "leaked", "false deaths")
#: Stories that are kept in full.
_STORIES_MAX: Final = 20


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
        self.stories: list[str] = []

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

    def was_fault(self, since_s: float) -> bool:
        """Return whether a fault was made since then, or goes on."""
        with self._lock:
            return bool(self._fault_at) and self._fault_at[-1] >= since_s

    def did(self, operation: str, checked: int) -> None:
        """Count an operation that is over, with the items that were checked."""
        with self._lock:
            self.done[operation] += 1
            self.checked[operation] += checked

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
            lines += [f"| **{kind}** | **{self.bad[kind]}** |" for kind in BAD]
        return "\n".join(lines)
