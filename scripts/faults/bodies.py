"""Work of rows that measure how soon it runs again; new workers import this, so it is small.

What a worker imports of the program before it can run a body counts as time without the body.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import zgen
from tests.integration.remote_class import RemoteClass


def note(path: str, text: str) -> None:
    """Append a line to a file, from whatever process."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


def noted(path: Path) -> list[str]:
    """Return the whole lines of a file that ``note`` writes."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


@zgen.remote
def square(runs: str, number: int) -> int:
    """Note the run and its end."""
    note(runs, f"begin {number} {os.getpid()} {time.monotonic()}")
    time.sleep(0.02)
    note(runs, f"end {number} {os.getpid()} {time.monotonic()}")
    return number * number


@zgen.remote(max_retries=10)
def paced(runs: str, count: int, pause_s: float, short_at: int = -1) -> Iterator[tuple[int, int]]:
    """Yield index and process id; note each; a second run ends before ``short_at`` if given."""
    again = bool(noted(Path(runs)))
    with open(runs, "a", buffering=1) as file:
        for i in range(count):
            if again and i == short_at:
                return
            file.write(f"{i}\n")
            yield i, os.getpid()
            time.sleep(pause_s)


@zgen.remote(num_cpus=0, max_restarts=-1)
class Victim(RemoteClass):
    """Is killed under its calls."""

    def pid(self) -> int:
        """Say who it is."""
        return os.getpid()

    def hold(self) -> None:
        """Do not end."""
        time.sleep(1000)
