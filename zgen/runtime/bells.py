"""Wake event loops and futures for what they wait for: one call for a burst, with no lock held.

Rules of this file: who is told, and in which thread. It knows no event loop: a bell is whatever
takes a callback from any thread.

Theory of operation. A waiter that finishes, under the process lock, is hung on the bell of who
waits; the first of a burst makes the bell due. ``ring`` calls the due ones after the lock was
released, since that is foreign code; each then tells its waiters where it rings. A bell is there
while somebody waits by it, so nothing is left of a loop that has ended.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Executor

log: Final = logging.getLogger("zgen")


class Told(Protocol):
    """What waits by a bell."""

    def tell(self) -> None:
        """It has happened; where the bell rings, with no lock held."""


class Bell:
    """One place where callbacks can be run, such as an event loop.

    Attributes:
        place: The place, by which it is known.
        count: How many wait by it. Process lock.
        is_due: Whether it has finished waiters and was not rung for them.
    """

    __slots__ = ("_call", "_due", "_finished", "count", "is_due", "place")

    def __init__(
        self, place: Any, call: Callable[[Callable[[], None]], Any], due: list["Bell"]
    ) -> None:
        """Ring by ``call``; put itself on ``due``."""
        self.place = place
        self.count = 0
        self.is_due = False
        self._call = call
        self._due = due
        self._finished: deque[Told] = deque()

    def hang(self, waiter: Told) -> None:
        """Tell ``waiter`` when this rings next; under the process lock."""
        self._finished.append(waiter)
        if not self.is_due:
            self.is_due = True
            self._due.append(self)

    def ring(self) -> None:
        """Let the waiters be told where they wait."""
        try:
            self._call(self._tell)
        except Exception as error:  # the loop was closed, or whatever a foreign one raises
            log.debug("nobody is left to be told: %r", error)
            self.is_due = False
            self._finished.clear()  # or those who waited would never be collected

    def _tell(self) -> None:
        self.is_due = False  # first: what is hung from here on is told by another call
        finished = self._finished
        while finished:
            try:
                waiter = finished.popleft()
            except IndexError:  # another thread took the last one
                return
            waiter.tell()


class Bells:
    """The bells of one process.

    Attributes:
        due: Bells to be rung once the process lock is released; added by ``Bell.hang`` under it.
        abandoned: What is left to be done for waits whose coroutine was collected. Appended
            anywhere, also inside a lock; taken by the I/O thread.
        pools: Threads that work for what waits, by name; made on first use, under the process lock.
    """

    def __init__(self) -> None:
        """Start without bells."""
        self.due: Final[list[Bell]] = []
        self.abandoned: Final[deque[Callable[[], None]]] = deque()
        self.pools: Final[dict[str, Executor]] = {}
        #: Place -> bell. Added by ``join``, removed by ``leave`` with the last who waits.
        self._bells: dict[Any, Bell] = {}

    def join(self, place: Any, call: Callable[[Callable[[], None]], Any]) -> Bell:
        """Return the bell of a place for one more who waits there; under the process lock."""
        bell = self._bells.get(place)
        if bell is None:
            bell = self._bells[place] = Bell(place, call, self.due)
        bell.count += 1
        return bell

    def leave(self, bell: Bell) -> None:
        """One who waited by ``bell`` waits no more; under the process lock."""
        bell.count -= 1
        if not bell.count:
            del self._bells[bell.place]

    def ring(self) -> None:
        """Ring what is due; without the process lock."""
        due = self.due
        while due:
            try:
                bell = due.pop()
            except IndexError:  # another thread took the last one
                return
            bell.ring()

    def tend(self) -> None:
        """Do what was left for the I/O thread; at each of its turns, without the process lock."""
        if self.due:
            self.ring()
        while self.abandoned:
            self.abandoned.popleft()()

    def close(self) -> None:
        """Let the threads end when they have done what they were given."""
        for pool in self.pools.values():
            pool.shutdown(wait=False)

    def is_idle(self) -> bool:
        """Return whether nobody waits."""
        return not self._bells and not self.due
