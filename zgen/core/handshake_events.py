"""What may happen to a process about handshakes that fail; part of `Event`."""

from enum import IntEnum
from typing import TypeAlias

from zgen.ids import PeerId
from zgen.slotted import slotted


class Refusal(IntEnum):
    """Why a handshake came to nothing, as far as one end of it can tell."""

    #: The keys of the two ends differ.
    OTHER_KEY = 1
    #: One end has a key and the other has none.
    KEY_ON_ONE_SIDE = 2
    #: What came is not of this transport.
    MALFORMED = 3
    #: The other end went away, or said nothing for too long.
    CUT_SHORT = 4
    #: Who asks whether a key is allowed is not there any more: everybody is refused.
    NOBODY_DECIDES = 5

    def __repr__(self) -> str:
        """Return an expression, as records of steps want it."""
        return f"Refusal.{self.name}"


@slotted
class HandshakeFailed:
    """A connection that was dialled came to nothing; ``ConnectionLost`` follows.

    Attributes:
        peer: Who was dialled.
        epoch: Which connection to it.
        why: Why.
    """

    peer: PeerId
    epoch: int
    why: Refusal


@slotted
class StrangersRefused:
    """Processes dialled this one and were not let in.

    Attributes:
        why: Why.
        count: How many since the last such event.
    """

    why: Refusal
    count: int


HandshakeEvent: TypeAlias = HandshakeFailed | StrangersRefused
