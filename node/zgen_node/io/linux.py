"""What Python's standard library lacks of Linux: prctl, fallocate, descendants, killing them."""

import ctypes
import errno
import os
import resource
import select
import signal
from contextlib import suppress
from typing import Final

from zgen.io.clock import now_ns

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_libc: Final = ctypes.CDLL(None, use_errno=True)
_prctl: Final = _libc.prctl
_fallocate: Final = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _set(option: int, value: int | bytes) -> None:
    if _prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def become_subreaper() -> None:
    """Take in every descendant whose parent dies."""
    _set(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Die by SIGKILL with the thread that made this process; at once if ``parent`` is dead."""
    _set(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Set what ``ps`` and ``top`` show of this process; at most 15 bytes."""
    _set(_PR_SET_NAME, name.encode())


def reserve(descriptor: int, offset: int, size_bytes: int) -> None:
    """Take the room on its device that a part of a file needs; nothing where that is unknown.

    Raises:
        OSError: There is no such room.
    """
    try:
        _allocate(descriptor, 0, offset, size_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def punch_hole(descriptor: int, offset: int, size_bytes: int) -> None:
    """Give a part of a file, or of a memfd, back to its device; it reads as zeros from then on.

    Raises:
        OSError: The file system cannot.
    """
    _allocate(descriptor, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, size_bytes)


def _allocate(descriptor: int, mode: int, offset: int, size_bytes: int) -> None:
    while _fallocate(descriptor, mode, offset, size_bytes) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def keep_freed(piece_bytes: int, kept_bytes: int) -> None:
    """Have ``malloc`` use freed memory again instead of giving it back; nothing without glibc.

    Else what comes in pieces of a megabyte is read into new pages every time, whose making costs as
    much as reading the piece.

    Args:
        piece_bytes: Up to this size pieces come out of what is kept.
        kept_bytes: Free memory at the end of an arena that is not given back.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, piece_bytes)
        mallopt(_M_TRIM_THRESHOLD, kept_bytes)


def descriptors_left() -> int:
    """Return how many more descriptors this process may open."""
    try:
        open_count = len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - open_count


def is_dead(pidfd: int) -> bool:
    """Return whether the process behind a pidfd is dead, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def kill(pidfd: int) -> None:
    """Kill the process behind a pidfd, if it is not dead and reaped already."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, dead ones that nobody reaped included."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except FileNotFoundError:
        task = f"/proc/{pid}/task/{pid}"
        if os.path.exists(task) and not os.path.exists(f"{task}/children"):
            return [child for child, parent in _parents().items() if parent == pid]
    except (ProcessLookupError, PermissionError):
        pass  # it ended while we looked
    return found


def descendants_of(pid: int) -> list[int]:
    """Return everything below a process, parents before their children."""
    found = children_of(pid)
    for child in found:  # grows while it is walked
        found.extend(children_of(child))
    return found


def kill_below(deadline_ns: int) -> dict[int, int]:
    """Kill every descendant of this process, which must be their subreaper, and reap them all.

    Args:
        deadline_ns: When to give up on what does not die, such as a process that waits for a disk.

    Returns:
        Wait status of each reaped process by its pid.
    """
    statuses: dict[int, int] = {}
    me = os.getpid()
    while True:
        below = descendants_of(me)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not _reap_ready(statuses) or now_ns() >= deadline_ns:
            return statuses
        _await_death(below, deadline_ns)


def _reap_ready(statuses: dict[int, int]) -> bool:
    """Reap what is dead; return whether a child is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        statuses[pid] = status


def _await_death(pids: list[int], deadline_ns: int) -> None:
    """Wait until one of ``pids`` is dead; look again after 20 ms, as their children become ours."""
    poll = select.poll()
    pidfds: list[int] = []
    for pid in pids:
        try:
            pidfds.append(os.pidfd_open(pid))
        except OSError:
            continue
        poll.register(pidfds[-1], select.POLLIN)
    poll.poll(max(0, min(20, (deadline_ns - now_ns()) // 1_000_000)))
    for pidfd in pidfds:
        os.close(pidfd)


def _parents() -> dict[int, int]:
    """Return pid -> parent of every process, for kernels that do not list children."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return parents
