"""The bridge to asyncio and to futures: wait for objects and items without blocking a thread.

Rules of this file: it may be used from any event loop in any thread, several at once. A wait that
is cancelled has taken nothing and leaves nothing behind. What may block, or read a large value,
happens in a thread. What runs in the event loop's thread is short.

Theory of operation. A coroutine that finds nothing puts a waiter into ``waits``, as a blocked
thread would, and suspends on a future of its loop, which is settled when the loop's bell rings;
then it looks again. A coroutine that is collected while it waits (its loop was closed) may be so
inside any lock: it only notes what is to be undone, and the I/O thread does that.

Resources. In a worker a wait gives the resources of the running task away from the moment that it
suspends until it goes on, as a blocked ``get`` does: a task has its CPU while nothing in it waits
for zgen, whether its waits are threads, coroutines or unsettled futures. So nested work always
finds a CPU, at the price that what a task computes beside its waits is not counted.
"""

import asyncio
import types
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from zgen.core.effects import Effect
from zgen.core.ref_table import OwnedRef
from zgen.core.store_effects import ViewOpened, ViewRefused
from zgen.exceptions import ObjectLostError, StreamClosedError, TaskError
from zgen.ids import ObjectId, StreamId
from zgen.io import serializer
from zgen.io.loading import load_in_turns
from zgen.io.runner import TaskContext
from zgen.limits import FUTURE_THREADS_MAX, LOAD_THREADS_MAX
from zgen.runtime import process
from zgen.runtime.bells import Bell
from zgen.runtime.objects import Reply
from zgen.runtime.process import Runtime, kick
from zgen.runtime.waits import CountWaiter
from zgen.wire.value import Stored, Value

T = TypeVar("T")

Pause = Generator[Any, None, T]


class LoopWaiter(CountWaiter):
    """Waits for one object or stream, for a coroutine.

    Attributes:
        bell: Bell of its event loop.
        future: What the coroutine is suspended on.
    """

    __slots__ = ("bell", "future")

    def __init__(self, bell: Bell, future: "asyncio.Future[None]") -> None:
        """Settle ``future`` when ``bell`` rings."""
        super().__init__(1, stop_at_error=False)
        self.bell = bell
        self.future = future

    def wake(self) -> None:
        """It has happened; under the process lock."""
        self.bell.hang(self)

    def tell(self) -> None:
        """Let the coroutine go on; in its event loop."""
        if not self.future.done():
            self.future.set_result(None)


class LoopReply(Reply):
    """Waits for the answer about shared memory, for a coroutine; as ``LoopWaiter``."""

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        """Start with nobody to be told."""
        super().__init__()
        self.waiter: LoopWaiter | None = None

    def wake(self) -> None:
        """It has come; under the process lock."""
        if self.waiter is not None:
            self.waiter.finish()


# -- for references and generators -----------------------------------------------------------------
def value(ref: Any, name: ObjectId, record: OwnedRef) -> Pause[Any]:
    """Wait for an object and return it, or raise the error that it holds.

    Args:
        ref: The reference, which lives as long as this.
        name: Its object.
        record: The record of the object.

    Raises:
        ObjectLostError: zgen was shut down before it was ready, or it was in its shared memory.
        Exception: What it holds.
    """
    while record.value is None:
        runtime = _enter(name)
        waiter: LoopWaiter | None = None
        with runtime.loop.lock:
            if record.value is None:
                if runtime.closed:
                    raise StreamClosedError("", f"{runtime.closed} before this was ready")
                waiter = _join(runtime)
                runtime.waits.add(waiter, (name,), ())
        if waiter is not None:
            yield from _suspend(runtime, waiter, (name,), ())
    found = record.value
    if type(found) is Stored:
        return (yield from _open(name, record))
    return _load(found)


@types.coroutine
def advance(runtime: Runtime, stream: StreamId) -> Pause[None]:
    """Wait until a stream may have something at its cursor, or its runtime is over."""
    with runtime.loop.lock:
        if runtime.closed or runtime.machine.owner.streams.is_ready(stream):
            return
        waiter = _join(runtime)
        runtime.waits.add(waiter, (), (stream,))
    yield from _suspend(runtime, waiter, (), (stream,))


@types.coroutine
def turn() -> Pause[None]:
    """Let everything else in the event loop run once."""
    yield


def as_future(ref: Any) -> "asyncio.Future[Any]":
    """Return a future of the running loop for an awaitable.

    Raises:
        RuntimeError: No event loop runs in this thread.
    """

    async def wait() -> Any:
        return await ref

    return asyncio.get_running_loop().create_task(wait())


def future(ref: Any, name: ObjectId, record: OwnedRef) -> "Future[Any]":
    """Return a future of an object; the arguments are those of ``value``."""
    settled: Future[Any] = Future()
    runtime = process.current
    found = record.value
    if runtime is None or (found is not None and type(found) is not Stored):
        _settle(settled, lambda: _open_here(name, record))
        return settled
    runtime.enter()
    waiter = _FutureWaiter(runtime, ref, name, record, settled)
    if not waiter.hold():
        waiter.tell()
    settled.add_done_callback(waiter.let_go)
    return settled


class _FutureWaiter(CountWaiter):
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
            _pool(self._runtime, "future", FUTURE_THREADS_MAX).submit(self._work)
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
            _settle(self._settled, lambda: _open_here(self._name, self._record))


def _at_once(call: Callable[[], None]) -> None:
    call()


def _settle(settled: "Future[Any]", make: Callable[[], Any]) -> None:
    try:
        made = make()
    except BaseException as error:
        settled.set_exception(error)
    else:
        settled.set_result(made)


def _open_here(name: ObjectId, record: OwnedRef) -> Any:
    """Return an object in a thread that may block, or raise the error that it holds."""
    found = record.value
    if found is None:
        raise ObjectLostError(name.hex(), "zgen was shut down before it was ready")
    if type(found) is not Stored:
        return _load(found)
    runtime = _enter(name)
    _check_same(runtime, name, record)
    return runtime.objects.open(name, None, load_in_turns)


# -- suspending ------------------------------------------------------------------------------------
def _enter(name: ObjectId) -> Runtime:
    runtime = process.current
    if runtime is None:
        if process.forked:
            process.require()
        raise ObjectLostError(name.hex(), "zgen was shut down before it was ready")
    runtime.enter()
    return runtime


def _join(runtime: Runtime) -> LoopWaiter:
    """Return a waiter for the running coroutine; process lock.

    Raises:
        RuntimeError: No event loop runs in this thread.
    """
    loop = asyncio.get_running_loop()
    bell = runtime.bells.join(loop, loop.call_soon_threadsafe)
    return LoopWaiter(bell, loop.create_future())


def _suspend(
    runtime: Runtime,
    waiter: LoopWaiter,
    objects: Iterable[ObjectId],
    streams: Iterable[StreamId],
) -> Pause[None]:
    """Suspend until ``waiter`` is told; it is in ``waits`` under these names, and leaves them."""
    context: TaskContext | None = None
    try:
        if runtime.blocks_task():
            context = runtime.give_away()
        runtime.loop.look()
        yield from waiter.future
    except GeneratorExit:
        # Perhaps inside a lock, in any thread.
        runtime.bells.abandoned.append(lambda: _leave(runtime, waiter, objects, streams, context))
        kick()
        raise
    except BaseException:
        _leave(runtime, waiter, objects, streams, context)
        raise
    _leave(runtime, waiter, objects, streams, context)


def _leave(
    runtime: Runtime,
    waiter: LoopWaiter,
    objects: Iterable[ObjectId],
    streams: Iterable[StreamId],
    context: TaskContext | None,
) -> None:
    with runtime.loop.lock:
        if not waiter.done:
            runtime.waits.remove(waiter, objects, streams)
        runtime.bells.leave(waiter.bell)
    if context is not None:
        runtime.take_back(context)


# -- values ----------------------------------------------------------------------------------------
def _load(found: Value) -> Any:
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


_ORDERS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


def _open(name: ObjectId, record: OwnedRef) -> Pause[Any]:
    """Return an object that lies in shared memory, or on disk."""
    runtime = _enter(name)
    _check_same(runtime, name, record)
    objects = runtime.objects
    reply = LoopReply()
    request = objects.ask_view(name, reply)
    with runtime.loop.lock:
        waiter = reply.waiter = None if reply.done else _join(runtime)
    if waiter is not None:
        try:
            yield from _suspend(runtime, waiter, (), ())
        except GeneratorExit:
            runtime.bells.abandoned.append(lambda: objects.give_up(request, reply))
            kick()
            raise
        except BaseException:
            objects.give_up(request, reply)
            raise
    answer = reply.answer
    if answer is None:
        objects.give_up(request, reply)
        raise StreamClosedError("", "zgen was shut down before shared memory was at hand")
    assert isinstance(answer, (ViewOpened, ViewRefused)), answer
    if objects.is_at_hand(answer):
        return objects.opened(name, answer, serializer.deserialize_parts)
    return (yield from _open_in_thread(runtime, name, answer))


def _open_in_thread(runtime: Runtime, name: ObjectId, answer: Effect) -> Pause[Any]:
    """Map and unpickle in a thread what is counted as viewed already."""
    assert isinstance(answer, (ViewOpened, ViewRefused)), answer
    objects = runtime.objects
    opened: Future[Any] = Future()
    with runtime.loop.lock:
        waiter = _join(runtime)

    def work() -> None:
        if opened.set_running_or_notify_cancel():
            _settle(opened, lambda: objects.opened(name, answer, load_in_turns))
            with runtime.loop.lock:
                waiter.finish()
            runtime.bells.ring()

    try:
        _pool(runtime, "load", LOAD_THREADS_MAX).submit(work)
    except BaseException:  # it was shut down meanwhile
        objects.perform(answer)
        _leave(runtime, waiter, (), (), None)
        raise

    def give_back() -> None:
        if opened.cancel():  # it was not begun, and will not be
            objects.perform(answer)

    try:
        yield from _suspend(runtime, waiter, (), ())
    except GeneratorExit:
        runtime.bells.abandoned.append(give_back)
        kick()
        raise
    except BaseException:
        give_back()
        raise
    return opened.result()


def _check_same(runtime: Runtime, name: ObjectId, record: OwnedRef) -> None:
    """Raise if an object is of an earlier life of zgen, whose shared memory is gone."""
    if runtime.machine.owner.refs.records.get(name) is not record:
        raise ObjectLostError(name.hex(), "its zgen was shut down")


def _pool(runtime: Runtime, name: str, threads_max: int) -> Executor:
    """Return the threads of that name, making them with their first use."""
    pools = runtime.bells.pools
    with runtime.loop.lock:
        pool = pools.get(name)
        if pool is None:
            pool = pools[name] = ThreadPoolExecutor(threads_max, f"zgen-{name}")
    return pool
