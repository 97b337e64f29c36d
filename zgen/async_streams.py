"""The asynchronous twins of `zgen.streams`, by the same names.

Rules of this file: as there, with ``anext`` and ``await``. Who leaves one early should close it, as
by ``contextlib.aclosing``; else its event loop does so when the last reference is gone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from zgen.fanning import STAYS, Shelf
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.io import clock, serializer
from zgen.limits import (
    FAN_OUT_ITEMS_COUNT,
    FAN_OUT_SELF_WAIT_NS,
    MERGE_LOOK_ITEMS_COUNT,
    SECOND,
)
from zgen.ref_tuples import Refs, RefTupleGenerator
from zgen.streams import END, Progress, check_in_flight, checked_streams, submitted

T = TypeVar("T")
R = TypeVar("R")


@overload
def merge(  # type: ignore[overload-overlap]  # tuples in place of references
    *streams: RefTupleGenerator[Refs],
) -> AsyncGenerator[Refs, None]: ...
@overload
def merge(*streams: ObjectRefGenerator[T]) -> AsyncGenerator[ObjectRef[T], None]: ...
def merge(*streams: ObjectRefGenerator[Any]) -> AsyncGenerator[Any, None]:
    """Do what ``zgen.streams.merge`` does, without blocking the event loop.

    Raises:
        TypeError: One of them is no ``ObjectRefGenerator``.
        ValueError: One is given twice.
    """
    return _merge(checked_streams(streams))


async def _merge(streams: list[ObjectRefGenerator[T]]) -> AsyncGenerator[ObjectRef[T], None]:
    inbox: _Inbox[ObjectRefGenerator[T]] = _Inbox()
    try:
        while streams:
            stream = streams.pop()
            inbox.add(_step(stream), stream)
        while inbox.is_waiting():
            step, stream = await inbox.get()
            ref = step.result()
            if ref is END:
                continue
            yield ref
            del step, ref
            for _ in range(MERGE_LOOK_ITEMS_COUNT):  # without a task for each, where some are there
                if not stream.next_ready():
                    break
                yield await anext(stream)
            inbox.add(_step(stream), stream)
    finally:
        await inbox.leave()


async def zipped(
    *streams: AsyncIterable[T], strict: bool = False
) -> AsyncGenerator[tuple[T, ...], None]:
    """Do what ``zgen.streams.zipped`` does, without blocking the event loop.

    Raises:
        ValueError: With ``strict``, if another one goes on. What came before it was yielded.
    """
    steps = [aiter(stream) for stream in streams]
    while steps:
        refs: list[T] = []
        for step in steps:
            ref = await anext(step, END)
            if ref is END and not strict:
                return
            refs.append(ref)
        ended = [ref is END for ref in refs]
        if all(ended):
            return
        if any(ended):
            raise ValueError(f"stream {ended.index(True) + 1} ended before others did")
        yield tuple(refs)


def mapped(
    submit: Callable[[Any], ObjectRef[R]],
    source: AsyncIterable[Any] | Iterable[Any],
    *,
    in_flight: int,
    ordered: bool = True,
) -> AsyncGenerator[ObjectRef[R], None]:
    """Do what ``zgen.streams.mapped`` does, without blocking the event loop.

    It learns that a result is ready by awaiting it, so each one is read here as well.

    Raises:
        ValueError: ``in_flight`` is less than 1.
        TypeError: It is no integer, or ``submit`` returned something else than a reference.
        Exception: What ``source`` or ``submit`` raises. What a task raises lies in its reference.
    """
    check_in_flight(in_flight)
    return _mapped(submit, _asynchronous(source), in_flight, ordered)


async def _mapped(
    submit: Callable[[Any], ObjectRef[R]], items: AsyncIterator[Any], in_flight: int, ordered: bool
) -> AsyncGenerator[ObjectRef[R], None]:
    inbox: _Inbox[ObjectRef[R] | None] = _Inbox()
    #: Results in the order of their items, where that counts; and those that are ready.
    pending: deque[ObjectRef[R]] = deque()
    ready: dict[ObjectRef[R], None] = {}
    running_count, has_more, is_stepping = 0, True, False
    try:
        while has_more or running_count or ready:
            if has_more and not is_stepping and running_count + len(ready) < in_flight:
                inbox.add(_step(items), None)
                is_stepping = True
            done, ref = await inbox.get()
            if ref is not None:
                del done
                running_count -= 1
                ready[ref] = None
                while ready and (not ordered or pending[0] in ready):
                    ref = pending.popleft() if ordered else ref
                    del ready[ref]
                    yield ref
                del ref
                continue
            is_stepping = False
            item = done.result()
            if item is END:
                has_more = False
                continue
            ref = submitted(submit, item)
            if ordered:
                pending.append(ref)
            running_count += 1
            inbox.add(ref.as_future(), ref)
            del done, item, ref
    finally:
        await inbox.leave()


@overload
def timed(  # type: ignore[overload-overlap]  # as above
    stream: RefTupleGenerator[Refs], timeout_s: float
) -> AsyncGenerator[Refs, None]: ...
@overload
def timed(
    stream: ObjectRefGenerator[T], timeout_s: float
) -> AsyncGenerator[ObjectRef[T], None]: ...
async def timed(stream: ObjectRefGenerator[Any], timeout_s: float) -> AsyncGenerator[Any, None]:
    """Do what ``zgen.streams.timed`` does, without blocking the event loop.

    Raises:
        GetTimeoutError: One did not come in time.
        ValueError: ``timeout_s`` is negative.
    """
    clock.deadline_ns(timeout_s)  # which checks it
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                ref = await anext(stream, END)
        except TimeoutError:
            raise serializer.timed_out("the next item", timeout_s) from None
        if ref is END:
            return
        yield ref
        del ref


async def tracked(
    source: AsyncIterable[T], report: Callable[[Progress], Any], *, every_s: float = 1.0
) -> AsyncGenerator[T, None]:
    """Do what ``zgen.streams.tracked`` does, for what is iterated with ``async for``."""
    progress = Progress(report, every_s)
    async for item in source:
        progress.count += 1
        progress.tell(is_over=False)
        yield item
        del item
    progress.tell(is_over=True)


class _Inbox(Generic[T]):
    """Futures as they are done: each is told of once, whatever number waits."""

    def __init__(self) -> None:
        self._pending: dict[asyncio.Future[Any], T] = {}
        self._done: deque[asyncio.Future[Any]] = deque()
        self._bell: asyncio.Future[None] | None = None

    def add(self, future: asyncio.Future[Any], key: T) -> None:
        """Wait for ``future`` too, which is ``key``'s."""
        self._pending[future] = key
        future.add_done_callback(self._ring)

    def is_waiting(self) -> bool:
        """Return whether ``get`` will return something."""
        return bool(self._pending)

    async def get(self) -> "tuple[asyncio.Future[Any], T]":
        """Return the next future that is done, with its key. Cancelling it takes nothing."""
        while not self._done:
            self._bell = asyncio.get_running_loop().create_future()
            await self._bell
        future = self._done.popleft()
        return future, self._pending.pop(future)

    async def leave(self) -> None:
        """Cancel what is waited for, and see it end; remote tasks are left alone."""
        left = [future for future in self._pending if future.cancel()]
        self._pending.clear()
        if left:
            await asyncio.wait(left)

    def _ring(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()  # else it is logged as never retrieved
        self._done.append(future)
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


def _step(items: AsyncIterator[T]) -> "asyncio.Task[T]":
    async def step() -> T:
        return await anext(items, END)

    return asyncio.create_task(step())


async def _asynchronous(source: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


# -- several readers -------------------------------------------------------------------------------
class _Fan(Generic[T]):
    """What the readers of one source share, all in one event loop."""

    def __init__(self, source: AsyncIterable[ObjectRef[T]], count: int, pending_max: int) -> None:
        self.shelf: Shelf[ObjectRef[T]] = Shelf(count, pending_max)
        self._source: AsyncIterator[ObjectRef[T]] | None = aiter(source)
        self._is_asking = False
        self._waiting: list[asyncio.Future[None]] = []
        #: Reader -> task in which it last took or wanted something.
        self._tasks: dict[int, int] = {}

    async def step(self, reader: int) -> ObjectRef[T]:
        shelf = self.shelf
        self._tasks[reader] = id(asyncio.current_task())
        while True:
            shelf.look()
            if shelf.has(reader):
                item = shelf.take(reader)
                self.wake()
                return item
            if shelf.is_over:
                raise shelf.error or StopAsyncIteration
            if self._is_asking or not shelf.has_room():
                await self._wait(reader)
            else:
                await self._ask()

    async def _ask(self) -> None:
        assert self._source is not None
        self._is_asking = True
        try:
            self.shelf.add(await anext(self._source))
        except StopAsyncIteration:
            self.shelf.is_over, self._source = True, None
        except Exception as error:
            self.shelf.is_over, self.shelf.error, self._source = True, error, None
        finally:
            self._is_asking = False
            self.wake()

    async def _wait(self, reader: int) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self._is_asking:
            return await waiting
        await asyncio.wait((waiting,), timeout=FAN_OUT_SELF_WAIT_NS / SECOND)
        if not waiting.done():
            await asyncio.sleep(0)  # who was late with the whole event loop has its turn
        if not waiting.done():
            self._waiting.remove(waiting)
            self.shelf.refuse_to_wait(reader, self._tasks, id(asyncio.current_task()), "task")
        return None

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def leave(self, reader: int) -> None:
        self.shelf.leave(reader)
        if not self.shelf.cursors:
            self._source = None
        self.wake()

    def dropped(self, reader: int) -> None:
        """A reader is gone, in whatever thread."""
        self.shelf.left.append(reader)
        for each in list(self._waiting):
            loop = each.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.wake)
                return


class Branch(Generic[T]):
    """One reader of a source that has several, in one event loop; as ``zgen.streams.fan_out``'s."""

    __slots__ = ("__weakref__", "_fan", "_is_closed", "_reader")

    def __init__(self, fan: _Fan[T], reader: int) -> None:
        """Made by zgen only."""
        self._fan = fan
        self._reader = reader
        self._is_closed = False

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> ObjectRef[T]:
        """Return the next reference, once it is there and the slowest reader is near enough.

        Raises:
            StopAsyncIteration: The source has ended, or this was closed.
            RuntimeError: It would wait for a reader that only this task has read, if any.
            Exception: What the source raised.
        """
        if self._is_closed:
            raise StopAsyncIteration
        return await self._fan.step(self._reader)

    async def aclose(self) -> None:
        """Read no more; what only this reader had not taken is let go."""
        if not self._is_closed:
            self._is_closed = True
            self._fan.leave(self._reader)

    async def __aenter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def __del__(self) -> None:
        """Let the others go on."""
        if not getattr(self, "_is_closed", True):
            self._fan.dropped(self._reader)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError(STAYS)


def fan_out(
    source: AsyncIterable[ObjectRef[T]], n: int, *, max_pending_items: int = FAN_OUT_ITEMS_COUNT
) -> list[Branch[T]]:
    """Do what ``zgen.streams.fan_out`` does, without blocking the event loop, which is one.

    Raises:
        TypeError: ``n`` or ``max_pending_items`` is no integer.
        ValueError: One of them is less than 1.
    """
    fan = _Fan(source, n, max_pending_items)
    return [Branch(fan, reader) for reader in range(n)]
