"""Futures of objects, and what they share with event loops: values read in threads.

Rules of this file: foreign code, such as the callbacks of a future, runs in a thread of its own
pool, never in the I/O thread and with no lock held.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Final

from zgen.core.ref_table import OwnedRef
from zgen.exceptions import ObjectLostError, TaskError
from zgen.ids import ObjectId
from zgen.io import serializer
from zgen.io.loading import load_in_turns
from zgen.io.task_context import TaskContext
from zgen.limits import FUTURE_THREADS_COUNT_MAX
from zgen.runtime import process
from zgen.runtime.bells import Bell
from zgen.runtime.process import Runtime
from zgen.runtime.waits import CountWaiter
from zgen.wire.value import Stored, Value


def future(ref: Any, name: ObjectId, record: OwnedRef) -> "Future[Any]":
    """Return a future of an object.

    Args:
        ref: The reference, which lives as long as the future is unsettled.
        name: Its object.
        record: The record of the object.
    """
    settled: Future[Any] = Future()
    runtime = process.current
    found = record.value
    if runtime is None or (found is not None and type(found) is not Stored):
        settle(settled, lambda: open_here(name, record))
        return settled
    runtime.enter()
    waiter = FutureWaiter(runtime, ref, name, record, settled)
    if not waiter.hold():
        waiter.tell()
    settled.add_done_callback(waiter.let_go)
    return settled


class FutureWaiter(CountWaiter):
    """Waits for one object, for a future, which has a bell of its own.

    Attributes:
        bell: The bell, from ``hold`` until ``let_go``.
        ref: Keeps the object.
    """

    __slots__ = ("_context", "_name", "_record", "_runtime", "_settled", "bell", "ref")

    def __init__(
        self,
        runtime: Runtime,
        ref: Any,
        name: ObjectId,
        record: OwnedRef,
        settled: "Future[Any]",
    ) -> None:
        super().__init__(1, stop_at_error=False)
        self.bell: Bell | None = None
        self.ref = ref
        self._runtime = runtime
        self._name = name
        self._record = record
        self._settled = settled
        self._context: TaskContext | None = None

    def hold(self) -> bool:
        """Begin to wait; return False if there is nothing to wait for."""
        runtime = self._runtime
        with runtime.loop.lock:
            if self._record.value is not None or runtime.closed:
                return False
            self.bell = runtime.bells.join(self, _at_once)
            runtime.waits.add(self, (self._name,), ())
            self._context = runtime.give_away() if runtime.blocks_task() else None
        runtime.loop.look()
        return True

    def wake(self) -> None:
        """It has happened; under the process lock."""
        if self.bell is not None:
            self.bell.hang(self)

    def tell(self) -> None:
        """Let a thread of the pool settle the future: its callbacks are foreign code."""
        try:
            pool(self._runtime, "future", FUTURE_THREADS_COUNT_MAX).submit(self._work)
        except RuntimeError:  # the interpreter ends, or zgen does
            self._work()

    def let_go(self, settled: "Future[Any]") -> None:
        """Wait no more, however it ended."""
        runtime = self._runtime
        with runtime.loop.lock:
            bell, self.bell = self.bell, None
            if bell is not None:
                if not self.done:
                    runtime.waits.remove(self, (self._name,), ())
                runtime.bells.leave(bell)
        if self._context is not None and bell is not None:
            runtime.take_back(self._context)

    def _work(self) -> None:
        if self._settled.set_running_or_notify_cancel():
            settle(self._settled, lambda: open_here(self._name, self._record))


def _at_once(call: Callable[[], None]) -> None:
    call()


def settle(settled: "Future[Any]", make: Callable[[], Any]) -> None:
    """Give a future what ``make`` returns or raises."""
    try:
        made = make()
    except BaseException as error:
        settled.set_exception(error)
    else:
        settled.set_result(made)


def open_here(name: ObjectId, record: OwnedRef) -> Any:
    """Return an object in a thread that may block, or raise the error that it holds."""
    found = record.value
    if found is not None and type(found) is not Stored:
        return load(found)
    runtime = enter(name)
    check_same(runtime, name, record)
    return runtime.objects.open(name, None, load_in_turns)


# -- values ----------------------------------------------------------------------------------------
def enter(name: ObjectId) -> Runtime:
    """Return the runtime, for who waits for an object.

    Raises:
        ObjectLostError: There is none any more.
        LocalProtocolError: This process was forked from the runtime's.
        InternalError: The machine failed.
        KeyboardInterrupt: One was noted.
    """
    runtime = process.current
    if runtime is None:
        if process.forked:
            process.require()
        raise ObjectLostError(name.hex(), "zgen was shut down before it was ready")
    runtime.enter()
    return runtime


def load(found: Value) -> Any:
    """Return the object in a value that is not in shared memory, or raise the error it holds."""
    try:
        return serializer.deserialize(found)
    except TaskError as error:
        if not isinstance(error, _ORDERS):
            raise
        # As an instance of its cause it would be an order to the event loop or to the task.
        raise TaskError(
            error.cause, error.function_name, error.remote_traceback, error.pid, error.attempt
        ) from None


#: What a coroutine, a loop or a thread obeys.
_ORDERS: Final = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


def check_same(runtime: Runtime, name: ObjectId, record: OwnedRef) -> None:
    """Raise if an object is of an earlier life of zgen, whose shared memory is gone."""
    if runtime.machine.owner.refs.records.get(name) is not record:
        raise ObjectLostError(name.hex(), "its zgen was shut down")


def pool(runtime: Runtime, name: str, threads_max: int) -> Executor:
    """Return the threads of that name, making them with their first use."""
    pools = runtime.bells.pools
    with runtime.loop.lock:
        made = pools.get(name)
        if made is None:
            made = pools[name] = ThreadPoolExecutor(threads_max, f"zgen-{name}")
    return made
