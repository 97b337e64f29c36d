"""Assemble owner, executor, loop for one process; the only mutable global.

Rules of this file: it joins the parts and holds them together until the end. ``current`` is the one
runtime of this process, or None.
"""

import itertools
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from zgen.core.effects import (
    Effect,
    Exit,
    ItemsTaken,
    JobReady,
    Left,
    NodeAnswered,
    NodeLost,
    ObjectsReady,
    PrintLines,
    Report,
    StreamAdvanced,
)
from zgen.core.events import AskNode, BodyBlocked, Dropped, WantValues
from zgen.core.identity import Identity
from zgen.core.process import ProcessMachine
from zgen.exceptions import InternalError, LocalProtocolError, NodeDiedError
from zgen.ids import JobId, ObjectId, StreamId, TaskId
from zgen.io import clock
from zgen.io.interrupts import Interrupts
from zgen.io.loop import Loop
from zgen.io.recorder import recorder_from_environment
from zgen.io.runner import Runner, TaskContext
from zgen.io.waiter import Waiter
from zgen.limits import DROP_DELAY_NS, DROPPED_COUNT_MAX, REGION_SOON_NS, SECOND
from zgen.runtime.bells import Bells
from zgen.runtime.objects import LargeObjects
from zgen.runtime.slab_keeper import SlabKeeper
from zgen.runtime.waits import Waits
from zgen.wire.value import Fault, FaultKind

T = TypeVar("T")

log: Final = logging.getLogger("zgen")

#: Ids of dropped references and of streams whose handle went, until the I/O thread takes them.
#: ``__del__`` appends from any thread, also inside a lock; nobody else does more than ``popleft``.
dropped_objects: Final[deque[ObjectId]] = deque()
dropped_streams: Final[deque[StreamId]] = deque()

#: The runtime of this process.
current: "Runtime | None" = None
#: Whether this process was forked from one that had a runtime.
forked: bool = False


def kick() -> None:
    """Wake the sleeping I/O thread for the first of a burst of drops."""
    runtime = current
    if runtime is not None and runtime.loop.asleep:
        runtime.loop.wake()


class Answer(Waiter):
    """Waits for the node's state.

    Attributes:
        answer: The state as JSON, or None.
    """

    __slots__ = ("answer",)

    def __init__(self) -> None:
        """Start without an answer."""
        super().__init__()
        self.answer: str | None = None


class Runtime:
    """Everything zgen has in one process.

    Attributes:
        machine: What decides.
        loop: What steps it.
        waits: Who waits.
        bells: Who of them is told in an event loop or by a future, and where.
        objects: What is written and read in shared memory.
        job: Job of this process.
        runner: What runs tasks; None in a driver.
        root: Names of what this process submits outside any task.
        folder: Folder of the node's sockets.
        closed: Why it can no longer be used, or empty.
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
        self.machine = ProcessMachine(identity, executes=marks_fd is not None)
        self.waits = Waits(self.machine.owner)
        self.bells = Bells()
        self.job = job
        self.folder = folder
        self.closed = ""
        root = job if marks_fd is None else identity.address.peer  # names differ between processes
        self.root = TaskContext(TaskId(root), identity.address.incarnation)
        self.job_ready = Waiter()
        self.total: tuple[tuple[str, int], ...] = ()
        self.left = Waiter()
        self.log_to_driver = True
        self._queries = itertools.count(1)
        #: Question -> who waits for its answer. Added by ``ask_node``; removed when it comes or is
        #: given up.
        self._asked: dict[int, Answer] = {}
        self.on_exit: Callable[[str], None] | None = None
        self._recorder = recorder_from_environment(
            "driver" if marks_fd is None else "worker",
            identity.address.peer,
            f"ProcessMachine({identity!r}, executes={marks_fd is not None})",
        )
        from zgen.io.mailbox import Mailbox  # ZeroMQ is loaded here, not with the package

        self._mailbox = Mailbox(identity.address.endpoint)
        self.loop = Loop(
            self.machine, self._mailbox, self._perform, self._perform_inside, self._recorder
        )
        self.waits.want = lambda names: self.loop.post(WantValues(names))
        self.objects = LargeObjects(
            self.loop, folder, kick, self._wait_for_memory, self.refuse_if_lost
        )
        self.runner = (
            Runner(self.loop.post, self.loop.wait, marks_fd, self.objects, self._wait_held)
            if marks_fd is not None
            else None
        )
        self._regions = self.machine.store.regions.regions
        self._keeper = (
            SlabKeeper(self._regions, self.loop.lock, self.objects.keep, self.objects.let_go)
            if marks_fd is None
            else None
        )
        self.loop.on_broken = self._end_waits
        self._drop_seen_ns: int | None = None
        self._print_lock = threading.Lock()
        self.loop.interrupts = interrupts
        if interrupts is not None:
            interrupts.wake_by(self.loop.wake)
        self.loop.start_thread(self.drain_drops)

    @property
    def context(self) -> TaskContext:
        """The task that this process's code runs for."""
        running = self.runner.context if self.runner is not None else None
        return running if running is not None else self.root

    def enter(self) -> None:
        """Look after interrupts; at the entry of each call that steps or waits.

        Raises:
            LocalProtocolError: This process was forked from the runtime's.
            InternalError: The machine failed.
            NodeDiedError: The node is gone.
            KeyboardInterrupt: One was noted.
        """
        if forked:
            require()
        if self.loop.interrupts is not None:
            self.loop.interrupts.enter()
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
        return self.runner is not None and self.runner.context is not None

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
                self.loop.post(BodyBlocked(True))
        return context

    def take_back(self, context: TaskContext) -> None:
        """One wait of a task is over; with the last of them it has its resources again."""
        with self.loop.lock:
            context.waits -= 1
            if context.waits == 0 and context is self.context and not self.loop.broken:
                self.loop.post(BodyBlocked(False))

    def _wait_for_memory(self, waiter: Waiter, deadline_ns: int | None) -> bool:
        """Wait for shared memory; give the CPU of a running task away if that takes long.

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

    def _wait_held(self, waiter: Waiter) -> bool:
        """Wait until a held generator may go on; give its CPU away if that takes long.

        Who is to take its items may wait for tasks that want a CPU.
        """
        return self._wait_for_memory(waiter, None)

    def ask_node(self, timeout_s: float) -> str | None:
        """Return the node's state as JSON, or None if it does not answer in time.

        Every line that a worker printed before has been shown when this returns.
        """
        query = next(self._queries)
        waiter = self._asked[query] = Answer()
        try:
            self.loop.post(AskNode(query))
            self.loop.wait(waiter, clock.now_ns() + int(timeout_s * SECOND))
        finally:
            self._asked.pop(query, None)
        return waiter.answer

    def drain_drops(self) -> int | None:
        """Release what was dropped at least ``DROP_DELAY_NS`` ago; return when to look again."""
        self.bells.tend()
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
            objects, streams = _drained(dropped_objects), _drained(dropped_streams)
            if streams:
                with self.loop.lock:
                    self.waits.forget(streams)
            self.loop.post(Dropped(objects, streams, _drained(dropped_views)))

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
        self.bells.ring()

    def keep_slabs(self) -> None:
        """Keep the slabs of what this driver has put, as of what has come to it."""
        if self._keeper is not None:
            with self.loop.lock:
                self._keeper.look()

    def _perform_inside(self, effect: Effect) -> bool:
        if type(effect) is ItemsTaken:
            return True  # who wanted them reads it off what the step returned
        if self.waits.perform(effect):
            if self._regions and self._keeper is not None:
                self._keeper.look()
            return not self.bells.due  # they are rung by ``_perform``
        if self.objects.perform_inside(effect):
            return True
        return self.runner.perform(effect) if self.runner is not None else False

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, (ObjectsReady, StreamAdvanced)):
            self.bells.ring()
        elif isinstance(effect, PrintLines):
            if self.log_to_driver:
                self._print(effect)
        elif isinstance(effect, Report):
            log.log(getattr(logging, effect.level.upper()), effect.text)
        elif isinstance(effect, JobReady):
            self.total = effect.total
            self.job_ready.finish()
        elif isinstance(effect, NodeAnswered):
            asker = self._asked.pop(effect.query, None)
            if asker is not None:
                asker.answer = effect.state
                asker.finish()
        elif isinstance(effect, NodeLost):
            self.job_ready.finish()
            for waiter in self._asked.values():
                waiter.finish()
            log.error("the node died: %s", effect.reason)
        elif isinstance(effect, Left):
            self.left.finish()
        elif isinstance(effect, Exit) and self.on_exit is not None:
            self.on_exit(effect.reason)
        else:
            self.objects.perform(effect)

    def _print(self, effect: PrintLines) -> None:
        stream = sys.stderr if effect.is_error else sys.stdout
        prefix = f"(worker pid={effect.pid}) "
        lost = [f"{prefix}… {effect.dropped} lines lost\n"] if effect.dropped else []
        text = "".join([*lost, *(f"{prefix}{line}\n" for line in effect.lines)])
        with self._print_lock:
            try:
                stream.write(text)
                stream.flush()
            except Exception:
                return  # the program closed its output, or put something of its own in its place


def _drained(dropped: deque[T]) -> tuple[T, ...]:
    """Take out what was dropped first, ``DROPPED_COUNT_MAX`` at most."""
    return tuple([dropped.popleft() for _ in range(min(len(dropped), DROPPED_COUNT_MAX))])


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
