"""How much memory this machine lets a process have, how much is in use, and what workers have."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from zgen.core.node_events import MemoryRead
from zgen.ids import PeerId
from zgen.limits import STORE_BYTES_MIN, STORE_PERCENT

_PAGE_BYTES: Final = 4096


def default_store_bytes() -> int:
    """Return a node's capacity for objects where nobody says how much it shall be."""
    wanted = int(memory_bytes() * STORE_PERCENT / 100)
    return max(STORE_BYTES_MIN, wanted // _PAGE_BYTES * _PAGE_BYTES)


def memory_bytes(proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> int:
    """Return how much memory this process may use: the machine's, or less by a control group."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(proc, cgroups)])


def read_memory(
    measured: tuple[tuple[PeerId, int], ...], proc: str = "/proc", cgroups: str = "/sys/fs/cgroup"
) -> MemoryRead:
    """Return how much memory is in use, where it is scarcest, and how much each worker has.

    Args:
        measured: Workers, and their process ids.
        proc: Where the kernel tells of processes.
        cgroups: Where it tells of control groups.
    """
    uses = [_machine_use(proc), *_group_uses(proc, cgroups)]
    used, total = max(uses, key=lambda use: use[0] / max(1, use[1]))
    sizes = [(worker, rss_bytes(pid, proc)) for worker, pid in measured]
    return MemoryRead(used, total, tuple([each for each in sizes if each[1]]))


def rss_bytes(pid: int, proc: str = "/proc") -> int:
    """Return the resident memory of a process, 0 if there is none."""
    try:
        return int(_text_of(f"{proc}/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _machine_use(proc: str) -> tuple[int, int]:
    """Return how much of the machine's memory is in use, and how much there is."""
    sizes = dict(line.split(":", 1) for line in _text_of(f"{proc}/meminfo").splitlines())
    total, free = (int(sizes[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    return total - free, total


def _group_uses(proc: str, cgroups: str) -> Iterator[tuple[int, int]]:
    """Yield use and limit of each control group that has one; cached files are not in use."""
    for folder, is_unified in _groups(proc, cgroups):
        names = ("memory.max", "memory.current", "inactive_file")
        if not is_unified:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        with suppress(OSError, ValueError, KeyError):  # no such file, or "max"
            limit, used = (int(_text_of(os.path.join(folder, name))) for name in names[:2])
            stat = _text_of(os.path.join(folder, "memory.stat")).splitlines()
            used -= int(dict(line.split() for line in stat)[names[2]])
            yield max(used, 0), limit


def _limits(proc: str, cgroups: str) -> Iterator[int]:
    """Yield the limit of each control group that this process is in, and of those around it."""
    for folder, is_unified in _groups(proc, cgroups):
        name = "memory.max" if is_unified else "memory.limit_in_bytes"
        with suppress(OSError, ValueError):  # no such file, or "max"
            yield int(_text_of(os.path.join(folder, name)))


def _groups(proc: str, cgroups: str) -> Iterator[tuple[str, bool]]:
    """Yield the folder of each control group that this process is in and of those around it.

    With each goes whether it is of the unified kind. A container may see only a part of a path that
    its host has; the root is its own then.
    """
    try:
        lines = _text_of(f"{proc}/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        is_unified = number == "0"
        if is_unified or "memory" in controllers.split(","):
            folder = cgroups if is_unified else f"{cgroups}/memory"
            for part in ["", *path.split("/")]:
                folder = os.path.join(folder, part)
                yield folder, is_unified


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
