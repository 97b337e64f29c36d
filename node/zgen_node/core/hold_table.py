"""Readers that wait until regions are back in memory.

Rules of this file: requests to hold several regions at once, some of which are on disk. Where a
region is, and who holds it, is not known here.
"""

from zgen.ids import PeerId
from zgen.slotted import slotted


@slotted
class Hold:
    """A request to hold regions.

    Attributes:
        key: Its number.
        peer: Who asked.
        request: Number of the request, by the reader.
        regions: Regions that it named, each once.
        missing: Those among them that are on disk still.
        reason: Why some are lost, for people; empty if none is.
        is_full: Whether that is for want of room.
    """

    key: int
    peer: PeerId
    request: int
    regions: tuple[int, ...]
    missing: dict[int, None]
    reason: str
    is_full: bool = False


class HoldTable:
    """All requests to hold that are not answered."""

    def __init__(self) -> None:
        """Start with none."""
        self._key_count = 0
        #: Key -> request. Added by ``add``; removed with the last that is missing, or by ``died``.
        self._holds: dict[int, Hold] = {}
        #: Region -> requests that miss it. Reverse of ``Hold.missing``.
        self._waiting: dict[int, dict[int, None]] = {}
        #: Reader -> its requests.
        self._of: dict[PeerId, dict[int, None]] = {}

    def waits_for(self, region: int) -> bool:
        """Return whether anybody waits for a region."""
        return region in self._waiting

    def add(
        self,
        peer: PeerId,
        request: int,
        regions: tuple[int, ...],
        missing: dict[int, None],
        reason: str,
    ) -> Hold:
        """Return a new request, which waits if anything is missing."""
        self._key_count += 1
        hold = Hold(self._key_count, peer, request, regions, missing, reason)
        if missing:
            self._holds[hold.key] = hold
            self._of.setdefault(peer, {})[hold.key] = None
            for region in missing:
                self._waiting.setdefault(region, {})[hold.key] = None
        return hold

    def settle(self, region: int, reason: str = "", *, is_full: bool = False) -> list[Hold]:
        """Return who waited for a region that is back or, with a reason, lost.

        Those that miss nothing any more are forgotten: the caller answers them.
        """
        holds = [self._holds[key] for key in self._waiting.pop(region, {})]
        for hold in holds:
            del hold.missing[region]
            if reason:
                hold.reason, hold.is_full = reason, is_full
            if not hold.missing:
                del self._holds[hold.key]
                self._unlist(hold)
        return holds

    def died(self, peer: PeerId) -> list[int]:
        """Forget the requests of a dead reader; return the regions that nobody waits for now."""
        unwanted: list[int] = []
        for key in self._of.pop(peer, {}):
            for region in self._holds.pop(key).missing:
                keys = self._waiting[region]
                del keys[key]
                if not keys:
                    del self._waiting[region]
                    unwanted.append(region)
        return unwanted

    def check(self) -> None:
        """Assert that all directions say the same."""
        missing_count = 0
        for key, hold in self._holds.items():
            assert hold.missing, "a request that misses nothing"
            assert key in self._of[hold.peer]
            missing_count += len(hold.missing)
            for region in hold.missing:
                assert key in self._waiting[region]
        assert missing_count == sum(len(keys) for keys in self._waiting.values())
        assert len(self._holds) == sum(len(keys) for keys in self._of.values())
        assert all(self._waiting.values()), "a region that nobody waits for"
        assert all(self._of.values()), "an empty row"

    def _unlist(self, hold: Hold) -> None:
        keys = self._of[hold.peer]
        del keys[hold.key]
        if not keys:
            del self._of[hold.peer]
