"""Messages ↔ frames; the one import of msgpack.

Frames of one message behind the routing id that ROUTER adds::

    header   20 bytes, network order
      0  2   magic        b"zg"
      2  1   version      protocol version of the header
      3  1   flags        1 = carries a body, 2 = outside the session (hello, goodbye), 4 = a probe
                          of membership, which is outside too
      4  8   seq          position of this message in the session, from 1; 0 if it has none
     12  8   ack          every message up to here has arrived
    body     msgpack array [kind, field, …]
    buffer   any number, untouched
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgpack

from zgen.exceptions import RemoteProtocolError
from zgen.limits import ARRAY_COUNT_MAX, BODY_BYTES_MAX, BUFFERS_COUNT_MAX
from zgen.slotted import slotted
from zgen.wire.schema import KINDS, LAYOUTS, Buffers, from_array, to_array

MAGIC: Final = b"zg"
HEADER_VERSION: Final = 1
FLAG_BODY: Final = 1
FLAG_UNSEQUENCED: Final = 2
FLAG_PROBE: Final = 4

_header: Final = struct.Struct("!2sBBQQ")
HEADER_BYTES: Final = _header.size
#: Packers that nobody packs with. One holds what it packs and calls ``to_array`` meanwhile, so that
#: two loops of a process would mix their messages in it: who packs takes one away.
_idle: Final[list[msgpack.Packer]] = []


@slotted
class Header:
    """The fixed part in front of every message; see the table in this module's docstring."""

    flags: int
    seq: int
    ack: int


def encode_header(flags: int, seq: int, ack: int) -> bytes:
    """Return the 20 header bytes."""
    return _header.pack(MAGIC, HEADER_VERSION, flags, seq, ack)


def decode_header(frame: bytes) -> Header:
    """Return the header in ``frame``.

    Raises:
        RemoteProtocolError: It is not a header of this version.
    """
    if len(frame) != HEADER_BYTES:
        raise RemoteProtocolError(f"a header has {HEADER_BYTES} bytes, got {len(frame)}")
    magic, version, flags, seq, ack = _header.unpack(frame)
    if magic != MAGIC or version != HEADER_VERSION:
        raise RemoteProtocolError(f"magic {magic!r} version {version} is not ours")
    return Header(flags, seq, ack)


def is_probe(frames: Sequence[bytes]) -> bool:
    """Return whether the header of a message, if it has one, says that it is a probe."""
    return bool(frames) and len(frames[0]) == HEADER_BYTES and frames[0][3] & FLAG_PROBE != 0


def encode(message: Any) -> list[bytes]:
    """Return body and buffer frames of ``message``, to stand behind a header.

    Raises:
        LookupError: Its class was not declared with ``@message``.
    """
    layout = LAYOUTS[type(message)]
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(use_bin_type=True, default=to_array)
    body = packer.pack((layout.kind, *layout.read(message)))
    _idle.append(packer)
    return [body, *message.buffers] if layout.buffered else [body]


def decode(frames: Sequence[bytes]) -> Any:
    """Return the message in body and buffer ``frames``.

    Raises:
        RemoteProtocolError: Too large, malformed, of unknown kind, or not as declared.
    """
    if not frames:
        raise RemoteProtocolError("no body")
    if len(frames[0]) > BODY_BYTES_MAX:
        raise RemoteProtocolError(f"body of {len(frames[0])} bytes, limit {BODY_BYTES_MAX}")
    if len(frames) - 1 > BUFFERS_COUNT_MAX:
        raise RemoteProtocolError(f"{len(frames) - 1} buffers, limit {BUFFERS_COUNT_MAX}")
    try:
        array = msgpack.unpackb(
            frames[0],
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_array_len=ARRAY_COUNT_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (
        ValueError,
        UnicodeDecodeError,
        RecursionError,
        msgpack.exceptions.UnpackException,
    ) as error:
        raise RemoteProtocolError(f"body is not msgpack: {type(error).__name__}") from None
    if type(array) is not tuple or not array or type(array[0]) is not int:
        raise RemoteProtocolError("body is not an array that starts with a kind")
    layout = KINDS.get(array[0])
    if layout is None:
        raise RemoteProtocolError(f"unknown kind {array[0]}")
    values = from_array(layout, array, 1)
    if layout.buffered:
        return layout.cls(*values, buffers=Buffers(tuple(frames[1:])))
    if len(frames) > 1:
        raise RemoteProtocolError(f"{layout.cls.__name__} takes no buffers")
    return layout.cls(*values)
