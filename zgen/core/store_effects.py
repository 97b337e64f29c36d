"""What a machine may ask for about shared memory; part of ``Effect``."""

from typing import TypeAlias

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.store import Holder, Place
from zgen.wire.value import Fault, Stored, Value


@slotted
class RegionGiven:
    """Answer to ``WantRegion``.

    Attributes:
        request: Which request.
        node: Node of the region.
        region: Number of the region.
        place: Where it lies.
    """

    request: int
    node: PeerId
    region: int
    place: Place


@slotted
class RegionRefused:
    """Answer to ``WantRegion``: there is no room, or no node.

    Attributes:
        request: Which request.
        reason: One of ``wire.store``'s ``REFUSED_`` numbers.
        text: For people.
        holders: The largest holders, the largest first.
    """

    request: int
    reason: int
    text: str
    holders: tuple[Holder, ...]


@slotted
class ViewOpened:
    """Answer to ``OpenView``: one view is counted for whoever asked, who now makes one.

    Attributes:
        request: Which request.
        value: The value.
        place: Where its region lies now, for as long as the view is there.
    """

    request: int
    value: Stored
    place: Place


@slotted
class ViewRefused:
    """Answer to ``OpenView``: the value is gone.

    Attributes:
        request: Which request.
        fault: Why.
    """

    request: int
    fault: Fault


@slotted
class ValueInstead:
    """Answer to ``OpenView``: the object was lost, and what came instead has no region.

    Attributes:
        request: Which request.
        value: The value, or the error.
    """

    request: int
    value: Value


@slotted
class CreateSlab:
    """Make a slab of shared memory, without pages. Done before anybody is told of it.

    Attributes:
        slab: Its number.
        size_bytes: Its bytes.
        is_shared: Whether it is cut into several rooms, of which each has its pages when it is
            taken.
    """

    slab: int
    size_bytes: int
    is_shared: bool = False


@slotted
class PopulateSlab:
    """Make all pages of a slab that nobody was told of yet; ``SlabPopulated`` follows if it can be.

    Attributes:
        slab: Its number.
        size_bytes: Its bytes.
    """

    slab: int
    size_bytes: int


@slotted
class PunchRegion:
    """Give the pages of a part of a slab back to the machine; what lies there is lost.

    Attributes:
        slab: The slab.
        offset: Bytes from its start.
        size_bytes: How many.
    """

    slab: int
    offset: int
    size_bytes: int


@slotted
class CloseSlab:
    """Forget a slab; maps of it stay.

    Attributes:
        slab: Its number.
    """

    slab: int


@slotted
class SpillRegion:
    """Write a region to disk; ``RegionSpilled`` follows. Nobody writes into it meanwhile.

    Attributes:
        region: Its number.
        place: Where it lies.
    """

    region: int
    place: Place


@slotted
class RestoreRegion:
    """Read a region back from disk, and forget it there; ``RegionRestored`` follows.

    Attributes:
        region: Its number.
        place: Where it goes; nobody looks there meanwhile.
    """

    region: int
    place: Place


@slotted
class ForgetSpilled:
    """Forget a region on disk.

    Attributes:
        region: Its number.
    """

    region: int


@slotted
class SendChunks:
    """Send a stretch of a region to a node that copies it; ``ChunksUnsent`` follows if that fails.

    Attributes:
        node: Which node.
        endpoint: Its inbox for other machines.
        pull: Number of its copying.
        region: The region.
        place: Where it lies.
        offset: Bytes from its start.
        size_bytes: How many.
        is_checked: Whether each part needs a checksum, unless its connection vouches for it: not
            where it stays on this machine.
    """

    node: PeerId
    endpoint: str
    pull: int
    region: int
    place: Place
    offset: int
    size_bytes: int
    is_checked: bool


@slotted
class ForgetLine:
    """Send nothing more to a node.

    Attributes:
        node: Which node.
    """

    node: PeerId


@slotted
class OpenCopy:
    """Write parts of a copy to its place as they come; ``ChunkWritten`` follows for each.

    Attributes:
        pull: Number of the copying.
        region: The region.
        place: Where the copy goes; nobody looks there meanwhile.
        size_bytes: Its bytes.
    """

    pull: int
    region: int
    place: Place
    size_bytes: int


@slotted
class CloseCopy:
    """Write nothing more of a copy.

    Attributes:
        pull: Number of the copying.
    """

    pull: int


StoreEffect: TypeAlias = (
    RegionGiven
    | RegionRefused
    | ViewOpened
    | ViewRefused
    | ValueInstead
    | CreateSlab
    | PopulateSlab
    | PunchRegion
    | CloseSlab
    | SpillRegion
    | RestoreRegion
    | ForgetSpilled
    | SendChunks
    | ForgetLine
    | OpenCopy
    | CloseCopy
)
