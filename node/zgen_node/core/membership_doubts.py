"""Suspicions: who is suspected, by whom, and when it is dead unless it refutes.

Rules of this file: how long a suspicion lasts and what is proof enough. Whom to tell is decided
elsewhere.

Theory of operation. A suspicion begins with the longer timeout; each other member that suspects
shortens it, from when it began. Two members at whose dials the port refused are proof, and so is
one where there is nobody else to ask. Source: Lifeguard, section on local health aware suspicion.
"""

from collections.abc import Iterable
from typing import Final

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen_node.core.membership_profile import Profile
from zgen_node.limits import CONFIRMATIONS_COUNT_MAX

#: Possible confirmations -> thousandths of the way from the longer timeout to the shorter one, by
#: confirmations heard: log(1 + heard) / log(1 + possible).
_SHARES: Final = ((1000,), (0, 1000), (0, 631, 1000), (0, 500, 792, 1000))
REFUSALS_COUNT: Final = 2


@slotted
class Suspicion:
    """Why one member is suspected.

    Attributes:
        incarnation: Which one of it.
        began_ns: When.
        due_ns: When it is dead.
        by: Who suspects it. Added by each word of a new member; gone with the suspicion.
        refused: At whose dials its port refused; the same.
        mine: Whether this member's own probe failed.
        asked_ns: When others were last asked to dial.
    """

    incarnation: int
    began_ns: int
    due_ns: int
    by: dict[PeerId, None]
    refused: dict[PeerId, None]
    mine: bool = False
    asked_ns: int = -1


class Doubts:
    """The suspected members.

    Attributes:
        suspicions: Node -> why. Added by ``suspect``; removed by ``end``.
    """

    def __init__(self, profile: Profile) -> None:
        """Start without any."""
        self.suspicions: dict[PeerId, Suspicion] = {}
        self._profile = profile

    def suspect(
        self, node: PeerId, incarnation: int, by: PeerId, others_count: int, now_ns: int
    ) -> tuple[Suspicion, bool]:
        """Note that ``by`` suspects a member; return why it is suspected, and whether that is new.

        Args:
            node: Who is suspected.
            incarnation: Which one of it.
            by: Who suspects it.
            others_count: Live members other than this one and the suspected one.
            now_ns: The time.
        """
        known = self.suspicions.get(node)
        if known is None or known.incarnation < incarnation:
            known = self.suspicions[node] = Suspicion(incarnation, now_ns, 0, {}, {})
        is_news = by not in known.by and len(known.by) <= CONFIRMATIONS_COUNT_MAX
        if is_news:
            known.by[by] = None
            known.due_ns = known.began_ns + self._timeout_ns(len(known.by) - 1, others_count)
        return known, is_news

    def refused(self, suspicion: Suspicion, by: PeerId, alone: bool) -> bool:
        """Note a refused dial; return whether that proves a death.

        Args:
            suspicion: Of whom.
            by: Whose dial.
            alone: Whether there is no other member who could confirm it.
        """
        suspicion.refused[by] = None
        return alone or len(suspicion.refused) >= REFUSALS_COUNT

    def end(self, node: PeerId) -> bool:
        """Suspect a member no more; return whether it was suspected."""
        return self.suspicions.pop(node, None) is not None

    def shift(self, by_ns: int) -> Iterable[tuple[PeerId, Suspicion]]:
        """Count this time as no silence of anybody; return all suspicions."""
        for suspicion in self.suspicions.values():
            suspicion.began_ns += by_ns
            suspicion.due_ns += by_ns
        return self.suspicions.items()

    def check(self) -> None:
        """Assert the invariants."""
        for suspicion in self.suspicions.values():
            assert 1 <= len(suspicion.by) <= CONFIRMATIONS_COUNT_MAX + 1
            assert suspicion.due_ns > suspicion.began_ns

    def _timeout_ns(self, heard: int, others_count: int) -> int:
        possible = max(0, min(CONFIRMATIONS_COUNT_MAX, others_count))
        share = _SHARES[possible][min(heard, possible)]
        longer_ns, shorter_ns = self._profile.suspicion_ns_max, self._profile.suspicion_ns_min
        return longer_ns - (longer_ns - shorter_ns) * share // 1000
