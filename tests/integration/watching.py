"""Waiting for processes and folders in tests, always with a bound."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from zgen.io import folders


def is_alive(pid: int) -> bool:
    """Return whether ``pid`` is a process that runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def marked(folder: str) -> list[int]:
    """Return every running process that carries the mark of a node's folder."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if f"{folders.MARK}={folder}".encode() in environment.split(b"\0"):
                found.append(int(name))
    return [pid for pid in found if is_alive(pid)]


def wait_until(happened: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until ``happened`` and return the seconds it took; fail the test after ``within_s``."""
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > within_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began
