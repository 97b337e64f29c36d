"""`RefTupleGenerator`: what `.remote()` returns of a generator whose yields have several values.

Rules of this file: what was yielded together is given out together.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ids import StreamId
from zgen.runtime.process import Runtime

Refs = TypeVar("Refs", bound=tuple[ObjectRef[Any], ...])


class RefTupleGenerator(ObjectRefGenerator[Any], Generic[Refs]):
    """Tuples of references to what a remote generator yields, one tuple for each ``yield``.

    Made by a call of a function or a method with ``num_objects_per_yield``. All references of a
    tuple come together, and each can be got, passed on and dropped by itself. A failure is a tuple
    of as many references, each of whose ``get`` raises. In all else it is an
    ``ObjectRefGenerator``: an item is a tuple there.
    """

    __slots__ = ("_per_yield",)

    def __init__(self, stream: StreamId, runtime: Runtime) -> None:
        """Made by zgen only."""
        super().__init__(stream, runtime)
        self._per_yield = runtime.machine.owner.streams.streams[stream].per_yield

    def __iter__(self) -> Iterator[Refs]:  # type: ignore[override]  # tuples instead of references
        """Return itself."""
        return self

    def __next__(self) -> Refs:  # type: ignore[override]  # a tuple instead of a reference
        """Block until the next yield is there and return its references.

        Raises:
            StopIteration: There is none and never will be.
            StreamClosedError: zgen was shut down before it came.
            StreamLentError: It was handed over.
            OwnerDiedError: It came from another process, which died.
        """
        refs: Refs = super().__next__()  # type: ignore[assignment]  # as ``_take`` made it
        return refs

    def next(self, timeout: float | None = None) -> Refs:  # type: ignore[override]  # as above
        """Like ``next(gen)``, for a bounded time.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            GetTimeoutError: Nothing came in time; the next call goes on from here.
            StopIteration: There is no yield and never will be.
            ValueError: ``timeout`` is negative.
            TypeError: It is no number.
        """
        refs: Refs = super().next(timeout)  # type: ignore[assignment]  # as above
        return refs

    def __aiter__(self) -> "RefTupleGenerator[Refs]":
        """Return itself."""
        return self

    async def __anext__(self) -> Refs:  # type: ignore[override]  # as above
        """Wait for the next yield without blocking the event loop; return its references.

        Raises:
            StopAsyncIteration: There is none and never will be.
            StreamClosedError: zgen was shut down before it came.
            RuntimeError: No event loop of asyncio runs in this thread.
        """
        refs: Refs = await super().__anext__()  # type: ignore[assignment]  # as above
        return refs

    async def anext(self, timeout: float | None = None) -> Refs:  # type: ignore[override]  # as above
        """Step on as ``async for`` does, for a bounded time.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            GetTimeoutError: Nothing came in time; the next step goes on from here.
            StopAsyncIteration: There is no yield and never will be.
            StreamClosedError: zgen was shut down before it came.
            ValueError: ``timeout`` is negative.
            TypeError: It is no number.
        """
        refs: Refs = await super().anext(timeout)  # type: ignore[assignment]  # as above
        return refs

    def __repr__(self) -> str:
        """Name the stream."""
        return f"RefTupleGenerator({self.stream.hex()})"

    def at_hand(self) -> ObjectRef[Any] | None:
        """Return the first of what the next step returns, if that was taken over already."""
        refs: Any = super().at_hand()
        return None if refs is None else refs[0]

    def taken_over(self) -> list[Any]:
        """Return the references that were taken over and not given out."""
        return [ref for refs in super().taken_over() for ref in refs]

    def _take(self, runtime: Runtime) -> list[Any]:
        refs, each = super()._take(runtime), self._per_yield
        return [tuple(refs[at : at + each]) for at in range(0, len(refs), each)]
