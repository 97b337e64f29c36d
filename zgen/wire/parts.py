"""Parts of regions on their way from node to node: raw frames, which no session counts.

A part is one message on a connection of its own: a header of fixed size, and frames with the
bytes. It may be lost, come twice or late: what it belongs to says whether it is of any use. Nothing
of it is ever unpickled.
"""

import struct
from typing import Final

from zgen.exceptions import RemoteProtocolError
from zgen.slotted import slotted

#: Begins the header of a part, and the first frame of no other message.
PARTS: Final = b"zgen-part"
_HEADER: Final = struct.Struct("!9sBQQQI")
_UNCHECKED: Final = 0
_CHECKED: Final = 1


@slotted
class PartHeader:
    """What is said of a part.

    Attributes:
        pull: Number of the copying, by the node that copies.
        region: Which region.
        offset: Bytes from its start.
        checksum: crc32 of the bytes; None where whatever carries them vouches for them.
    """

    pull: int
    region: int
    offset: int
    checksum: int | None

    def pack(self) -> bytes:
        """Return it as the first frame of a message."""
        checksum = self.checksum
        how = _UNCHECKED if checksum is None else _CHECKED
        return _HEADER.pack(PARTS, how, self.pull, self.region, self.offset, checksum or 0)


def read_header(frame: bytes) -> PartHeader:
    """Return what a first frame says that begins with ``PARTS``.

    Raises:
        RemoteProtocolError: It is malformed.
    """
    try:
        magic, how, pull, region, offset, checksum = _HEADER.unpack(frame)
    except struct.error as error:
        raise RemoteProtocolError(f"header of a part: {error}") from None
    if magic != PARTS or how not in (_UNCHECKED, _CHECKED):
        raise RemoteProtocolError("header of a part that is none")
    return PartHeader(pull, region, offset, checksum if how == _CHECKED else None)
