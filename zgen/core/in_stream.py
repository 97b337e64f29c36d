"""One generator stream as its owner sees it: what its table `stream_in` keeps of each."""

from collections import deque
from dataclasses import field

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.value import Value


@slotted
class InStream:
    """One stream as its owner sees it.

    Attributes:
        name: Name of the generator function, for errors.
        attempt: The only attempt whose reports count.
        position: Items that the current attempt has reported.
        known: Items reported by any attempt; never falls.
        resume: How many of them the current attempt need not yield again if it asks.
        unread: Values not taken, the oldest first. Added by reports; removed by ``take`` and
            ``close``.
        taken: Items handed out.
        ended: Whether nothing will be added any more.
        handle: Whether the user still reads the generator.
        stays: Whether he has closed it and still holds it.
        completion: What the completion object holds, once ended.
        returned: Whether it holds more than bytes, and lives as long as ``handle``.
        moved_ns: When its consumer last took something, or its first item in shared memory came.
        stored: Items in ``unread`` that lie in shared memory.
        window: Items that may be there without being taken; 0 for any number.
        step: How many items the producer is told of at a time, and how many are taken over at once.
        consumed: Items that the user has certainly taken; counted where there is a window.
        granted: How many of them the producer of the current attempt was told of.
        fills: Whether its attempt is to report what was lost, though nobody reads the stream.
        producer: The worker whose reports of the current attempt count, once it has sent some.
    """

    name: str
    attempt: int = 0
    position: int = 0
    known: int = 0
    resume: int = 0
    unread: deque[Value] = field(default_factory=deque)
    taken: int = 0
    ended: bool = False
    handle: bool = True
    stays: bool = False
    completion: Value | None = None
    returned: bool = False
    moved_ns: int = 0
    stored: int = 0
    window: int = 0
    step: int = 0
    consumed: int = 0
    granted: int = 0
    producer: PeerId | None = None
    fills: bool = False
