"""Blocking waits for objects and streams.

Rules of this file: who waits for what, and for how many of it. It reads the owner's tables under
the process lock and changes nothing in them.
"""

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Final, TypeVar

from zgen.core.effects import Effect, ObjectsReady, StreamAdvanced
from zgen.core.owner import Owner
from zgen.ids import ObjectId, StreamId
from zgen.io.waiter import Waiter
from zgen.runtime.arrivals import Arrivals
from zgen.wire.value import is_error

K = TypeVar("K", ObjectId, StreamId)
W = TypeVar("W")

_CUT_COUNT_MAX: Final = 8  # so many are cut out of a list one by one faster than by a look at all


class Answer(Waiter):
    """Waits for the node's state.

    Attributes:
        answer: The state as JSON, or None.
    """

    __slots__ = ("answer",)

    def __init__(self) -> None:
        """Start without an answer."""
        super().__init__()
        self.answer: str | None = None


class CountWaiter(Waiter):
    """Waits until enough of several things are there.

    Attributes:
        missing: How many more are needed.
        stop_at_error: Whether an error among them ends the wait at once.
    """

    __slots__ = ("missing", "stop_at_error")

    def __init__(self, missing: int, *, stop_at_error: bool) -> None:
        """Wait for ``missing`` more."""
        super().__init__()
        self.missing = missing
        self.stop_at_error = stop_at_error

    def count(self, *, error: bool) -> None:
        """One more is there."""
        self.missing -= 1
        if self.missing <= 0 or (error and self.stop_at_error):
            self.finish()


class CrowdWaiter(Waiter):
    """Waits until enough of many things are ready, however many there are.

    Attributes:
        pending: Those that are not ready.
        most: It is done when no more than so many are pending.
        is_local: Whether what lies on another node is ready only when it was brought here.
    """

    __slots__ = ("is_local", "most", "pending")

    def __init__(self, pending: dict[bytes, None], most: int, *, is_local: bool = False) -> None:
        """Wait until ``most`` of ``pending`` are left."""
        super().__init__()
        self.pending = pending
        self.most = most
        self.is_local = is_local

    def note(self, name: bytes) -> None:
        """This is ready; of no interest unless it is one of those waited for."""
        if self.pending.pop(name, _ABSENT) is None and len(self.pending) <= self.most:
            self.finish()


_ABSENT: Final = object()


class Mark:
    """What a look at many generators reads off each of them.

    Attributes:
        value: None while ``next`` would certainly block; else a closer look tells.
    """

    __slots__ = ("value",)

    def __init__(self, value: bool | None) -> None:
        """Start with what is known."""
        self.value = value


#: The mark of generators of which nothing is known.
UNKNOWN: Final = Mark(True)


class Waits:
    """Who waits in this process. All methods under the process lock."""

    def __init__(self, owner: Owner, arrivals: Arrivals) -> None:
        """Look into ``owner``'s tables; ``arrivals`` brings what lies elsewhere."""
        self._owner = owner
        self._arrivals = arrivals
        arrivals.tell = self._tell
        #: Asks other processes for the values of objects that they own.
        self.want: Callable[[tuple[ObjectId, ...]], object] = lambda names: None
        #: Object -> waiters. Added by ``add``; removed when it is ready and by ``remove``.
        self._objects: dict[ObjectId, list[CountWaiter]] = {}
        #: Stream -> waiters. Added by ``add``; removed when it advances and by ``remove``.
        self._streams: dict[StreamId, list[CountWaiter]] = {}
        #: Who waits for many things. Added by ``add_crowd``; removed by ``remove_crowd``.
        self._crowds: dict[CrowdWaiter, None] = {}
        #: Stream whose ``next`` would block -> the mark that says so. Added by ``mark_blocking``;
        #: removed when it advances and by ``forget``.
        self._marks: dict[StreamId, Mark] = {}

    def perform(self, effect: Effect) -> bool:
        """Wake who waits for what an effect says; return False for other effects."""
        if type(effect) is StreamAdvanced:
            for waiter in self._streams.pop(effect.stream, ()):
                waiter.count(error=False)
            if self._marks:
                mark = self._marks.pop(effect.stream, None)
                if mark is not None:
                    mark.value = True
            if self._crowds:
                far = self._arrivals.far_next(effect.stream) if self._arrivals.is_used else {}
                self._tell_crowds((effect.stream,), far)
        elif type(effect) is ObjectsReady:
            records = self._owner.refs.records
            for name in effect.objects:
                waiters = self._objects.pop(name, None)
                if waiters:
                    record = records.get(name)
                    value = record.value if record is not None else b""
                    error = type(value) is not bytes and value is not None and is_error(value)
                    for waiter in waiters:
                        waiter.count(error=error)
            if self._crowds:
                far = self._arrivals.far_among(effect.objects) if self._arrivals.is_used else {}
                self._tell_crowds(effect.objects, far)
        else:
            return False
        return True

    def add(
        self, waiter: CountWaiter, objects: Iterable[ObjectId], streams: Iterable[StreamId]
    ) -> None:
        """Let ``waiter`` be told of these, none of which may be ready."""
        for name in objects:
            self._objects.setdefault(name, []).append(waiter)
        for stream in streams:
            self._streams.setdefault(stream, []).append(waiter)
        self.ask(objects)

    def ask(self, names: Iterable[bytes]) -> None:
        """Ask the owners for those of ``names`` that are borrowed and were not asked for yet."""
        if not self._owner.borrowing.is_borrower:
            return
        self._arrivals.may_borrow = True
        records = self._owner.refs.records
        wanted: list[ObjectId] = []
        for name in names:
            record = records.get(ObjectId(name))
            if record is not None and record.borrow is not None and not record.borrow.asked:
                wanted.append(ObjectId(name))
        if wanted:
            self.want(tuple(wanted))

    def remove(
        self, waiter: CountWaiter, objects: Iterable[ObjectId], streams: Iterable[StreamId]
    ) -> None:
        """Tell ``waiter`` of nothing any more."""
        for name in objects:
            _take_out(self._objects, name, waiter)
        for stream in streams:
            _take_out(self._streams, stream, waiter)

    def add_crowd(self, crowd: CrowdWaiter, items: Iterable[Any] = ()) -> None:
        """Let ``crowd`` be told of everything that becomes ready, and note what has to come.

        Args:
            crowd: Who waits.
            items: For which references and generators.
        """
        self._crowds[crowd] = None
        if crowd.is_local:
            self._arrivals.want_all(items)

    def remove_crowd(self, crowd: CrowdWaiter) -> None:
        """Tell ``crowd`` of nothing any more."""
        del self._crowds[crowd]

    def mark_blocking(self, stream: StreamId, mark: Mark) -> None:
        """``next`` of this stream would block: let its mark say so until it advances."""
        mark.value = None
        self._marks[stream] = mark

    def forget(self, streams: Iterable[StreamId]) -> None:
        """The handles of these streams are gone; needs no lock."""
        for stream in streams if self._marks else ():
            self._marks.pop(stream, None)

    def finish_all(self) -> None:
        """End every wait, ready or not: the runtime is over."""
        for waiters in [*self._objects.values(), *self._streams.values()]:
            for waiter in waiters:
                waiter.finish()
        for crowd in self._crowds:
            crowd.finish()
        for mark in self._marks.values():
            mark.value = True
        self._marks.clear()

    def _tell(self, name: bytes) -> None:
        for crowd in self._crowds:
            crowd.note(name)

    def _tell_crowds(self, names: Iterable[bytes], far: dict[bytes, ObjectId]) -> None:
        """Tell of what has its value; what is ``far`` has to come first, where that is wanted."""
        for crowd in self._crowds:
            for name in names:
                if far and crowd.is_local and name in far:
                    if name in crowd.pending:
                        self._arrivals.want(name, far[name])
                else:
                    crowd.note(name)

    def is_idle(self) -> bool:
        """Return whether nobody waits."""
        return not (self._objects or self._streams or self._crowds)


def others(items: list[W], ready: list[int]) -> list[W]:
    """Return the items that are not at these positions, which rise."""
    if len(ready) <= _CUT_COUNT_MAX:
        for index in reversed(ready):
            items = items[:index] + items[index + 1 :]
        return items
    kept = bytearray(b"\1") * len(items)
    for index in ready:
        kept[index] = 0
    return list(compress(items, kept))


def _take_out(table: dict[K, list[CountWaiter]], key: K, waiter: CountWaiter) -> None:
    waiters = table.get(key)
    if waiters is None or waiter not in waiters:
        return
    waiters.remove(waiter)
    if not waiters:
        del table[key]
