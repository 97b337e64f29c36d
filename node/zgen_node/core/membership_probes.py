"""Probes under way: who was pinged how often, for whom, and who is heard only by way of others.

Rules of this file: which answer belongs to which probe. When to probe, and what a failure means, is
decided elsewhere.
"""

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen_node.limits import LINKS_STRAINED_COUNT_MAX, RELAYS_COUNT_MAX


@slotted
class Probe:
    """One probe of one member.

    Attributes:
        number: Its number; every ping and request of it carries it.
        began_ns: When its first ping left.
        due_ns: When the next try is.
        tries_count: Pings sent.
    """

    number: int
    began_ns: int
    due_ns: int
    tries_count: int = 1


@slotted
class Relay:
    """A ping that was sent for another member.

    Attributes:
        asker: For whom.
        endpoint: Where that takes in the answer.
        number: Its number for it.
        target: Who was pinged.
    """

    asker: PeerId
    endpoint: str
    number: int
    target: PeerId


@slotted
class Strain:
    """A member that answers others and not this one.

    Attributes:
        since_ns: When the first unanswered ping left.
        by: Another one, by way of which it answered last.
        broken: Whether that was reported.
    """

    since_ns: int
    by: PeerId
    broken: bool = False


class Probes:
    """Probes of one member.

    Attributes:
        pending: Node -> probe of it. Added by ``begin``; removed by ``end``.
        strains: Node -> since when only others hear it. Added by ``strain``; removed by ``ease``.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.pending: dict[PeerId, Probe] = {}
        self.strains: dict[PeerId, Strain] = {}
        #: Number -> for whom. Added by ``relay``; removed by ``relayed``; the oldest go beyond the
        #: bound.
        self._relays: dict[int, Relay] = {}
        self._number = 0

    def number(self) -> int:
        """Return a number for a ping; none comes twice."""
        self._number += 1
        return self._number

    def begin(self, node: PeerId, now_ns: int, wait_ns: int) -> Probe:
        """Begin to probe a member that is not being probed."""
        assert node not in self.pending
        probe = self.pending[node] = Probe(self.number(), now_ns, now_ns + wait_ns)
        return probe

    def end(self, node: PeerId) -> Probe | None:
        """Forget the probe of a member."""
        return self.pending.pop(node, None)

    def answered(self, node: PeerId, number: int) -> bool:
        """Return whether an answer belongs to the probe of a member."""
        probe = self.pending.get(node)
        return probe is not None and probe.number == number

    def relay(self, relay: Relay) -> int:
        """Ping for another member; return the number of that ping."""
        if len(self._relays) >= RELAYS_COUNT_MAX:
            del self._relays[next(iter(self._relays))]
        number = self.number()
        self._relays[number] = relay
        return number

    def relayed(self, node: PeerId, number: int) -> Relay | None:
        """Return for whom a ping was that is answered now, once."""
        relay = self._relays.get(number)
        if relay is None or relay.target != node:
            return None
        return self._relays.pop(number)

    def strain(self, node: PeerId, since_ns: int, by: PeerId) -> None:
        """Note that another member hears one, and this one does not."""
        strain = self.strains.get(node)
        if strain is not None:
            strain.by = by
        elif len(self.strains) < LINKS_STRAINED_COUNT_MAX:
            self.strains[node] = Strain(since_ns, by)

    def ease(self, node: PeerId) -> bool:
        """Note that a member is heard, or gone; return whether its link was reported as broken."""
        strain = self.strains.pop(node, None)
        return strain is not None and strain.broken

    def shift(self, by_ns: int) -> list[tuple[PeerId, Probe]]:
        """Count this time as no silence of anybody; return all probes."""
        for probe in self.pending.values():
            probe.due_ns += by_ns
        for strain in self.strains.values():
            strain.since_ns += by_ns
        return list(self.pending.items())

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._relays) <= RELAYS_COUNT_MAX
        assert len(self.strains) <= LINKS_STRAINED_COUNT_MAX
        for probe in self.pending.values():
            assert 0 < probe.number <= self._number
