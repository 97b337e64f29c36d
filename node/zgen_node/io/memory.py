"""How much memory this machine lets a process have, and so how much a store takes by default."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

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


def _limits(proc: str, cgroups: str) -> Iterator[int]:
    """Yield the limit of each control group that this process is in, and of those around it."""
    try:
        lines = _text_of(f"{proc}/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from _limits_above(f"{cgroups}/memory", path, "memory.limit_in_bytes")
        elif number == "0":
            yield from _limits_above(cgroups, path, "memory.max")


def _limits_above(root: str, path: str, name: str) -> Iterator[int]:
    """Yield what the files ``name`` say from ``root`` down to ``path``, where there are any.

    A container may see only a part of a path that its host has; the root is its own then.
    """
    folder = root
    for part in ["", *path.split("/")]:
        folder = os.path.join(folder, part)
        with suppress(OSError, ValueError):  # no such file, or "max"
            yield int(_text_of(os.path.join(folder, name)))


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
