"""`fan_out`: one stream for several readers, as far ahead as the slowest allows.

Rules of this file: a reader may be dropped or closed at any time, and the others go on. The source
is asked by one reader at a time, for the item that is wanted, with no lock held.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, TypeVar, overload

from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ids import StreamId
from zgen.io import clock
from zgen.limits import FAN_OUT_ITEMS_COUNT, FAN_OUT_SELF_WAIT_NS, SECOND, SLOW_POLL_NS
from zgen.ref_tuples import Refs, RefTupleGenerator
from zgen.runtime.process import Runtime

T = TypeVar("T")


#: Stands for the thread that reads what nobody has read.
NO_THREAD: Final = 0


def waits_for_itself(reader: int, slowest: int, what: str) -> RuntimeError:
    """Return the error for who waits for a reader that no other thread, or task, reads."""
    return RuntimeError(
        f"reader {reader} of fan_out is as far ahead of reader {slowest} as "
        f"max_pending_items allows, and no other {what} reads that one; read them in "
        f"turns or in {what}s, or close those that you need no more"
    )


class Shelf(Generic[T]):
    """Items of one source that not all readers have taken, and how far each reader is.

    Attributes:
        cursors: Reader -> position of its next item. Removed when the reader leaves.
        left: Readers that were dropped, until somebody looks.
        error: What the source raised, for every reader behind its last item.
        is_over: Whether the source has ended, or raised.
    """

    def __init__(self, count: int, pending_max: int) -> None:
        """Start with ``count`` readers, none further ahead of another than ``pending_max``."""
        if type(count) is not int or type(pending_max) is not int:
            raise TypeError(f"n and max_pending_items are integers, got {count!r}, {pending_max!r}")
        if count < 1 or pending_max < 1:
            raise ValueError(f"n and max_pending_items are at least 1: {count}, {pending_max}")
        self.cursors = dict.fromkeys(range(count), 0)
        self.left: deque[int] = deque()
        self.error: BaseException | None = None
        self.is_over = False
        self._items: deque[T] = deque()
        self._first = 0
        self._pending_max = pending_max

    def has(self, reader: int) -> bool:
        """Return whether an item waits for a reader."""
        return self.cursors[reader] < self._first + len(self._items)

    def has_room(self) -> bool:
        """Return whether the source may be asked for one more."""
        self.look()
        return len(self._items) < self._pending_max

    def add(self, item: T) -> None:
        """The source gave an item."""
        self._items.append(item)

    def take(self, reader: int) -> T:
        """Give a reader its next item, which is let go if the slowest has it then."""
        at = self.cursors[reader]
        item = self._items[at - self._first]
        self.cursors[reader] = at + 1
        self._trim()
        return item

    def leave(self, reader: int) -> None:
        """A reader wants no more."""
        self.cursors.pop(reader, None)
        self._trim()

    def look(self) -> None:
        """Take out the readers that were dropped."""
        while self.left:
            self.leave(self.left.popleft())

    def slowest(self) -> int:
        """Return who is furthest behind."""
        return min(self.cursors, key=self.cursors.__getitem__)

    def refuse_to_wait(self, reader: int, readers: dict[int, int], me: int, what: str) -> None:
        """Raise if a reader waits for one that nobody else reads.

        Args:
            reader: Who waits.
            readers: Reader -> in which thread, or task of an event loop, it was read last.
            me: In which one this is.
            what: Which of both.

        Raises:
            RuntimeError: It waits for itself.
        """
        slowest = self.slowest()
        if readers.get(slowest) in (None, me):
            raise waits_for_itself(reader, slowest, what)

    def _trim(self) -> None:
        first = min(self.cursors.values(), default=self._first + len(self._items))
        while self._first < first:
            self._items.popleft()
            self._first += 1


class _Fan(Generic[T]):
    """What the readers of one source share."""

    def __init__(self, source: Iterable[T], count: int, pending_max: int) -> None:
        self.shelf: Shelf[T] = Shelf(count, pending_max)
        self._source: Iterator[T] | None = iter(source)
        self._changed = threading.Condition()
        self._is_asking = False
        #: Reader -> thread in which it last took or wanted something.
        self._threads: dict[int, int] = {}

    def step(self, reader: int) -> T:
        shelf = self.shelf
        waited_ns = 0
        with self._changed:
            self._threads[reader] = threading.get_ident()
            while True:
                shelf.look()
                if shelf.has(reader):
                    item = shelf.take(reader)
                    self._changed.notify_all()
                    return item
                if shelf.is_over:
                    raise shelf.error or StopIteration
                if not self._is_asking and shelf.has_room():
                    break
                began_ns = clock.now_ns()
                moved = self._changed.wait(SLOW_POLL_NS / SECOND)
                waited_ns = 0 if moved else waited_ns + clock.now_ns() - began_ns
                if waited_ns > FAN_OUT_SELF_WAIT_NS and not self._is_asking:
                    shelf.refuse_to_wait(reader, self._threads, threading.get_ident(), "thread")
            self._is_asking = True
            source = self._source
        assert source is not None
        return self._ask(reader, source)

    def _ask(self, reader: int, source: Iterator[T]) -> T:
        shelf = self.shelf
        item: T | None = None
        try:
            item = next(source)
        except StopIteration:
            shelf.is_over = True
        except Exception as error:
            shelf.is_over, shelf.error = True, error
        finally:
            with self._changed:
                self._is_asking = False
                if item is not None:
                    shelf.add(item)
                if shelf.is_over:
                    self._source = None
                self._changed.notify_all()
        del item, source
        return self.step(reader)

    def leave(self, reader: int) -> None:
        with self._changed:
            self.shelf.leave(reader)
            if not self.shelf.cursors:
                self._source = None
            self._changed.notify_all()

    def dropped(self, reader: int) -> None:
        """A reader is gone; this may run anywhere, also inside the lock."""
        self.shelf.left.append(reader)
        if self._changed.acquire(blocking=False):  # else who has it looks, or soon will
            self._changed.notify_all()
            self._changed.release()


class Branch(Generic[T]):
    """One reader of a source that has several; it yields references, each in the source's order.

    Close or drop it to let the others go on without it. It may be read in any thread, by one at a
    time.
    """

    __slots__ = ("__weakref__", "_fan", "_is_closed", "_reader")

    def __init__(self, fan: _Fan[T], reader: int) -> None:
        """Made by zgen only."""
        self._fan = fan
        self._reader = reader
        self._is_closed = False

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> T:
        """Return the next reference, once it is there and the slowest reader is near enough.

        Raises:
            StopIteration: The source has ended, or this was closed.
            RuntimeError: It would wait for a reader that only this thread has read, if any.
            Exception: What the source raised.
        """
        if self._is_closed:
            raise StopIteration
        return self._fan.step(self._reader)

    def close(self) -> None:
        """Read no more; what only this reader had not taken is let go."""
        if not self._is_closed:
            self._is_closed = True
            self._fan.leave(self._reader)

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


#: Why a branch is not handed over.
STAYS: Final = (
    "a reader of fan_out stays in its process, unless zgen.streams.fan_out made it of a generator "
    "that this process has called; pass the generator itself, or its items"
)


# -- readers of a generator of this process --------------------------------------------------------
class ReaderSteps(ObjectRefGenerator[T]):
    """What readers of a generator do that others do not: they tell who would wait for himself."""

    __slots__ = ()

    #: Stream of a reader -> its number and the thread that read it last, shared by those of a fan.
    _readers: dict[StreamId, tuple[int, int]]

    def _take(self, runtime: Runtime) -> list[Any]:
        self._readers[self.stream] = self._readers[self.stream][0], threading.get_ident()
        return super()._take(runtime)

    def _wait(self, runtime: Runtime, deadline_ns: int | None) -> bool:
        while True:
            look_ns = clock.now_ns() + FAN_OUT_SELF_WAIT_NS
            is_last = deadline_ns is not None and deadline_ns <= look_ns
            if super()._wait(runtime, deadline_ns if is_last else look_ns) or runtime.closed:
                return True
            if is_last:
                return False
            self._refuse_to_wait(runtime)

    def _refuse_to_wait(self, runtime: Runtime) -> None:
        """Raise if it waits for a reader that nobody else reads.

        Raises:
            RuntimeError: It waits for itself.
        """
        with runtime.loop.lock:
            slowest = runtime.machine.owner.handover.fans.slowest(self.stream)
        if slowest is not None and slowest != self.stream:
            number, thread = self._readers[slowest]
            if thread in (NO_THREAD, threading.get_ident()):
                raise waits_for_itself(self._readers[self.stream][0], number, "thread")


class FanReader(ReaderSteps[T], ObjectRefGenerator[T], Generic[T]):
    """One of several readers of a generator, which gets all its items; else like a generator.

    It is handed over like one, too. Close or drop it to let the others go on without it.
    """

    __slots__ = ("_readers",)

    def _handed_class(self) -> type[Any]:
        """Return what it is where it is unpickled: a generator like any other."""
        return ObjectRefGenerator


class TupleFanReader(ReaderSteps[Any], RefTupleGenerator[Refs], Generic[Refs]):
    """As ``FanReader``, of a generator whose yields have several values."""

    __slots__ = ("_readers",)

    def _handed_class(self) -> type[Any]:
        """As ``FanReader``."""
        return RefTupleGenerator


def _fan_generator(source: ObjectRefGenerator[Any], n: int, pending_max: int) -> list[Any]:
    """Return readers of a generator of this process."""
    Shelf[Any](n, pending_max)  # which checks them
    reader_class: Any = TupleFanReader if isinstance(source, RefTupleGenerator) else FanReader
    readers: dict[StreamId, tuple[int, int]] = {}
    generators = []
    runtime, keys = source.fanned_out(n, pending_max)
    for number, key in enumerate(keys):
        readers[key] = number, NO_THREAD
        generator = reader_class(key, runtime)
        generator._readers = readers  # noqa: SLF001  # of these classes
        runtime.handed[key] = generator
        generators.append(generator)
    return generators


@overload
def fan_out(  # type: ignore[overload-overlap]  # tuples in place of references
    source: RefTupleGenerator[Refs], n: int, *, max_pending_items: int = ...
) -> list[RefTupleGenerator[Refs]]: ...
@overload
def fan_out(  # type: ignore[overload-overlap]  # generators in place of iterators
    source: ObjectRefGenerator[T], n: int, *, max_pending_items: int = ...
) -> list[ObjectRefGenerator[T]]: ...
@overload
def fan_out(
    source: Iterable[ObjectRef[T]], n: int, *, max_pending_items: int = ...
) -> list[Branch[ObjectRef[T]]]: ...
@overload
def fan_out(
    source: Iterable[Refs], n: int, *, max_pending_items: int = ...
) -> list[Branch[Refs]]: ...
def fan_out(
    source: Iterable[Any], n: int, *, max_pending_items: int = FAN_OUT_ITEMS_COUNT
) -> list[Any]:
    """Return ``n`` iterators, each of which yields every reference of a stream.

    A stream is asked for an item when the fastest has none left, and an item is let go when the
    slowest has taken it. Read them in threads, or in turns. Readers of a generator that this
    process has called are generators themselves, and can be handed to tasks and actors.

    Args:
        source: The stream, or other iterable of references or of tuples of them.
        n: How many readers.
        max_pending_items: How far the fastest may be ahead of the slowest; then it waits.

    Raises:
        TypeError: ``n`` or ``max_pending_items`` is no integer.
        ValueError: One of them is less than 1.
        StreamLentError: The generator was handed over, or has several readers already.
    """
    if type(source) in (ObjectRefGenerator, RefTupleGenerator) and source.completion is None:  # type: ignore[attr-defined]  # a generator
        return _fan_generator(source, n, max_pending_items)  # type: ignore[arg-type]  # likewise
    fan = _Fan(source, n, max_pending_items)
    return [Branch(fan, reader) for reader in range(n)]
