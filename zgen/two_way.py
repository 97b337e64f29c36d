"""`TwoWayGenerator`: what `.remote()` returns of a generator that values can be sent into.

Rules of this file: an item is asked for once, by the step that is to return it. What the body is
given, and again by another attempt, is decided elsewhere.
"""

from typing import Any, Generic, NoReturn, TypeVar

from zgen.core.stream_words import SendRequested
from zgen.exceptions import CapacityError, NestedRefError, StreamClosedError
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ids import StreamId
from zgen.io import serializer
from zgen.io.serializer import Large
from zgen.limits import INLINE_BYTES_MAX
from zgen.runtime.process import Runtime

T = TypeVar("T")


class TwoWayGenerator(ObjectRefGenerator[T], Generic[T]):
    """References to the items of a remote generator, each yielded when it is asked for.

    ``next`` asks for the next item, and so does ``send``, which is the value of the body's
    ``yield``, and ``throw``, which raises there. Nothing is yielded unasked, so that it cannot be
    waited for with ``zgen.wait``. Dropping it closes it. Not thread-safe.
    """

    __slots__ = ("_asked", "_begun")

    def __init__(self, stream: StreamId, runtime: Runtime) -> None:
        """Made by zgen only."""
        super().__init__(stream, runtime)
        #: Whether the body was asked for an item that was not taken, and whether ever for one.
        self._asked = self._begun = False

    def __reduce__(self) -> NoReturn:
        """Refuse to be handed over: who called it speaks with the body.

        Raises:
            NestedRefError: Always.
        """
        raise NestedRefError("a two-way generator cannot be handed over; pass its items")

    def send(self, value: Any) -> ObjectRef[T]:
        """Give the body a value at its yield, wait for its next item and return its reference.

        References inside ``value`` stay references: the body can ``get`` them.

        Raises:
            TypeError: The body has not begun, and ``value`` is not None.
            ValueError: An item that was asked for before was not taken, for a timeout or an
                interrupt: ``next`` returns it.
            CapacityError: ``value`` is large: send a reference made by ``zgen.put``.
            NestedRefError: A generator lies inside it.
            StopIteration: The body has ended; it has what that returned.
            StreamClosedError: zgen was shut down before the item came.
        """
        self._ask(value)
        return self.__next__()

    def throw(self, error: BaseException | type[BaseException]) -> ObjectRef[T]:
        """Raise ``error`` at the yield of the body, wait for its next item, return its reference.

        If the body does not catch it, what is returned is a reference whose ``get`` raises it, as
        after any failure of a body. One that has not begun never does.

        Raises:
            BaseException: ``error`` itself, if the body has ended.
            TypeError: ``error`` is no exception.
            ValueError: As in ``send``.
            CapacityError: As in ``send``.
            StopIteration: The body caught it and ended.
            StreamClosedError: zgen was shut down before the item came.
        """
        self._raise(error)
        return self.__next__()

    async def asend(self, value: Any) -> ObjectRef[T]:
        """As ``send``, without blocking the event loop.

        Raises:
            StopAsyncIteration: The body has ended.
            Exception: As in ``send``.
        """
        if self._is_over():
            raise StopAsyncIteration
        self._ask(value)
        return await self.__anext__()

    async def athrow(self, error: BaseException | type[BaseException]) -> ObjectRef[T]:
        """As ``throw``, without blocking the event loop.

        Raises:
            StopAsyncIteration: The body caught it and ended.
            BaseException: As in ``throw``.
        """
        self._raise(error)
        return await self.__anext__()

    def would_not_block(self) -> bool:
        """Return whether ``next`` would not block.

        Raises:
            ValueError: It was not asked for an item, and so would never have one.
        """
        if not (self._asked or self._is_over() or self._cursor < len(self._items)):
            raise ValueError(
                "zgen.wait() of a two-way generator: nothing was asked of it; use next"
            )
        return super().would_not_block()

    def _is_over(self) -> bool:
        return self._ended and self._cursor == len(self._items)

    def _raise(self, error: BaseException | type[BaseException]) -> None:
        is_class = isinstance(error, type) and issubclass(error, BaseException)
        if not (is_class or isinstance(error, BaseException)):
            kind = type(error).__name__
            text = (
                f"exceptions must be classes or instances deriving from BaseException, not {kind}"
            )
            raise TypeError(text)
        if self._is_over():
            raise error
        self._ask(error, raises=True)

    def _ask(self, value: Any, *, raises: bool = False) -> None:
        """Ask for the next item, by giving the body something."""
        if self._ended or self._cursor < len(self._items):
            return  # its end is at hand, and that is the answer
        if not (self._begun or raises) and value is not None:
            raise TypeError("can't send non-None value to a just-started generator")
        if self._asked:
            raise ValueError("an item was asked for before and not taken: next() returns it")
        packed = serializer.serialize(value)
        if type(packed) is Large:
            raise CapacityError(
                f"{INLINE_BYTES_MAX} bytes",
                f"what is sent into a generator may have {INLINE_BYTES_MAX} bytes: send a "
                "reference made by zgen.put(), and let the body zgen.get() it",
            )
        runtime = self._runtime
        if runtime.closed:
            raise StreamClosedError("", f"nothing can be sent any more: {runtime.closed}")
        runtime.enter()
        self._asked = self._begun = True
        runtime.loop.post(SendRequested(self.stream, packed, raises))

    def _refill(self, timeout_s: float | None) -> list[ObjectRef[T] | None]:
        if not self._asked:
            self._ask(None)
        items = super()._refill(timeout_s)
        self._asked = False
        return items

    async def _fill(self) -> None:
        if not self._asked:
            self._ask(None)
        await super()._fill()
        if self._cursor < len(self._items):
            self._asked = False
