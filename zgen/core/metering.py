"""Executor side: how much of streams waits for its consumers, in items and in bytes.

Rules of this file: what was counted in is counted out once. What a body does while it waits, and
what its consumer hears of that, is not known here.

Theory of operation. An item, which is all of one yield, counts from before it leaves until its
consumer has taken it. The next
one is let in if it fits: into the window of its stream, into the stream's share of what all streams
of the actor may have, and into what is left of that. One of which nothing waits may always yield
one item, whatever its size and whatever others have: so nobody waits for ever, and what waits is at
most the window, or one item if that is larger; and of an actor at most one item more for each
stream.
"""

from collections import deque
from dataclasses import field

from zgen.core.marks import reached
from zgen.ids import TaskId, short
from zgen.limits import ITEMS_COUNT_MAX, WINDOW_BYTES_MAX
from zgen.slotted import slotted
from zgen.wire.actor import ActorSettings
from zgen.wire.stream import PARKED_BY_ACTOR, PARKED_BY_BYTES, PARKED_BY_ITEMS
from zgen.wire.value import Value


@slotted
class Meter:
    """What of one stream waits to be taken.

    Attributes:
        items_max: Items that may wait; 0 for any number.
        bytes_max: Bytes that may wait; 0 for any number.
        taken: Items that were taken, whichever attempt yielded them.
        sizes: Bytes of each item from ``taken`` on, the oldest first. Added by ``admit``; removed
            by ``take``.
        waiting_bytes: Their sum.
        free_count: Where fewer items wait, another one fits and leaves room for more; 0 if that
            depends on other streams.
        free_bytes: Where fewer bytes would wait with an item, that one does likewise.
        is_reserved: Whether the last of them is still to come.
        parked_by: Why its body waits, one of the ``PARKED_BY_`` numbers; 0 if it does not.
        next_bytes: Size of the item that waits to be let in; 0 if the body waits after one.
        values: That item, if it was yielded already; all of its yield.
    """

    items_max: int
    bytes_max: int
    taken: int = 0
    sizes: deque[int] = field(default_factory=deque)
    waiting_bytes: int = 0
    free_count: int = 0
    free_bytes: int = 0
    is_reserved: bool = False
    parked_by: int = 0
    next_bytes: int = 0
    values: tuple[Value, ...] = ()


class Metering:
    """The streams of one process whose consumers hold them back.

    Attributes:
        items_max: Items of all of them together that may wait; 0 for any number.
        bytes_max: Bytes likewise.
    """

    def __init__(self) -> None:
        """Start without streams and without a limit for all of them."""
        self.items_max = 0
        self.bytes_max = 0
        #: Stream -> what waits of it. Added by ``open``; removed by ``close``.
        self.meters: dict[TaskId, Meter] = {}
        #: Streams whose bodies wait, the first one first. Added by ``admit`` and ``fill``; removed
        #: by ``may_go_on`` and ``close``.
        self.parked: dict[TaskId, None] = {}
        #: What waits of all streams, where there is a limit for all of them.
        self.items_count = 0
        self.waiting_bytes = 0

    def share(self, settings: ActorSettings) -> None:
        """All streams are of one actor, which lives in this process."""
        self.items_max = settings.max_pending_items
        self.bytes_max = settings.max_pending_bytes

    def open(self, stream: TaskId, items_max: int, bytes_max: int, taken: int) -> Meter:
        """Begin to count a stream, of which ``taken`` items were taken of earlier attempts."""
        meter = self.meters[stream] = Meter(items_max, bytes_max, taken)
        if not (self.items_max or self.bytes_max):
            meter.free_count = (items_max or ITEMS_COUNT_MAX) - 1
            meter.free_bytes = bytes_max or WINDOW_BYTES_MAX
        return meter

    def resume(self, stream: TaskId, position: int, waiting_bytes: int) -> int:
        """The body of a stream goes on behind items of earlier attempts that wait to be taken.

        Where they are as many as may wait, it yields the last of them once more, and is held there.

        Args:
            stream: The stream, which has yielded nothing.
            position: Its next item.
            waiting_bytes: Bytes of those before that that wait. Which of them has how many is not
                known: all go with the last one.

        Returns:
            Where it goes on.
        """
        meter = self.meters[stream]
        if meter.items_max:
            position = min(position, meter.taken + meter.items_max - 1)
        count = position - meter.taken
        if count > 0:
            self._add(meter, *[0] * (count - 1), waiting_bytes)
        return position

    def admit(
        self, stream: TaskId, index: int, size_bytes: int, values: tuple[Value, ...] = ()
    ) -> bool:
        """Let an item in, or keep it until it fits, and park its body; return whether it is in.

        Args:
            stream: The stream.
            index: Position of the item.
            size_bytes: Its bytes.
            values: The item, all of its yield; none if it is still to come, when it fits.
        """
        meter = self.meters[stream]
        if meter.is_reserved:
            meter.is_reserved = False
            return True
        if index < meter.taken:
            return True  # its consumer has it from an earlier attempt
        parked_by = self._excess(meter, size_bytes)
        if not parked_by:
            self._add(meter, size_bytes)
            meter.is_reserved = not values
            return True
        reached("item that does not fit kept back")
        meter.parked_by, meter.next_bytes, meter.values = parked_by, size_bytes, values
        self.parked[stream] = None
        return False

    def admit_all(
        self, stream: TaskId, index: int, size_bytes: int, values: tuple[Value, ...]
    ) -> bool:
        """As ``admit``, of what is yielded together: it counts as one, which is still to come."""
        is_in = self.admit(stream, index, size_bytes, values)
        self.meters[stream].is_reserved = is_in
        return is_in

    def fill(self, stream: TaskId) -> bool:
        """Park the body of a stream if not even the smallest item would fit; return whether so."""
        meter = self.meters[stream]
        meter.parked_by = self._excess(meter, 1)
        if meter.parked_by:
            meter.next_bytes = 0
            self.parked[stream] = None
        return meter.parked_by != 0

    def take(self, stream: TaskId, upto: int) -> None:
        """So many items of a stream were taken."""
        meter = self.meters[stream]
        sizes = meter.sizes
        count = min(upto - meter.taken, len(sizes))
        self._remove(meter, [sizes.popleft() for _ in range(count)])
        meter.taken = max(meter.taken, upto)

    def may_go_on(self, stream: TaskId) -> bool:
        """Let the next item of a parked stream in, if it fits now; return whether it does."""
        meter = self.meters[stream]
        meter.parked_by = self._excess(meter, meter.next_bytes or 1)
        if meter.parked_by:
            return False
        if meter.next_bytes:
            self._add(meter, meter.next_bytes)
            meter.is_reserved = True
            meter.next_bytes = 0
        del self.parked[stream]
        return True

    def close(self, stream: TaskId) -> tuple[Value, ...]:
        """Count a stream no longer; return the item that was kept back, if there is one."""
        meter = self.meters.pop(stream, None)
        if meter is None:
            return ()
        self.parked.pop(stream, None)
        self._remove(meter, list(meter.sizes))
        return meter.values

    def values(self) -> list[Value]:
        """Return the items that are kept back."""
        return [value for each in self.meters.values() for value in each.values]

    def check(self) -> None:
        """Assert the invariants of all meters."""
        meters = self.meters
        if self.items_max or self.bytes_max:
            assert self.items_count == sum(len(each.sizes) for each in meters.values())
            assert self.waiting_bytes == sum(each.waiting_bytes for each in meters.values())
        for stream, meter in meters.items():
            assert meter.waiting_bytes == sum(meter.sizes), f"stream {short(stream)}: {meter}"
            assert (stream in self.parked) == (meter.parked_by != 0), f"{short(stream)}: {meter}"
            assert not meter.values or meter.parked_by, f"stream {short(stream)}: {meter}"
            if len(meter.sizes) > 1:
                assert meter.items_max == 0 or len(meter.sizes) <= meter.items_max, f"{meter}"
                assert meter.bytes_max == 0 or meter.waiting_bytes <= meter.bytes_max, f"{meter}"
        for stream in self.parked:
            waits = self._excess(meters[stream], meters[stream].next_bytes or 1)
            assert waits, f"stream {short(stream)} waits for nothing: {meters[stream]}"

    def _excess(self, meter: Meter, size_bytes: int) -> int:
        """Return why an item of this size has to wait, 0 if it fits."""
        items, waiting_bytes = len(meter.sizes) + 1, meter.waiting_bytes + size_bytes
        if items == 1:
            return 0
        if meter.items_max and items > meter.items_max:
            return PARKED_BY_ITEMS
        if meter.bytes_max and waiting_bytes > meter.bytes_max:
            return PARKED_BY_BYTES
        if self.items_max:
            share = max(1, self.items_max // len(self.meters))
            if items > share or self.items_count >= self.items_max:
                return PARKED_BY_ACTOR
        if self.bytes_max:
            share_bytes = self.bytes_max // len(self.meters)
            if waiting_bytes > share_bytes or self.waiting_bytes + size_bytes > self.bytes_max:
                return PARKED_BY_ACTOR
        return 0

    def _add(self, meter: Meter, *sizes: int) -> None:
        meter.sizes.extend(sizes)
        self._count(meter, len(sizes), sum(sizes))

    def _remove(self, meter: Meter, sizes: list[int]) -> None:
        self._count(meter, -len(sizes), -sum(sizes))

    def _count(self, meter: Meter, items_count: int, size_bytes: int) -> None:
        meter.waiting_bytes += size_bytes
        if self.items_max or self.bytes_max:
            self.items_count += items_count
            self.waiting_bytes += size_bytes
