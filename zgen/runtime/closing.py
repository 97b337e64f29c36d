"""The half of `ObjectRefGenerator` that looks without waiting: what is there, whether it ended."""

from typing import TypeVar

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
        return bool(record.unread)

    def is_finished(self) -> bool:
        """Return whether ``next`` would raise ``StopIteration`` without blocking."""
        if self._cursor < len(self._items):
            return False
        if self._ended:
            return True
        record = self._runtime.machine.owner.streams.streams[self.stream]
        return record.ended and not record.unread
