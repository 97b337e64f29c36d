"""Which processes hold references that this one sent to them, and for how long they count.

Rules of this file: it counts credits of borrowers, and loans that an owner has still to count. What
a count keeps alive is its caller's to pin: once for each pair of process and object.

Theory of operation. A process that dies may have passed on what it had a moment before, so its
counts stand for ``BORROW_GRACE_NS`` after its death: whoever got a reference from it says so at
once, and is then counted on its own.
"""

from zgen.core.deadlines import Deadlines
from zgen.ids import ObjectId, PeerId, short
from zgen.limits import BORROW_GRACE_NS


class LentRefs:
    """The references that one process has sent to others.

    Attributes:
        borrowers: Process -> object of this process -> its credits.
        loans: Process -> borrowed object -> loans to it that the object's owner has not counted.
        deadlines: When the counts of a dead process end.
    """

    def __init__(self) -> None:
        """Start with nothing lent."""
        #: Added by ``count``; removed by ``uncount`` and ``bury``.
        self.borrowers: dict[PeerId, dict[ObjectId, int]] = {}
        #: As above.
        self.loans: dict[PeerId, dict[ObjectId, int]] = {}
        self.deadlines: Deadlines[int] = Deadlines()
        #: Number of a death -> objects that the dead had. Added by ``bury``; removed by
        #: ``pop_due``.
        self._dead: dict[int, list[ObjectId]] = {}
        self._deaths_count = 0

    @property
    def is_owner(self) -> bool:
        """Whether others may have references to objects of this process."""
        return bool(self.borrowers or self._dead)

    @staticmethod
    def count(table: dict[PeerId, dict[ObjectId, int]], peer: PeerId, name: ObjectId) -> bool:
        """Count one for ``peer`` in one of the tables; return whether that is its first."""
        counts = table.setdefault(peer, {})
        counts[name] = counts.get(name, 0) + 1
        return counts[name] == 1

    @staticmethod
    def uncount(
        table: dict[PeerId, dict[ObjectId, int]], peer: PeerId, name: ObjectId, count: int
    ) -> bool:
        """Count less for ``peer``; return whether that was its last. What is not known is ignored.

        A borrower may be slow to hear that what it gives back ended with its owner's patience.
        """
        counts = table.get(peer, {})
        left = counts.get(name, 0) - count
        if name not in counts or left > 0:
            if left > 0:
                counts[name] = left
            return False
        del counts[name]
        if not counts:
            del table[peer]
        return True

    def bury(self, peer: PeerId, now_ns: int) -> None:
        """A process is dead: its counts end when its grace is over."""
        names = [*self.borrowers.pop(peer, ()), *self.loans.pop(peer, ())]
        if names:
            self._deaths_count += 1
            self._dead[self._deaths_count] = names
            self.deadlines.set(self._deaths_count, now_ns + BORROW_GRACE_NS)

    def pop_due(self, now_ns: int) -> list[ObjectId]:
        """Return what the dead had whose grace is over, an object for each count."""
        return [name for death in self.deadlines.pop_due(now_ns) for name in self._dead.pop(death)]

    def pinned(self) -> list[ObjectId]:
        """Return what is counted, an object for each process, living or just dead."""
        tables = (*self.borrowers.values(), *self.loans.values(), *self._dead.values())
        return [name for names in tables for name in names]

    def mourned(self) -> list[ObjectId]:
        """Return what the dead had whose grace is not over, an object for each count."""
        return [name for names in self._dead.values() for name in names]

    def check(self) -> None:
        """Assert that every count is one, and that every death has its deadline."""
        for table in (self.borrowers, self.loans):
            for peer, counts in table.items():
                assert counts, f"{short(peer)} has nothing"
                assert min(counts.values()) > 0, f"{short(peer)}: {counts}"
        for death in self._dead:
            assert death in self.deadlines, "what the dead had is kept for ever"
