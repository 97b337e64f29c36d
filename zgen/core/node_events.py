"""What may happen to a node about other nodes; part of `Event`."""

from typing import TypeAlias

from zgen.ids import PeerId
from zgen.slotted import slotted


@slotted
class MemberSaid:
    """A live member of the cluster joined, or has something new to say.

    Attributes:
        payload: What it says: a ``NodeState`` as one frame.
    """

    payload: bytes


@slotted
class MemberGone:
    """A member left or is dead, for good.

    Attributes:
        node: Which one.
        reason: Why, for people.
        proven: Whether it cannot live on behind a cut: it said so, or its port refuses.
    """

    node: PeerId
    reason: str
    proven: bool = False


@slotted
class LinkCut:
    """A member lives, and others hear it, but it and this node do not hear each other.

    Attributes:
        node: Which one.
        by: A member that hears both.
    """

    node: PeerId
    by: PeerId


@slotted
class LinkHealed:
    """A member of which ``LinkCut`` was told is heard again.

    Attributes:
        node: Which one.
    """

    node: PeerId


@slotted
class JoinCluster:
    """Become a member of a cluster, or the first one.

    Attributes:
        seeds: Endpoints of members, tried in turn; none for a new cluster.
    """

    seeds: tuple[str, ...]


@slotted
class DialRefused:
    """The machine answers, and nobody listens at an endpoint that was to be checked.

    Attributes:
        endpoint: Where.
    """

    endpoint: str


@slotted
class MemoryRead:
    """How much memory is in use, as ``ReadMemory`` asked.

    Attributes:
        used_bytes: How much.
        total_bytes: How much there is.
        workers: Memory of each worker that it was asked of and that lives.
    """

    used_bytes: int
    total_bytes: int
    workers: tuple[tuple[PeerId, int], ...]


@slotted
class KeysRead:
    """The key file of this node was read, and what is in it is used from now on.

    Attributes:
        peer: Who asked for that; None if nobody did.
        query: Its number there.
        prints: What people tell the keys by, the one that is shown first; none without keys.
        failure: Why it could not be read, so that nothing has changed; empty if it could.
    """

    peer: PeerId | None
    query: int
    prints: tuple[str, ...]
    failure: str


NodeEvent: TypeAlias = (
    MemberSaid
    | MemberGone
    | LinkCut
    | LinkHealed
    | JoinCluster
    | DialRefused
    | MemoryRead
    | KeysRead
)
