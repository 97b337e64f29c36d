"""Copies of regions of other nodes that are under way: which parts are asked for, which are here.

Rules of this file: counts parts. Where they come from and where they go is not known here.

Theory of operation. A part is asked for while few enough are under way, and is there when it was
written. One that comes damaged is asked for again, a few times. A copying has a number of its own,
so that what is said of an earlier one of the same region is not taken for it.
"""

from collections.abc import Iterator
from dataclasses import field

from zgen.ids import PeerId
from zgen.limits import CHUNK_BYTES, CHUNK_TRIES_COUNT_MAX, CHUNKS_COUNT_MAX
from zgen.slotted import slotted
from zgen.wire.store import Place


@slotted
class Pull:
    """One copying.

    Attributes:
        pull: Its number.
        region: The region.
        node: Where it lies.
        place: Where the copy goes.
        size_bytes: Its bytes, once that node holds it for this one; else 0.
        asked_bytes: How many of those were asked for.
        under_way: Offset of each part that is asked for or being written -> how often it was asked.
    """

    pull: int
    region: int
    node: PeerId
    place: Place
    size_bytes: int = 0
    asked_bytes: int = 0
    under_way: dict[int, int] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all parts are here."""
        return not self.under_way and 0 < self.asked_bytes == self.size_bytes

    def part_bytes(self, offset: int) -> int:
        """Return how many bytes the part at ``offset`` has."""
        return min(CHUNK_BYTES, self.size_bytes - offset)


class Pulls:
    """All of them."""

    def __init__(self) -> None:
        """Start with none."""
        self._count = 0
        #: Number -> copying. Added by ``begin``; removed by ``end``.
        self._pulls: dict[int, Pull] = {}
        #: Region -> its number.
        self._of_region: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._pulls)

    def get(self, pull: int) -> Pull | None:
        """Return the copying with a number, or None if it is over."""
        return self._pulls.get(pull)

    def all(self) -> list[Pull]:
        """Return all of them, eldest first."""
        return list(self._pulls.values())

    def begin(self, region: int, node: PeerId, place: Place) -> Pull:
        """Note a new copying."""
        assert region not in self._of_region, region
        self._count += 1
        pull = self._pulls[self._count] = Pull(self._count, region, node, place)
        self._of_region[region] = pull.pull
        return pull

    def of_node(self, node: PeerId) -> list[Pull]:
        """Return what is copied from a node."""
        return [pull for pull in self._pulls.values() if pull.node == node]

    def next_parts(self, pull: Pull) -> Iterator[int]:
        """Yield the offsets of the parts that are to be asked for now."""
        while pull.asked_bytes < pull.size_bytes and len(pull.under_way) < CHUNKS_COUNT_MAX:
            offset = pull.asked_bytes
            pull.under_way[offset] = 1
            pull.asked_bytes += pull.part_bytes(offset)
            yield offset

    def written(self, pull: Pull, offset: int) -> None:
        """Note that a part is at its place."""
        del pull.under_way[offset]

    def again(self, pull: Pull, offset: int) -> bool:
        """Return whether a part that came damaged is to be asked for once more."""
        pull.under_way[offset] += 1
        return pull.under_way[offset] <= CHUNK_TRIES_COUNT_MAX

    def end(self, pull: Pull) -> None:
        """Forget one that is done or failed."""
        del self._pulls[pull.pull]
        del self._of_region[pull.region]

    def check(self) -> None:
        """Assert that no more is under way than may be, and nothing beyond the region."""
        assert len(self._pulls) == len(self._of_region)
        for number, pull in self._pulls.items():
            assert self._of_region[pull.region] == number
            assert not pull.is_done, pull
            assert len(pull.under_way) <= CHUNKS_COUNT_MAX, pull
            assert pull.asked_bytes <= pull.size_bytes <= pull.place.room, pull
            assert all(offset < pull.asked_bytes for offset in pull.under_way), pull
