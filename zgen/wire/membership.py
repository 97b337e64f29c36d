"""Membership of daemons: probes, gossip, joining, comparing, and who is held for dead.

These bypass the session: each may be lost, repeated or reordered, and says on its own whom it is
for. An address may be another process's by now.
"""

from typing import Final

from zgen.ids import PeerId
from zgen.wire.schema import message, record

#: Phases of a live member.
ACTIVE: Final = 0
DRAINING: Final = 1
#: What is said against a member: unheard of; its port refuses; dead; gone on its own.
SUSPECT: Final = 1
REFUSED: Final = 2
DEAD: Final = 3
LEFT: Final = 4
#: Why a node may not join.
WELCOME: Final = 0
OTHER_CLUSTER: Final = 1
OTHER_RELEASE: Final = 2
OTHER_PYTHON: Final = 3
DECLARED_DEAD: Final = 4
ID_TAKEN: Final = 5
#: Stands where a ping is sent for its sender's own sake.
NOBODY: Final = b""


@record
class MemberAlive:
    """What a member says of itself.

    Attributes:
        node: The member.
        incarnation: How often it has refuted a suspicion; a greater one ends every older suspicion.
        endpoint: Where it takes in probes.
        phase: ``ACTIVE`` or ``DRAINING``.
        version: Number of its last change of phase or payload, from 0.
        payload: What it has others know, at most ``MEMBER_PAYLOAD_BYTES_MAX`` bytes.
    """

    node: PeerId
    incarnation: int
    endpoint: str
    phase: int
    version: int
    payload: bytes


@record
class MemberDoubt:
    """What one member says against another.

    Attributes:
        node: Of whom.
        incarnation: Which one of it is meant; death is of all.
        state: ``SUSPECT``, ``REFUSED``, ``DEAD`` or ``LEFT``.
        by: Who said so first.
    """

    node: PeerId
    incarnation: int
    state: int
    by: PeerId


@record
class MemberDead:
    """A member that was declared dead.

    Attributes:
        node: Which one.
        endpoint: Where it was; empty if it need not be tried.
    """

    node: PeerId
    endpoint: str


@message(0x80)
class Ping:
    """Member -> member: say that you are there.

    Attributes:
        sender: Who asks.
        to: Who is meant.
        number: Of the probe, the sender's own.
        endpoint: Where the sender takes in the answer.
        asked_by: Member that asked the sender to do this, 16 bytes, or none.
        alive: News of members.
        doubts: News against members.
    """

    sender: PeerId
    to: PeerId
    number: int
    endpoint: str
    asked_by: bytes
    alive: tuple[MemberAlive, ...]
    doubts: tuple[MemberDoubt, ...]


@message(0x81)
class PingAck:
    """Member -> member: I am here.

    Attributes:
        sender: Who was asked.
        to: Who asked.
        number: Of the probe.
        alive: News of members.
        doubts: News against members.
    """

    sender: PeerId
    to: PeerId
    number: int
    alive: tuple[MemberAlive, ...]
    doubts: tuple[MemberDoubt, ...]


@message(0x82)
class PingRequest:
    """Member -> member: I do not hear this one, ask it for me.

    Attributes:
        sender: Who asks.
        to: Who is to ping.
        number: Of the probe, the sender's own.
        endpoint: Where the sender takes in the answer.
        target: Who is to be pinged.
        target_endpoint: Where.
        alive: News of members.
        doubts: News against members.
    """

    sender: PeerId
    to: PeerId
    number: int
    endpoint: str
    target: PeerId
    target_endpoint: str
    alive: tuple[MemberAlive, ...]
    doubts: tuple[MemberDoubt, ...]


@message(0x83)
class IndirectAck:
    """Member -> member: the one that you do not hear answers me.

    Attributes:
        sender: Who pinged.
        to: Who asked for it.
        number: Of the probe of who asked.
        target: Who answered.
        alive: News of members.
        doubts: News against members.
    """

    sender: PeerId
    to: PeerId
    number: int
    target: PeerId
    alive: tuple[MemberAlive, ...]
    doubts: tuple[MemberDoubt, ...]


@message(0x84)
class Gossip:
    """Member -> member: news.

    Attributes:
        sender: Who tells.
        to: Who is told.
        alive: News of members.
        doubts: News against members.
    """

    sender: PeerId
    to: PeerId
    alive: tuple[MemberAlive, ...]
    doubts: tuple[MemberDoubt, ...]


@message(0x85)
class JoinRequest:
    """Node -> any member: let me in.

    Attributes:
        member: Who asks.
        cluster: Name of the cluster that it means.
        python: ``major.minor`` of its interpreter.
        release: Its version of zgen.
    """

    member: MemberAlive
    cluster: str
    python: str
    release: str


@message(0x86)
class JoinAnswer:
    """Member -> node: you are in, and these are the members; or you are not.

    Attributes:
        sender: Who answers.
        to: Who asked.
        refusal: ``WELCOME``, or why not.
        detail: Why not, for people.
        members: The sender and those that it knows; a sample of them in a large cluster.
        dead: Members that are dead.
    """

    sender: PeerId
    to: PeerId
    refusal: int
    detail: str
    members: tuple[MemberAlive, ...]
    dead: tuple[MemberDead, ...]


@message(0x87)
class Digest:
    """Member -> member: this is the sum of what I know.

    Attributes:
        sender: Who knows it.
        to: Who is to compare.
        endpoint: Where the sender takes in what it lacks.
        sums: ``SUMS_COUNT`` sums of four bytes over the members whose ids begin alike; none in a
            large cluster, where members tell each other of samples.
    """

    sender: PeerId
    to: PeerId
    endpoint: str
    sums: bytes


@message(0x88)
class PushPull:
    """Member -> member: where our sums differ I know of these.

    Attributes:
        sender: Who tells.
        to: Who is told.
        endpoint: Where the sender takes in the answer.
        sums: As in ``Digest``.
        answer: Whether this is the answer to another, and is not answered.
        members: Live members.
        dead: Members that are dead.
    """

    sender: PeerId
    to: PeerId
    endpoint: str
    sums: bytes
    answer: bool
    members: tuple[MemberAlive, ...]
    dead: tuple[MemberDead, ...]


@message(0x89)
class Fence:
    """Member -> node: I hold you for dead; the larger side of the two of us stays.

    Attributes:
        sender: Who says so.
        to: Who is held for dead.
        endpoint: Where the sender takes in the answer.
        count: Members on the sender's side, as far as it knows.
        lowest: The lowest id among those that it knows, which decides between sides of equal size.
        answer: Whether this is the answer to another, and is not answered.
    """

    sender: PeerId
    to: PeerId
    endpoint: str
    count: int
    lowest: PeerId
    answer: bool
