"""One generator stream as its producer sees it: what its table `stream_out` keeps of each."""

from dataclasses import field
from typing import Final

from zgen.ids import PeerId
from zgen.limits import ITEMS_COUNT_MAX
from zgen.slotted import slotted
from zgen.wire.value import Value

#: More items than any stream may have.
UNLIMITED: Final = ITEMS_COUNT_MAX + 1


@slotted
class OutStream:
    """One stream as its producer sees it.

    Attributes:
        owner: Who reads it.
        attempt: Which execution feeds it.
        count: Items yielded so far.
        first: Index of the first waiting item.
        waiting: Items that have not left. Added by ``add_item``; removed by a flush.
        closed: Whether the owner wants no more of them.
        window: Items that may be there without being taken; 0 for any number, ``LOCK_STEP`` where
            each input makes room for one.
        limit: How many the body may have yielded before it is to wait for its consumer.
        cancelled: Whether those that follow are not even counted.
        resume: Items that its owner has: a body that has yielded none and asks goes on behind them.
        ahead_bytes: Bytes of those of them that were not taken.
        is_metered: Whether what waits is counted by ``metering``, and not by ``limit``.
        per_yield: Items that each yield makes; whatever counts items is a multiple of it.
    """

    owner: PeerId
    attempt: int
    count: int = 0
    first: int = 0
    waiting: list[Value] = field(default_factory=list)
    closed: bool = False
    window: int = 0
    limit: int = UNLIMITED
    cancelled: bool = False
    resume: int = 0
    ahead_bytes: int = 0
    is_metered: bool = False
    per_yield: int = 1
