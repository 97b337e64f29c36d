"""`Hello Goodbye`: who speaks on a connection, and that it ends."""

from zgen.ids import NO_PEER, PeerId
from zgen.wire.schema import message, record


@record
class Address:
    """Where one life of one process can be reached.

    Attributes:
        peer: The process.
        incarnation: Which life of it, from 1.
        endpoint: Its inbox, as a ZeroMQ endpoint.
        node: The daemon that watches it; a daemon names itself. Zeroes if that is not known.
    """

    peer: PeerId
    incarnation: int
    endpoint: str
    node: PeerId = NO_PEER


@message(0x01)
class Hello:
    """Any -> any: I am this process and speak on this connection; dial me back there.

    First on every connection, outside the session, and sent again until something is acknowledged.

    Attributes:
        sender: Who speaks.
        to: Process meant.
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
