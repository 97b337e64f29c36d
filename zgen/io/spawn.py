"""Start and stop an embedded node; guard against forks.

A node is a process tree below a supervisor, started as ``python -m zgen_node``. The starter holds
a pipe whose other end the supervisor watches, and gives it a pidfd of itself: the node ends when
the starter asks for it, or is dead.
"""

import fcntl
import importlib.util
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from zgen.exceptions import NodeStartError
from zgen.ids import ID_BYTES
from zgen.io import folders
from zgen.io.clock import now_ns
from zgen.io.exposure import CLOSED, Opening, address_in
from zgen.io.unlinked import open_unlinked
from zgen.limits import MS, NODE_START_NS, SECOND, STORE_BYTES_MIN
from zgen.mishaps import rules_given
from zgen.slotted import slotted
from zgen.wire.session import Address

WORKER_MAIN: Final = "zgen.runtime.worker_main:run"
#: Above every number that the supervisor's descriptors get.
_FD_MIN: Final = 16
_LOG_TAIL_BYTES: Final = 4 << 10
#: How often a starter looks around while it waits.
_LOOK_NS: Final = 50 * MS


@slotted
class NodeFacts:
    """What a ready node published about itself.

    Attributes:
        address: Where its daemon is reached.
        folder: Its session folder; inboxes of its workers and drivers lie there.
        supervisor: Process id.
        daemon: Process id.
        embedded: Whether it belongs to one driver.
        locked: Whether other machines need a key to reach it; False if none reaches it.
        release: Version of zgen that it runs.
        python: ``major.minor`` that it runs.
    """

    address: Address
    folder: str
    supervisor: int
    daemon: int
    embedded: bool
    locked: bool
    release: str
    python: str


class NodeProcess:
    """A node that this process started.

    Attributes:
        facts: What it published about itself.
        pidfd: Readable when its supervisor is dead, and so the node.
        daemon_pidfd: Readable when its daemon is dead.
    """

    def __init__(self, facts: NodeFacts, pid: int, pidfd: int, control_fd: int) -> None:
        """Keep the parts; ``start_node`` makes them."""
        self.facts = facts
        self.pidfd = pidfd
        self.daemon_pidfd = _open_pidfd(facts.daemon, pidfd)
        self._pid = pid
        self._control_fd = control_fd
        self._starter = os.getpid()
        self._stopped = False

    @property
    def address(self) -> Address:
        """Where its daemon is reached."""
        return self.facts.address

    @property
    def folder(self) -> str:
        """Its session folder."""
        return self.facts.folder

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the node and wait until nothing of it is left; harmless twice, and in a fork.

        Descriptors are closed, so nobody may watch them any more. A node that takes longer than
        ``timeout_s`` is killed from its root; its daemon then ends the rest.
        """
        if self._stopped or os.getpid() != self._starter:
            return
        self._stopped = True
        with suppress(OSError):  # it has ended by itself
            os.write(
                self._control_fd, b"x"
            )  # a fork may hold the pipe too, so closing says nothing
        os.close(self._control_fd)
        if not _await(self.pidfd, now_ns() + round(timeout_s * SECOND)):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        _reap(self._pid)
        for pidfd in (self.daemon_pidfd, self.pidfd):
            _await(pidfd, now_ns() + SECOND)
            os.close(pidfd)
        if os.path.exists(self.folder):
            folders.sweep()  # its supervisor was killed, and perhaps its daemon too

    def wait(self) -> int:
        """Wait until the node ends by itself; return its supervisor's status. ``stop`` next."""
        _await(self.pidfd, None)
        return _reap(self._pid)


def start_node(
    num_cpus: float | None = None,
    resources: dict[str, float] | None = None,
    *,
    object_store_memory: int | None = None,
    object_spilling_directory: str | None = None,
    opening: Opening | None = None,
    embedded: bool = True,
    worker_main: str = WORKER_MAIN,
    prestart: bool = True,
    look: Callable[[], None] = lambda: None,
) -> NodeProcess:
    """Start a node on this machine and wait until it is ready.

    Args:
        num_cpus: Its CPUs; by default as many as this process may use.
        resources: Its other resources, by name.
        object_store_memory: Bytes that its objects may take; by default a share of the memory.
        object_spilling_directory: Where those go that it has no room for; by default the folder of
            temporary files.
        opening: How other machines reach it; by default they do not.
        embedded: False for one that drivers find by ``find_node``.
        worker_main: ``module:function`` that its workers run.
        prestart: Whether it starts workers before they are asked for.
        look: Called now and then while it is waited for; what it raises ends the node.

    Raises:
        NodeStartError: It did not become ready; the message ends with what its processes said.
        ValueError: A resource, the memory, the folder or ``ZGEN_CHAOS`` makes no sense.
    """
    rules_given()  # what is wrong with them is told here, and not in a log
    peer = os.urandom(ID_BYTES)
    folder = folders.node_folder(folders.runtime_folder(), peer)
    config = {
        "folder": folder,
        "peer": peer.hex(),
        "resources": _amounts(num_cpus, resources or {}),
        "embedded": embedded,
        "log_to_file": embedded,
        "worker_main": worker_main,
        "prestart": prestart,
        "store_bytes": _store_bytes(object_store_memory),
        "spill_folder": _spill_folder(object_spilling_directory),
        **(CLOSED if opening is None else opening).facts(),
    }
    log_fd = os.memfd_create("zgen-log", os.MFD_CLOEXEC) if embedded else os.dup(2)
    try:
        pid, ready_fd, control_fd = _spawn(config, log_fd)
        pidfd = os.pidfd_open(pid)
        try:
            facts = _await_ready(folder, pidfd, ready_fd, log_fd, look)
            return NodeProcess(facts, pid, pidfd, control_fd)
        except BaseException:
            os.close(control_fd)
            _end_failed(pid, pidfd)
            raise
        finally:
            os.close(ready_fd)
    finally:
        os.close(log_fd)


def started_nodes(*, embedded: bool = False) -> list[NodeFacts]:
    """Return the nodes of this user that are not embedded; with ``embedded`` those too."""
    return [_facts_of(n) for n in folders.living_nodes() if embedded or not n["embedded"]]


def find_node(place: str | None = None) -> NodeFacts:
    """Return this machine's node that was started by ``zgen node start``.

    Args:
        place: Its session folder or endpoint; None if there is only one.

    Raises:
        NodeStartError: There is none, or more than one.
    """
    if place is None:
        found = started_nodes()
    else:
        path = place.removeprefix("ipc://")
        facts = folders.node_in(os.path.dirname(path) if path.endswith(".sock") else path)
        found = [] if facts is None else [_facts_of(facts)]
    if not found:
        where = f" at {place}" if place else ""
        raise NodeStartError(
            f"no node of this user runs here{where}; start one with `zgen node start`"
        )
    if len(found) > 1:
        choice = "\n".join(f"  {node.address.endpoint}" for node in found)
        raise NodeStartError(
            f"{len(found)} nodes of this user run here; name one as the address:\n{choice}"
        )
    return found[0]


def stop_started(node: NodeFacts, timeout_s: float = 10.0) -> bool:
    """Stop a node that another process of this user started; return whether it is gone."""
    try:
        pidfd = os.pidfd_open(node.supervisor)
    except ProcessLookupError:
        return True
    try:
        if not any(found.folder == node.folder for found in started_nodes()):
            return True  # it ended meanwhile, and the number may be another process's
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        return _await(pidfd, now_ns() + round(timeout_s * SECOND))
    finally:
        os.close(pidfd)


def default_num_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def _amounts(num_cpus: float | None, resources: dict[str, float]) -> dict[str, float]:
    if "CPU" in resources:
        raise ValueError("say how many CPUs with num_cpus, not in resources")
    amounts = {"CPU": default_num_cpus() if num_cpus is None else num_cpus, **resources}
    for name, amount in amounts.items():
        if not 0 <= amount < 1e12:
            raise ValueError(f"{name}={amount} is no amount of a resource")
    return {name: float(amount) for name, amount in amounts.items()}


def _store_bytes(given: int | None) -> int | None:
    if given is not None and not STORE_BYTES_MIN <= given < 1 << 62:
        raise ValueError(
            f"object_store_memory must be at least {STORE_BYTES_MIN} bytes, got {given}"
        )
    return given


def _spill_folder(given: str | None) -> str | None:
    """Return an absolute path of a folder in which files can be made."""
    if given is None:
        return None
    try:
        os.close(open_unlinked(given))
    except OSError as error:
        raise ValueError(
            f"object_spilling_directory={given!r}: no file can be made there: {error.strerror}"
        ) from None
    return os.path.abspath(given)


def _spawn(config: dict[str, Any], log_fd: int) -> tuple[int, int, int]:
    """Start a supervisor.

    Returns:
        Its process id, where it tells that the node is ready, and what stops it.
    """
    ready_fd, ready_end = os.pipe2(os.O_CLOEXEC)
    control_end, control_fd = os.pipe2(os.O_CLOEXEC)
    given = (ready_end, control_end, os.pidfd_open(os.getpid()))
    try:
        return _exec(config, log_fd, given), ready_fd, control_fd
    except BaseException:
        os.close(ready_fd)
        os.close(control_fd)
        raise
    finally:
        for descriptor in given:
            os.close(descriptor)


def _exec(config: dict[str, Any], log_fd: int, given: tuple[int, int, int]) -> int:
    """Start the supervisor with ``given`` as its descriptors from 3 on; return its process id."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FD_MIN) for fd in (log_fd, log_fd, *given)]
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0)]
    actions.extend((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high, start=1))
    flags = ["-X", "dev"] if sys.flags.dev_mode else []
    environment = {**os.environ, "PYTHONPATH": _search_path(), folders.MARK: config["folder"]}
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *flags, "-P", "-m", "zgen_node", "supervise", json.dumps(config)],
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
        )
    except OSError as error:
        raise NodeStartError(f"{sys.executable} cannot be started: {error}") from error
    finally:
        for fd in (*high, null):
            os.close(fd)


def _end_failed(pid: int, pidfd: int) -> None:
    """End what is left of a node that did not become ready; its control pipe is closed already."""
    if not _await(pidfd, now_ns() + 5 * SECOND):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    _reap(pid)
    os.close(pidfd)


def _search_path() -> str:
    """Return a PYTHONPATH by which the node finds this zgen and the daemon beside it."""
    library = Path(__file__).resolve().parents[2]
    spec = importlib.util.find_spec("zgen_node")
    daemon = library / "node"
    if spec is not None and spec.origin is not None:
        daemon = Path(spec.origin).resolve().parents[1]
    elif not (daemon / "zgen_node").is_dir():
        raise NodeStartError(
            "the package zgen_node is not installed beside zgen; install zgen again"
        )
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(library), str(daemon), *filter(None, given)]))


def _await_ready(
    folder: str, pidfd: int, ready_fd: int, log_fd: int, look: Callable[[], None]
) -> NodeFacts:
    """Wait for the line that says the node is ready."""
    deadline_ns = now_ns() + NODE_START_NS
    line = b""
    while not line.endswith(b"\n"):
        look()
        if not _await(ready_fd, min(deadline_ns, now_ns() + _LOOK_NS)):
            if now_ns() < deadline_ns:
                continue
            raise NodeStartError(
                f"no node after {NODE_START_NS // SECOND} s\n{_log_tail(folder, log_fd)}"
            )
        more = os.read(ready_fd, 64 << 10)
        if not more:
            _await(pidfd, deadline_ns)
            raise NodeStartError(f"the node ended before it was ready\n{_log_tail(folder, log_fd)}")
        line += more
    said = json.loads(line.splitlines()[0])
    if "error" in said:
        raise NodeStartError(f"{said['error']}\n{_log_tail('', log_fd)}".rstrip())
    return _facts_of({**said, "folder": folder})


def _facts_of(said: dict[str, Any]) -> NodeFacts:
    names = ("folder", "supervisor", "daemon", "embedded", "locked", "release", "python")
    return NodeFacts(address_in(said), *({"locked": False, **said}[name] for name in names))


def _log_tail(folder: str, log_fd: int) -> str:
    """Return what the node's processes said last, first before and then in the session folder."""
    told = b""
    with suppress(OSError):  # a terminal, or no folder
        told = os.pread(log_fd, _LOG_TAIL_BYTES, 0)
        with open(os.path.join(folder, folders.LOG_FILE), "rb") as file:
            told += file.read()[-_LOG_TAIL_BYTES:]
    return told.decode(errors="replace").rstrip()


def _open_pidfd(pid: int, fallback: int) -> int:
    """Return a pidfd of ``pid``; of a dead one, a copy of ``fallback``, which ends with it."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return os.dup(fallback)


def _await(descriptor: int, deadline_ns: int | None) -> bool:
    """Wait until ``descriptor`` is readable; return whether it is."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    timeout_ms = None if deadline_ns is None else max(0, (deadline_ns - now_ns()) // MS)
    return bool(poll.poll(timeout_ms))


def _reap(pid: int) -> int:
    """Take a dead child's exit status; 0 if the program reaped it itself."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status)
