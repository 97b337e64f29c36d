"""Fork workers, reap them, report exits.

Exec'ed by the daemon, with one thread and no sockets of its own besides the line to the daemon, so
that forking it is safe; it has imported what every worker needs, so that forking it is fast. It is
the workers' parent: they die with it, and it with the daemon.

What a worker started falls to the daemon when the worker dies, since workers and the daemon are
subreapers; the daemon ends it. The exit is reported after the pidfd was handed over, so the daemon
never has to do with a number that may be somebody else's.
"""

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, Final, NoReturn

from zgen.io import folders, stacks
from zgen.io.clock import adopt_timezone
from zgen.io.descriptors import receive
from zgen.mishaps import VARIABLE
from zgen.slotted import slotted
from zgen_node.io import linux
from zgen_node.io.zygote_link import LINK_FD, PACKET_BYTES_MAX

#: Where a worker finds its memory for the started-marks.
STARTED_FD: Final = 3
#: ``run(worker, folder, node, job, started_fd)`` returns the worker's exit status.
WorkerMain = Callable[[bytes, str, tuple[bytes, int, str], bytes, int], int]


@slotted
class Order:
    """One worker to be forked.

    Attributes:
        worker: Name of it, in hex.
        job: Its job, in hex.
        descriptors: Its standard output, standard error, started-marks, and the file with the
            job's environment.
    """

    worker: str
    job: str
    descriptors: list[int]


def main(facts_text: str) -> int:
    """Serve the daemon until it is gone; in a forked worker, run that instead."""
    facts: dict[str, Any] = json.loads(facts_text)
    linux.die_with(facts["daemon"])
    linux.name_process("zgen-zygote")
    os.closerange(LINK_FD + 1, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stacks.prepare()
    link = socket.socket(fileno=LINK_FD)
    link.set_inheritable(False)
    module, _, name = facts["main"].partition(":")
    run: WorkerMain = getattr(importlib.import_module(module), name)
    gc.collect()
    gc.freeze()  # what is here stays shared with the workers
    link.send(json.dumps({"ready": True}).encode())
    order = Zygote(link).serve()
    if order is not None:
        run_worker(order, run, facts)
    return 0


class Zygote:
    """The serving of one daemon."""

    def __init__(self, link: socket.socket) -> None:
        """Serve the daemon at the other end of ``link``."""
        self._link = link
        self._poll = select.poll()
        self._poll.register(link.fileno(), select.POLLIN)
        #: Pidfd -> (pid, worker). Added by a fork; removed when the worker is reaped.
        self._workers: dict[int, tuple[int, str]] = {}

    def serve(self) -> Order | None:
        """Serve until the daemon is gone (None); in a forked worker, return its order."""
        link_fd = self._link.fileno()
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != link_fd:
                    self._reap(descriptor)
                    continue
                packet, descriptors = receive(self._link, PACKET_BYTES_MAX, 8)
                if not packet:
                    return None
                order = Order(**json.loads(packet), descriptors=descriptors)
                if self._fork(order):
                    self._link.detach()  # its number is closed by hand
                    return order

    def _fork(self, order: Order) -> bool:
        """Fork a worker and report it; True in the worker."""
        threads = os.listdir("/proc/self/task")
        assert len(threads) == 1, f"forking with {len(threads)} threads; an import started one"
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"failed": order.worker, "error": f"fork: {error}"}, [])
        else:
            if pid == 0:
                linux.die_with(parent)
                return True
            pidfd = os.pidfd_open(pid)
            self._tell({"started": order.worker, "pid": pid}, [pidfd])
            self._workers[pidfd] = pid, order.worker
            self._poll.register(pidfd, select.POLLIN)
        for descriptor in order.descriptors:
            os.close(descriptor)
        return False

    def _reap(self, pidfd: int) -> None:
        """Reap a dead worker and report its exit."""
        pid, worker = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self._tell({"exited": worker, "pid": pid, "status": status}, [])

    def _tell(self, answer: dict[str, Any], descriptors: list[int]) -> None:
        socket.send_fds(self._link, [json.dumps(answer).encode()], descriptors)


def run_worker(order: Order, run: WorkerMain, facts: dict[str, Any]) -> NoReturn:
    """Make this fork a worker of its job, run it, and end the process with its exit status."""
    status = 1
    try:
        job = _take_over(order.descriptors)
        _enter(job, facts["folder"])
        peer, incarnation, endpoint = facts["node"]
        node = bytes.fromhex(peer), int(incarnation), str(endpoint)
        worker, job_id = bytes.fromhex(order.worker), bytes.fromhex(order.job)
        status = run(worker, facts["folder"], node, job_id, STARTED_FD)
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _take_over(descriptors: list[int]) -> dict[str, Any]:
    """Put the worker's descriptors into their places, close all others, and read its job."""
    stdout, stderr, started, job_fd = descriptors
    os.setsid()
    linux.name_process("zgen-worker")
    linux.become_subreaper()
    job_text = os.pread(job_fd, os.fstat(job_fd).st_size, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(number, target)
    os.dup2(started, STARTED_FD, inheritable=False)
    os.closerange(STARTED_FD + 1, os.sysconf("SC_OPEN_MAX"))
    for known in signal.valid_signals():
        prepared = known == stacks.ASK_SIGNAL
        if not prepared and signal.getsignal(known) not in (signal.SIG_DFL, None):
            signal.signal(known, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in every Python program
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # New objects: those inherited from the zygote remember whether its descriptors could seek.
    sys.stdout, sys.stderr = (
        open(number, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115  # for life
        for number in (1, 2)
    )
    faulthandler.enable()
    job: dict[str, Any] = json.loads(job_text)
    return job


def _enter(job: dict[str, Any], folder: str) -> None:
    """Adopt the driver's environment, folder and module search path, and an empty ``__main__``."""
    chaos = os.environ.get(VARIABLE)
    os.environ.clear()
    os.environ.update(job["environment"])
    if chaos:
        os.environ.setdefault(VARIABLE, chaos)  # of the node, where the driver says nothing
    os.environ[folders.MARK] = folder  # what this worker starts is known by it
    adopt_timezone()
    os.chdir(job["cwd"])
    sys.path[:] = job["sys_path"]
    sys.path_importer_cache.clear()
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")
    gc.enable()
