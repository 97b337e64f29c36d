"""Parts of regions on their way between nodes: read from slabs, checked, and written there.

A part is read and written through the slab's descriptor: where pages are missing and there is no
memory for them, that is an error and no signal.
"""

import os
import zlib
from collections.abc import Callable

from zgen.core.store_effects import ReadChunk, WriteChunk
from zgen.core.store_events import ChunkRead, ChunkWritten


def read_chunk(order: ReadChunk, copy_of: Callable[[int], int]) -> ChunkRead:
    """Read a part; ``copy_of`` returns a new descriptor of a slab."""
    data, failure = b"", ""
    try:
        slab = copy_of(order.place.slab)
        try:
            at = order.place.offset + order.offset
            data = os.pread(slab, order.size_bytes, at)
        finally:
            os.close(slab)
        if len(data) != order.size_bytes:
            failure = f"the slab ends after {len(data)} of {order.size_bytes} bytes"
    except OSError as error:
        failure = error.strerror or str(error)
    checksum = 0 if failure else zlib.crc32(data)
    return ChunkRead(order.node, order.pull, order.region, order.offset, checksum, data, failure)


def write_chunk(order: WriteChunk, copy_of: Callable[[int], int]) -> ChunkWritten:
    """Write a part if it is undamaged; ``copy_of`` returns a new descriptor of a slab."""
    if zlib.crc32(order.data) != order.checksum:
        return ChunkWritten(order.pull, order.offset, "it came damaged, again and again", True)
    failure = ""
    try:
        slab = copy_of(order.place.slab)
        try:
            left, at = memoryview(order.data), order.place.offset + order.offset
            while left:
                count = os.pwrite(slab, left, at)
                left, at = left[count:], at + count
        finally:
            os.close(slab)
    except OSError as error:
        failure = f"it cannot be written into shared memory: {error.strerror or error}"
    return ChunkWritten(order.pull, order.offset, failure, False)
