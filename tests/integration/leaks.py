"""What a test may not leave behind: processes, threads, descriptors, session folders, segments.

``Snapshot.take`` before and after a test; ``left_behind`` says what the second has and the first
has not. Processes are known by a mark in the environment that every descendant inherits, so that
those of another run on the same machine are told apart from orphans of our own.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: In the environment of every process that the tests start; the value names one run of pytest.
MARK: Final = "ZGEN_TEST_RUN"

#: How long what a test started may take to end by itself, in seconds.
PATIENCE_S: Final = 5.0

#: Opened once by the interpreter or its libraries and kept for good.
LAZY_TARGETS: Final = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/tty")


def runtime_folder() -> Path:
    """Return the folder that holds the session folders of this user's nodes."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "zgen"
    return Path(tempfile.gettempdir()) / f"zgen-{os.getuid()}"


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it ended, or is another user's
        return b""


def _stat_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/pid/stat after the command: state, parent, ..."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _processes() -> Iterator[tuple[int, str]]:
    """Yield (pid, description) of every process of this run, whoever is its parent now."""
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    fields = {pid: _stat_fields(pid) for pid in pids}
    ours = {os.getpid()}
    grown = True
    while grown:  # children are listed before their parents where pids wrapped around
        grown = False
        for pid, stat in fields.items():
            if pid not in ours and len(stat) > 1 and int(stat[1]) in ours:
                ours.add(pid)
                grown = True
    for pid, stat in fields.items():
        if pid == os.getpid() or not stat:
            continue
        marked = MARK in os.environ and mark in _read(f"/proc/{pid}/environ").split(b"\0")
        if pid in ours or marked:
            command = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
            state = stat[0].decode()
            yield pid, f"process {pid} [{state}] {command.strip() or '(no command line)'}"


def _threads() -> Iterator[tuple[int, str]]:
    """Yield (kernel's id, description) of every thread of this process, Python's or not."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    for name in os.listdir("/proc/self/task"):
        command = _read(f"/proc/self/task/{name}/comm").decode(errors="replace").strip()
        if command:
            yield int(name), f"thread {name} {names.get(int(name), f'({command})')}"


def _descriptors() -> Iterator[tuple[tuple[int, str], str]]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listed the folder
            continue
        if not target.startswith(LAZY_TARGETS):
            yield (int(name), target), f"descriptor {name} -> {target}"


def _files() -> Iterator[tuple[str, str]]:
    folder = runtime_folder()
    for path in (*folder.glob("zgen-*"), *Path("/dev/shm").glob("zgen-*")):
        mine = path.parent == folder or os.environ.get(MARK, "-") in path.name
        if mine:
            yield str(path), f"file {path}"


@dataclass(frozen=True)
class Snapshot:
    """What this run of the tests holds on the machine at one moment; keys to descriptions."""

    processes: dict[int, str]
    threads: dict[int, str]
    descriptors: dict[tuple[int, str], str]
    files: dict[str, str]

    @classmethod
    def take(cls) -> Snapshot:
        """Look at /proc and at the runtime folder now."""
        return cls(
            processes=dict(_processes()),
            threads=dict(_threads()),
            descriptors=dict(_descriptors()),
            files=dict(_files()),
        )

    def since(self, before: Snapshot) -> list[str]:
        """Return descriptions of what is here and was not ``before``."""
        return [
            *(text for key, text in self.processes.items() if key not in before.processes),
            *(text for key, text in self.threads.items() if key not in before.threads),
            *(text for key, text in self.descriptors.items() if key not in before.descriptors),
            *(text for key, text in self.files.items() if key not in before.files),
        ]


def left_behind(before: Snapshot, patience_s: float = PATIENCE_S) -> list[str]:
    """Return what was not there ``before`` and is still there after at most ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while True:
        left = Snapshot.take().since(before)
        if not left:
            return []
        if time.monotonic() >= deadline:
            return left
        gc.collect()  # what only a cycle keeps is not a leak
        time.sleep(0.02)


def end_processes(before: Snapshot) -> None:
    """Kill what a failed test left running, so that the next one starts from the same place."""
    for pid in dict(_processes()):
        if pid not in before.processes:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass  # it ended by itself, or its parent reaps it
