"""Keyed deadlines; next one due."""

import heapq
from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Alarm:
    """What several tables of deadlines tell that their earliest one may be another now.

    Attributes:
        moved: Whether it may; whoever looks takes it back.
    """

    __slots__ = ("moved",)

    def __init__(self) -> None:
        """Start unmoved."""
        self.moved = False


class Deadlines(Generic[K]):
    """At most one deadline a key; setting a key again replaces its deadline.

    Attributes:
        next_ns: The earliest deadline, or None.
        alarm: Told when that changes; those of one machine share one.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.next_ns: int | None = None
        self.alarm = Alarm()
        #: Key -> deadline. Added by ``set``; removed by ``clear`` and ``pop_due``.
        self._at: dict[K, int] = {}
        #: (deadline, tie-breaker, key); entries that ``_at`` no longer backs are skipped when they
        #: surface.
        self._heap: list[tuple[int, int, K]] = []
        self._count = 0

    def set(self, key: K, at_ns: int) -> None:
        """Make ``key`` due at ``at_ns``."""
        self._at[key] = at_ns
        self._count += 1
        heapq.heappush(self._heap, (at_ns, self._count, key))
        if self.next_ns is None or at_ns < self.next_ns:
            self.next_ns = at_ns
            self.alarm.moved = True
        else:
            self._settle()

    def set_if_unset(self, key: K, at_ns: int) -> None:
        """Make ``key`` due at ``at_ns`` unless it has a deadline already."""
        if key not in self._at:
            self.set(key, at_ns)

    def clear(self, key: K) -> None:
        """Forget ``key``'s deadline, if it has one."""
        if self._at.pop(key, None) is not None:
            self._settle()

    def clear_all(self) -> None:
        """Forget every deadline."""
        self._at.clear()
        self._heap.clear()
        self.next_ns = None
        self.alarm.moved = True

    def pop_due(self, now_ns: int) -> list[K]:
        """Remove and return the keys that are due, earliest first."""
        due: list[K] = []
        if self.next_ns is None or self.next_ns > now_ns:
            return due
        while self._heap and self._heap[0][0] <= now_ns:
            at_ns, _, key = heapq.heappop(self._heap)
            if self._at.get(key) == at_ns:
                del self._at[key]
                due.append(key)
        self._settle()
        return due

    def __contains__(self, key: K) -> bool:
        """Return whether ``key`` has a deadline."""
        return key in self._at

    def _settle(self) -> None:
        """Drop outdated entries from the top and refresh ``next_ns``."""
        heap = self._heap
        while heap and self._at.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        if len(heap) > 64 and len(heap) > 4 * len(self._at):
            self._heap = heap = [entry for entry in heap if self._at.get(entry[2]) == entry[0]]
            heapq.heapify(heap)
        next_ns = heap[0][0] if heap else None
        if next_ns != self.next_ns:
            self.next_ns = next_ns
            self.alarm.moved = True


def shared_alarm(several: Iterable[Deadlines[Any]]) -> Alarm:
    """Return what all of these tell from now on."""
    alarm = Alarm()
    for deadlines in several:
        deadlines.alarm = alarm
    return alarm


def earliest(several: Iterable[Deadlines[Any]]) -> int | None:
    """Return the earliest deadline of all of these, or None."""
    next_ns: int | None = None
    for deadlines in several:
        at_ns = deadlines.next_ns
        if at_ns is not None and (next_ns is None or at_ns < next_ns):
            next_ns = at_ns
    return next_ns
