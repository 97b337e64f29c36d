"""Regions between nodes: what a far owner says of them, and chunks of their bytes.

A node holds regions of another one as a process does (``HoldRegions``, ``RegionsHeld``,
``UnholdRegions``), copies them in chunks meanwhile, and is told by ``ReleaseRegions`` when a region
of which it has a copy is no more.
"""

from zgen.ids import PeerId
from zgen.wire.schema import Buffers, message


@message(0xA0)
class FarRelease:
    """Node -> node: a process of mine is done with these regions of yours, which it owns.

    Attributes:
        process: Whose word it is.
        regions: Their numbers.
        unwritten: As of ``ReleaseRegions``.
    """

    process: PeerId
    regions: tuple[int, ...]
    unwritten: bool


@message(0xA1)
class FarEvict:
    """Node -> node: a process of mine learned of these regions of yours, and looks at none there.

    Attributes:
        process: Their owner.
        regions: Their numbers.
    """

    process: PeerId
    regions: tuple[int, ...]


@message(0xA2)
class FarOrphaned:
    """Node -> node: tell a process of yours that the writer of these regions of mine died.

    Attributes:
        process: Their owner.
        dead: Who died.
        regions: Their numbers.
    """

    process: PeerId
    dead: PeerId
    regions: tuple[int, ...]


@message(0xA3)
class AskChunk:
    """Node -> node: give me a part of a region of yours, which I hold.

    Attributes:
        pull: Number of the copying, by the sender.
        region: Which region.
        offset: Bytes from its start.
        size_bytes: How many.
    """

    pull: int
    region: int
    offset: int
    size_bytes: int


@message(0xA4)
class Chunk:
    """Node -> node: here it is, in one buffer.

    Attributes:
        pull: Which copying.
        region: Which region.
        offset: Bytes from its start.
        checksum: Its crc32.
        failure: Why it cannot be read, for people; empty if it can, and else there is no buffer.
        buffers: The bytes.
    """

    pull: int
    region: int
    offset: int
    checksum: int
    failure: str
    buffers: Buffers = Buffers(())
