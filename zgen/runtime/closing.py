"""The half of `ObjectRefGenerator` that looks without waiting, waits for so long, and closes.

Rules of this file: nothing here blocks a thread. How a remote body ends is not decided here.
"""

from types import TracebackType
from typing import Self, TypeVar

from zgen.core.cancel_words import CloseRequested
from zgen.core.events import TakeItems
from zgen.core.in_stream import InStream
from zgen.io import clock
from zgen.runtime.awaiting import AwaitableSteps

R = TypeVar("R")


class ClosingSteps(AwaitableSteps[R]):
    """Items that come to an end."""

    __slots__ = ()

    def next_ready(self) -> bool:
        """Return whether ``next`` would return an item without blocking."""
        if self._cursor < len(self._items):
            return True
        if self._ended:
            return False
        record = self._runtime.machine.owner.streams.streams[self.stream]
        if record.step and not record.unread:
            self._come_back(record)
        return bool(record.unread or record.back) and not record.is_lent

    def is_finished(self) -> bool:
        """Return whether ``next`` would raise ``StopIteration`` without blocking."""
        if self._cursor < len(self._items):
            return False
        if self._ended:
            return True
        record = self._runtime.machine.owner.streams.streams[self.stream]
        if record.step and not (record.unread or record.ended):
            self._come_back(record)
        more = record.unread or record.back or record.is_lent or record.refusal
        return record.ended and not more

    def _come_back(self, record: InStream) -> None:
        """All that was taken over of a stream was taken: let its producer know, who may wait."""
        if record.consumed < record.taken and not self._runtime.closed:
            self._runtime.loop.post(TakeItems(self.stream, 0))

    async def anext(self, timeout: float | None = None) -> R:
        """Step on as ``async for`` does, for a bounded time.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            GetTimeoutError: Nothing came in time; the next step goes on from here.
            StopAsyncIteration: There is no item and never will be.
            StreamClosedError: zgen was shut down before it came.
            ValueError: ``timeout`` is negative.
            TypeError: It is no number.
        """
        clock.deadline_ns(timeout)  # which checks it
        step = self.__anext__()
        if timeout is None or self.next_ready() or self.is_finished():
            return await step
        from zgen.runtime import aio

        return await aio.within(timeout, step, "the next item")

    def close(self) -> None:
        """Let the remote generator stop, and free what was not taken; ``next`` is at its end.

        The body gets ``GeneratorExit`` at its ``yield``: at the one that it stands at, else at its
        next one; one that has not begun never does. It runs its ``finally`` while this returns:
        ``completed()`` is ready when that is done, and holds None. References that were taken stay.
        Harmless if it has ended or was closed.

        Raises:
            InternalError: The machine failed.
        """
        self._items, self._cursor = [], 0
        runtime = self._runtime
        if not (self._ended or runtime.closed):
            runtime.enter()
            runtime.loop.post(CloseRequested(self.stream))
        self._ended = True

    async def aclose(self) -> None:
        """As ``close``, which does not block the event loop either."""
        self.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

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
        self.close()
