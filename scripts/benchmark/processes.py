"""Find the processes of one run and read what they use, from /proc."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: Environment variable that marks every process of one measurement. Children inherit it, so
#: that processes which were adopted by init are still found.
MARK: Final = "ZGEN_BENCH_RUN"

_PROC: Final = Path("/proc")


def family(mark: str) -> list[int]:
    """List the living processes of a run: the marked ones and all their descendants.

    Descendants count too because a process that renames itself may overwrite the place where
    Linux shows its environment.
    """
    needle = f"{MARK}={mark}".encode()
    parents = _parents()
    found = {pid for pid in parents if needle in _read(pid, "environ").split(b"\0")}
    return sorted(pid for pid in parents if _has_ancestor(pid, found, parents))


def branch(pid: int) -> list[int]:
    """List a process's node: the child of this process that it descends from, and all below that.

    Raises:
        RuntimeError: It does not descend from this process.
    """
    parents, above = _parents(), pid
    while parents.get(above, 0) != os.getpid():
        above = parents.get(above, 0)
        if not above:
            raise RuntimeError(f"process {pid} is not below this one")
    return sorted(each for each in parents if _has_ancestor(each, {above}, parents))


def name(pid: int) -> str:
    """Return what a process calls itself, or nothing if it has ended."""
    return _read(pid, "comm").decode(errors="replace").strip()


def end_all(mark: str, patience_s: float = 5.0) -> int:
    """Kill what is left of a run, wait until it is gone, and tell how many processes that were."""
    pending = family(mark)
    count = len(pending)
    deadline = time.monotonic() + patience_s
    while pending and time.monotonic() < deadline:
        for pid in pending:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        pending = family(mark)
    return count


def memory_bytes(pids: Iterable[int]) -> int:
    """Sum up the proportional set sizes of processes."""
    total_kbytes = 0
    for pid in pids:
        for row in _read(pid, "smaps_rollup").splitlines():
            if row.startswith(b"Pss:"):
                total_kbytes += int(row.split()[1])
    return total_kbytes * 1024


def thread_count(pids: Iterable[int]) -> int:
    """Sum up the threads of processes."""
    return sum(len(_threads(pid)) for pid in pids)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Sum up the CPU time which the living threads of processes have used so far."""
    total_ns = 0
    for pid in pids:
        for thread in _threads(pid):
            fields = _read(pid, f"task/{thread}/schedstat").split()
            total_ns += int(fields[0]) if fields else 0
    return total_ns / 1e9


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it ended meanwhile, or belongs to someone else
        return b""


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(_PROC / str(pid) / "task")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """Split a process's stat line after its name, which may hold anything."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    """Map every living process to its parent; zombies use nothing and are left out."""
    parents = {}
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and fields[0] not in ("Z", "X"):
                parents[int(entry)] = int(fields[1])
    return parents


def _has_ancestor(pid: int, found: set[int], parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid in found:
            return True
        pid = parents[pid]
    return False
