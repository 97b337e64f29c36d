"""What may happen to the membership of a node, and what it asks for."""

from typing import Any, TypeAlias

from zgen.core.effects import Report
from zgen.core.events import Leave, TimerDue
from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.membership import MemberAlive


# -- events ----------------------------------------------------------------------------------------
@slotted
class Join:
    """Become a member, by way of any of these, or the first member if there are none.

    Attributes:
        seeds: Endpoints of members, tried in turn; one's own is left out.
    """

    seeds: tuple[str, ...]


@slotted
class ProbeReceived:
    """A message of ``zgen.wire.membership`` came in.

    Attributes:
        message: It; whom it is for and from is in it.
    """

    message: Any


@slotted
class PeerRefused:
    """The machine of a member answers, and its port takes no connection: nobody listens there.

    Told for each dial that is refused, and for a probe sent while the last dial was.

    Attributes:
        node: The member.
    """

    node: PeerId


@slotted
class Publish:
    """Have the other members know this of me; what is no news is not told.

    Attributes:
        payload: At most ``MEMBER_PAYLOAD_BYTES_MAX`` bytes.
    """

    payload: bytes


@slotted
class Drain:
    """Have the other members know that I take in no new work."""


@slotted
class WatchMember:
    """Know of this node whatever happens; ``MemberUp`` or ``MemberDown`` follows if that is new.

    Attributes:
        node: Which one.
        endpoint: Where it takes in probes.
    """

    node: PeerId
    endpoint: str


@slotted
class UnwatchMember:
    """Treat this node like any other again.

    Attributes:
        node: Which one.
    """

    node: PeerId


MembershipEvent: TypeAlias = (
    Join
    | ProbeReceived
    | PeerRefused
    | Publish
    | Drain
    | WatchMember
    | UnwatchMember
    | Leave
    | TimerDue
)


# -- effects ---------------------------------------------------------------------------------------
@slotted
class SendProbe:
    """Send a message outside the session. Not promised: arrival, order, once.

    Attributes:
        node: Whom, or no bytes where only the endpoint is known.
        endpoint: Where.
        message: What.
    """

    node: bytes
    endpoint: str
    message: Any


@slotted
class MemberUp:
    """A node is a member from now on.

    Attributes:
        member: What it says of itself.
    """

    member: MemberAlive


@slotted
class MemberChanged:
    """A member's phase or payload is another.

    Attributes:
        member: What it says of itself.
    """

    member: MemberAlive


@slotted
class MemberDown:
    """A member is dead or has left, and never comes back under this id; told once.

    Attributes:
        node: Which one.
        reason: Why, for people.
        proven: Whether it cannot live on behind a cut: it said so, or its port refused a dial.
    """

    node: PeerId
    reason: str
    proven: bool = False


@slotted
class MemberBuried:
    """A node that this one never knew is dead or has left; what lay there need not be waited for.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class MemberUnlisted:
    """A member left the view for others, in a cluster too large to know all; it may well live.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class MemberSuspected:
    """A member is not heard of. Not promised: anything; most suspicions are refuted.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class MemberTrusted:
    """A suspected member has refuted the suspicion.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class LinkBroken:
    """A member lives, but it and this one do not hear each other.

    Attributes:
        node: Which one.
        by: A member that heard both just now.
    """

    node: PeerId
    by: PeerId


@slotted
class LinkRestored:
    """A member of whom ``LinkBroken`` was told answers again.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class Joined:
    """This node is a member.

    Attributes:
        count: Members that it knows, itself among them.
    """

    count: int


@slotted
class JoinRefused:
    """This node may not become a member; nothing more happens.

    Attributes:
        refusal: ``OTHER_CLUSTER``, ``OTHER_RELEASE``, ``OTHER_PYTHON``, ``ID_TAKEN``.
        detail: Why, for people.
    """

    refusal: int
    detail: str


@slotted
class Fenced:
    """This node was declared dead: end all work here and join under a new id. The last effect.

    Attributes:
        reason: Who said so, for people.
        endpoints: Members on the other side, to join by.
    """

    reason: str
    endpoints: tuple[str, ...]


@slotted
class LeftCluster:
    """Others were told that this node leaves. The last effect."""


MembershipEffect: TypeAlias = (
    SendProbe
    | MemberUp
    | MemberChanged
    | MemberDown
    | MemberBuried
    | MemberUnlisted
    | MemberSuspected
    | MemberTrusted
    | LinkBroken
    | LinkRestored
    | Joined
    | JoinRefused
    | Fenced
    | LeftCluster
    | Report
)
