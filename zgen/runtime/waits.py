"""Blocking waits for objects and streams.

Rules of this file: who waits for what, and for how many of it. It reads the owner's tables under
the process lock and changes nothing in them.
"""

from collections.abc import Iterable
from typing import TypeVar

from zgen.core.effects import Effect, ObjectsReady, StreamAdvanced
from zgen.core.owner import Owner
from zgen.ids import ObjectId, StreamId
from zgen.io.waiter import Waiter
from zgen.wire.value import is_error

K = TypeVar("K", ObjectId, StreamId)


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


class Waits:
    """Who waits in this process. All methods under the process lock."""

    def __init__(self, owner: Owner) -> None:
        """Look into ``owner``'s tables."""
        self._owner = owner
        #: Object -> waiters. Added by ``add``; removed when it is ready and by ``remove``.
        self._objects: dict[ObjectId, list[CountWaiter]] = {}
        #: Stream -> waiters. Added by ``add``; removed when it advances and by ``remove``.
        self._streams: dict[StreamId, list[CountWaiter]] = {}

    def perform(self, effect: Effect) -> bool:
        """Wake who waits for what an effect says; return False for other effects."""
        if type(effect) is StreamAdvanced:
            for waiter in self._streams.pop(effect.stream, ()):
                waiter.count(error=False)
        elif type(effect) is ObjectsReady:
            for name in effect.objects:
                waiters = self._objects.pop(name, None)
                if waiters:
                    record = self._owner.refs.records.get(name)
                    value = record.value if record is not None else None
                    error = value is not None and is_error(value)
                    for waiter in waiters:
                        waiter.count(error=error)
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

    def remove(
        self, waiter: CountWaiter, objects: Iterable[ObjectId], streams: Iterable[StreamId]
    ) -> None:
        """Tell ``waiter`` of nothing any more."""
        for name in objects:
            _take_out(self._objects, name, waiter)
        for stream in streams:
            _take_out(self._streams, stream, waiter)

    def finish_all(self) -> None:
        """End every wait, ready or not: the runtime is over."""
        for waiters in [*self._objects.values(), *self._streams.values()]:
            for waiter in waiters:
                waiter.finish()

    def is_idle(self) -> bool:
        """Return whether nobody waits."""
        return not self._objects and not self._streams


def _take_out(table: dict[K, list[CountWaiter]], key: K, waiter: CountWaiter) -> None:
    waiters = table.get(key)
    if waiters is None or waiter not in waiters:
        return
    waiters.remove(waiter)
    if not waiters:
        del table[key]
