"""Generators handed over: what the process that reads a stream and the stream's owner say.

The *owner* of a stream lends the right to take its items; who has that right *holds* the stream. A
loan has an *epoch*, which grows with each loan of the stream, and a *hop*, which grows as one
holder passes it on to the next::

    TakeStream     B -> A    I hold it: I have taken so many items, and have room for so many more
    StreamItems    A -> B    here are some of them, as references; their values come behind
    LeaveStream    B -> A    I hold it no more
    StreamRefused  A -> B    you do not hold it: somebody else does, or its owner

What is of an older epoch or hop than the owner knows changes nothing. A later hop ends the right of
the holder that passed the generator on, of whom its chain tells; not that of another one, who got
the same value and was first.
"""

from zgen.ids import NO_STREAM, PeerId, StreamId
from zgen.wire.schema import message

#: The right goes back to the owner.
GIVEN_BACK = 0
#: Another process has it, or will.
PASSED_ON = 1
#: As given back; and the remote generator is to stop.
CLOSED = 2


@message(0x3A)
class TakeStream:
    """Holder -> owner: I have taken items up to here, and have room for some more.

    The first one of a holder claims the stream.

    Attributes:
        stream: The stream.
        epoch: Which loan.
        hop: How often it was passed on.
        upto: How many items of the stream were taken in all, whoever took them.
        room_count: How many behind these it has room for.
        claim: Number of the claim, among those of the holder: one process may come more than once.
        who: What the holder is, for people.
        chain: Who passed it on, from hop 0 on; empty once the owner has confirmed it.
    """

    stream: StreamId
    epoch: int
    hop: int
    upto: int
    room_count: int
    claim: int = 0
    who: str = ""
    chain: tuple[PeerId, ...] = ()


@message(0x3B)
class StreamItems:
    """Owner -> holder: these items are yours to take.

    Attributes:
        stream: The stream.
        epoch: Which loan.
        hop: How often it was passed on.
        claim: Which claim of the holder's this answers.
        first_index: Position of the first, from 0.
        count: How many; may be 0.
        is_end: Whether there will never be one behind these.
        returns: Whether the generator has returned something; that comes behind, as the value of
            the object that the holder got with the generator.
        source: The stream after which the items are named, if it is another one: several read it.
    """

    stream: StreamId
    epoch: int
    hop: int
    claim: int
    first_index: int
    count: int
    is_end: bool
    returns: bool = False
    source: StreamId = NO_STREAM


@message(0x3C)
class LeaveStream:
    """Holder -> owner: I hold it no more; what I was given and have not taken is another's.

    Attributes:
        stream: The stream.
        epoch: Which loan.
        hop: How often it was passed on.
        upto: How many items of the stream were taken in all.
        how: ``GIVEN_BACK``, ``PASSED_ON`` or ``CLOSED``.
    """

    stream: StreamId
    epoch: int
    hop: int
    upto: int
    how: int


@message(0x3D)
class StreamRefused:
    """Owner -> who would hold it: you do not.

    Attributes:
        stream: The stream.
        epoch: Which loan.
        hop: How often it was passed on.
        claim: Which claim this answers.
        reason: Who does, for people.
    """

    stream: StreamId
    epoch: int
    hop: int
    claim: int
    reason: str
