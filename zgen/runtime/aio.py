"""The bridge to asyncio: wait for objects and items without blocking a thread.

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
from collections.abc import Coroutine, Generator, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from zgen.core.effects import Effect
from zgen.core.ref_table import OwnedRef
from zgen.core.store_effects import ValueInstead, ViewOpened, ViewRefused
from zgen.exceptions import StreamClosedError
from zgen.ids import ObjectId, StreamId
from zgen.io import serializer
from zgen.io.loading import load_in_turns
from zgen.io.task_context import TaskContext
from zgen.limits import LOAD_THREADS_COUNT_MAX
from zgen.runtime.bells import Bell
from zgen.runtime.futures import check_same, enter, load, pool, settle
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
        runtime = enter(name)
        waiter: LoopWaiter | None = None
        with runtime.loop.lock:
            if record.value is None:
                if runtime.closed:
                    raise StreamClosedError("", f"{runtime.closed} before this was ready")
                waiter = _join(runtime)
                runtime.waits.add(waiter, (name,), ())
        if waiter is not None:
            yield from _suspend(runtime, waiter, (name,), ())
    found: Value | None = record.value
    if found is None or type(found) is Stored:  # it may have been found lost since
        return (yield from _open(name, record))
    return load(found)


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


async def within(timeout_s: float, step: Coroutine[Any, Any, T], what: str) -> T:
    """Wait for a step that loses nothing where it is cancelled, for a bounded time.

    Raises:
        GetTimeoutError: It did not come to its end in time; it was cancelled.
        Exception: Whatever it raises.
    """
    bound = asyncio.timeout(timeout_s)
    try:
        async with bound:
            return await step
    except TimeoutError:
        if bound.expired():
            raise serializer.timed_out(what, timeout_s) from None
        raise


def as_future(ref: Any) -> "asyncio.Future[Any]":
    """Return a future of the running loop for an awaitable.

    Raises:
        RuntimeError: No event loop runs in this thread.
    """

    async def wait() -> Any:
        return await ref

    return asyncio.get_running_loop().create_task(wait())


# -- suspending ------------------------------------------------------------------------------------
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
def _open(name: ObjectId, record: OwnedRef) -> Pause[Any]:
    """Return an object that lies in shared memory, or on disk."""
    runtime = enter(name)
    check_same(runtime, name, record)
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
    assert isinstance(answer, (ViewOpened, ViewRefused, ValueInstead)), answer
    if objects.is_at_hand(answer):
        return objects.opened(name, answer, serializer.deserialize_parts)
    return (yield from _open_in_thread(runtime, name, answer))


def _open_in_thread(runtime: Runtime, name: ObjectId, answer: Effect) -> Pause[Any]:
    """Map and unpickle in a thread what is counted as viewed already."""
    assert isinstance(answer, (ViewOpened, ViewRefused, ValueInstead)), answer
    objects = runtime.objects
    opened: Future[Any] = Future()
    with runtime.loop.lock:
        waiter = _join(runtime)

    def work() -> None:
        if opened.set_running_or_notify_cancel():
            settle(opened, lambda: objects.opened(name, answer, load_in_turns))
            with runtime.loop.lock:
                waiter.finish()
            runtime.bells.ring()

    try:
        pool(runtime, "load", LOAD_THREADS_COUNT_MAX).submit(work)
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
