"""Spawn, watch, reap workers.

Workers are forked by the zygote; what this file holds of each is a pidfd to kill it by, the read
ends of its pipes (handed to the logs), and the memory of its started-marks. An exit is reported
once, after its last output was read. When the zygote dies, everything below it is killed and
reaped here, since the daemon is the subreaper of all of them, and a new zygote takes over; a fork
that was under way is reported as a failed one, because whether it happened cannot be known.

Each worker takes in what its own processes leave behind, and when it dies all of that becomes the
daemon's. So any child of the daemon that is not the zygote is an orphan of a dead worker, and is
killed.
"""

import json
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from zgen.core.events import Event, ProcessExited, WorkerExited, WorkerSpawned
from zgen.core.node_effects import JobKnown, UnwatchProcess, WatchProcess
from zgen.ids import ID_BYTES, JobId, LeaseId, PeerId
from zgen.io.clock import now_ns
from zgen.io.folders import socket_path, unlink_quietly
from zgen.limits import (
    DESCRIPTORS_SPARE_COUNT,
    KILL_NS_MAX,
    ZYGOTE_FAILURES_MAX,
    ZYGOTE_ORDERS_OPEN_MAX,
)
from zgen.slotted import slotted
from zgen_node.io import linux
from zgen_node.io.zygote_link import ZygoteLink

#: A lease id and the count of pushes that were started under it.
STARTED_BYTES: Final = ID_BYTES + 8
#: Descriptors that a worker takes once it runs: its pidfd, and connections both ways.
_LATER_COUNT: Final = 4


class Watcher(Protocol):
    """The part of a loop that tells of descriptors."""

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` on the loop's thread whenever ``fd`` is readable.

        It may be called once too often: for a number that was closed and opened again in the same
        round.
        """

    def unwatch(self, fd: int) -> None:
        """Stop that."""


class Output(Protocol):
    """Who reads the workers' pipes."""

    def attach(self, worker: PeerId, stdout: int, stderr: int) -> None:
        """Read a worker's pipes from now on, and close them in the end."""

    def started(self, worker: PeerId, pid: int) -> None:
        """Know the process id of a worker from now on."""

    def finish(self, worker: PeerId) -> str:
        """Take what is left in a dead worker's pipes, forget them, and return its last lines."""


@slotted
class _Worker:
    """One worker from the order to the report of its exit.

    Attributes:
        job: Its job.
        started_fd: Memory of its started-marks.
        write_fds: Its ends of the pipes, until the zygote has them.
        ordered: Whether the zygote was asked.
        pid: Its process id; 0 until the zygote answered.
        pidfd: To kill it by; -1 until the zygote answered.
        kill_wanted: Whether it is to be killed as soon as it is there.
    """

    job: JobId
    started_fd: int
    write_fds: tuple[int, ...]
    ordered: bool = False
    pid: int = 0
    pidfd: int = -1
    kill_wanted: bool = False


@slotted
class _Watched:
    """A process of another parent.

    Attributes:
        pidfd: Readable when it is dead.
        lives: What ``ProcessExited`` is to say of it, once for each time it was asked for.
    """

    pidfd: int
    lives: list[tuple[PeerId, int]]


class Processes:
    """The processes of a node besides the daemon and its supervisor.

    Attributes:
        ready: Whether a zygote has been ready.
    """

    def __init__(
        self,
        folder: str,
        watcher: Watcher,
        output: Output,
        post: Callable[[Event], None],
        start_zygote: Callable[[], ZygoteLink],
    ) -> None:
        """Tell ``post`` what happens; call ``serve`` next."""
        self.ready = False
        self._folder = folder
        self._watcher = watcher
        self._output = output
        self._post = post
        self._start_zygote = start_zygote
        self._link: ZygoteLink | None = None
        self._failures = 0
        #: Job -> file with its environment. Added by ``know_job``; removed by ``forget_job``.
        self._jobs: dict[JobId, int] = {}
        #: Worker -> record. Added by ``spawn``; removed when its exit is reported.
        self._workers: dict[PeerId, _Worker] = {}
        #: Workers that the zygote has not been asked for, first come first served.
        self._waiting: deque[PeerId] = deque()
        #: Workers that the zygote was asked for and has not answered.
        self._open: dict[PeerId, None] = {}
        #: Pid -> who wants to know of its death. Added by ``watch``; removed by the death.
        self._watched: dict[int, _Watched] = {}
        #: Orphan -> its pidfd. Added when it is killed; removed when it is reaped.
        self._orphans: dict[int, int] = {}

    def serve(self, link: ZygoteLink) -> None:
        """Use the zygote at the other end of ``link`` from now on."""
        self._link = link
        self._watcher.watch(link.socket.fileno(), self._on_answer)
        self._watcher.watch(link.pidfd, self._on_zygote_dead)
        self._order()

    def know_job(self, known: JobKnown) -> None:
        """Keep a job's environment in a file that its workers read."""
        self.forget_job(known.job)
        text = json.dumps(
            {
                "sys_path": known.sys_path,
                "cwd": known.cwd,
                "environment": dict(known.environment),
            }
        ).encode()
        descriptor = os.memfd_create("zgen-job", os.MFD_CLOEXEC)
        written = 0
        while written < len(text):
            written += os.write(descriptor, text[written:])
        self._jobs[known.job] = descriptor

    def forget_job(self, job: JobId) -> None:
        """Close the file with a job's environment; harmless if there is none."""
        descriptor = self._jobs.pop(job, None)
        if descriptor is not None:
            os.close(descriptor)

    def spawn(self, name: PeerId, job: JobId) -> None:
        """Start a worker; ``WorkerSpawned`` follows, or ``WorkerExited`` with pid 0."""
        if job not in self._jobs:
            self._report_exit(name, 0, -1, 0, "its job is over", None)
            return
        under_way = len(self._waiting) + len(self._open)
        if linux.descriptors_left() < DESCRIPTORS_SPARE_COUNT + under_way * _LATER_COUNT:
            self._report_exit(name, 0, -1, 0, "no descriptors are left for a worker", None)
            return
        opened: list[int] = []
        try:
            for _ in range(2):
                opened.extend(os.pipe2(os.O_CLOEXEC))
            opened.append(os.memfd_create("zgen-started", os.MFD_CLOEXEC))
            os.ftruncate(opened[-1], STARTED_BYTES)
        except OSError as error:
            _close_all(tuple(opened))
            self._report_exit(name, 0, -1, 0, f"no descriptors for a worker: {error}", None)
            return
        stdout, stdout_end, stderr, stderr_end, started = opened
        self._workers[name] = _Worker(job, started, (stdout_end, stderr_end))
        self._output.attach(name, stdout, stderr)
        self._waiting.append(name)
        self._order()

    def kill(self, name: PeerId) -> None:
        """Kill a worker and what it started; ``WorkerExited`` follows. Harmless if it is gone."""
        worker = self._workers.get(name)
        if worker is None:
            return
        worker.kill_wanted = True
        if worker.pidfd >= 0:
            linux.kill(worker.pidfd)
        elif not worker.ordered:
            self._waiting.remove(name)
            self._bury(name, -1, signal.SIGKILL, "")

    def watch(self, wanted: WatchProcess) -> None:
        """Tell ``ProcessExited`` when a process of another parent dies, at once if it is dead."""
        life = wanted.peer, wanted.incarnation
        watched = self._watched.get(wanted.pid)
        if watched is not None:
            watched.lives.append(life)
            return
        try:
            pidfd = os.pidfd_open(wanted.pid)
        except OSError as error:
            reason = f"process {wanted.pid} cannot be watched: {error.strerror}"
            self._tell_exit(wanted.pid, [life], reason)
            return
        self._watched[wanted.pid] = _Watched(pidfd, [life])
        self._watcher.watch(pidfd, partial(self._on_watched_dead, wanted.pid))

    def unwatch(self, unwanted: UnwatchProcess) -> None:
        """Tell nothing of this life any more; harmless if it is not watched."""
        life = unwanted.peer, unwanted.incarnation
        for pid, watched in list(self._watched.items()):
            if life in watched.lives:
                watched.lives.remove(life)
                if not watched.lives:
                    del self._watched[pid]
                    self._watcher.unwatch(watched.pidfd)
                    os.close(watched.pidfd)

    def end_all(self) -> None:
        """Kill and reap everything below this process; nothing is reported."""
        linux.kill_below(now_ns() + KILL_NS_MAX)

    # -- zygote ------------------------------------------------------------------------------------
    def _order(self) -> None:
        """Ask the zygote for what waits, as long as few orders are open."""
        while self._link and self._waiting and len(self._open) < ZYGOTE_ORDERS_OPEN_MAX:
            name = self._waiting.popleft()
            worker = self._workers[name]
            job_fd = self._jobs.get(worker.job)
            if job_fd is None:
                self._bury(name, -1, 0, "its job is over")
                continue
            order = {"worker": name.hex(), "job": worker.job.hex()}
            try:
                sent = self._link.send(order, [*worker.write_fds, worker.started_fd, job_fd])
            except OSError as error:
                self._bury(name, -1, 0, f"its zygote could not be asked: {error}")
                continue
            if not sent:  # the next zygote is asked, or this one when it has answered
                self._waiting.appendleft(name)
                return
            worker.ordered = True
            self._open[name] = None

    def _on_answer(self) -> None:
        while self._link is not None:
            received = self._link.receive()
            if received is None:
                return
            self._on_packet(*received)

    def _on_packet(self, answer: dict[str, Any], descriptors: list[int]) -> None:
        match answer:
            case {"ready": True}:
                self.ready = True
                self._failures = 0
            case {"started": name, "pid": pid}:
                self._on_started(PeerId(bytes.fromhex(name)), pid, descriptors)
            case {"failed": name, "error": error}:
                failed = PeerId(bytes.fromhex(name))
                self._open.pop(failed)
                self._bury(failed, -1, 0, error)
            case {"exited": name, "status": status}:
                self._bury(PeerId(bytes.fromhex(name)), *_cause(status), "")
                self._end_orphans()
            case _:
                raise AssertionError(f"the zygote said {answer}")
        self._order()

    def _on_started(self, name: PeerId, pid: int, descriptors: list[int]) -> None:
        worker = self._workers[name]
        self._open.pop(name)
        worker.pid = pid
        _close_all(worker.write_fds)
        worker.write_fds = ()
        self._output.started(name, pid)
        self._post(WorkerSpawned(name, pid))
        if not descriptors:  # none was left for its pidfd, so it could never be killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        worker.pidfd = descriptors[0]
        if worker.kill_wanted:
            linux.kill(worker.pidfd)

    def _on_zygote_dead(self) -> None:
        link = self._link
        if link is None or not linux.is_dead(link.pidfd):
            return
        self._on_answer()  # what it still said counts
        self._link = None
        self._watcher.unwatch(link.socket.fileno())
        self._watcher.unwatch(link.pidfd)
        link.close()
        for pidfd in self._orphans.values():
            self._watcher.unwatch(pidfd)
            os.close(pidfd)
        self._orphans.clear()
        statuses = linux.kill_below(now_ns() + KILL_NS_MAX)
        self._failures += 1
        if self._failures > ZYGOTE_FAILURES_MAX:
            raise RuntimeError(f"{self._failures} zygotes in a row died before they were ready")
        fresh = self._start_zygote()
        lost = [name for name, worker in self._workers.items() if worker.ordered]
        for name in lost:
            status = statuses.get(self._workers[name].pid, int(signal.SIGKILL))
            self._bury(name, *_cause(status), "its zygote died")
        self.serve(fresh)

    # -- deaths ------------------------------------------------------------------------------------
    def _bury(self, name: PeerId, exit_code: int, number: int, why: str) -> None:
        """Let go of everything of a dead worker, and report its exit."""
        worker = self._workers.pop(name)
        self._open.pop(name, None)
        _close_all(worker.write_fds)
        tail = self._output.finish(name)
        marks = os.pread(worker.started_fd, STARTED_BYTES, 0)
        _close_all((worker.started_fd,))
        if worker.pidfd >= 0:
            os.close(worker.pidfd)
            unlink_quietly(socket_path(self._folder, name))
        self._report_exit(name, worker.pid, exit_code, number, tail or why, marks)

    def _report_exit(
        self, name: PeerId, pid: int, exit_code: int, number: int, tail: str, marks: bytes | None
    ) -> None:
        lease, started = LeaseId(bytes(ID_BYTES)), 0
        if marks is not None:
            lease = LeaseId(marks[:ID_BYTES])
            started = int.from_bytes(marks[ID_BYTES:], _NATIVE)
        self._post(WorkerExited(name, pid, exit_code, number, tail, lease, started))

    def _end_orphans(self) -> None:
        """Kill every child that is neither the zygote nor known as dying."""
        zygote = self._link.pid if self._link else 0
        for pid in linux.children_of(os.getpid()):
            if pid == zygote or pid in self._orphans:
                continue
            pidfd = self._orphans[pid] = os.pidfd_open(pid)  # a child's number is its own
            linux.kill(pidfd)
            self._watcher.watch(pidfd, partial(self._on_orphan_dead, pid))

    def _on_orphan_dead(self, pid: int) -> None:
        pidfd = self._orphans.get(pid, -1)
        if pidfd < 0 or not linux.is_dead(pidfd):
            return
        del self._orphans[pid]
        self._watcher.unwatch(pidfd)
        os.close(pidfd)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        self._end_orphans()  # its children are ours now

    def _on_watched_dead(self, pid: int) -> None:
        watched = self._watched.get(pid)
        if watched is None or not linux.is_dead(watched.pidfd):
            return
        del self._watched[pid]
        self._watcher.unwatch(watched.pidfd)
        os.close(watched.pidfd)
        self._tell_exit(pid, watched.lives, f"process {pid} ended")

    def _tell_exit(self, pid: int, lives: list[tuple[PeerId, int]], reason: str) -> None:
        for peer, incarnation in lives:
            unlink_quietly(socket_path(self._folder, peer))
            self._post(ProcessExited(peer, incarnation, reason))


_NATIVE: Final = "little" if memoryview(b"\1\0").cast("H")[0] == 1 else "big"


def _cause(status: int) -> tuple[int, int]:
    """Return (exit code or -1, signal or 0) of a wait status."""
    if os.WIFSIGNALED(status):
        return -1, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def _close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
