"""What may happen to a process, and be asked of it, about handed-over generators; as `Event`.

Those who post these events read the answers off what the step returns.
"""

from zgen.ids import ObjectId, PeerId, StreamId
from zgen.slotted import slotted
from zgen.wire.session import Address
from zgen.wire.value import Fault


# -- events ----------------------------------------------------------------------------------------
@slotted
class LendStream:
    """A generator is being pickled, in a value that zgen will hold: its right to be read goes.

    ``StreamLent`` or ``StreamRefusal`` follows.

    Attributes:
        stream: The stream, as its handle here names it.
        ahead: Items that the handle has taken over and not given out yet.
    """

    stream: StreamId
    ahead: tuple[ObjectId, ...] = ()


@slotted
class HoldStream:
    """A generator was unpickled out of a value, which keeps its ticket until then.

    ``StreamHeld`` follows.

    Attributes:
        stream: The stream.
        epoch: Which loan.
        hop: How often it was passed on.
        upto: How many of its items were taken when it was pickled.
        name: Name of the generator function, for errors.
        owner: Who owns it.
        completion: Object that is ready when the generator has ended; kept by the value likewise.
        chain: Who passed it on, from hop 0 on.
        who: What this process is, for people.
        per_yield: Items that each yield makes.
    """

    stream: StreamId
    epoch: int
    hop: int
    upto: int
    name: str
    owner: Address
    completion: ObjectId
    chain: tuple[PeerId, ...] = ()
    who: str = ""
    per_yield: int = 1


@slotted
class FanOut:
    """A stream of this process gets several readers.

    ``FannedOut`` or ``StreamRefusal`` follows.

    Attributes:
        stream: The stream.
        ahead: Items that its handle has taken over and not given out yet.
        count: How many readers.
        pending_max: How many yields the fastest may be ahead of the slowest.
    """

    stream: StreamId
    ahead: tuple[ObjectId, ...]
    count: int
    pending_max: int


# -- effects ---------------------------------------------------------------------------------------
@slotted
class StreamLent:
    """Answer to ``LendStream``: what stands in the pickle.

    Attributes:
        stream: The stream, as its owner names it.
        epoch: Which loan.
        hop: How often it was passed on.
        upto: How many of its items were taken.
        name: Name of the generator function, for errors.
        ticket: Object that lives as long as anybody may hold the stream by this loan.
        completion: Object that is ready when the generator has ended.
        owner: Who owns all of them; None for this process.
        chain: Who passed it on, from hop 0 on.
    """

    stream: StreamId
    epoch: int
    hop: int
    upto: int
    name: str
    ticket: ObjectId
    completion: ObjectId
    owner: Address | None
    chain: tuple[PeerId, ...] = ()


@slotted
class StreamHeld:
    """Answer to ``HoldStream``: one more handle of this process counts.

    Attributes:
        key: The stream as handles here name it: itself in its owner's process.
    """

    key: StreamId


@slotted
class StreamRefusal:
    """Answer to ``LendStream`` or ``TakeItems``: this process does not hold the stream.

    Attributes:
        fault: Who does, or what became of its owner.
    """

    fault: Fault


@slotted
class FannedOut:
    """Answer to ``FanOut``.

    Attributes:
        readers: What handles call the streams of the readers.
    """

    readers: tuple[StreamId, ...]


#: What those read off who posted the events.
HANDOVER_ANSWERS = (StreamLent, StreamHeld, StreamRefusal, FannedOut)
