"""The dead: who never comes back, and who of them is still tried, since a cut may have parted us.

Rules of this file: what is remembered of the dead. Which side of a healed cut stays is decided
elsewhere.

Theory of operation. Whoever died lately may be behind a cut, and is tried more often than those who
have been dead for long. Whom to try is drawn: in a turn, all members would try the same ones. One
that shows a sign of life was behind a cut, and so may be whoever died when it did, its *kin*: they
count as freshly dead once more, and are tried before all others.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.limits import FENCED_COUNT_MAX
from zgen.wire.membership import MemberDead
from zgen_node.limits import GRAVES_COUNT_MAX

#: The deaths by one cut are heard of within this part of the time for which a death is fresh.
KIN_SHARE: Final = 6


class Grave(NamedTuple):
    """One of the dead.

    Attributes:
        endpoint: Where it was.
        died_ns: When that was heard here.
        fresh_until_ns: Until when it is one of the freshly dead.
    """

    endpoint: str
    died_ns: int
    fresh_until_ns: int


class Graves:
    """Members that are dead or gone."""

    def __init__(self, fresh_ns: int) -> None:
        """Start without any; a death is fresh for ``fresh_ns``."""
        self._fresh_ns = fresh_ns
        #: Node -> nothing, oldest first. Added by ``fence``; the oldest go beyond the bound.
        self._fenced: dict[PeerId, None] = {}
        #: Node -> its grave, as they cease to be fresh. Added by ``bury`` and ``stir``; removed by
        #: ``settled`` and, when it is fresh no longer, by ``draw_fresh``.
        self._fresh: dict[PeerId, Grave] = {}
        #: Those of them that are tried before the others. Added by ``stir``; removed by
        #: ``draw_fresh``, and as they are from ``_fresh``.
        self._kin: dict[PeerId, None] = {}
        #: Node -> its grave, oldest first. Added by ``draw_fresh``; removed by ``settled`` and
        #: ``stir``; the oldest go beyond the bound.
        self._old: dict[PeerId, Grave] = {}

    def __contains__(self, node: PeerId) -> bool:
        """Return whether a node is dead or gone for good."""
        return node in self._fenced

    def fence(self, node: PeerId) -> None:
        """Let a node never be a member again."""
        if len(self._fenced) >= FENCED_COUNT_MAX:
            oldest = next(iter(self._fenced))
            del self._fenced[oldest]
            self._forget(oldest)
        self._fenced[node] = None

    def bury(self, node: PeerId, endpoint: str, now_ns: int) -> None:
        """Fence a node that may still be there, on the other side of a cut."""
        self.fence(node)
        if len(self._fresh) + len(self._old) >= GRAVES_COUNT_MAX:
            self._forget(next(iter(self._old or self._fresh)))
        self._fresh[node] = Grave(endpoint, now_ns, now_ns + self._fresh_ns)

    def stir(self, node: PeerId, now_ns: int) -> None:
        """One of the dead lives: its kin are tried as if they just had died, and first."""
        sign = self._fresh.get(node) or self._old.get(node)
        if sign is None:
            return
        reached("sign of life of one that is dead")
        for other, grave in [*self._old.items(), *self._fresh.items()]:
            if abs(grave.died_ns - sign.died_ns) <= self._fresh_ns // KIN_SHARE:
                self._forget(other)
                self._fresh[other] = Grave(grave.endpoint, grave.died_ns, now_ns + self._fresh_ns)
                self._kin[other] = None

    def draw_fresh(self, now_ns: int, below: Callable[[int], int]) -> tuple[PeerId, str] | None:
        """Return one of the freshly dead to try now, drawn by dice; None if there is none."""
        while self._fresh:
            node, grave = next(iter(self._fresh.items()))
            if now_ns < grave.fresh_until_ns:
                break
            self._forget(node)
            self._old[node] = grave
        if not self._fresh:
            return None
        table: Mapping[PeerId, object] = self._kin or self._fresh
        node = next(islice(table, below(len(table)), None))
        self._kin.pop(node, None)
        return node, self._fresh[node].endpoint

    def draw_old(self, below: Callable[[int], int]) -> tuple[PeerId, str] | None:
        """Return one of the others to try now, drawn by dice; None if there is none."""
        if not self._old:
            return None
        node, grave = next(islice(self._old.items(), below(len(self._old)), None))
        return node, grave.endpoint

    def settled(self, endpoint: str, now_ns: int) -> None:
        """Try those no more that were where another member is now: that is what became of them."""
        graves = [*self._old.items(), *self._fresh.items()]
        for node in [node for node, grave in graves if grave.endpoint == endpoint]:
            self.stir(node, now_ns)
            self._forget(node)

    def listed(self) -> list[MemberDead]:
        """Return those that are still tried, the freshly dead last."""
        graves = (*self._old.items(), *self._fresh.items())
        return [MemberDead(node, grave.endpoint) for node, grave in graves]

    def told(self) -> list[MemberDead]:
        """Return whom a newcomer is told of: also the latest of those that are not tried."""
        tried = self.listed()
        tables = self._fresh, self._old
        settled = (
            node for node in reversed(self._fenced) if not any(node in table for table in tables)
        )
        latest = islice(settled, GRAVES_COUNT_MAX - len(tried))
        return [*tried, *(MemberDead(node, "") for node in latest)]

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._fenced) <= FENCED_COUNT_MAX
        assert len(self._fresh) + len(self._old) <= GRAVES_COUNT_MAX
        for node in (*self._fresh, *self._old):
            assert node in self._fenced
        for node in self._fresh:
            assert node not in self._old
        for node in self._kin:
            assert node in self._fresh

    def _forget(self, node: PeerId) -> None:
        """Try a node no more."""
        self._fresh.pop(node, None)
        self._kin.pop(node, None)
        self._old.pop(node, None)
