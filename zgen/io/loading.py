"""Unpickle large values in a thread so that the other threads of Python run on meanwhile.

Rules of this file: the C unpickler keeps the interpreter to itself for as long as it has all it
needs, and one copy does from its beginning to its end. So it is given its pickle by calls of
Python, a piece at a time, and what is only bytes is copied in pieces.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any, Final

from zgen.io.serializer import BYTEARRAY, BYTES
from zgen.limits import LOAD_PIECE_BYTES

#: The only lines in a pickle of protocol 5 are names of modules and classes in old opcodes.
_LINE_BYTES_MAX: Final = 64 << 10


def bytes_to_load(data: bytes, sizes: Sequence[int]) -> int:
    """Return how many bytes of a value are read to unpickle it; the others are shared.

    Args:
        data: As in ``Large``.
        sizes: Bytes of its parts.
    """
    if not data:
        return sizes[0]
    return sum(sizes) if data in (BYTES, BYTEARRAY) else len(data)


def load_in_turns(data: bytes, parts: Sequence[memoryview]) -> Any:
    """As ``serializer.deserialize_parts``, with other threads taking turns.

    Raises:
        Exception: Whatever unpickling it raises.
    """
    if data == BYTES:
        file = io.BytesIO()
        for piece in _pieces(parts[0]):
            file.write(piece)
        return file.getvalue()
    if data == BYTEARRAY:
        array = bytearray()
        for piece in _pieces(parts[0]):
            array += piece
        return array
    if data:
        return pickle.loads(data, buffers=parts)
    return pickle.Unpickler(_InPieces(parts[0]), buffers=parts[1:]).load()


def _pieces(whole: memoryview) -> list[memoryview]:
    steps = range(0, whole.nbytes, LOAD_PIECE_BYTES)
    return [whole[at : at + LOAD_PIECE_BYTES] for at in steps]


class _InPieces:
    """A pickle in memory as a file: the unpickler asks it for each frame."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> bytes:
        piece = bytes(self._data[self._at : self._at + count])
        self._at += len(piece)
        return piece

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        source = self._data[self._at : self._at + target.nbytes]
        self._at += source.nbytes
        for into, piece in zip(_pieces(target), _pieces(source), strict=False):
            into[: piece.nbytes] = piece
        return source.nbytes

    def readline(self) -> bytes:
        ahead = bytes(self._data[self._at : self._at + _LINE_BYTES_MAX])
        return self.read(ahead.index(b"\n") + 1)
