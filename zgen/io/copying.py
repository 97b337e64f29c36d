"""Copy large values into shared memory: through a map, or by writing to its descriptor.

Rules of this file: bytes and addresses; what they mean is known elsewhere.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from zgen.wire.value import ALIGNMENT

#: What is written where nothing of the value lies.
_ZEROES: Final = memoryview(bytes(256 << 10))
#: Buffers of one ``pwritev``; the kernel takes 1024.
_PIECES_COUNT_MAX: Final = 256
#: Smaller parts are copied with the GIL, which is not worth the trade then.
_ALONE_BYTES_MIN: Final = 32 << 10
#: Larger parts are copied by several threads, at most this many; more do not make it faster.
_TOGETHER_BYTES_MIN: Final = 16 << 20
_THREADS_COUNT_MAX: Final = 4
_PAGE_BYTES: Final = 4096

_PYBUF_SIMPLE: Final = 0


class _Buffer(ctypes.Structure):
    """CPython's ``Py_buffer``, which tells the address of memory that may not be written, too."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer: Final = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int)
_release_buffer: Final = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_Buffer),)
_release_buffer.restype = None


def copy(address: int, part: memoryview) -> None:
    """Copy ``part`` to ``address``; the GIL is free meanwhile if there is much of it."""
    size = part.nbytes
    if size < _ALONE_BYTES_MIN:
        ctypes.memmove(address, bytes(part), size)
        return
    buffer = _Buffer()
    _get_buffer(part, ctypes.byref(buffer), _PYBUF_SIMPLE)
    try:
        if size < _TOGETHER_BYTES_MIN:
            ctypes.memmove(address, buffer.buf, size)
        else:
            _copy_together(address, buffer.buf, size)
    finally:
        _release_buffer(ctypes.byref(buffer))


def _copy_together(address: int, source: int, size: int) -> None:
    """Copy in several threads: one alone does not use all that memory can do."""
    count = min(len(os.sched_getaffinity(0)), _THREADS_COUNT_MAX)
    share = -(-size // count // _PAGE_BYTES) * _PAGE_BYTES
    helpers: list[threading.Thread] = []
    begin = 0
    try:
        with suppress(RuntimeError):  # if no thread can be started, this one copies what is left
            while size - begin > share:
                order = (address + begin, source + begin, share)
                helper = threading.Thread(target=ctypes.memmove, args=order, name="zgen-copy")
                helper.start()
                helpers.append(helper)
                begin += share
        ctypes.memmove(address + begin, source + begin, size - begin)
    finally:
        for helper in helpers:
            helper.join()


def pieces(parts: Sequence[memoryview], room: int) -> "deque[memoryview]":
    """Return all that lies in a region of ``room`` bytes: the parts, and zeroes elsewhere."""
    pieces: deque[memoryview] = deque()
    for part in parts:
        if part.nbytes:
            pieces.append(part)
            pad = -part.nbytes % ALIGNMENT
            room -= part.nbytes + pad
            if pad:
                pieces.append(_ZEROES[:pad])
    while room:
        zeroes = _ZEROES[:room]
        pieces.append(zeroes)
        room -= len(zeroes)
    return pieces


def fill(address: int, size: int, pieces: "deque[memoryview]") -> None:
    """Take ``size`` bytes out of the front of ``pieces`` and copy them to ``address``."""
    while size:
        piece = pieces.popleft()
        if piece.nbytes > size:
            pieces.appendleft(piece[size:])
            piece = piece[:size]
        copy(address, piece)
        address += piece.nbytes
        size -= piece.nbytes


def write_all(fd: int, offset: int, pieces: "deque[memoryview]") -> None:
    """Write all of ``pieces`` at ``offset``, however little is taken at a time."""
    while pieces:
        batch = [pieces[index] for index in range(min(len(pieces), _PIECES_COUNT_MAX))]
        written = _pwritev(fd, batch, offset)
        if not written:
            raise OSError("shared memory takes no more")
        offset += written
        while written:
            piece = pieces.popleft()
            if piece.nbytes > written:
                pieces.appendleft(piece[written:])
                break
            written -= piece.nbytes


def _pwritev(fd: int, batch: list[memoryview], offset: int) -> int:
    """Call the system; EINTR is repeated by Python. Tests take less at a time here."""
    return os.pwritev(fd, batch, offset)
