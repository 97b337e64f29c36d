"""Files as signals between a test and the bodies that it runs in workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from tests.integration.watching import wait_until

#: How late a thread may wake on a loaded machine. Less than a slow poll takes (one second), so that
#: a wake-up that was lost is still seen.
LATE_S: Final = 0.8


class Gate:
    """Closed until somebody opens it, in whatever process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def beside(self, name: str) -> Gate:
        """Return another gate of the same test."""
        return Gate(self.path.with_name(name))

    @property
    def is_open(self) -> bool:
        return self.path.exists()

    def open(self) -> None:
        self.path.touch()

    def wait(self, within_s: float = 20.0) -> None:
        wait_until(lambda: self.is_open, within_s, f"{self.path.name} opens")


class Tally:
    """Counts what happened, in whatever process: one byte for each time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self) -> int:
        """Count one more; return how many there are."""
        with self.path.open("ab") as file:
            file.write(b"x")
            file.flush()
            return file.tell()

    @property
    def count(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def seconds_since(began: float) -> float:
    return time.monotonic() - began
