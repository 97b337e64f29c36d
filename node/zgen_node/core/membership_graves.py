"""The dead: who never comes back, and who of them is still tried, since a cut may have parted us.

Rules of this file: what is remembered of the dead. Which side of a healed cut stays is decided
elsewhere.
"""

from itertools import islice

from zgen.ids import PeerId
from zgen.limits import FENCED_COUNT_MAX
from zgen.wire.membership import MemberDead
from zgen_node.limits import GRAVES_COUNT_MAX


class Graves:
    """Members that are dead or gone."""

    def __init__(self, fresh_ns: int) -> None:
        """Start without any; a death is fresh for ``fresh_ns``."""
        self._fresh_ns = fresh_ns
        self._fresh_until_ns = 0
        #: Node -> nothing, oldest first. Added by ``fence``; the oldest go beyond the bound.
        self._fenced: dict[PeerId, None] = {}
        #: Node -> where it was, next one first. Added by ``bury``; the oldest go beyond the bound.
        self._endpoints: dict[PeerId, str] = {}

    def __contains__(self, node: PeerId) -> bool:
        """Return whether a node is dead or gone for good."""
        return node in self._fenced

    def fence(self, node: PeerId) -> None:
        """Let a node never be a member again."""
        if len(self._fenced) >= FENCED_COUNT_MAX:
            oldest = next(iter(self._fenced))
            del self._fenced[oldest]
            self._endpoints.pop(oldest, None)
        self._fenced[node] = None

    def bury(self, node: PeerId, endpoint: str, now_ns: int) -> None:
        """Fence a node that may still be there, on the other side of a cut."""
        self.fence(node)
        if len(self._endpoints) >= GRAVES_COUNT_MAX:
            del self._endpoints[next(iter(self._endpoints))]
        self._endpoints[node] = endpoint
        self.stir(now_ns)

    def stir(self, now_ns: int) -> None:
        """Try the dead often from now on, for a while: one of them was just heard of."""
        self._fresh_until_ns = now_ns + self._fresh_ns

    def is_fresh(self, now_ns: int) -> bool:
        """Return whether the dead are to be tried often."""
        return now_ns < self._fresh_until_ns

    def next_to_try(self) -> tuple[PeerId, str] | None:
        """Return which of the dead to try now, each in its turn; None if there is none."""
        for node, endpoint in self._endpoints.items():
            del self._endpoints[node]
            self._endpoints[node] = endpoint
            return node, endpoint
        return None

    def settled(self, endpoint: str) -> None:
        """Try those no more that were where another member is now."""
        for node in [node for node, where in self._endpoints.items() if where == endpoint]:
            del self._endpoints[node]

    def listed(self) -> list[MemberDead]:
        """Return those that are still tried."""
        return [MemberDead(node, endpoint) for node, endpoint in self._endpoints.items()]

    def told(self) -> list[MemberDead]:
        """Return whom a newcomer is told of: also the latest of those that are not tried."""
        tried = self.listed()
        settled = (node for node in reversed(self._fenced) if node not in self._endpoints)
        latest = islice(settled, GRAVES_COUNT_MAX - len(tried))
        return [*tried, *(MemberDead(node, "") for node in latest)]

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._fenced) <= FENCED_COUNT_MAX
        assert len(self._endpoints) <= GRAVES_COUNT_MAX
        for node in self._endpoints:
            assert node in self._fenced
