"""Copies of regions of other nodes that are under way: which parts are asked for, which are here.

Rules of this file: counts parts. How they are asked for and where they go is not known here.

Theory of operation. A node that may have a region is *invited* to hold it; once it does, it is a
*source*. Parts are asked of a source while few enough are under way from there, several in a row at
once, and a part is there when it was written. What does not come, comes damaged, or was asked of
who is a source no more, is asked for again, of whom there is; what comes late of the first asking
counts as well. A source of which nothing comes for long is dropped if there is another one, and
else asked again, each time after a longer wait. A copying has a number of its own, so that what is
said of an earlier one of the same region is not taken for it.
"""

from dataclasses import field
from typing import Final

from zgen.core.deadlines import Deadlines
from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.limits import (
    CHUNK_BYTES,
    CHUNK_TRIES_COUNT_MAX,
    CHUNKS_ASKED_COUNT_MAX,
    CHUNKS_COUNT_MAX,
    CHUNKS_OF_NODE_COUNT_MAX,
    CHUNKS_STALLED_NS,
)
from zgen.slotted import slotted
from zgen.wire.store import Place

#: A wait for a source is doubled this often, at most.
_DOUBLED_COUNT: Final = 4


@slotted
class Source:
    """A node that holds a region for a copying.

    Attributes:
        node: Which one.
        under_way: How many parts were asked of it and are not here.
        stalls: How often in a row it was waited for in vain.
    """

    node: PeerId
    under_way: int = 0
    stalls: int = 0


@slotted
class Ask:
    """What to ask of a source.

    Attributes:
        node: The source.
        offset: Bytes from the start of the region.
        size_bytes: How many; of several parts in a row, perhaps.
    """

    node: PeerId
    offset: int
    size_bytes: int

    def takes(self, offset: int) -> bool:
        """Return whether the part at ``offset`` can be added to what is asked."""
        is_next = self.offset + self.size_bytes == offset
        return is_next and self.size_bytes < CHUNKS_ASKED_COUNT_MAX * CHUNK_BYTES


@slotted
class Pull:
    """One copying.

    Attributes:
        pull: Its number.
        region: The region.
        node: Its node; the one that copies if that is gone.
        place: Where the copy goes.
        size_bytes: Its bytes, once the first source holds it; else 0.
        asked_bytes: How many of those were asked for, at least once.
        invited: Nodes that were asked to hold it and have not answered.
        sources: Nodes that hold it; those that kept us waiting last.
        under_way: Offset of each part that is asked for or being written -> of whom it was asked.
        again: Offsets of parts that are to be asked for once more.
        damaged: Offset -> how often the part came damaged.
        vain: Nodes between that were asked to make a copy and have none.
    """

    pull: int
    region: int
    node: PeerId
    place: Place
    size_bytes: int = 0
    asked_bytes: int = 0
    invited: dict[PeerId, None] = field(default_factory=dict)
    sources: dict[PeerId, Source] = field(default_factory=dict)
    under_way: dict[int, PeerId] = field(default_factory=dict)
    again: dict[int, None] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)
    vain: dict[PeerId, None] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all parts are here."""
        missing = self.under_way or self.again
        return not missing and 0 < self.asked_bytes == self.size_bytes

    @property
    def is_hopeless(self) -> bool:
        """Whether there is nobody of whom it could be had."""
        return not self.sources and not self.invited

    def part_bytes(self, offset: int) -> int:
        """Return how many bytes the part at ``offset`` has."""
        return min(CHUNK_BYTES, self.size_bytes - offset)


class Pulls:
    """All of them.

    Attributes:
        deadlines: Copying and source -> when nothing came of it for too long.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.deadlines: Deadlines[tuple[int, PeerId]] = Deadlines()
        self._count = 0
        #: Number -> copying. Added by ``begin``; removed by ``end``.
        self._pulls: dict[int, Pull] = {}
        #: Region -> its number.
        self._of_region: dict[int, int] = {}
        #: Parts under way of all copyings.
        self._under_way = 0
        #: Those that may not ask for more, since too much is under way. Removed by ``starved``.
        self._starved: dict[int, None] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._pulls)

    def get(self, pull: int) -> Pull | None:
        """Return the copying with a number, or None if it is over."""
        return self._pulls.get(pull)

    def was(self, pull: int) -> bool:
        """Return whether a number is that of a copying, now or before."""
        return 0 < pull <= self._count

    def all(self) -> list[Pull]:
        """Return all of them, eldest first."""
        return list(self._pulls.values())

    def begin(self, region: int, node: PeerId, place: Place) -> Pull:
        """Note a new copying, to which nobody is invited yet."""
        assert region not in self._of_region, region
        self._count += 1
        pull = self._pulls[self._count] = Pull(self._count, region, node, place)
        self._of_region[region] = pull.pull
        return pull

    def invite(self, pull: Pull, node: PeerId) -> bool:
        """Note that a node is asked to hold the region; return False if it was before."""
        if node in pull.invited or node in pull.sources:
            return False
        pull.invited[node] = None
        return True

    def join(self, pull: Pull, node: PeerId) -> None:
        """Count an invited node as a source."""
        del pull.invited[node]
        pull.sources[node] = Source(node)

    def leave(self, pull: Pull, node: PeerId) -> None:
        """Count on a node no more; what was asked of it is to be asked of others."""
        pull.invited.pop(node, None)
        source = pull.sources.pop(node, None)
        if source is not None:
            self._take_back(pull, source)

    def next_asks(self, pull: Pull, now_ns: int) -> list[Ask]:
        """Return what is to be asked for now, and of whom."""
        asks: list[Ask] = []
        for source in pull.sources.values():
            if source.under_way > CHUNKS_COUNT_MAX // 2:
                continue  # several at once, a little later
            stretch: Ask | None = None
            while source.under_way < CHUNKS_COUNT_MAX:
                offset = self._next_part(pull)
                if offset is None:
                    break
                pull.under_way[offset] = source.node
                source.under_way += 1
                self._under_way += 1
                size_bytes = pull.part_bytes(offset)
                if stretch is None or not stretch.takes(offset):
                    stretch = Ask(source.node, offset, 0)
                    asks.append(stretch)
                stretch.size_bytes += size_bytes
            if source.under_way:
                self.deadlines.set_if_unset((pull.pull, source.node), self._due_ns(source, now_ns))
        return asks

    def written(self, pull: Pull, offset: int, now_ns: int) -> None:
        """Note that a part is at its place."""
        if offset in pull.again:
            reached("part that came after it was given up")
            del pull.again[offset]
            return
        source = self._arrived(pull, offset)
        if source is None:
            reached("part that came twice")
            return
        source.stalls = 0
        if source.under_way:
            self.deadlines.set((pull.pull, source.node), self._due_ns(source, now_ns))

    def came_damaged(self, pull: Pull, offset: int) -> bool:
        """Return whether a part that came damaged may be asked for once more."""
        if self._arrived(pull, offset) is not None:
            pull.again[offset] = None
        tries = pull.damaged[offset] = pull.damaged.get(offset, 0) + 1
        return tries < CHUNK_TRIES_COUNT_MAX

    def stalled(self, now_ns: int) -> list[tuple[Pull, PeerId]]:
        """Return sources of which nothing came for long; what they owe is to be asked for again."""
        found: list[tuple[Pull, PeerId]] = []
        for number, node in self.deadlines.pop_due(now_ns):
            pull = self._pulls[number]
            source = pull.sources.pop(node)
            pull.sources[node] = source
            source.stalls += 1
            self._take_back(pull, source)
            found.append((pull, node))
        return found

    def starved(self) -> list[Pull]:
        """Return the copyings that may ask again, as less is under way now."""
        if not self._starved or self._under_way >= CHUNKS_OF_NODE_COUNT_MAX:
            return []
        found = [self._pulls[number] for number in self._starved]
        self._starved.clear()
        return found

    def end(self, pull: Pull) -> None:
        """Forget one that is done or failed."""
        for source in pull.sources.values():
            self._take_back(pull, source)
        del self._pulls[pull.pull]
        del self._of_region[pull.region]
        self._starved.pop(pull.pull, None)

    def check(self) -> None:
        """Assert that no more is under way than may be, and nothing beyond the region."""
        assert len(self._pulls) == len(self._of_region)
        under_way = 0
        for number, pull in self._pulls.items():
            assert self._of_region[pull.region] == number
            assert not pull.is_done, pull
            assert not pull.is_hopeless, pull
            assert pull.asked_bytes <= pull.size_bytes <= pull.place.room, pull
            assert not any(offset in pull.again for offset in pull.under_way), pull
            assert all(offset < pull.asked_bytes for offset in pull.under_way), pull
            assert all(offset < pull.asked_bytes for offset in pull.again), pull
            for source in pull.sources.values():
                asked = [node for node in pull.under_way.values() if node == source.node]
                assert len(asked) == source.under_way <= CHUNKS_COUNT_MAX, pull
                assert ((number, source.node) in self.deadlines) is (source.under_way > 0), pull
                under_way += source.under_way
            assert all(node in pull.sources for node in pull.under_way.values()), pull
        assert under_way == self._under_way <= CHUNKS_OF_NODE_COUNT_MAX
        assert all(number in self._pulls for number in self._starved)

    # -- inside ------------------------------------------------------------------------------------
    def _next_part(self, pull: Pull) -> int | None:
        """Return the offset of a part that is to be asked for, or None if there is none now."""
        if not pull.again and pull.asked_bytes == pull.size_bytes:
            return None
        if self._under_way >= CHUNKS_OF_NODE_COUNT_MAX:
            reached("copying waits for others")
            self._starved[pull.pull] = None
            return None
        for offset in pull.again:
            del pull.again[offset]
            return offset
        offset = pull.asked_bytes
        pull.asked_bytes += pull.part_bytes(offset)
        return offset

    def _arrived(self, pull: Pull, offset: int) -> Source | None:
        """Count a part as under way no more; return of whom it was asked, or None if it was not."""
        node = pull.under_way.pop(offset, None)
        if node is None:
            return None
        source = pull.sources[node]
        source.under_way -= 1
        self._under_way -= 1
        if not source.under_way:
            self.deadlines.clear((pull.pull, node))
        return source

    def _take_back(self, pull: Pull, source: Source) -> None:
        """Have what was asked of a source be asked for again."""
        for offset in [each for each, node in pull.under_way.items() if node == source.node]:
            del pull.under_way[offset]
            pull.again[offset] = None
        self._under_way -= source.under_way
        source.under_way = 0
        self.deadlines.clear((pull.pull, source.node))

    def _due_ns(self, source: Source, now_ns: int) -> int:
        return now_ns + (CHUNKS_STALLED_NS << min(source.stalls, _DOUBLED_COUNT))
