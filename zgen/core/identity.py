"""Who a process is, what it says on a new connection, and what is known of one that ended."""

from zgen.core.effects import PushToken
from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, encode, encode_header
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import ANYBODY, Address, Hello


@slotted
class Identity:
    """Who this process is and what it speaks.

    Attributes:
        address: Its own address.
        python: ``major.minor`` of the interpreter.
        release: Version of zgen.
    """

    address: Address
    python: str
    release: str

    def hello_to(self, address: Address, epoch: int) -> list[bytes]:
        """Return the frames that open connection ``epoch`` to ``address``."""
        hello = Hello(
            self.address,
            address.peer,
            address.incarnation,
            epoch,
            VERSION_MIN,
            VERSION_MAX,
            self.python,
            self.release,
        )
        return [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(hello)]

    def inbox_of(self, address: Address) -> str:
        """Return the inbox of ``address`` that this process dials."""
        return address.as_seen_from(self.address.machine)

    def is_meant(self, hello: Hello) -> bool:
        """Return whether ``hello`` is for this life of this process, or for whoever is here."""
        if hello.to == ANYBODY:
            reached("hello to whoever is there")
            return True
        me = self.address
        return (hello.to, hello.to_incarnation) == (me.peer, me.incarnation)

    def mismatch(self, hello: Hello) -> str:
        """Return why the sender of ``hello`` and this process cannot work together, or nothing."""
        if hello.version_min > VERSION_MAX or hello.version_max < VERSION_MIN:
            there = f"{hello.version_min} to {hello.version_max}"
            return f"protocol {there} there, {VERSION_MIN} to {VERSION_MAX} here"
        if hello.python != self.python:
            return f"Python {hello.python} there, {self.python} here"
        if hello.release != self.release:
            return f"zgen {hello.release} there, {self.release} here"
        return ""


@slotted
class Gone:
    """A life of a peer that ended, as far as the session can tell.

    Attributes:
        peer: Which process.
        incarnation: Which life of it.
        reason: Why, for people.
        undelivered: Tokens of messages that were not acknowledged; True where one certainly never
            left.
    """

    peer: PeerId
    incarnation: int
    reason: str
    undelivered: list[tuple[PushToken, bool]]
