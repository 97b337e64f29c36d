"""What makes references and generators awaitable; asyncio is loaded with the first real wait.

Rules of this file: what is here is handed over in place, without touching the event loop; the rest
is for ``aio``. No item is taken before the step that returns it.
"""

from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from zgen.core.ref_table import OwnedRef
from zgen.ids import ObjectId, StreamId
from zgen.io import clock, serializer
from zgen.limits import LOOP_TURN_NS
from zgen.runtime.process import Runtime

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

#: What is said of a generator that nothing can be sent into.
ONE_WAY: Final = (
    "this generator was not opened for send() and throw(): call it with .options(two_way=True)"
)


class AwaitableRef(Generic[T_co]):
    """The half of ``ObjectRef`` that is for event loops and futures."""

    __slots__ = ()

    _id: ObjectId
    record: OwnedRef

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait for the object without blocking the event loop, and return it.

        Cancelling the wait leaves the remote task alone.

        Raises:
            TaskError: The task raised; also an instance of the class that it raised, if that is an
                ``Exception``.
            ZgenError: The system failed; see ``zgen.exceptions``.
            RuntimeError: No event loop of asyncio runs in this thread.
        """
        value = self.record.value
        if type(value) is bytes:
            return serializer.loads(value)  # type: ignore[no-any-return]  # as it was serialised
        from zgen.runtime import aio

        return (yield from aio.value(self, self._id, self.record))  # type: ignore[no-any-return]

    def future(self) -> "concurrent.futures.Future[T_co]":
        """Return a future of the object, for other threads and ``asyncio.wrap_future``.

        Its callbacks run in a thread of zgen's. Cancelling it leaves the remote task alone.
        """
        from zgen.runtime import futures

        return futures.future(self, self._id, self.record)

    def as_future(self) -> "asyncio.Future[T_co]":
        """Return a future of the running event loop for the object.

        Cancelling it leaves the remote task alone.

        Raises:
            RuntimeError: No event loop of asyncio runs in this thread.
        """
        from zgen.runtime import aio

        return aio.as_future(self)


class AwaitableSteps(Generic[R]):
    """The half of ``ObjectRefGenerator`` that is for event loops; both share one cursor."""

    __slots__ = ("_cursor", "_ended", "_items", "_runtime", "_turned_ns", "stream")

    stream: StreamId
    _cursor: int
    _ended: bool
    _items: list[R | None]
    _runtime: Runtime
    _turned_ns: int

    def __aiter__(self) -> "AwaitableSteps[R]":
        """Return itself."""
        return self

    async def __anext__(self) -> R:
        """Wait for the next item without blocking the event loop, and return its reference.

        Cancelling it takes nothing: the item comes with the next step.

        Raises:
            StopAsyncIteration: There is none and never will be.
            StreamClosedError: zgen was shut down before it came.
            RuntimeError: No event loop of asyncio runs in this thread.
        """
        while self._cursor == len(self._items):
            if self._ended:
                raise StopAsyncIteration
            await self._fill()
        return self.__next__()

    def at_hand(self) -> R | None:
        """Return what the next step returns, if that was taken over already; nothing is taken."""
        return self._items[self._cursor] if self._cursor < len(self._items) else None

    def __next__(self) -> R:
        """Step on; of ``ObjectRefGenerator``."""
        raise NotImplementedError

    def asend(self, value: Any) -> Awaitable[R]:
        """Give the body a value at its yield and wait for its next item, if it is two-way.

        Raises:
            NotImplementedError: It was not opened for it, by ``two_way=True``.
        """
        raise NotImplementedError(ONE_WAY)

    def athrow(self, error: BaseException | type[BaseException]) -> Awaitable[R]:
        """Raise an exception at the yield of the body, if it is two-way; wait for its next item.

        Raises:
            NotImplementedError: It was not opened for it, by ``two_way=True``.
        """
        raise NotImplementedError(ONE_WAY)

    def _take(self, runtime: Runtime) -> list[R | None]:
        raise NotImplementedError

    async def _fill(self) -> None:
        """Take over what is there, or wait for something; after one look or one wait it returns."""
        runtime = self._runtime
        runtime.enter()
        now_ns = clock.now_ns()
        if now_ns - self._turned_ns > LOOP_TURN_NS:  # a fast stream shall not starve the others
            from zgen.runtime import aio

            first, self._turned_ns = not self._turned_ns, now_ns
            if not first:
                return await aio.turn()
        taken = self._take(runtime)
        if taken:
            self._items, self._cursor = taken, 0
        elif not self._ended:
            from zgen.runtime import aio

            await aio.advance(runtime, self.stream)
            self._turned_ns = clock.now_ns()
        return None
