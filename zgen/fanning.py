"""`fan_out`: one stream for several readers of a process, as far ahead as the slowest allows.

Rules of this file: a reader may be dropped or closed at any time, and the others go on. The source
is asked by one reader at a time, for the item that is wanted, with no lock held.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Generic, NoReturn, Self, TypeVar

from zgen.handles import ObjectRef
from zgen.io import clock
from zgen.limits import FAN_OUT_ITEMS_COUNT, FAN_OUT_SELF_WAIT_NS, SECOND, SLOW_POLL_NS

T = TypeVar("T")


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
        self._items: deque[ObjectRef[T]] = deque()
        self._first = 0
        self._pending_max = pending_max

    def has(self, reader: int) -> bool:
        """Return whether an item waits for a reader."""
        return self.cursors[reader] < self._first + len(self._items)

    def has_room(self) -> bool:
        """Return whether the source may be asked for one more."""
        self.look()
        return len(self._items) < self._pending_max

    def add(self, item: ObjectRef[T]) -> None:
        """The source gave an item."""
        self._items.append(item)

    def take(self, reader: int) -> ObjectRef[T]:
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
            raise RuntimeError(
                f"reader {reader} of fan_out is as far ahead of reader {slowest} as "
                f"max_pending_items allows, and no other {what} reads that one; read them in "
                f"turns or in {what}s, or close those that you need no more"
            )

    def _trim(self) -> None:
        first = min(self.cursors.values(), default=self._first + len(self._items))
        while self._first < first:
            self._items.popleft()
            self._first += 1


class _Fan(Generic[T]):
    """What the readers of one source share."""

    def __init__(self, source: Iterable[ObjectRef[T]], count: int, pending_max: int) -> None:
        self.shelf: Shelf[T] = Shelf(count, pending_max)
        self._source: Iterator[ObjectRef[T]] | None = iter(source)
        self._changed = threading.Condition()
        self._is_asking = False
        #: Reader -> thread in which it last took or wanted something.
        self._threads: dict[int, int] = {}

    def step(self, reader: int) -> ObjectRef[T]:
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

    def _ask(self, reader: int, source: Iterator[ObjectRef[T]]) -> ObjectRef[T]:
        shelf = self.shelf
        item: ObjectRef[T] | None = None
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

    def __next__(self) -> ObjectRef[T]:
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
STAYS: Final = "a reader of fan_out stays in its process; pass the generator itself, or its items"


def fan_out(
    source: Iterable[ObjectRef[T]], n: int, *, max_pending_items: int = FAN_OUT_ITEMS_COUNT
) -> list[Branch[T]]:
    """Return ``n`` iterators, each of which yields every reference of a stream.

    A stream is asked for an item when the fastest wants it, and an item is let go when the slowest
    has taken it. Read them in threads, or in turns.

    Args:
        source: The stream, or other iterable of references.
        n: How many readers.
        max_pending_items: How far the fastest may be ahead of the slowest; then it waits.

    Raises:
        TypeError: ``n`` or ``max_pending_items`` is no integer.
        ValueError: One of them is less than 1.
    """
    fan = _Fan(source, n, max_pending_items)
    return [Branch(fan, reader) for reader in range(n)]
