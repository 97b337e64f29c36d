"""Regions between nodes: what a far owner says of them, and chunks of their bytes.

A node holds regions of another one as a process does (``HoldRegions``, ``RegionsHeld``,
``UnholdRegions``), copies them in parts meanwhile, also from other nodes that have a copy and hold
that for it, and is told by ``ReleaseRegions`` when a region of which it has a copy is no more.
"""

from zgen.ids import PeerId
from zgen.wire.schema import message


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

    Or that I have copies of these regions of a node that is gone.

    Attributes:
        process: Their owner.
        dead: Who died, or the node that is gone.
        regions: Their numbers.
    """

    process: PeerId
    dead: PeerId
    regions: tuple[int, ...]


@message(0xA3)
class AskChunk:
    """Node -> node: send me a stretch of a region, which you hold for me, part by part.

    Parts leave on a connection of their own, see ``zgen.wire.parts``.

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
class NoChunk:
    """Node -> node: a stretch that you asked for cannot be read.

    Attributes:
        pull: Which copying.
        region: Which region.
        failure: Why, for people.
    """

    pull: int
    region: int
    failure: str


@message(0xA5)
class CopyMade:
    """Node -> node: I have a copy of a region of yours, and others may copy it from me.

    Attributes:
        region: Which region.
    """

    region: int
