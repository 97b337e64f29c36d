"""Shared memory of a node: regions leased to writers, held by readers, released by owners.

A *region* is room for one value in the shared memory of one node. Its number is never used again,
by no node. Where it lies, its *place*, holds as long as anybody holds it; between holds the node
may move it to disk and back.

Who has a region, in order of its life::

    WantRegions RegionsLeased  a writer gets it, for an owner; the owner holds it from here on
    (report)                   the owner learns of it with the value that lies in it
    HoldRegions RegionsHeld    a reader, or an owner that gave it up, holds it and learns its place
    UnholdRegions              a reader lets go
    AskEvict Evict             an owner gives up its hold, so that the node may spill the region
    ReleaseRegions             the owner, or the writer that never reported it, is done with it
    RegionsOrphaned            one of the two died: the other releases what it does not need

What lies on another node is asked for at one's own, which has it copied, and passes on what an
owner says of it; see ``zgen.wire.transfer``.

A region is free again when its owner and its writer are done with it and nobody holds it. A report
says that the writer is done, so the release of an owner speaks for both.
"""

from typing import Final

from zgen.ids import NO_PEER, PeerId, StreamId
from zgen.wire.schema import message, record
from zgen.wire.session import Address

#: ``reason`` of ``RegionsRefused``: it is larger than the whole store.
REFUSED_TOO_LARGE: Final = 0
#: The store is full of what cannot be spilled.
REFUSED_FULL: Final = 1
#: The store is full, and so is the disk.
REFUSED_DISK: Final = 2

#: What a node says of a region that it does not know any more.
RELEASED: Final = "its owner released it"
#: What it says of one of a node that is none of the cluster any more.
NODE_GONE: Final = "its node is gone"


@record
class Place:
    """Where a region lies in the shared memory of its node.

    Attributes:
        slab: Number of the slab, never used again by that node.
        offset: Bytes from its start.
        room: Bytes of the region.
        slab_bytes: Bytes of the slab, which is mapped whole.
        is_warm: Whether every page of the region exists, so that writing it through a map can touch
            nothing that memory has no room for.
    """

    slab: int
    offset: int
    room: int
    slab_bytes: int
    is_warm: bool


@record
class LeasedRegion:
    """A region on its way to its writer.

    Attributes:
        region: Its number.
        place: Where it lies; it stays there while its owner holds it.
    """

    region: int
    place: Place


@record
class Holder:
    """One of the largest holders of a full store.

    Attributes:
        name: Who, for people.
        size_bytes: Bytes of its regions in memory.
        count: How many regions.
    """

    name: str
    size_bytes: int
    count: int


@message(0x40)
class WantRegions:
    """Writer -> node: lease me regions of one size for values of one owner.

    Attributes:
        request: Number of the request, by the writer.
        owner: Who will own the values.
        stream: Stream that they are items of, or zeroes.
        size_bytes: Bytes that each must have room for.
        count: How many are of use; at least one is needed.
        owner_life: Life of the owner if it is of another node; its node may not have told of it.
        owner_node: That node.
    """

    request: int
    owner: PeerId
    stream: StreamId
    size_bytes: int
    count: int
    owner_life: int = 0
    owner_node: PeerId = NO_PEER


@message(0x41)
class RegionsLeased:
    """Node -> writer: here they are, one at least.

    Attributes:
        request: Which request.
        regions: The regions.
    """

    request: int
    regions: tuple[LeasedRegion, ...]


@message(0x42)
class RegionsRefused:
    """Node -> writer: there is no room and nothing that could make some.

    Attributes:
        request: Which request.
        reason: One of the ``REFUSED_`` numbers.
        text: For people.
        holders: The largest holders, the largest first.
    """

    request: int
    reason: int
    text: str
    holders: tuple[Holder, ...]


@message(0x43)
class ReleaseRegions:
    """Process -> node: as their owner, or as the writer that never reported them, done with these.

    Attributes:
        regions: Their numbers.
        unwritten: Whether nothing was written into any of them.
    """

    regions: tuple[int, ...]
    unwritten: bool = False


@message(0x44)
class HoldRegions:
    """Process -> node: keep these where they are, or bring them back, and say where.

    Attributes:
        request: Number of the request, by the sender.
        regions: Their numbers.
        rooms: Bytes of each, if any is a region of another node.
    """

    request: int
    regions: tuple[int, ...]
    rooms: tuple[int, ...] = ()


@message(0x45)
class RegionsHeld:
    """Node -> process: held from now on, one hold for each region and process.

    Attributes:
        request: Which request.
        regions: Those that are held, and where they lie.
        lost: Numbers of those that are gone.
        reason: Why they are gone, for people.
        is_full: Whether they are on disk still, and there is no room to bring them back.
        copies: To a node: some others that have a copy, if one region was asked for.
        owner: To a node: who owns the value, likewise, if that is known.
    """

    request: int
    regions: tuple[LeasedRegion, ...]
    lost: tuple[int, ...]
    reason: str
    is_full: bool = False
    copies: tuple[PeerId, ...] = ()
    owner: tuple[Address, ...] = ()


@message(0x46)
class UnholdRegions:
    """Reader -> node: no view of these is left here.

    Attributes:
        regions: Their numbers.
    """

    regions: tuple[int, ...]


@message(0x47)
class AskEvict:
    """Node -> owner: give up holds, room is wanted. ``Evict`` answers, once.

    Attributes:
        size_bytes: How much room.
        stream: Stream whose next item wants it, or zeroes.
    """

    size_bytes: int
    stream: StreamId


@message(0x48)
class Evict:
    """Owner -> node: no view of these is open here, and none will be before I hold them again.

    Attributes:
        regions: Their numbers, the first to go first; none if nothing can be given up.
        waits: Whether the stream that was asked for has items that its consumer has yet to take:
            its producer waits, and nothing is spilled for it.
    """

    regions: tuple[int, ...]
    waits: bool


@message(0x49)
class RegionsOrphaned:
    """Node -> process: you own or wrote these regions, and who did the other thing died.

    It is also said of copies that are left of regions of a node that is gone. An owner releases
    those that no report named, once the line of the dead writer is quiet; a writer releases all,
    each as soon as it does not write into it.

    Attributes:
        dead: Who died.
        regions: Numbers of the regions.
    """

    dead: PeerId
    regions: tuple[int, ...]
