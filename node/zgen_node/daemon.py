"""Composition root.

One thread: the main thread leads the loop for as long as the daemon lives, and everything here
runs on it. An exception that escapes means dirty state, which is never continued: its story goes
to the log and the process ends, with everything below it.
"""

import json
import os
import resource
import signal
import sys
import traceback
from collections import deque
from contextlib import suppress

from zgen.core.effects import Effect, Exit, Left, Report
from zgen.core.events import Event, Leave, LinesFlushed
from zgen.core.identity import Identity
from zgen.core.node_effects import (
    CheckDial,
    ClusterJoined,
    Drained,
    FlushLines,
    JobKnown,
    JobOver,
    KillWorker,
    NodeFenced,
    NotJoined,
    ReadKeyFile,
    ReadMemory,
    SpawnWorker,
    UnwatchProcess,
    WatchProcess,
)
from zgen.core.node_events import JoinCluster, KeysRead
from zgen.core.store_effects import (
    CloseCopy,
    CloseSlab,
    CreateSlab,
    ForgetLine,
    ForgetSpilled,
    OpenCopy,
    PopulateSlab,
    PunchRegion,
    RestoreRegion,
    SendChunks,
    SpillRegion,
)
from zgen.exceptions import KeyFileError, NodeStartError
from zgen.ids import PeerId, short
from zgen.io import exposure, folders, keys
from zgen.io.chaos import open_mailbox
from zgen.io.loop import Loop
from zgen.io.recorder import recorder_from_environment
from zgen.io.release import PYTHON, RELEASE
from zgen.limits import DESCRIPTORS_COUNT_MAX, NODE_LOG_BYTES_MAX
from zgen.wire.lease import Shape
from zgen.wire.session import Address
from zgen_node.core.resources import UNIT
from zgen_node.io.config import DaemonConfig
from zgen_node.io.disk import Disk
from zgen_node.io.joining import Dials, machine_of
from zgen_node.io.log_file import log_file_at
from zgen_node.io.memory import default_store_bytes, read_memory
from zgen_node.io.pages import Pages
from zgen_node.io.processes import Processes
from zgen_node.io.rejoining import note_rejoin
from zgen_node.io.slabs import Slabs
from zgen_node.io.transfer import Transfer
from zgen_node.io.zygote_link import ZygoteLink, start_zygote
from zgen_node.logs import Logs

#: The daemon's first and only life: it is started anew under a new id.
INCARNATION = 1


def run(
    config: DaemonConfig, link: ZygoteLink, supervisor: int, ready_fd: int, memory_fd: int | None
) -> int:
    """Serve until told to stop, or until the supervisor is dead; return the exit status.

    Args:
        config: What the node was started with.
        link: The first zygote, started before this module was loaded.
        supervisor: Process id of the supervisor, which is the parent.
        ready_fd: Where to tell that the node is ready; closed after that.
        memory_fd: Folder to make slabs in, None for memfds; closed at the end.
    """
    _raise_descriptor_limit()
    try:
        daemon = Daemon(config, supervisor, ready_fd, memory_fd)
    except NodeStartError as error:
        with suppress(OSError):  # the starter is gone
            os.write(ready_fd, json.dumps({"error": str(error)}).encode() + b"\n")
        return 1
    try:
        daemon.serve(link)
    except Exception:
        traceback.print_exc()
        daemon.failed = True
    finally:
        daemon.end()
    return 1 if daemon.failed else 0


class Daemon:
    """The parts of a node daemon, and what its machine's effects do to them.

    Attributes:
        failed: Whether it ends for a reason that nobody wanted.
    """

    def __init__(
        self, config: DaemonConfig, supervisor: int, ready_fd: int, memory_fd: int | None
    ) -> None:
        """Assemble the parts; ``serve`` next."""
        self.failed = False
        self._config = config
        self._supervisor = supervisor
        self._supervisor_fd = os.pidfd_open(supervisor)
        self._orphaned = os.getppid() != supervisor
        self._ready_fd = ready_fd
        self._done = self._orphaned
        #: Events found while an effect was performed; stepped in the next round, after the effects
        #: behind it.
        self._found: deque[Event] = deque()
        self._found_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._performing = False
        endpoint = folders.endpoint_of(config.folder, config.peer)
        peer = PeerId(config.peer)
        address = Address(peer, INCARNATION, endpoint, peer)
        self._exposure = _exposure_of(config)
        self._log_file = log_file_at(config.log_path)
        self._mailbox = mailbox = open_mailbox(endpoint, self._exposure, "daemon", config.folder)
        if self._exposure is not None:
            exposure.publish(config.folder, self._exposure)
            address = self._exposure.told(address, mailbox.tcp_port)
        self._address = address
        self._total = shape_of(config.resources)
        identity = Identity(self._address, PYTHON, RELEASE)
        self._store_bytes = config.store_bytes or default_store_bytes()
        try:
            machine, made_by = machine_of(config, identity, self._total, self._store_bytes)
        except NodeStartError:
            mailbox.close()
            raise
        self._joined = self._exposure is None
        self._recorder = recorder_from_environment("daemon", address.peer, made_by)
        self._loop = Loop(machine, mailbox, self._perform, self._perform_inside, self._recorder)
        self._dials = Dials(self._loop, self._post)
        self._logs = Logs(self._loop, self._post, self._log_file)
        self._processes = Processes(
            config.folder,
            self._loop,
            self._logs,
            self._post,
            lambda: start_zygote(config, endpoint, INCARNATION),
        )
        self._slabs = Slabs(config.folder, self._loop, self._log, memory_fd)
        self._pages = Pages(self._loop, self._post, self._slabs.copy_of)
        self._disk = Disk(config.spill_folder, self._loop, self._post, self._slabs.copy_of)
        self._transfer = Transfer(mailbox.locks, self._loop, self._post, self._slabs.copy_of)
        mailbox.take_parts(self._transfer.take)

    def serve(self, link: ZygoteLink) -> None:
        """Run until the node is to end."""
        signal_fd = _catch_signals()
        self._loop.watch(signal_fd, lambda: self._on_signal(signal_fd))
        self._loop.watch(self._supervisor_fd, self._on_orphaned)
        self._loop.watch(self._found_fd, self._step_found)
        self._processes.serve(link)
        if self._exposure is not None and self._exposure.key is not None:
            self._post(KeysRead(None, 0, self._exposure.key.prints(), ""))
        if not self._joined:
            self._post(JoinCluster(self._config.join))
        self._loop.run(self._is_over)

    def end(self) -> None:
        """Leave nothing behind; the supervisor removes the folder, unless it is dead."""
        self._processes.end_all()
        self._disk.end()
        self._transfer.end()
        self._pages.end()
        self._slabs.end()
        self._dials.end()
        self._loop.close()
        self._log_file.close()
        if self._recorder is not None:
            self._recorder.close()
        if self._orphaned:
            folders.remove_folder(self._config.folder)

    def _is_over(self) -> bool:
        if self._ready_fd >= 0 and self._processes.ready and self._joined:
            self._tell_ready()
        return self._done

    def _tell_ready(self) -> None:
        """Publish who this node is."""
        facts = {
            "peer": self._address.peer.hex(),
            "incarnation": self._address.incarnation,
            "endpoint": self._address.endpoint,
            "tcp": self._address.tcp,
            "machine": self._address.machine.hex(),
            "locked": self._exposure is not None and self._exposure.key is not None,
            "supervisor": self._supervisor,
            "daemon": os.getpid(),
            "embedded": self._config.embedded,
            "resources": self._config.resources,
            "store_bytes": self._store_bytes,
            "spill_folder": self._config.spill_folder,
            "log": self._config.log_path,
            "release": RELEASE,
            "python": PYTHON,
        }
        folders.write_node_file(self._config.folder, facts)
        with suppress(BrokenPipeError):  # whoever started this is gone; the supervisor knows
            os.write(self._ready_fd, json.dumps(facts).encode() + b"\n")
        os.close(self._ready_fd)
        self._ready_fd = -1

    def _refused(self, detail: str) -> None:
        """End, as the cluster does not take this node in; its starter is told why."""
        self._log("error", f"the cluster refused this node: {detail}")
        if self._ready_fd >= 0:
            with suppress(OSError):  # the starter is gone
                os.write(self._ready_fd, json.dumps({"error": detail}).encode() + b"\n")
        self.failed = self._done = True

    # -- events ------------------------------------------------------------------------------------
    def _post(self, event: Event) -> None:
        """Step the machine, or note the event if an effect is being performed."""
        if self._performing or self._found:
            self._found.append(event)
            os.eventfd_write(self._found_fd, 1)
        else:
            self._loop.post(event)

    def _step_found(self) -> None:
        try:
            os.eventfd_read(self._found_fd)
        except BlockingIOError:
            return
        for _ in range(len(self._found)):
            event = self._found[0]
            self._loop.post(event)
            self._found.popleft()  # not before: what is found meanwhile comes after it

    def _on_signal(self, signal_fd: int) -> None:
        try:
            os.read(signal_fd, 64)
        except BlockingIOError:
            return
        self._post(Leave("the node was stopped"))

    def _on_orphaned(self) -> None:
        if os.getppid() != self._supervisor:
            self._log("error", "the supervisor is dead")
            self._orphaned = self.failed = self._done = True

    # -- effects -----------------------------------------------------------------------------------
    def _perform_inside(self, effect: Effect) -> bool:
        """Do what memory is done to, before the messages behind it tell anybody to use it."""
        self._performing = True
        try:
            match effect:
                case CreateSlab(slab, size_bytes, is_shared):
                    self._slabs.create(slab, size_bytes, is_shared=is_shared)
                case PopulateSlab(slab, size_bytes):
                    self._pages.populate(slab, size_bytes)
                case PunchRegion(slab, offset, size_bytes):
                    self._slabs.punch(slab, offset, size_bytes)
                case CloseSlab(slab):
                    self._transfer.close_slab(slab)
                    self._slabs.close(slab)
                case SpillRegion() | RestoreRegion() | ForgetSpilled():
                    self._disk.order(effect)
                case SendChunks() | OpenCopy() | CloseCopy() | ForgetLine():
                    self._transfer.order(effect)
                case _:
                    return False
        finally:
            self._performing = False
        return True

    def _perform(self, effect: Effect) -> None:
        self._performing = True
        try:
            self._do(effect)
        finally:
            self._performing = False

    def _read_keys(self) -> tuple[tuple[str, ...], str]:
        """Use what is in the key file now; return what keys are told by, and what went wrong."""
        path = self._config.key_file
        if path is None or self._mailbox.locks is None:
            return (), "this node was started without a key; it has to be started anew"
        try:
            key = keys.load(path)
            exposure.rekey(self._config.folder, key)
        except KeyFileError as error:
            return (), str(error)
        self._mailbox.rekey(key)
        return key.prints(), ""

    def _do(self, effect: Effect) -> None:
        match effect:
            case SpawnWorker(worker, job):
                self._processes.spawn(worker, job)
            case KillWorker(worker):
                self._processes.kill(worker)
            case WatchProcess():
                self._processes.watch(effect)
            case UnwatchProcess():
                self._processes.unwatch(effect)
            case JobKnown():
                self._processes.know_job(effect)
            case JobOver(job):
                self._processes.forget_job(job)
            case FlushLines(workers, peer, query):
                for name in workers:
                    self._logs.flush(name)
                self._post(LinesFlushed(peer, query))
            case CheckDial(endpoint):
                self._dials.check(endpoint)
            case ReadMemory(measured):
                self._post(read_memory(measured))
            case ClusterJoined(count):
                self._joined = True
                self._log("info", f"one of {count} nodes")
            case NotJoined(detail):
                self._refused(detail)
            case NodeFenced(reason, endpoints):
                self._log("error", f"{reason}; this node ends")
                if self._config.comes_back:
                    note_rejoin(self._config.folder, endpoints)
                self.failed = self._done = True
            case ReadKeyFile(peer, query):
                self._post(KeysRead(peer, query, *self._read_keys()))
            case Drained():
                self._post(Leave("the node was drained"))
            case Report(level, text):
                self._log(level, text)
            case Left():
                self._done = True
            case Exit(reason):
                self._log("error", reason)
                self.failed = self._done = True
            case _:
                raise AssertionError(f"node {short(self._address.peer)} cannot do {effect}")

    def _log(self, level: str, text: str) -> None:
        _write_log(level, text)
        self._log_file.said(os.getpid(), f"{level}: {text}")


def _exposure_of(config: DaemonConfig) -> exposure.Exposure | None:
    if config.listen is None:
        return None
    key = None if config.key_file is None else keys.load(config.key_file)
    return exposure.exposure_of(config.listen, config.advertise, key)


def shape_of(resources: dict[str, float]) -> Shape:
    """Return resources as a shape: sorted, in whole ten-thousandths, zeroes left out."""
    amounts = {name: round(amount * UNIT) for name, amount in resources.items()}
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount > 0))


def _catch_signals() -> int:
    """Turn SIGTERM into a readable descriptor; what a terminal sends is the supervisor's."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return readable


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as may be: a worker takes four."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, DESCRIPTORS_COUNT_MAX)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _write_log(level: str, text: str) -> None:
    """Write one line to the log, which starts anew when it has grown too long."""
    if os.fstat(2).st_size > NODE_LOG_BYTES_MAX:
        os.ftruncate(2, 0)
    sys.stderr.write(f"zgen node: {level}: {text}\n")
    sys.stderr.flush()
