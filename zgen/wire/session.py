"""`Hello Goodbye`: who speaks on a connection, and that it ends."""

from typing import Final

from zgen.ids import ID_BYTES, NO_PEER, PeerId
from zgen.wire.schema import message, record


@record
class Address:
    """Where one life of one process can be reached.

    Attributes:
        peer: The process.
        incarnation: Which life of it, from 1.
        endpoint: Its inbox, as a ZeroMQ endpoint.
        node: The daemon that watches it; a daemon names itself. Zeroes if that is not known.
        tcp: Its inbox for other machines; empty if it has none.
        machine: Which machine it runs on, as its processes tell; empty if it has no other inbox.
    """

    peer: PeerId
    incarnation: int
    endpoint: str
    node: PeerId = NO_PEER
    tcp: str = ""
    machine: bytes = b""

    def as_seen_from(self, machine: bytes) -> str:
        """Return the inbox that a process on ``machine`` dials."""
        return self.tcp if self.tcp and machine != self.machine else self.endpoint


#: Whoever is there: a first hello to an inbox of which nothing more is known.
ANYBODY: Final = PeerId(bytes(ID_BYTES))


@message(0x01)
class Hello:
    """Any -> any: I am this process and speak on this connection; dial me back there.

    First on every connection, outside the session, and sent again until something is acknowledged.

    Attributes:
        sender: Who speaks.
        to: Process meant, or ``ANYBODY``, in any life.
        to_incarnation: Life of it that is meant.
        epoch: Number of this connection among the sender's to this receiver, from 1.
        version_min: Oldest protocol version spoken.
        version_max: Newest protocol version spoken.
        python: ``major.minor`` of the interpreter; pickles travel only between equal ones.
        release: Version of zgen.
    """

    sender: Address
    to: PeerId
    to_incarnation: int
    epoch: int
    version_min: int
    version_max: int
    python: str
    release: str


@message(0x02)
class Goodbye:
    """Any -> any: I end this session and will neither send nor take in anything more.

    Attributes:
        sender: Who leaves.
        incarnation: Its life.
        reason: Why, for people.
    """

    sender: PeerId
    incarnation: int
    reason: str
