"""The asynchronous twins of `zgen.streams`, by the same names.

Rules of this file: as there, with ``anext`` and ``await``. Who leaves one early should close it, as
by ``contextlib.aclosing``; else its event loop does so when the last reference is gone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.io import clock, serializer
from zgen.limits import MERGE_LOOK_ITEMS_COUNT
from zgen.streams import END, Progress, check_in_flight, checked_streams, submitted

T = TypeVar("T")
R = TypeVar("R")


def merge(*streams: ObjectRefGenerator[T]) -> AsyncGenerator[ObjectRef[T], None]:
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
    *streams: AsyncIterable[ObjectRef[T]], strict: bool = False
) -> AsyncGenerator[tuple[ObjectRef[T], ...], None]:
    """Do what ``zgen.streams.zipped`` does, without blocking the event loop.

    Raises:
        ValueError: With ``strict``, if another one goes on. What came before it was yielded.
    """
    steps = [aiter(stream) for stream in streams]
    while steps:
        refs: list[ObjectRef[T]] = []
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


async def timed(
    stream: ObjectRefGenerator[T], timeout_s: float
) -> AsyncGenerator[ObjectRef[T], None]:
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
