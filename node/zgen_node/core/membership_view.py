"""The members that one member knows: who is in, whom to ask next, and sums to compare views by.

Rules of this file: whom to know and in which order to choose. What is said of members, and to whom,
is not known here.

Theory of operation. Up to ``MEMBERS_FULL_COUNT_MAX`` members everybody knows everybody. Beyond,
each keeps the ``MEMBERS_PARTIAL_COUNT`` whose hash with its own id is lowest, so that each member
is known by about as many others and nobody chooses whom; the highest hash kept tells how many there
are. What is watched is kept whatever its hash.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from hashlib import blake2b
from typing import Final

from zgen.ids import PeerId, short
from zgen.limits import SUMS_COUNT
from zgen.slotted import slotted
from zgen.wire.membership import MemberAlive
from zgen_node.core.membership_dice import Dice, scattered
from zgen_node.limits import (
    MEMBERS_FULL_COUNT_MAX,
    MEMBERS_PARTIAL_COUNT,
    MEMBERS_WATCHED_COUNT_MAX,
)

_SCORES: Final = 1 << 64
SUM_BYTES: Final = 4


@slotted
class Member:
    """One live member.

    Attributes:
        said: What it says of itself, as last heard.
        score: Hash with the id of this member; the lowest are kept.
        at: Its place in the list of all.
        watched: Whether it is kept whatever its score.
    """

    said: MemberAlive
    score: int
    at: int
    watched: bool = False


class View:
    """Live members other than oneself.

    Attributes:
        members: Node -> member. Added by ``add``; removed by ``remove``.
        partial: Whether there are members that are not known here.
        sums: Four bytes a bucket of ids: the sum of what its members say, in any order.
    """

    def __init__(
        self,
        node: PeerId,
        dice: Dice,
        full_count_max: int = MEMBERS_FULL_COUNT_MAX,
        partial_count: int = MEMBERS_PARTIAL_COUNT,
    ) -> None:
        """Start knowing nobody but ``node``, oneself."""
        self.members: dict[PeerId, Member] = {}
        self.partial = False
        self.sums = [0] * SUMS_COUNT
        self._node = node
        self._dice = dice
        self._full_count_max = full_count_max
        self._partial_count = partial_count
        #: The same nodes, for drawing one. Added and removed with ``members``.
        self._all: list[PeerId] = []
        #: The same nodes by id.
        self._ring: list[PeerId] = []
        #: Those whose turn is still to come in this round; the dead among them are skipped.
        self._round: list[PeerId] = []
        #: (-score, node) of those that are not watched; entries without a member are skipped.
        self._worst: list[tuple[int, PeerId]] = []
        self._watched_count = 0

    def __len__(self) -> int:
        """Return how many are known, oneself not counted."""
        return len(self._all)

    @property
    def count_estimate(self) -> int:
        """How many members there are, oneself counted, as far as can be told."""
        if not self.partial:
            return len(self._all) + 1
        self._settle()
        known = len(self._all) + 1
        if self._drawn_count < 2:
            return known
        return max(known, (self._drawn_count - 1) * _SCORES // max(1, -self._worst[0][0]))

    @property
    def lowest(self) -> PeerId:
        """The lowest id known, oneself counted."""
        return min(self._ring[0], self._node) if self._ring else self._node

    def add(self, said: MemberAlive, watched: bool = False) -> tuple[Member | None, list[PeerId]]:
        """Know a new member, if there is room for it.

        Returns:
            The member, or None if it is not kept; and who had to go for it.
        """
        node = said.node
        score = score_of(self._node, node)
        if watched:
            if self._watched_count >= MEMBERS_WATCHED_COUNT_MAX:
                return None, []
        elif self.partial:
            self._settle()
            if self._drawn_count >= self._partial_count and score >= -self._worst[0][0]:
                return None, []
        elif self._drawn_count >= self._full_count_max:
            self.partial = True
        member = self.members[node] = Member(said, score, len(self._all), watched)
        self._watched_count += watched
        self._all.append(node)
        insort(self._ring, node)
        if len(self._worst) > 2 * len(self._all) + 64:
            self._worst = [(-each.score, name) for name, each in self.members.items()]
            heapq.heapify(self._worst)
        else:
            heapq.heappush(self._worst, (-score, node))
        self._round.insert(self._dice.below(len(self._round) + 1), node)
        self._sum(said)
        gone = self._trim()
        return (None if node in gone else member), [each for each in gone if each != node]

    def widen(self) -> None:
        """Know everybody again once so few are left."""
        if self.partial and self.count_estimate <= self._full_count_max // 2:
            self.partial = False

    def change(self, member: Member, said: MemberAlive) -> None:
        """Note what a member says of itself now."""
        self._sum(member.said)
        member.said = said
        self._sum(said)

    def remove(self, node: PeerId) -> Member:
        """Forget a member."""
        member = self.members.pop(node)
        last = self._all.pop()
        if last != node:
            self._all[member.at] = last
            self.members[last].at = member.at
        del self._ring[bisect_left(self._ring, node)]
        self._watched_count -= member.watched
        self._sum(member.said)
        return member

    def watch(self, member: Member) -> None:
        """Keep a member whatever its score, unless too many are kept so."""
        if not member.watched and self._watched_count < MEMBERS_WATCHED_COUNT_MAX:
            member.watched = True
            self._watched_count += 1

    def unwatch(self, member: Member) -> list[PeerId]:
        """Let a member go when others have a lower score; return who goes now."""
        if not member.watched:
            return []
        member.watched = False
        self._watched_count -= 1
        heapq.heappush(self._worst, (-member.score, member.said.node))
        return self._trim()

    # -- choosing ----------------------------------------------------------------------------------
    def successor(self) -> PeerId | None:
        """Return the member with the next higher id, round the ring; None if there is nobody."""
        if not self._ring:
            return None
        return self._ring[bisect_right(self._ring, self._node) % len(self._ring)]

    def next_in_turn(self) -> PeerId | None:
        """Return whose turn it is; each comes once a round, in an order shuffled each round."""
        while True:
            while self._round:
                node = self._round.pop()
                if node in self.members:
                    return node
            if not self._all:
                return None
            self._round = list(self._all)
            self._dice.shuffle(self._round)

    def draw(self, count: int, but: PeerId | None = None) -> list[PeerId]:
        """Return up to ``count`` different members, not ``but``."""
        everybody = self._all
        if len(everybody) <= count + 1:
            return [node for node in everybody if node != but][:count]
        drawn: dict[PeerId, None] = {}
        while len(drawn) < count:
            node = everybody[self._dice.below(len(everybody))]
            if node != but:
                drawn[node] = None
        return list(drawn)

    # -- comparing ---------------------------------------------------------------------------------
    def summary(self, me: MemberAlive) -> bytes:
        """Return the sums over oneself and all members, or nothing of a partial view."""
        if self.partial:
            return b""
        self._sum(me)
        packed = b"".join(each.to_bytes(SUM_BYTES, "big") for each in self.sums)
        self._sum(me)
        return packed

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._all) == len(self.members) == len(self._ring)
        assert self._ring == sorted(self.members)
        assert self._node not in self.members
        sums = [0] * SUMS_COUNT
        for node, member in self.members.items():
            assert self._all[member.at] == node == member.said.node, f"{short(node)} is misplaced"
            sums[bucket_of(node)] ^= _hash(member.said)
        assert sums == self.sums, "sums do not add up"
        assert self._watched_count == sum(member.watched for member in self.members.values())
        assert not self.partial or self._drawn_count <= self._partial_count
        assert self._drawn_count <= self._full_count_max

    @property
    def _drawn_count(self) -> int:
        return len(self._all) - self._watched_count

    def _trim(self) -> list[PeerId]:
        """Remove and return those that are too many for a partial view."""
        gone: list[PeerId] = []
        while self.partial and self._drawn_count > self._partial_count:
            self._settle()
            gone.append(self._worst[0][1])
            self.remove(gone[-1])
        return gone

    def _sum(self, said: MemberAlive) -> None:
        self.sums[bucket_of(said.node)] ^= _hash(said)

    def _settle(self) -> None:
        """Drop entries from the top that stand for nobody."""
        worst = self._worst
        while worst:
            member = self.members.get(worst[0][1])
            if member is not None and not member.watched:
                return
            heapq.heappop(worst)


def bucket_of(node: PeerId) -> int:
    """Return over which sum a member counts."""
    return node[0] * SUMS_COUNT >> 8


def buckets_that_differ(mine: bytes, theirs: bytes) -> list[int]:
    """Return the buckets whose sums differ; all if there are no sums to compare."""
    if len(mine) != len(theirs) or not mine:
        return list(range(SUMS_COUNT))
    return [
        bucket
        for bucket in range(SUMS_COUNT)
        if mine[bucket * SUM_BYTES : (bucket + 1) * SUM_BYTES]
        != theirs[bucket * SUM_BYTES : (bucket + 1) * SUM_BYTES]
    ]


def score_of(viewer: PeerId, node: PeerId) -> int:
    """Return how badly one wants to know the other: 64 bits, the lowest are kept."""
    return scattered(int.from_bytes(viewer[:8], "big") ^ int.from_bytes(node[:8], "big"))


def _hash(said: MemberAlive) -> int:
    text = said.node + b"%d.%d" % (said.incarnation, said.version)
    return int.from_bytes(blake2b(text, digest_size=SUM_BYTES).digest(), "big")
