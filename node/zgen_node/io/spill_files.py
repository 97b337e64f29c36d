"""Files of spilled regions: where each lies, what it is checked by, and room given back.

Rules of this file: blocking calls of one thread, the disk's. A region is appended behind the last
one, and its part of the file is given back to the file system when it is forgotten, so no offset is
used twice. A file that holds nothing any more is cut to nothing; one that has grown long is
followed by another, and closed when its last region is forgotten. That bounds offsets, and what is
kept by a file system that cannot give parts back.

The files have no names, so nothing of them is left when the daemon is killed.
"""

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from zgen.io.unlinked import open_unlinked
from zgen.limits import SPILL_CHUNK_BYTES, SPILL_FILE_BYTES_MAX
from zgen.slotted import slotted
from zgen.wire.store import Place
from zgen_node.io import linux

_BLOCK_BYTES: Final = 4096


@slotted
class _File:
    """One file.

    Attributes:
        descriptor: Of the file.
        end: Bytes up to which it was written.
        count: Regions that lie in it.
    """

    descriptor: int
    end: int = 0
    count: int = 0


@slotted
class _Spilled:
    """One region on disk.

    Attributes:
        file: Where.
        offset: Bytes from the start of the file.
        size_bytes: How many.
        checksum: crc32 of what was written.
    """

    file: _File
    offset: int
    size_bytes: int
    checksum: int


class SpillFiles:
    """The regions of one node on disk."""

    def __init__(self, folder: str | None, look: Callable[[], None]) -> None:
        """Keep files in ``folder``; None stands for that of temporary files.

        Args:
            folder: Where; nothing is made there before the first region comes.
            look: Called before each piece is copied; what it raises ends the copy.
        """
        self._folder = folder
        self._look = look
        #: The file that the next region is appended to; made by the first one.
        self._file: _File | None = None
        #: Region -> where it lies. Added by ``write``; removed by ``read`` and ``forget``.
        self._spilled: dict[int, _Spilled] = {}
        self._buffer: memoryview | None = None

    def write(self, region: int, source: int, place: Place) -> None:
        """Copy a region out of a slab.

        Args:
            region: Its number.
            source: Descriptor of the slab.
            place: Where it lies.

        Raises:
            OSError: It cannot be written; nothing of it stays on disk.
        """
        assert region not in self._spilled, region
        file = self._file_for(place.room)
        try:
            linux.reserve(file.descriptor, file.end, place.room)
            checksum = self._copy(source, place.offset, file.descriptor, file.end, place.room)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file.descriptor, file.end)
            raise
        self._spilled[region] = _Spilled(file, file.end, place.room, checksum)
        file.end += -place.room // _BLOCK_BYTES * -_BLOCK_BYTES
        file.count += 1

    def read(self, region: int, target: int, place: Place) -> None:
        """Copy a region back into a slab, and forget it here whether that succeeds or not.

        Args:
            region: Its number.
            target: Descriptor of the slab.
            place: Where it goes.

        Raises:
            OSError: It cannot be read, or is not what was written.
        """
        spilled = self._spilled.get(region)
        if spilled is None:
            raise OSError(f"region {region} is not there")
        try:
            if spilled.size_bytes != place.room:
                raise OSError(f"region {region} has {spilled.size_bytes} bytes, not {place.room}")
            checksum = self._copy(
                spilled.file.descriptor, spilled.offset, target, place.offset, place.room
            )
            if checksum != spilled.checksum:
                raise OSError(
                    f"region {region} is damaged: its checksum is {checksum:#010x}, "
                    f"{spilled.checksum:#010x} was written"
                )
        finally:
            self.forget(region)

    def forget(self, region: int) -> None:
        """Give back what a region takes; harmless if it is not there."""
        spilled = self._spilled.pop(region, None)
        if spilled is None:
            return
        file = spilled.file
        file.count -= 1
        if file.count:
            with suppress(OSError):  # it is given back with the file
                linux.punch_hole(file.descriptor, spilled.offset, spilled.size_bytes)
        elif file is self._file:
            with suppress(OSError):
                os.ftruncate(file.descriptor, 0)
                file.end = 0
        else:
            os.close(file.descriptor)

    def close(self) -> None:
        """Let go of all files, and so of what lies in them."""
        files = {id(spilled.file): spilled.file for spilled in self._spilled.values()}
        if self._file is not None:
            files[id(self._file)] = self._file
        for file in files.values():
            os.close(file.descriptor)
        self._spilled.clear()
        self._file = None

    @property
    def where(self) -> str:
        """The folder, for people."""
        return self._folder or "the folder of temporary files"

    def _file_for(self, size_bytes: int) -> _File:
        """Return the file to append to."""
        file = self._file
        if file is None or (file.end and file.end + size_bytes > SPILL_FILE_BYTES_MAX):
            if self._folder is None:
                import tempfile  # slow, and mostly not needed

                self._folder = tempfile.gettempdir()
            self._file = _File(open_unlinked(self._folder))
            if file is not None and not file.count:
                os.close(file.descriptor)
            return self._file
        return file

    def _copy(self, source: int, start: int, target: int, to: int, size_bytes: int) -> int:
        """Copy a part of one file into another; return its crc32.

        Raises:
            OSError: One of them cannot be read or written, or the first is too short.
        """
        if self._buffer is None:
            self._buffer = memoryview(bytearray(SPILL_CHUNK_BYTES))
        done = checksum = 0
        while done < size_bytes:
            self._look()
            piece = self._buffer[: size_bytes - done]
            got = os.preadv(source, [piece], start + done)
            if got == 0:
                raise OSError(f"only {done} of {size_bytes} bytes are there")
            checksum = zlib.crc32(piece[:got], checksum)
            written = 0
            while written < got:
                written += os.pwrite(target, piece[written:got], to + done + written)
            done += got
        return checksum
