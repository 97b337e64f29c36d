"""A process that hosts the daemon's `Processes` without a daemon, for the tests of it.

``python -m tests.integration.processes_host FOLDER WORKER_MAIN`` takes commands as JSON lines on
its standard input and prints what is posted as JSON lines. It is a process of its own because its
zygote must be its only child.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from zgen.core.events import Event, ProcessExited, WorkerExited, WorkerPrinted, WorkerSpawned
from zgen.core.node_effects import JobKnown, UnwatchProcess, WatchProcess
from zgen.ids import JobId, PeerId
from zgen_node.io import linux
from zgen_node.io.config import DaemonConfig
from zgen_node.io.processes import Processes
from zgen_node.io.zygote_link import ZygoteLink, start_zygote
from zgen_node.logs import Logs


class PollLoop:
    """A loop over descriptors and nothing else."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readable: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        self._readable[fd] = on_readable
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        del self._readable[fd]
        self._epoll.unregister(fd)

    def turn(self) -> None:
        for fd, _ in self._epoll.poll():
            self._readable.get(fd, lambda: None)()


class Host:
    """The processes, their logs, and the line to the test."""

    def __init__(self, folder: str, worker_main: str) -> None:
        facts = {"folder": folder, "peer": "01" * 16, "resources": {}, "embedded": True}
        facts |= {"log_to_file": False, "worker_main": worker_main, "prestart": False}
        facts |= {"store_bytes": None, "spill_folder": None}
        config = DaemonConfig(facts)

        def start() -> ZygoteLink:
            link = start_zygote(config, "ipc:///nowhere", 1)
            self._say(zygote=link.pid)
            return link

        self.over = False
        self.loop = PollLoop()
        self._commands = b""
        self.processes = Processes(
            folder, self.loop, Logs(self.loop, self._post), self._post, start
        )
        self.loop.watch(0, self._on_command)
        self.processes.serve(start())

    def _post(self, event: Event) -> None:
        match event:
            case WorkerSpawned(worker, pid):
                self._say(spawned=worker.hex(), pid=pid)
            case WorkerExited(worker, pid, exit_code, number, tail, lease, started):
                self._say(
                    exited=worker.hex(),
                    pid=pid,
                    exit_code=exit_code,
                    signal=number,
                    tail=tail,
                    lease=lease.hex(),
                    started=started,
                )
            case WorkerPrinted(worker, is_error, lines, _):
                self._say(printed=worker.hex(), is_error=is_error, lines=list(lines))
            case ProcessExited(peer, incarnation, reason):
                self._say(process=peer.hex(), incarnation=incarnation, reason=reason)
            case _:
                raise AssertionError(f"processes never post {event}")

    def _say(self, **facts: Any) -> None:
        print(json.dumps(facts), flush=True)

    def _on_command(self) -> None:
        data = os.read(0, 1 << 16)
        self.over = not data
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            self._do(json.loads(line))

    def _do(self, command: list[Any]) -> None:
        name, *arguments = command
        if name == "job":
            job, sys_path, cwd, environment = arguments
            pairs = tuple((key, value) for key, value in environment.items())
            known = JobKnown(JobId(bytes.fromhex(job)), tuple(sys_path), cwd, pairs)
            self.processes.know_job(known)
        elif name == "spawn":
            worker, job = map(bytes.fromhex, arguments)
            self.processes.spawn(PeerId(worker), JobId(job))
        elif name == "kill":
            self.processes.kill(PeerId(bytes.fromhex(arguments[0])))
        elif name == "watch":
            self.processes.watch(WatchProcess(PeerId(bytes.fromhex(arguments[0])), 1, arguments[1]))
        elif name == "unwatch":
            self.processes.unwatch(UnwatchProcess(PeerId(bytes.fromhex(arguments[0])), 1))
        elif name == "descriptors":
            self._say(descriptors=len(os.listdir("/proc/self/fd")))


def main() -> None:
    folder, worker_main = sys.argv[1:]
    linux.become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host = Host(folder, worker_main)
    while not host.over:
        host.loop.turn()
    host.processes.end_all()


if __name__ == "__main__":
    main()
