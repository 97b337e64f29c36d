"""Entry point of a worker."""

import atexit
import logging
import os
import sys
from typing import Any, Final

from zgen.core.events import Join, Leave
from zgen.core.identity import Identity
from zgen.exceptions import ActorExistsError, InternalError, NameUnavailableError
from zgen.ids import JobId, PeerId
from zgen.io import actor_runner, chaos, clock, serializer, shared_memory, stacks, timeline
from zgen.io.folders import endpoint_of
from zgen.io.release import PYTHON, RELEASE
from zgen.limits import SECOND
from zgen.runtime import process
from zgen.wire.session import Address

#: Loaded before the zygote forks, for all workers at once.
PRELOADED: Final = (actor_runner, chaos, shared_memory)
serializer.preload()

log: Final = logging.getLogger("zgen")
#: Handles of the actor that a keeper keeps.
_kept: Final[list[Any]] = []

#: Exit status of a worker whose machine failed.
BROKEN: Final = 70
#: Threads of a worker trade the interpreter this often, so that a report does not wait for the
#: body.
_SWITCH_INTERVAL_S = 0.0005


def run(
    worker: bytes, folder: str, node: tuple[bytes, int, str], job: bytes, started_fd: int
) -> int:
    """Serve a job until the node is gone; the zygote's child calls this in its main thread.

    Args:
        worker: Id of this process.
        folder: Folder of the node's sockets.
        node: Peer id, incarnation and endpoint of the daemon.
        job: Job that is served.
        started_fd: Memory that tells after a crash what had been started.

    Returns:
        Exit code.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    peer, incarnation, endpoint = node
    address = Address(PeerId(worker), 1, endpoint_of(folder, worker), PeerId(peer))
    runtime = process.Runtime(
        Identity(address, PYTHON, RELEASE), JobId(job), folder, marks_fd=started_fd
    )
    runtime.on_exit = _leave
    runtime.loop.on_broken = lambda: _break(runtime.loop.broken)
    process.adopt(runtime)
    if timeline.is_wanted():
        timeline.begin(runtime.loop, folder, "worker", address.peer)
    runner = runtime.runner
    assert runner is not None
    runner.far = runtime.machine.owner.handover.far.held
    runner.tell_drops = runtime.release_drops
    try:
        daemon = Address(PeerId(peer), incarnation, endpoint, PeerId(peer))
        runtime.loop.post(Join(daemon, runtime.job, os.getpid()))
        stacks.offer()  # while the node answers
        if job == worker:
            _keep(runtime)
        while not runner.over:
            runner.run_next()
        runner.end()
        code = runner.exit_code
        reason = f"it ended with exit code {code}" if code else "the actor ended"
        _end(runtime, reason if runner.actor is not None else "")
        return code & 0xFF
    except InternalError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201  # the worker's log is its standard error
        return BROKEN


def _keep(runtime: process.Runtime) -> None:
    """Create the detached actor of which this process is the keeper, and keep it for good.

    The node ends this process when the actor is dead, or if another one has its name.
    """
    runtime.log_to_driver = False  # it is the driver, and would hear itself
    charter = runtime.questions.ask_charter()
    actor_class, args, kwargs = serializer.load_plain(charter.payload)
    try:
        _kept.append(actor_class.keep(charter.restarts, args, kwargs))
    except (ActorExistsError, NameUnavailableError):
        log.info("another actor has the name, or nobody can tell")


def _end(runtime: process.Runtime, reason: str) -> None:
    """The actor of this worker is over, or a task ended it: end as a program does, and be heard."""
    atexit._run_exitfuncs()  # noqa: SLF001  # no other way but to exit
    runtime.loop.post(Leave(reason))
    runtime.loop.wait(runtime.left, clock.now_ns() + 3 * SECOND)


def _break(story: str) -> None:
    """The machine failed while a body runs, which may never look at zgen again."""
    print(story, file=sys.stderr, flush=True)  # noqa: T201  # as above
    os._exit(BROKEN)


def _leave(reason: str) -> None:
    """The node is gone: nobody is left to work for."""
    os._exit(0)
