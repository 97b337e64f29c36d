"""The tiny parent: pidfds, process groups, clean-up.

One thread, and none of the libraries that the daemon needs. It leaves when the driver is dead,
when the daemon is dead, or when it is told to; whatever the reason, nothing that was below it is
left and the session folder is gone. If it is killed itself, its daemon does the same.
"""

import os
import select
import signal
from contextlib import suppress
from typing import Final, NoReturn

from zgen.exceptions import NodeStartError
from zgen.io import folders
from zgen.io.clock import now_ns
from zgen.limits import KILL_NS_MAX, MS, NODE_STOP_NS, ORPHAN_STOP_NS
from zgen_node.io import huge_pages, linux
from zgen_node.io.config import CONTROL_FD, DRIVER_FD, READY_FD, DaemonConfig
from zgen_node.io.rejoining import bounded_seeds, noted_rejoin
from zgen_node.io.zygote_link import start_zygote

#: Any of them stops the node.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: The daemon's story, as far as the starter wants it.
_LOG_TAIL_BYTES: Final = 8 << 10


def supervise(config: DaemonConfig) -> int:
    """Run a node until its end; return 0 if that was wanted."""
    linux.name_process("zgen-supervisor")
    linux.become_subreaper()
    os.closerange(DRIVER_FD + 1, os.sysconf("SC_OPEN_MAX"))
    for descriptor in (READY_FD, CONTROL_FD, DRIVER_FD):
        os.set_inheritable(descriptor, False)
    wakeup = _catch_signals()
    try:
        folders.sweep()
        lock = folders.make_node_folder(config.folder)
    except (NodeStartError, OSError) as error:
        _tell_failure(str(error))
        return 1
    if config.log_to_file:
        _redirect_output(config.folder)
    supervisor = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    daemon = os.fork()
    if daemon == 0:
        _be_daemon(config, supervisor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    daemon_fd = os.pidfd_open(daemon)
    wanted = _await_end(daemon_fd, wakeup)
    if wanted:
        grace_ns = ORPHAN_STOP_NS if _is_dead(DRIVER_FD) else NODE_STOP_NS
        signal.pidfd_send_signal(daemon_fd, signal.SIGTERM)
        _poll([daemon_fd], grace_ns // MS)
    statuses = linux.kill_below(now_ns() + KILL_NS_MAX)
    wanted = wanted or statuses.get(daemon) == 0  # it left, as it was told
    if not wanted:
        _report(f"the daemon ended with wait status {statuses.get(daemon, 'unknown')}")
    if not wanted and not os.path.exists(os.path.join(config.folder, folders.NODE_FILE)):
        _tell_failure(f"the daemon ended before it was ready\n{_log_tail(config)}")
    seeds = None if wanted else noted_rejoin(config.folder)
    folders.remove_folder(config.folder)
    os.close(lock)
    if seeds is not None:
        _begin_anew(config, seeds)
    return 0 if wanted else 1


def _be_daemon(config: DaemonConfig, supervisor: int) -> NoReturn:
    """Become the daemon; the zygote is started first, so that both warm up at once."""
    status = 1
    try:
        os.close(CONTROL_FD)
        os.close(DRIVER_FD)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it serves nobody yet: it may end at once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        linux.become_subreaper()
        linux.name_process("zgen-daemon")
        endpoint = folders.endpoint_of(config.folder, config.peer)
        link = start_zygote(config, endpoint, 1)
        wanted = os.environ.get("ZGEN_HUGE_PAGES") != "0"
        memory_fd = huge_pages.make_folder() if wanted else None
        from zgen_node import daemon

        status = daemon.run(config, link, supervisor, READY_FD, memory_fd)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _begin_anew(config: DaemonConfig, seeds: list[str]) -> NoReturn:
    """Become the supervisor of another node, in place of one that was declared dead."""
    import json
    import sys

    peer = os.urandom(len(config.peer))
    folder = folders.node_folder(os.path.dirname(config.folder), peer)
    seeds = bounded_seeds((*seeds, *config.join))
    given = {**config.given, "peer": peer.hex(), "folder": folder, "join": seeds}
    for descriptor in (READY_FD, CONTROL_FD, DRIVER_FD):
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-P", "-m", "zgen_node", "supervise", json.dumps(given)]
    os.execve(sys.executable, command, {**os.environ, folders.MARK: folder})


def _await_end(daemon_fd: int, wakeup: int) -> bool:
    """Wait until the node has to end; return whether somebody wanted that."""
    ready = _poll([daemon_fd, wakeup, CONTROL_FD, DRIVER_FD], None)
    return ready != [daemon_fd]


def _poll(descriptors: list[int], timeout_ms: int | None) -> list[int]:
    """Return which of ``descriptors`` can be read or are closed at the other end."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout_ms)]


def _is_dead(pidfd: int) -> bool:
    return bool(_poll([pidfd], 0))


def _catch_signals() -> int:
    """Turn the stop signals into a readable descriptor, and return it."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    return readable


def _redirect_output(folder: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(os.path.join(folder, folders.LOG_FILE), flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _report(story: str) -> None:
    os.write(2, f"zgen node: error: {story}\n".encode())


def _log_tail(config: DaemonConfig) -> str:
    if not config.log_to_file:
        return ""
    with open(os.path.join(config.folder, folders.LOG_FILE), "rb") as file:
        return file.read()[-_LOG_TAIL_BYTES:].decode(errors="replace")


def _tell_failure(story: str) -> None:
    """Say on the ready descriptor why there will be no node."""
    import json

    with suppress(OSError):  # the starter is gone
        os.write(READY_FD, json.dumps({"error": story}).encode() + b"\n")
