"""Which owners were asked to give up what they hold, and what they answered.

Rules of this file: one open question an owner. What an owner has, and who wants room, is not known
here.

Theory of operation. One owner is asked at a time, the one that room is wanted for first, then the
largest others; one that does not answer for ``EVICT_AGAIN_NS`` keeps nobody from asking the next.
Who had nothing to give is asked again after as long.
"""

from zgen.core.deadlines import Deadlines
from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.limits import EVICT_AGAIN_NS


class Evictions:
    """Open questions and owners that had nothing to give.

    Attributes:
        deadlines: When an answer is late, or an owner may be asked again.
    """

    def __init__(self) -> None:
        """Start with nobody asked."""
        self.deadlines: Deadlines[PeerId] = Deadlines()
        #: Owner -> request that it was asked for. Added by ``ask``; removed by ``answered``.
        self._asked: dict[PeerId, int] = {}
        #: Owners that had nothing to give. Added by ``had_nothing``; removed by the timer.
        self._barren: dict[PeerId, None] = {}

    def next_owner(self, first: PeerId, owners: list[tuple[PeerId, int]]) -> PeerId | None:
        """Return whom to ask now, or None.

        Args:
            first: The owner that room is wanted for.
            owners: Those that hold anything, with their bytes.
        """
        if any(owner in self.deadlines for owner in self._asked):
            return None
        best: PeerId | None = None
        best_bytes = -1
        for owner, size_bytes in owners:
            if owner in self._asked or owner in self._barren:
                continue
            if owner == first:
                return owner
            if size_bytes > best_bytes:
                best, best_bytes = owner, size_bytes
        return best

    def ask(self, owner: PeerId, key: int, now_ns: int) -> None:
        """Note that an owner is asked for a request."""
        self._asked[owner] = key
        self.deadlines.set(owner, now_ns + EVICT_AGAIN_NS)

    def answered(self, owner: PeerId) -> int | None:
        """Note an answer; return the request that it is for, or None if nobody asked."""
        if owner in self._asked or owner in self._barren:
            self.deadlines.clear(owner)
            self._barren.pop(owner, None)
        return self._asked.pop(owner, None)

    def had_nothing(self, owner: PeerId, now_ns: int) -> None:
        """Do not ask an owner again for a while."""
        self._barren[owner] = None
        self.deadlines.set(owner, now_ns + EVICT_AGAIN_NS)

    def forget(self, owner: PeerId) -> None:
        """Forget an owner that is dead."""
        self.answered(owner)

    def on_timer(self, now_ns: int) -> bool:
        """Return whether somebody may be asked now who could not before."""
        due = self.deadlines.pop_due(now_ns)
        for owner in due:
            if owner in self._asked:
                reached("owner slow to give up what it holds")
            self._barren.pop(owner, None)
        return bool(due)

    def check(self) -> None:
        """Assert that nobody is asked who is left alone."""
        for owner in self._barren:
            assert owner not in self._asked
            assert owner in self.deadlines
