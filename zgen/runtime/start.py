"""Start and stop the runtime of a driver.

Rules of this file: it joins or starts a node and ends what it started. Nothing of it runs in
workers.
"""

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from zgen.core.events import Join, Leave, ProcessExited, RegisterDriver
from zgen.core.identity import Identity
from zgen.exceptions import InternalError, NodeStartError
from zgen.ids import ID_BYTES, JobId, PeerId
from zgen.io import clock
from zgen.io.folders import endpoint_of, socket_path
from zgen.io.interrupts import Interrupts
from zgen.io.release import PYTHON, RELEASE
from zgen.io.timeline import TIMELINE_VARIABLE, Timeline, begin, is_wanted
from zgen.limits import SECOND
from zgen.runtime import process
from zgen.runtime.process import Runtime
from zgen.runtime.questions import NAMESPACE
from zgen.wire.session import Address

if TYPE_CHECKING:  # what starts a node is loaded when one is started or joined
    from zgen.io import spawn

#: A node that is alive answers within milliseconds; this long means that something is wrong with
#: it.
_JOIN_TIMEOUT_S: Final = 20.0
#: How long to wait for another thread that ends it.
_END_TIMEOUT_S: Final = 10.0
#: What a clean exit waits for the last lines of the workers.
_LAST_LINES_S: Final = 0.5
#: Environment variables that belong to one process and not to its job.
_NOT_INHERITED: Final = ("ZGEN_NODE_FOLDER",)


class Driver:
    """The runtime of a driver and the node that it started or joined.

    Attributes:
        runtime: Its runtime.
        node: What the node published about itself.
        timeline: Where it notes what it submits; None if it does not.
    """

    def __init__(
        self,
        runtime: Runtime,
        node: "spawn.NodeFacts",
        started: "spawn.NodeProcess | None",
        pidfd: int,
    ) -> None:
        """Made by ``start_driver``."""
        self.runtime = runtime
        self.node = node
        self.timeline: Timeline | None = None
        self._started = started
        self._pidfd = pidfd
        self._pid = os.getpid()

    def rest(self) -> None:
        """Leave SIGINT alone until the first call: the program may begin with ``asyncio.run``."""
        if self.runtime.interrupts is not None:
            self.runtime.interrupts.rest()

    def stop(self) -> None:
        """End the runtime; end the node too if it was started for this driver.

        If another thread does so, this returns when that is done.
        """
        if os.getpid() != self._pid:
            return
        with _ended_by_one():
            if driver is self:
                self._stop()

    def _stop(self) -> None:
        global driver  # the driver of the one runtime
        if self.runtime.interrupts is not None:
            self.runtime.interrupts.wrap()
        driver = None
        atexit.unregister(self.stop)  # which would keep everything that it owned
        runtime = self.runtime
        try:
            if not runtime.loop.broken and runtime.machine.owner.node_lost is None:
                runtime.release_drops()
                runtime.ask_node(_LAST_LINES_S)
                if self._started is None:
                    runtime.objects.detach()
                    runtime.loop.post(Leave("the driver shut down"))
                    runtime.loop.wait(runtime.left, clock.now_ns() + 3 * SECOND)
        except InternalError:
            process.log.exception("zgen was broken when it was shut down")
        finally:
            # Interrupts are noted and not delivered from here on, until nothing is left to be done.
            runtime.close("zgen was shut down")
            if self.timeline is not None:
                self.timeline.close()
            if self._started is not None:
                self._started.stop()
            else:
                os.close(self._pidfd)
                _unlink(socket_path(runtime.folder, runtime.machine.session.identity.address.peer))
            if runtime.interrupts is not None:
                runtime.interrupts.close()


#: The driver of this process's runtime, or None.
driver: Driver | None = None
#: Held by the thread that starts it.
_starting: Final = threading.Lock()
#: Held by the thread that ends it, which may be interrupted and begin to end it again.
_ending: Final = threading.RLock()


@contextmanager
def _ended_by_one() -> Iterator[None]:
    """Wait for a thread that ends the driver; not for ever, since it may wait for this one."""
    held = _ending.acquire(timeout=_END_TIMEOUT_S)
    try:
        yield
    finally:
        if held:
            _ending.release()


def stop_driver() -> None:
    """End the driver of this process, if there is one; return when it is over, whoever ends it."""
    if process.forked:
        return
    with _ended_by_one():
        if driver is not None:
            driver.stop()


def start_driver(
    address: str | None = None,
    *,
    key: str | None = None,
    log_to_driver: bool = True,
    namespace: str | None = None,
    timeline: bool = False,
    **settings: Any,
) -> Driver:
    """Join a node, or start an embedded one, and make this process its driver.

    Args:
        address: None to start a node of its own; ``"auto"`` for this machine's; or a node's
            address. ``tcp://HOST:PORT`` is a member of a cluster, which a node of its own without
            CPUs joins.
        key: File with the key of that cluster, or None for the one that ``ZGEN_KEY`` names.
        log_to_driver: Whether the output of workers is shown here.
        namespace: Where names of actors count, or None for this job alone.
        timeline: Whether it and its workers note what they run; the environment may ask for it too.
        settings: Of the node that is started, as ``spawn.start_node`` takes them.

    Raises:
        RuntimeError: This process is a driver already.
        NodeStartError: The node could not be started or joined.
        ValueError: A setting makes no sense.
        TypeError: A text is none.
    """
    texts: dict[str, object] = {"address": address, "key": key, "namespace": namespace}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} must be a string, got {text!r}")
    with _starting, _ended_by_one():
        if driver is not None:
            raise RuntimeError("zgen was initialised by another thread meanwhile")
        wanted = timeline or is_wanted()
        return _start_driver(address, settings, log_to_driver, namespace, key, wanted)


def _start_driver(
    address: str | None,
    settings: dict[str, Any],
    log_to_driver: bool,
    namespace: str | None = None,
    key: str | None = None,
    timeline: bool = False,
) -> Driver:
    from zgen.io import spawn

    interrupts = Interrupts()
    try:
        started: spawn.NodeProcess | None = None
        if address is not None and address.startswith("tcp://"):
            from zgen.io.joining import opening_to_join

            opening = opening_to_join(address, key)
            settings = {**settings, "num_cpus": 0, "opening": opening}
            address = None
        if address is None:
            started = spawn.start_node(**settings, look=interrupts.deliver)
            node, pidfd = started.facts, started.daemon_pidfd
        else:
            node = spawn.find_node(None if address == "auto" else address)
            pidfd = _open_pidfd(node)
        return _be_driver(node, started, pidfd, interrupts, log_to_driver, namespace, timeline)
    except BaseException:
        interrupts.close()
        raise


def _be_driver(
    node: "spawn.NodeFacts",
    started: "spawn.NodeProcess | None",
    pidfd: int,
    interrupts: Interrupts,
    log_to_driver: bool,
    namespace: str | None,
    timeline: bool,
) -> Driver:
    """Make this process the driver of a running node; if that fails, nothing of it is left."""
    global driver  # the driver of the one runtime
    try:
        runtime = _make_runtime(node, interrupts)
    except BaseException:
        if started is not None:
            started.stop()
        else:
            os.close(pidfd)
        raise
    runtime.log_to_driver = log_to_driver
    if namespace is not None:
        runtime.questions.namespace = namespace
    driver = Driver(runtime, node, started, pidfd)
    if timeline:
        peer = runtime.machine.session.identity.address.peer
        driver.timeline = begin(runtime.loop, node.folder, "driver", peer)
    try:
        _join(runtime, node, pidfd, timeline)
        process.adopt(runtime)  # not before: other threads may call as soon as it is there
        interrupts.deliver()
    except BaseException:
        driver.stop()
        raise
    atexit.register(driver.stop)
    return driver


def ensure() -> Runtime:
    """Return the runtime of this process, starting an embedded node if there is none.

    Raises:
        LocalProtocolError: This process was forked from one that had a runtime.
        NodeStartError: The node could not be started.
        RuntimeError: The interpreter ends.
    """
    if process.current is None and not process.forked:
        if sys.is_finalizing():  # no thread can be started any more
            raise RuntimeError("zgen was called by a destructor while the interpreter ends")
        with _starting, _ended_by_one():
            if process.current is None:
                _start_driver(None, {}, log_to_driver=True, timeline=is_wanted())
    return process.require()


def _make_runtime(node: "spawn.NodeFacts", interrupts: Interrupts) -> Runtime:
    for ours, theirs, what in ((RELEASE, node.release, "zgen"), (PYTHON, node.python, "Python")):
        if ours != theirs:
            raise NodeStartError(f"the node runs {what} {theirs}, this program {what} {ours}")
    peer = PeerId(os.urandom(ID_BYTES))
    address = Address(peer, 1, endpoint_of(node.folder, peer), node.address.peer)
    identity, job = Identity(address, PYTHON, RELEASE), JobId(os.urandom(ID_BYTES))
    return Runtime(identity, job, node.folder, interrupts=interrupts)


def _join(runtime: Runtime, node: "spawn.NodeFacts", pidfd: int, timeline: bool) -> None:
    def on_death() -> None:
        runtime.loop.unwatch(pidfd)
        reason = f"its daemon, pid {node.daemon}, ended"
        runtime.loop.post(ProcessExited(node.address.peer, node.address.incarnation, reason))

    runtime.loop.watch(pidfd, on_death)
    runtime.loop.post(Join(node.address, runtime.job, os.getpid()))
    environment = tuple(
        (name, value) for name, value in os.environ.items() if name not in _NOT_INHERITED
    )
    if runtime.questions.namespace != runtime.job.hex():
        environment += ((NAMESPACE, runtime.questions.namespace),)
    if timeline:
        environment += ((TIMELINE_VARIABLE, "1"),)
    search_path = tuple(entry or os.getcwd() for entry in sys.path)
    runtime.loop.post(RegisterDriver(os.getpid(), search_path, os.getcwd(), environment))
    runtime.loop.wait(runtime.job_ready, clock.now_ns() + int(_JOIN_TIMEOUT_S * SECOND))
    if runtime.machine.owner.node_lost is not None:
        raise NodeStartError(f"the node ended: {runtime.machine.owner.node_lost.reason}")
    if not runtime.job_ready.done:
        raise NodeStartError(
            f"the node at {node.address.endpoint} did not answer within {_JOIN_TIMEOUT_S} s"
        )


def _open_pidfd(node: "spawn.NodeFacts") -> int:
    try:
        return os.pidfd_open(node.daemon)
    except ProcessLookupError:
        raise NodeStartError(f"the node in {node.folder} has just ended") from None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
