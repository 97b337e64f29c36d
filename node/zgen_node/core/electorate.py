"""Which nodes count for names: who may keep them, and whether this side of a cut may give any away.

Rules of this file: who is counted, and for how long. What is kept where is not known here.

Theory of operation. All live members vote. One that left, or whose port refuses, is gone at once.
One that fell silent may live behind a cut, where it would give names away as we do: it is counted
on for ``NAMES_SILENCE_NS``, by when whoever is on the smaller side of a cut knows so, and after
that only by a side that is not the larger one, which counts it for ever. Who joins while somebody
is silent does not vote until all of those are settled: else a smaller side could grow to be the
larger one. If it falls silent itself, it counts among those: it may only have been heard of late,
and votes on the other side of the cut. Of two equal halves the one with the lowest id goes on.
"""

from hashlib import blake2b

from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen_node.limits import KEEPERS_COUNT, NAMES_SILENCE_NS


class Electorate:
    """The nodes that count, of which this is one."""

    def __init__(self, me: PeerId) -> None:
        """Start alone."""
        self._me = me
        #: Voter -> when it fell silent, or None while it lives. Added by ``up`` and ``adopt``;
        #: removed by ``gone`` and ``settle``.
        self._voters: dict[PeerId, int | None] = {me: None}
        #: Live members that do not vote yet. Added by ``up``; they become voters by ``settle``.
        self._newcomers: dict[PeerId, None] = {}

    @property
    def silent(self) -> list[PeerId]:
        """The voters that fell silent, and count."""
        return [node for node, since_ns in self._voters.items() if since_ns is not None]

    @property
    def voters(self) -> tuple[PeerId, ...]:
        """All voters."""
        return tuple(self._voters)

    @property
    def newcomers(self) -> tuple[PeerId, ...]:
        """All live members that do not vote yet."""
        return tuple(self._newcomers)

    @property
    def has_majority(self) -> bool:
        """Whether this side may give names away."""
        live_count = len(self._voters) - len(self.silent)
        if 2 * live_count != len(self._voters):
            return 2 * live_count > len(self._voters)
        return self._voters[min(self._voters)] is None

    def keepers(self, key: tuple[str, str]) -> tuple[PeerId, ...]:
        """Return who keeps a name, the first one first: three at most, by their hashes with it."""
        return self.ranked(key)[:KEEPERS_COUNT]

    def ranked(self, key: tuple[str, str]) -> tuple[PeerId, ...]:
        """Return all nodes that count, in the order in which they are to keep a name."""
        seed = b"\0".join(part.encode() for part in key)
        nodes = [*self._voters, *self._newcomers]
        nodes.sort(key=lambda node: blake2b(node + seed, digest_size=8).digest())
        return tuple(nodes)

    def up(self, node: PeerId) -> None:
        """A member is there that is new."""
        if node in self._voters:
            reached("voter becomes known that was taken over")
            self._voters[node] = None
            self._admit()
        elif self.silent:
            reached("node that joins while others are silent does not vote")
            self._newcomers[node] = None
        else:
            self._voters[node] = None

    def gone(self, node: PeerId, proven: bool, now_ns: int) -> int | None:
        """A member is gone; return when it counts no more, or None if that is at once."""
        if node in self._newcomers:
            del self._newcomers[node]
            if not proven:
                reached("newcomer that falls silent counts: it may have voted elsewhere before")
                self._voters[node] = now_ns
                return now_ns + NAMES_SILENCE_NS
        elif node in self._voters:
            if not proven:
                since_ns = self._voters[node]
                since_ns = self._voters[node] = now_ns if since_ns is None else since_ns
                return since_ns + NAMES_SILENCE_NS
            del self._voters[node]
            self._admit()
        return None

    def settle(self, now_ns: int) -> list[PeerId]:
        """Return which of the silent count no more: none on the smaller side of a cut."""
        if not self.has_majority:
            reached("smaller side of a cut counts the silent for ever")
            return []
        over = [
            node
            for node, since_ns in self._voters.items()
            if since_ns is not None and since_ns + NAMES_SILENCE_NS <= now_ns
        ]
        for node in over:
            del self._voters[node]
        self._admit()
        return over

    def adopt(self, voters: tuple[PeerId, ...], now_ns: int) -> list[PeerId]:
        """Take over who votes from a member that has been there for longer.

        Returns:
            Those of them that count as silent from now on.
        """
        if not voters or self._me in voters:
            return []
        reached("who votes is taken over by a newcomer")
        live = [node for node, since_ns in self._voters.items() if since_ns is None]
        live += self._newcomers
        known, since = self._voters, {} if self._me in self._voters else self._voters
        self._voters = {
            node: None if node in live else known.get(node) or now_ns for node in (*since, *voters)
        }
        self._newcomers = {node: None for node in live if node not in self._voters}
        return self.silent

    def follow(
        self, voters: tuple[PeerId, ...], newcomers: tuple[PeerId, ...], now_ns: int
    ) -> list[PeerId]:
        """Count as a member does that is on the larger side: it settled the silent in time.

        One that is silent here and a newcomer there has not been settled: it is not missed yet.

        Returns:
            Those who count no more.
        """
        live = [node for node, since_ns in self._voters.items() if since_ns is None]
        live += self._newcomers
        known = self._voters
        missed = [node for node in newcomers if known.get(node) is not None]
        self._voters = {
            node: None if node in live else known.get(node) or now_ns for node in (*voters, *missed)
        }
        self._newcomers = {node: None for node in live if node not in self._voters}
        self._admit()
        return [node for node, since_ns in known.items() if since_ns and node not in self._voters]

    def check(self) -> None:
        """Assert that everybody counts once, and this node lives."""
        assert self._voters.get(self._me) is None, "this node is silent to itself"
        assert self._me in self._voters or self._me in self._newcomers
        for node in self._newcomers:
            assert node not in self._voters, "a newcomer votes"
        waits = self._me in self._newcomers  # for a death that a voter told of before it is known
        assert self.silent or waits or not self._newcomers, "a newcomer is kept from voting"

    def _admit(self) -> None:
        """Let newcomers vote, once nobody is silent."""
        if not self.silent:
            self._voters.update(self._newcomers)
            self._newcomers.clear()
