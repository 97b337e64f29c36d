"""What this process and all that it started hold on the machine, and what of it is left.

Counted are processes, whoever is their parent by now, threads and descriptors of this process
(sockets, memfds and namespaces are descriptors), and session folders. A run of tests has an entry
in the environment that every descendant inherits, so that those of another run on the same machine
are told apart from orphans of our own.
"""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from zgen.io import clock, folders
from zgen.limits import SECOND
from zgen.slotted import slotted

#: In the environment of every process that the tests start; the value names one run.
MARK: Final = "ZGEN_TEST_RUN"

#: How long what a test started may take to end by itself, in seconds.
PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.02

#: Opened once by the interpreter or its libraries and kept for good.
LAZY_TARGETS: Final = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/tty")
_NODE_MARK: Final = f"{folders.MARK}=".encode()


def runtime_folder() -> Path:
    """Return the folder that holds the session folders of this user's nodes."""
    return Path(folders.runtime_folder())


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
    """Yield session folders of this run's nodes, and of nobody's."""
    found = list(runtime_folder().glob(f"{folders.NODE_PREFIX}*"))
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    ours: dict[bytes, bool] = {}
    for pid in (name for name in os.listdir("/proc") if found and name.isdigit()):
        environment = _read(f"/proc/{pid}/environ").split(b"\0")
        for entry in environment:
            if entry.startswith(_NODE_MARK):
                folder = entry.removeprefix(_NODE_MARK)
                ours[folder] = ours.get(folder, False) or mark in environment
    for path in found:
        if ours.get(os.fsencode(path), True):
            yield str(path), f"session folder {path}"


@slotted
class Snapshot:
    """What this run of the tests holds on the machine at one moment; keys to descriptions."""

    processes: dict[int, str]
    threads: dict[int, str]
    descriptors: dict[tuple[int, str], str]
    files: dict[str, str]

    @classmethod
    def take(cls) -> "Snapshot":
        """Look at /proc and at the runtime folder now."""
        return cls(
            processes=dict(_processes()),
            threads=dict(_threads()),
            descriptors=dict(_descriptors()),
            files=dict(_files()),
        )

    def since(self, before: "Snapshot") -> list[str]:
        """Return descriptions of what is here and was not ``before``."""
        return [
            *(text for key, text in self.processes.items() if key not in before.processes),
            *(text for key, text in self.threads.items() if key not in before.threads),
            *(text for key, text in self.descriptors.items() if key not in before.descriptors),
            *(text for key, text in self.files.items() if key not in before.files),
        ]


def left_behind(before: Snapshot, patience_s: float | None = None) -> list[str]:
    """Return what was not there ``before`` and is still there after a while.

    Args:
        before: A look at the time before.
        patience_s: How long it may take to go, in seconds; by default ``PATIENCE_S``.
    """
    deadline_ns = clock.now_ns() + round(
        (PATIENCE_S if patience_s is None else patience_s) * SECOND
    )
    while True:
        left = Snapshot.take().since(before)
        if not left or clock.now_ns() >= deadline_ns:
            return left
        gc.collect()  # what only a cycle keeps is not a leak
        threading.Event().wait(_LOOK_S)


def end_processes(before: Snapshot) -> None:
    """Kill what a failed test left running, so that the next one starts from the same place."""
    for pid in dict(_processes()):
        if pid not in before.processes:
            with suppress(ProcessLookupError, ChildProcessError):  # or its parent reaps it
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def told(left: list[str]) -> str:
    """Return a sentence about what was left behind."""
    return "left behind:\n  " + "\n  ".join(left)
