"""Assemble owner, executor, loop for one process; the only mutable global.

Rules of this file: it joins the parts and holds them together until the end. ``current`` is the one
runtime of this process, or None.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from zgen.core import effects as ef
from zgen.core.events import BodyBlocked, Dropped, WantValues
from zgen.core.handover_words import HANDOVER_ANSWERS
from zgen.core.identity import Identity
from zgen.core.process import ProcessMachine
from zgen.core.stream_words import PositionIs
from zgen.exceptions import InternalError, KeyFileError, LocalProtocolError, NodeDiedError
from zgen.ids import NO_STREAM, JobId, ObjectId, StreamId, TaskId
from zgen.io import clock
from zgen.io.interrupts import Interrupts
from zgen.io.loop import Loop
from zgen.io.recorder import recorder_from_environment
from zgen.io.task_context import TaskContext, running
from zgen.io.waiter import Waiter
from zgen.limits import DROP_DELAY_NS, REGION_SOON_NS
from zgen.runtime.arrivals import Arrivals
from zgen.runtime.bells import Bells
from zgen.runtime.objects import LargeObjects, drained
from zgen.runtime.printer import Printer
from zgen.runtime.questions import Questions
from zgen.runtime.slab_keeper import SlabKeeper
from zgen.runtime.waits import Waits
from zgen.wire.value import Fault, FaultKind

if TYPE_CHECKING:  # asyncio is loaded with it, and drivers need none
    from zgen.io.actor_runner import ActorRunner


log: Final = logging.getLogger("zgen")
#: Ids of dropped references and of streams whose handle went, until the I/O thread takes them.
#: ``__del__`` appends from any thread, also inside a lock; nobody else does more than ``popleft``.
dropped_objects: Final[deque[ObjectId]] = deque()
dropped_streams: Final[deque[StreamId]] = deque()

#: Answers for who posted the event.
_READ_OFF: Final = frozenset((ef.ItemsTaken, PositionIs, *HANDOVER_ANSWERS))
#: The runtime of this process.
current: "Runtime | None" = None
#: Whether this process was forked from one that had a runtime.
forked: bool = False


def kick() -> None:
    """Wake the sleeping I/O thread for the first of a burst of drops."""
    runtime = current
    if runtime is not None and runtime.loop.asleep:
        runtime.loop.wake()


class Runtime:
    """Everything zgen has in one process.

    Attributes:
        machine: What decides.
        loop: What steps it.
        waits: Who waits.
        arrivals: What is brought here from other nodes for them.
        bells: Who of them is told in an event loop or by a future, and where.
        objects: What is written and read in shared memory.
        questions: What the node is asked.
        job: Job of this process.
        runner: What runs tasks; None in a driver.
        root: Names of what this process submits outside any task.
        folder: Folder of the node's sockets.
        closed: Why it can no longer be used, or empty.
        handed: Generators that were pickled or unpickled, by what this process calls their streams.
        interrupts: The SIGINT handling of a driver; None in a worker.
    """

    def __init__(
        self,
        identity: Identity,
        job: JobId,
        folder: str,
        *,
        marks_fd: int | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        """Bind the inbox and start; ``marks_fd`` makes it a worker, ``interrupts`` a driver."""
        from zgen.io import chaos, exposure  # ZeroMQ is loaded here, not with the package

        found = exposure.find(folder)
        role = "driver" if marks_fd is None else "worker"
        self._mailbox = chaos.open_mailbox(identity.address.endpoint, found, role, folder)
        if found is not None:
            told = found.told(identity.address, self._mailbox.tcp_port)
            identity = replace(identity, address=told)
        self.machine = ProcessMachine(identity, executes=marks_fd is not None)
        self.bells = Bells()
        self.job = job
        self.folder = folder
        self.closed = ""
        self.interrupts = interrupts
        root = job if marks_fd is None else identity.address.peer  # names differ between processes
        self.root = TaskContext(TaskId(root), identity.address.incarnation)
        self.job_ready = Waiter()
        self.total: tuple[tuple[str, int], ...] = ()
        self.left = Waiter()
        self.handed: WeakValueDictionary[StreamId, Any] = WeakValueDictionary()
        self.log_to_driver = True
        self.on_exit: Callable[[str], None] | None = None
        self._recorder = recorder_from_environment(
            role,
            identity.address.peer,
            f"ProcessMachine({identity!r}, executes={marks_fd is not None})",
        )
        self.loop = Loop(
            self.machine, self._mailbox, self._perform, self._perform_inside, self._recorder
        )
        self.objects = LargeObjects(
            self.loop, folder, kick, self._wait_for_room, self.refuse_if_lost
        )
        owner, regions = self.machine.owner, self.machine.store.regions
        self.arrivals = Arrivals(owner, regions, self.objects, self.loop.lock)
        self.waits = Waits(owner, self.arrivals)
        self.waits.want = lambda names: self.loop.post(WantValues(names))
        self.questions = Questions(self.loop, self.refuse_if_lost, job.hex())
        self.runner = None if marks_fd is None else self._make_runner(marks_fd)
        self._regions = regions.regions
        self._keeper = (
            SlabKeeper(self._regions, self.loop.lock, self.objects.keep, self.objects.let_go)
            if marks_fd is None
            else None
        )
        self.loop.on_broken = self._end_waits
        self._drop_seen_ns: int | None = None
        self._printer = Printer()
        self._listen(interrupts)
        self.loop.start_thread(self.drain_drops)

    def _make_runner(self, marks_fd: int) -> "ActorRunner":
        from zgen.io.actor_runner import ActorRunner

        runner = ActorRunner(
            self.loop.post, self.loop.wait, marks_fd, self.objects, self._wait_for_room
        )
        runner.wake = self.loop.wake
        runner.give_away = lambda: partial(self.take_back, self.give_away())
        return runner

    def _listen(self, interrupts: Interrupts | None) -> None:
        """Let the main thread be interrupted: a driver by SIGINT, a worker by cancels."""
        if interrupts is not None:
            self.loop.interrupts = interrupts
            interrupts.wake_by(self.loop.wake)
        elif self.runner is not None:
            self.loop.interrupts = self.runner.cancels
            self.runner.cancels.install(self.loop.wake)

    @property
    def context(self) -> TaskContext:
        """The task that this process's code runs for."""
        runner = self.runner
        if runner is None:
            return self.root
        context = runner.context
        if context is None and runner.actor is not None:
            context = running.get()  # of this thread, or of this task of its event loop
        return context if context is not None else self.root

    def enter(self) -> None:
        """Look after interrupts; at the entry of each call that steps or waits.

        Raises:
            LocalProtocolError: This process was forked from the runtime's.
            InternalError: The machine failed.
            NodeDiedError: The node is gone.
            KeyboardInterrupt: One was noted: a SIGINT of a driver, or a cancel of what runs here.
        """
        if forked:
            require()
        if self.interrupts is not None:
            self.interrupts.enter()
        elif self.runner is not None and self.runner.cancels.noted:
            self.runner.cancels.deliver()
        if self.loop.broken:
            raise InternalError(self.loop.broken)

    def refuse_if_lost(self) -> None:
        """Raise if nothing new can be started.

        Raises:
            NodeDiedError: The node is gone.
        """
        lost = self.machine.owner.node_lost
        if lost is not None:
            node = self.machine.node
            raise NodeDiedError(node.hex() if node else "", lost.reason, may_have_run=False)

    def blocks_task(self) -> bool:
        """Return whether a wait holds up a running task: its own, or that of a thread of it."""
        return self.runner is not None and self.context is not self.root

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Give the resources of the running task away while the block waits."""
        context = self.give_away()
        try:
            yield
        finally:
            self.take_back(context)

    def give_away(self) -> TaskContext:
        """Give the resources of the running task away while any of its threads or loops waits."""
        context = self.context
        with self.loop.lock:
            context.waits += 1
            if context.waits == 1:
                self.loop.post(BodyBlocked(True, context.call))
        return context

    def take_back(self, context: TaskContext) -> None:
        """One wait of a task is over; with the last of them it has its resources again."""
        with self.loop.lock:
            context.waits -= 1
            runs = context is self.context or context.call != NO_STREAM
            if context.waits == 0 and runs and not self.loop.broken:
                self.loop.post(BodyBlocked(False, context.call))

    def _wait_for_room(self, waiter: Waiter, deadline_ns: int | None = None) -> bool:
        """Wait for shared memory or a window; give a running task's CPU away if that takes long.

        Most answers come at once, and who waits for room may wait for tasks that want a CPU.
        """
        if self.blocks_task():
            soon_ns = clock.now_ns() + REGION_SOON_NS
            if deadline_ns is None or soon_ns < deadline_ns:
                if self.loop.wait(waiter, soon_ns) or self.closed:
                    return waiter.done
                with self.blocked():
                    return self.loop.wait(waiter, deadline_ns)
        return self.loop.wait(waiter, deadline_ns)

    def ask_node(self, timeout_s: float) -> str | None:
        """Return the node's state as JSON, or None if it does not answer in time."""
        return self.questions.ask_node(timeout_s)

    def drain_drops(self) -> int | None:
        """Release what was dropped at least ``DROP_DELAY_NS`` ago; return when to look again."""
        self.bells.tend()
        if self.runner is not None and self.runner.cancels.pending:
            again_ns = self.runner.cancels.nudge(clock.now_ns())
            if again_ns is not None:
                return again_ns  # soon enough for drops, too
        if not (dropped_objects or dropped_streams or self.objects.dropped):
            self._drop_seen_ns = None
            return None
        now_ns = clock.now_ns()
        if self._drop_seen_ns is None:
            self._drop_seen_ns = now_ns
        due_ns = self._drop_seen_ns + DROP_DELAY_NS
        if now_ns < due_ns:
            return due_ns
        self._drop_seen_ns = None
        self.release_drops()
        return None

    def release_drops(self) -> None:
        """Release everything that was dropped so far."""
        dropped_views = self.objects.dropped
        while dropped_objects or dropped_streams or dropped_views:  # others step in between
            objects, streams = drained(dropped_objects), drained(dropped_streams)
            self.waits.forget(streams)
            if self.arrivals.here:
                self.arrivals.forget(objects + streams)
            self.loop.post(Dropped(objects, streams, drained(dropped_views)))

    def close(self, reason: str) -> None:
        """End this runtime; what was pending fails, what is held can still be read."""
        global current  # the one mutable global
        self.closed = reason
        if current is self:
            current = None
        self.loop.close()
        fault = Fault(FaultKind.SHUT_DOWN, "")
        with self.loop.lock:  # other threads may be about to submit
            for name in self.machine.owner.refs.pending():
                self.machine.owner.refs.settle(name, fault)
            streams = self.machine.owner.streams
            for stream in [name for name, record in streams.streams.items() if not record.ended]:
                streams.fail(stream, fault)
        self._end_waits()
        self.bells.close()
        self.objects.close()
        if self._recorder is not None:
            self._recorder.close()

    def _end_waits(self) -> None:
        with self.loop.lock:
            self.waits.finish_all()
            self.objects.finish_all()
            self.questions.finish_all()
        self.bells.ring()

    def keep_slabs(self) -> None:
        """Keep the slabs of what this driver has put, as of what has come to it."""
        if self._keeper is not None:
            with self.loop.lock:
                self._keeper.look()

    def _perform_inside(self, effect: ef.Effect) -> bool:
        kind = type(effect)
        if kind in _READ_OFF:
            return True  # who wanted them reads it off what the step returned
        if kind is ef.StartTask and self.runner is not None:
            return self.runner.perform(effect)
        if self.waits.perform(effect):
            if self._regions and self._keeper is not None:
                self._keeper.look()
            return not (self.bells.due or self.arrivals.due)  # ``_perform`` sees to them
        if self.objects.perform_inside(effect):
            return True
        return self.runner.perform(effect) if self.runner is not None else False

    def _perform(self, effect: ef.Effect) -> None:
        if isinstance(effect, (ef.ObjectsReady, ef.StreamAdvanced)):
            self.bells.ring()
            self.arrivals.begin()
        elif isinstance(effect, ef.PrintLines):
            if self.log_to_driver:
                self._printer.show(effect)
        elif isinstance(effect, ef.Report):
            log.log(getattr(logging, effect.level.upper()), effect.text)
        elif isinstance(effect, ef.JobReady):
            self.total = effect.total
            self.job_ready.finish()
        elif isinstance(effect, ef.NodeLost):
            self.job_ready.finish()
            self.questions.finish_all()
            log.error("the node died: %s", effect.reason)
        elif isinstance(effect, ef.Left):
            self.left.finish()
        elif isinstance(effect, ef.Rekey):
            self._rekey()
        elif isinstance(effect, ef.Exit) and self.on_exit is not None:
            self.on_exit(effect.reason)
        elif not self.questions.perform(effect):
            self.objects.perform(effect)

    def _rekey(self) -> None:
        from zgen.io import exposure

        try:
            self._mailbox.rekey(exposure.key_in(self.folder))
        except KeyFileError as error:
            log.error("the keys of this process stay as they are: %s", error)


def require() -> Runtime:
    """Return the runtime of this process.

    Raises:
        LocalProtocolError: There is none, or the process was forked from one that had one.
    """
    if forked:
        raise LocalProtocolError(
            "this process was forked from one that uses zgen; zgen cannot be used in it: start a "
            "fresh process, or call zgen.init() only after forking"
        )
    if current is None:
        raise LocalProtocolError("zgen is not initialised; call zgen.init() first")
    return current


def adopt(runtime: Runtime) -> None:
    """Make ``runtime`` the one of this process."""
    global current  # the one mutable global
    current = runtime


def _mark_fork() -> None:
    global current, forked  # the one mutable global
    if current is not None:
        forked = True
        if current.loop.interrupts is not None:
            current.loop.interrupts.close()
        _kept_from_collection.append(current)
        current = None


#: A forked child must not close the parent's sockets by collecting them.
_kept_from_collection: Final[list[Any]] = []

os.register_at_fork(after_in_child=_mark_fork)
