"""`zgen doctor`: what a user should know of this machine before a node runs here, and after.

Each check says what it found and how good that is, and what to do if it is not good. Nothing is
changed here.
"""

import importlib.util
import os
import resource
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from zgen.exceptions import (
    HandshakeError,
    KeyFileError,
    VersionMismatchError,
    WrongKeyError,
)
from zgen.ids import short
from zgen.io import folders, keys
from zgen.io.clock import now_ns, wall_s
from zgen.io.doorbell import who_is_at
from zgen.io.release import PYTHON, RELEASE
from zgen.io.security import transport_facts
from zgen.io.spawn import started_nodes
from zgen.limits import (
    DESCRIPTORS_COUNT_MAX,
    DISK_FREE_BYTES_MIN,
    STORE_BYTES_MIN,
    STORE_PERCENT,
)
from zgen.tables import size_text, table_text

OK: Final = "ok"
WARNING: Final = "warning"
FAILURE: Final = "failure"

_PYTHON_MIN: Final = (3, 11)
#: Start of 2025, in seconds since 1970: no machine's clock is honestly before that.
_BUILT_S: Final = 1_735_689_600
_OTHERS: Final = 0o077


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        verdict: ``ok``, ``warning`` or ``failure``.
        found: What it is, for people.
        todo: What to do next; empty if nothing is.
    """

    check: str
    verdict: str
    found: str
    todo: str = ""


def examine(address: str | None = None, key_file: str | None = None) -> list[Finding]:
    """Look at this machine, and at who listens at ``address`` if that is given.

    Args:
        address: ``tcp://HOST:PORT`` of a node.
        key_file: Key of its cluster; by default the file that ``ZGEN_KEY`` names, if any.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _versions,
        _descriptors,
        _memory,
        _disk,
        _session_folder,
        _left_over,
        _clocks,
        _nodes,
        lambda: _key(key_file),
    ]
    if address is not None:
        checks.append(lambda: _reach(address, key_file))
    return [finding for check in checks for finding in check()]


def is_well(findings: list[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(finding.verdict != FAILURE for finding in findings)


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """Return findings for programs."""
    return {"ok": is_well(findings), "checks": [asdict(finding) for finding in findings]}


def findings_text(findings: list[Finding]) -> str:
    """Return findings for people."""
    rows = [(each.verdict, each.check, each.found) for each in findings]
    lines = table_text(("VERDICT", "CHECK", "FOUND"), rows).splitlines()
    todo = [f"{each.check}: {each.todo}" for each in findings if each.todo]
    return "\n".join([*lines, *([""] if todo else []), *todo])


# -- checks ----------------------------------------------------------------------------------------
def _versions() -> Iterator[Finding]:
    """Look at Python, zgen and the transport."""
    python = sys.version.split()[0]
    if sys.version_info[:2] >= _PYTHON_MIN and sys.platform == "linux":
        yield Finding("python", OK, f"{python} on {sys.platform}")
    else:
        todo = "run zgen with Python 3.11 or later on Linux"
        yield Finding("python", FAILURE, f"{python} on {sys.platform}", todo)
    if importlib.util.find_spec("zgen_node") is not None:
        yield Finding("zgen", OK, f"{RELEASE} with its node")
    else:
        todo = "the package zgen_node is not installed beside zgen; install zgen again"
        yield Finding("zgen", FAILURE, f"{RELEASE} without its node", todo)
    pyzmq, libzmq, has_curve = transport_facts()
    told = f"pyzmq {pyzmq}, libzmq {libzmq}"
    if has_curve:
        yield Finding("transport", OK, f"{told} with CURVE")
    else:
        todo = "clusters of several machines need CURVE; install pyzmq from its wheels"
        yield Finding("transport", WARNING, f"{told} without CURVE", todo)


def _descriptors() -> Iterator[Finding]:
    """Look at how many descriptors a process may have; a node takes all it may by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    told = f"{soft}, up to {hard}" if limit < sys.maxsize else f"{soft}, up to any number"
    if limit >= DESCRIPTORS_COUNT_MAX:
        yield Finding("descriptors", OK, told)
    else:
        todo = f"allow {DESCRIPTORS_COUNT_MAX}: `ulimit -Hn`, LimitNOFILE= or limits.conf"
        yield Finding("descriptors", WARNING, told, todo)


def _memory() -> Iterator[Finding]:
    """Look at what a node's objects may take, and whether the system can make such memory."""
    total, free = _meminfo()
    store = max(STORE_BYTES_MIN, total * STORE_PERCENT // 100)
    told = f"{size_text(free)} of {size_text(total)} free, a node's objects may take "
    told += size_text(store)
    try:
        os.close(os.memfd_create("zgen-doctor", os.MFD_CLOEXEC))
    except OSError as error:
        todo = "values lie in memfds; the kernel or a sandbox forbids them"
        yield Finding("memory", FAILURE, f"no memfd: {error.strerror}", todo)
        return
    if free >= store:
        yield Finding("memory", OK, told)
    else:
        todo = "start nodes with --object-store-memory of less, or free some memory"
        yield Finding("memory", WARNING, told, todo)
    with suppress(OSError):
        shm = shutil.disk_usage("/dev/shm")  # looked at, and not written to
        told = f"/dev/shm has {size_text(shm.total)}; zgen needs none of it"
        yield Finding("shared memory", OK, told)


def _meminfo() -> tuple[int, int]:
    """Return bytes of memory that this process may use, and how many of the machine are free."""
    found: dict[str, int] = {}
    with open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            name, _, amount = line.partition(":")
            found[name] = int(amount.split()[0]) << 10
    total, free = found["MemTotal"], found.get("MemAvailable", found["MemFree"])
    limit = Path("/sys/fs/cgroup/memory.max")
    with suppress(OSError, ValueError):  # no such control group, or "max"
        total = min(total, int(limit.read_text(encoding="utf-8")))
    return total, min(total, free)


def _disk() -> Iterator[Finding]:
    """Look at where values go that memory has no room for."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    told = f"{folder} has {size_text(free)} free for spilled values"
    if free >= DISK_FREE_BYTES_MIN:
        yield Finding("disk", OK, told)
    else:
        todo = "make room, or start nodes with --object-spilling-directory"
        yield Finding("disk", WARNING, told, todo)


def _session_folder() -> Iterator[Finding]:
    """Look at the folder of this user's nodes: nobody else may enter it."""
    root = folders.runtime_folder()
    try:
        found = os.lstat(root)
    except FileNotFoundError:
        parent = os.path.dirname(root)
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("session folder", OK, f"{root} does not exist yet")
        else:
            todo = f"allow this user to write to {parent}, or set XDG_RUNTIME_DIR"
            yield Finding("session folder", FAILURE, f"{root} cannot be made", todo)
        return
    mode = stat.S_IMODE(found.st_mode)
    told = f"{root} of user {found.st_uid}, mode {mode:o}"
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not mode & _OTHERS:
        yield Finding("session folder", OK, told)
    else:
        todo = "others may enter it, so no node starts: remove it, or set XDG_RUNTIME_DIR"
        yield Finding("session folder", FAILURE, told, todo)


def _left_over() -> Iterator[Finding]:
    """Look for what killed nodes left behind."""
    dead = folders.abandoned()
    if dead:
        told = f"{len(dead)} of killed nodes: {', '.join(dead[:3])}"
        yield Finding("sessions", WARNING, told, "`zgen clean` removes them, as does the next node")
    else:
        yield Finding("sessions", OK, "none is left of a killed node")
    strays = folders.strays()
    if strays:
        told = f"{len(strays)} of nodes that ended: {', '.join(map(str, list(strays)[:5]))}"
        todo = "`zgen clean` ends those whose folder is left; end the others by `kill`"
        yield Finding("processes", WARNING, told, todo)
    else:
        yield Finding("processes", OK, "none is left of a node that ended")


def _clocks() -> Iterator[Finding]:
    """Look at the clocks; only the one that never goes back matters to zgen."""
    before_ns = now_ns()
    wall = wall_s()
    if now_ns() < before_ns:
        yield Finding("clock", FAILURE, "it goes back", "mend the machine: nothing works so")
    elif wall < _BUILT_S:
        told = f"it shows {wall:.0f} s since 1970"
        yield Finding("clock", WARNING, told, "set it: logs and certificates are wrong by it")
    else:
        yield Finding("clock", OK, "it goes on, and its date can be right")


def _nodes() -> Iterator[Finding]:
    """Look at the nodes of this user that run here."""
    nodes = started_nodes(embedded=True)
    others = [node for node in nodes if (node.release, node.python) != (RELEASE, PYTHON)]
    if others:
        told = ", ".join(
            f"{short(node.address.peer)} runs zgen {node.release} on Python {node.python}"
            for node in others
        )
        todo = f"start them again with zgen {RELEASE} on Python {PYTHON}, or use theirs"
        yield Finding("nodes", WARNING, told, todo)
    else:
        yield Finding("nodes", OK, f"{len(nodes)} of this user here")


def _key(key_file: str | None) -> Iterator[Finding]:
    """Look at the key file that is given, if any."""
    named = key_file or os.environ.get(keys.KEY_VARIABLE)
    if not named:
        yield Finding("key", OK, "none is given")
        return
    try:
        keys.load(named)
    except KeyFileError as error:
        todo = "copy the file from another machine of the cluster, and `chmod 600` it"
        yield Finding("key", FAILURE, str(error), todo)
    else:
        yield Finding("key", OK, f"{named} can be used, and by this user alone")


def _reach(address: str, key_file: str | None) -> Iterator[Finding]:
    """Look who is at an address."""
    try:
        there = who_is_at(address, keys.load_given(key_file))
    except KeyFileError:
        told = "not tried, since the key cannot be used"
        yield Finding("reach", FAILURE, told, "see the key")
    except WrongKeyError as error:
        todo = "give the key of that cluster: --key FILE, the same on every machine"
        yield Finding("reach", FAILURE, str(error), todo)
    except VersionMismatchError as error:
        todo = "install the same zgen and the same Python on every machine"
        yield Finding("reach", FAILURE, str(error), todo)
    except HandshakeError as error:
        todo = "is a node there, at this port, and does every firewall let it through, both ways?"
        yield Finding("reach", FAILURE, str(error), todo)
    except ValueError as error:
        yield Finding("reach", FAILURE, str(error), "name it as tcp://HOST:PORT")
    else:
        yield Finding("reach", OK, f"node {short(there.peer)} at {there.tcp}, and back from there")
