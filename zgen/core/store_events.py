"""What may happen to a process about shared memory; part of ``Event``."""

from typing import TypeAlias

from zgen.ids import ObjectId, PeerId, StreamId
from zgen.slotted import slotted


@slotted
class WantRegion:
    """A value is to be written into shared memory; ``RegionGiven`` or ``RegionRefused`` follows.

    What is given ends as the region of a value that is put, yielded or returned, or in a
    ``RegionUnused``.

    Attributes:
        request: Number of the request, never used again by this process.
        owner: Who will own the value: this process for what it puts.
        stream: Stream that it is an item of, or zeroes.
        size_bytes: Bytes that it takes.
    """

    request: int
    owner: PeerId
    stream: StreamId
    size_bytes: int


@slotted
class RegionUnused:
    """A region that was given will not be the region of any value.

    Attributes:
        region: Its number.
    """

    region: int


@slotted
class OpenView:
    """The user wants to read an object that lies in shared memory.

    ``ViewOpened``, ``ViewRefused`` or ``ValueInstead`` follows, in the same step unless its node
    must be asked, or the object has to be made anew.

    Attributes:
        request: Number of the request, never used again by this process.
        object: The object; it has a reference, or is an item that nobody has taken, and had a
            ``Stored`` value a moment ago.
    """

    request: int
    object: ObjectId


@slotted
class RegionSpilled:
    """The disk took a region in, or could not.

    Attributes:
        region: Its number.
        failure: Why not, for people; empty if it did.
        is_disk_full: Whether it could not because the disk is full.
    """

    region: int
    failure: str
    is_disk_full: bool


@slotted
class RegionRestored:
    """A region came back from disk, or could not.

    Attributes:
        region: Its number.
        failure: Why not, for people; empty if it did.
    """

    region: int
    failure: str


@slotted
class SlabPopulated:
    """All pages of a slab exist now.

    Attributes:
        slab: Its number.
    """

    slab: int


@slotted
class ChunksUnsent:
    """A stretch of a region cannot be sent to the node that asked for it.

    Attributes:
        node: Which node.
        pull: Number of its copying.
        region: The region.
        failure: Why not, for people.
    """

    node: PeerId
    pull: int
    region: int
    failure: str


@slotted
class ChunkWritten:
    """A part of a copy lies at its place, or does not.

    Attributes:
        pull: Number of the copying.
        offset: Bytes from the start of the region.
        failure: Why not, for people; empty if it does.
        is_damaged: Whether that is for its checksum, so that it may be asked for again.
    """

    pull: int
    offset: int
    failure: str
    is_damaged: bool


StoreEvent: TypeAlias = (
    WantRegion
    | RegionUnused
    | OpenView
    | RegionSpilled
    | RegionRestored
    | SlabPopulated
    | ChunksUnsent
    | ChunkWritten
)
