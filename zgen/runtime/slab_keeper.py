"""Map what a driver owns before anybody reads it, so that it outlives the node.

Rules of this file: it reads the table of regions under the process lock and changes nothing there.
What it does not get done in time is mapped when it is read, while the node lives.

Theory of operation. Whoever leads calls ``look`` when something has come that may lie in shared
memory. New regions stand at the end of the table, so a look goes from there back to where the last
one began. A thread that lives as long as there is something to do asks for the slabs, since a node
that is stopped may not hold up who leads. Slabs in which nothing is left stay until they are half
of all that are kept: counting would cost every region, and their memory is given back in any case.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Final

from zgen.core.region_table import Region
from zgen.exceptions import ZgenError
from zgen.wire.store import Place

#: Regions that one look goes back over at most.
_LOOKED_AT_MAX: Final = 256
#: Slabs that are kept without a look at what is left in them.
_KEPT_COUNT_MIN: Final = 64


class SlabKeeper:
    """The slabs that a driver keeps mapped."""

    def __init__(
        self,
        regions: dict[int, Region],
        lock: threading.RLock,
        keep: Callable[[Place], None],
        let_go: Callable[[int], None],
    ) -> None:
        """Keep nothing yet.

        Args:
            regions: The regions of this process, those that came last at the end.
            lock: The process lock.
            keep: Maps a slab and leaves it so; may block.
            let_go: Ends that.
        """
        self._regions = regions
        self._lock = lock
        self._keep = keep
        self._let_go = let_go
        #: The last region at the last look. Process lock.
        self._seen = -1
        #: Slabs that are kept or will be. Added by ``look``; removed by ``_sweep``. Process lock.
        self._kept: dict[int, None] = {}
        #: Slabs that were in use at the last sweep. Process lock.
        self._used_count = 0
        self._orders: deque[Place] = deque()
        #: Whether the thread will look at ``_orders`` again. Process lock.
        self._working = False

    def look(self) -> None:
        """Find the slabs of regions that are new; process lock."""
        regions = self._regions
        newest = list(islice(reversed(regions.items()), 1))
        if not newest or newest[0][0] == self._seen:
            return
        for number, region in islice(reversed(regions.items()), _LOOKED_AT_MAX):
            if number == self._seen:
                break
            place = region.place
            if place is not None and place.slab not in self._kept:
                self._kept[place.slab] = None
                self._orders.append(place)
        self._seen = newest[0][0]
        if self._orders and not self._working:
            worker = threading.Thread(target=self._work, name="zgen-slabs", daemon=True)
            with suppress(RuntimeError):  # no thread can be started: mapped when it is read
                worker.start()
                self._working = True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._orders:
                    self._sweep()
                    self._working = False
                    return
                place = self._orders.popleft()
            with suppress(ZgenError, OSError):  # it is lost, or whoever reads it will see
                self._keep(place)

    def _sweep(self) -> None:
        if len(self._kept) <= max(_KEPT_COUNT_MIN, 2 * self._used_count):
            return
        places = [region.place for region in self._regions.values() if region.place is not None]
        used = dict.fromkeys([place.slab for place in places])
        for slab in [slab for slab in self._kept if slab not in used]:
            del self._kept[slab]
            self._let_go(slab)
        self._used_count = len(used)
