"""Map slabs of shared memory, write regions and view them, tell of each view that went.

Rules of this file: it moves bytes and knows where slabs are mapped. Who may write or look where is
the machine's to say, and counted there.

Theory of operation. A slab is mapped whole, once for reading and once for writing, and stays mapped
for as long as something refers to its ``_Slab``: a view, a write under way, ``keep``, or the list
of those that were used last. So nothing is unmapped under a view, whoever ends first, and
``__del__`` of the last view may unmap without any lock. A region that has no pages is written by
``pwrite``: where memory ends, that fails, and a map would kill the process. One whose pages all
exist is written so the first time, too: through the map each page would cost a fault, three times
what ``pwrite`` takes for it. From the second time on it goes through the map, which has them then.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from zgen.exceptions import StreamClosedError
from zgen.io import clock, copying, large_pages
from zgen.io.descriptors import Descriptors
from zgen.limits import SLABS_UNUSED_COUNT_MAX
from zgen.wire.store import Place
from zgen.wire.value import ALIGNMENT, room_bytes

_PROT_READ: Final = 1
_PROT_WRITE: Final = 2
_MAP_SHARED: Final = 1
_MAP_PRIVATE: Final = 2
_MAP_ANONYMOUS: Final = 0x20
_REMAP_THERE: Final = 1 | 2  # MREMAP_MAYMOVE, MREMAP_FIXED

_libc: Final = ctypes.CDLL(None, use_errno=True)
_mmap: Final = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_mremap: Final = _libc.mremap
_mremap.restype = ctypes.c_void_p
_mremap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_void_p,
)
_munmap: Final = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED: Final = ctypes.c_void_p(-1).value


class _Map:
    """A piece of address space and its descriptor, which go with this.

    Attributes:
        address: Where it begins.
        fd: Descriptor to write what has no pages yet; -1 for a map to read.
        is_large: Whether it is written and may have large pages.
    """

    __slots__ = ("_size_bytes", "_unmap", "address", "fd", "is_large")

    def __init__(self, fd: int, size_bytes: int, *, write: bool) -> None:
        """Map it; ``fd`` is closed, now or at the end.

        Raises:
            OSError: There is no room for the map.
        """
        self._unmap = _munmap
        self._size_bytes = size_bytes
        self.address = 0
        self.fd = fd
        protection = _PROT_READ | _PROT_WRITE if write else _PROT_READ
        address = _mmap(None, size_bytes, protection, _MAP_SHARED, fd, 0)
        if address == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, f"a slab of {size_bytes} bytes: {os.strerror(number)}")
        self.address = address
        self.is_large = write and large_pages.ask_for(fd, address, size_bytes)
        if not write:
            self.fd = -1
            os.close(fd)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Unmap and close it; anywhere, also inside a lock."""
        if self.address:
            self._unmap(self.address, self._size_bytes)
        if self.fd >= 0:
            close(self.fd)


class _Slab:
    """A slab in this process's memory, mapped until nothing refers to this.

    No destructor of its own: a weak reference finds an object while its ``__del__`` runs.

    Attributes:
        address: Where it begins.
        fd: Descriptor to write what the map has no pages of; -1 for one that is read.
        is_large: Whether it is written and may have large pages.
    """

    __slots__ = ("__weakref__", "_known", "_map", "address", "fd", "is_large")

    def __init__(self, mapped: _Map) -> None:
        """Keep the map."""
        self._map = mapped
        self._known: dict[int, None] = {}
        self.address = mapped.address
        self.fd = mapped.fd
        self.is_large = mapped.is_large

    def is_known(self, offset: int) -> bool:
        """Return whether a warm region at ``offset`` was written by this map's process before."""
        is_first = offset not in self._known
        self._known[offset] = None
        return not is_first


class _View(ctypes.Array):  # type: ignore[type-arg]  # it is no generic at run time
    """One view of a region, alive for as long as a memoryview of it, or what was made of that.

    One class for all lengths, since each class would stay for ever: slices bound what is seen.
    """

    _type_ = ctypes.c_ubyte
    _length_ = 1 << 46

    region: int
    slab: _Slab | None = None
    memory: "SharedMemory"

    def __del__(self) -> None:
        """Tell that the view went; anywhere, also inside a lock."""
        if self.slab is not None:
            self.memory.forget(id(self), self.region)


class SharedMemory:
    """The slabs of one node as one process uses them; from any thread.

    Attributes:
        dropped: Region of each view that went, until the I/O thread takes them. ``__del__`` appends
            from anywhere; nobody else does more than ``popleft``.
    """

    def __init__(
        self, folder: str, kick: Callable[[], None], dropped: deque[int] | None = None
    ) -> None:
        """Map nothing yet.

        Args:
            folder: Session folder of the node.
            kick: Wakes the I/O thread for the first of a burst of drops; takes no lock.
            dropped: Where regions of views that went are noted.
        """
        self.dropped: deque[int] = deque() if dropped is None else dropped
        self._kick = kick
        #: Until when no large pages are asked for, since they came slowly.
        self._large_from_ns = 0
        self._descriptors = Descriptors(folder)
        #: Guards the tables below, which no destructor touches.
        self._lock = threading.Lock()
        #: Writes and new views that are under way, and whether no other may begin.
        self._under_way_count = 0
        self._detached = False
        self._quiet = threading.Condition(self._lock)
        #: (slab, whether it is written) -> slab. Added by ``_map``; removed when nothing refers to
        #: it.
        self._mapped: WeakValueDictionary[tuple[int, bool], _Slab] = WeakValueDictionary()
        #: Those that were used last, the oldest first. Added by ``_map``, removed by younger ones.
        self._recent: dict[tuple[int, bool], _Slab] = {}
        #: Slabs that stay mapped for reading. Added by ``keep``; removed by ``let_go``.
        self._kept: dict[int, _Slab] = {}
        self._closed = False
        #: Id of an open view -> slab, address and bytes of its region. Added by ``views``; removed
        #: by its end. Both are single operations, which need no lock.
        self._open: dict[int, tuple[_Slab, int, int]] = {}

    def write(self, place: Place, parts: Sequence[memoryview]) -> None:
        """Write a value into a region that this process was given.

        Args:
            place: Where it lies.
            parts: The value, laid out one behind the other at multiples of ``ALIGNMENT``.

        Raises:
            OSError: Memory has no room, or the slab could not be opened. What lies in the region
                is undefined then.
            NodeDiedError: The node is gone.
            ObjectLostError: The node has no such slab.
            StreamClosedError: This process has left the node.
        """
        taken = room_bytes([part.nbytes for part in parts])
        assert taken <= place.room, place
        slab = self._map(place, write=True)
        self._begin()
        try:
            if place.is_warm and slab.is_known(place.offset):
                address = slab.address + place.offset
                for part in parts:
                    copying.copy(address, part)
                    address += -part.nbytes // ALIGNMENT * -ALIGNMENT
            else:
                room = taken if place.is_warm else place.room  # which leaves no page unmade
                pieces, made = copying.pieces(parts, room), 0
                may_be_large = slab.is_large and not place.offset % large_pages.LARGE_BYTES
                if may_be_large and clock.now_ns() >= self._large_from_ns:
                    made = large_pages.make(slab.address + place.offset, room)
                    if made + large_pages.LARGE_BYTES <= room:
                        self._large_from_ns = clock.now_ns() + large_pages.PAUSE_NS
                    copying.fill(slab.address + place.offset, made, pieces)
                copying.write_all(slab.fd, place.offset + made, pieces)
        finally:
            self._end()

    def views(self, region: int, place: Place, sizes: Sequence[int]) -> list[memoryview]:
        """Make the one view that was counted for the caller; it is dropped, too, if that fails.

        Args:
            region: Its number.
            place: Where it lies for as long as it is looked at.
            sizes: Bytes of each part.

        Returns:
            The parts, read-only. The view goes when nothing refers to any of them.

        Raises:
            OSError: The slab could not be opened or mapped.
            NodeDiedError: The node is gone, and the slab was not mapped before.
            ObjectLostError: The node has no such slab.
            StreamClosedError: This process has left the node.
        """
        try:
            assert room_bytes(sizes) <= place.room, place
            view = self._view(region, place, self._map(place, write=False))
        except BaseException:
            self.drop(region)
            raise
        whole = memoryview(view).cast("B").toreadonly()
        parts: list[memoryview] = []
        at = 0
        for size in sizes:
            parts.append(whole[at : at + size])
            at += -size // ALIGNMENT * -ALIGNMENT
        return parts

    def drop(self, region: int) -> None:
        """Note that a view went, or that one that was counted will not be made."""
        dropped = self.dropped
        first = not dropped
        dropped.append(region)
        if first or len(dropped) == 1:  # either alone misses a race with another thread
            self._kick()

    def forget(self, view: int, region: int) -> None:
        """Note that a view that was made went."""
        self._open.pop(view, None)
        self.drop(region)

    def detach(self) -> None:
        """Put copies of their own in the place of all regions that are viewed, at once for each.

        For a process that leaves a node which lives on, and will use those regions again. It waits
        for writes that are under way; none begins after them, and no view is made.

        Raises:
            OSError: There is no memory for the copies.
        """
        with self._quiet:
            self._detached = True
            while self._under_way_count:
                self._quiet.wait()
        viewed = dict.fromkeys(list(self._open.values()))  # keeps their slabs mapped meanwhile
        for _, address, room in viewed:
            flags = _MAP_PRIVATE | _MAP_ANONYMOUS
            copy = _mmap(None, room, _PROT_READ | _PROT_WRITE, flags, -1, 0)
            if copy != _FAILED:
                ctypes.memmove(copy, address, room)
                if _mremap(copy, room, room, _REMAP_THERE, address) != _FAILED:
                    continue
                _munmap(copy, room)
            raise OSError(ctypes.get_errno(), f"no copy of a region of {room} bytes")

    def keep(self, place: Place) -> None:
        """Map the slab of ``place`` for reading and leave it so until ``let_go``.

        What this process owns there can then be read after the death of the node, too.

        Raises:
            OSError: It could not be opened or mapped.
            NodeDiedError: The node is gone.
            ObjectLostError: The node has no such slab.
        """
        slab = self._map(place, write=False)
        with self._lock:
            if not self._closed:
                self._kept[place.slab] = slab

    def let_go(self, slab: int) -> None:
        """Leave a slab to its views, and to the list of those that were used last."""
        with self._lock:
            self._kept.pop(slab, None)

    def is_mapped(self, place: Place) -> bool:
        """Return whether the slab of ``place`` can be read without mapping it first."""
        return (place.slab, False) in self._mapped

    def mapped_count(self) -> int:
        """Return how many maps of slabs there are."""
        return len(self._mapped)

    def close(self) -> None:
        """Unmap what nobody looks at; what is looked at stays until that ends."""
        self._descriptors.close()
        with self._lock:
            self._closed = True
            unused = (*self._recent.values(), *self._kept.values())
            self._recent.clear()
            self._kept.clear()
        del unused  # without the lock: unmapping takes its time

    def _begin(self) -> None:
        with self._lock:
            if self._detached:
                raise StreamClosedError("", "zgen was shut down meanwhile")
            self._under_way_count += 1

    def _end(self) -> None:
        with self._lock:
            self._under_way_count -= 1
            if not self._under_way_count:
                self._quiet.notify_all()

    def _view(self, region: int, place: Place, slab: _Slab) -> _View:
        self._begin()
        try:
            address = slab.address + place.offset
            view = _View.from_address(address)
            view.region = region
            view.memory = self
            self._open[id(view)] = (slab, address, place.room)
            view.slab = slab
            return view
        finally:
            self._end()

    def _map(self, place: Place, *, write: bool) -> _Slab:
        key = (place.slab, write)
        with self._lock:
            slab = self._mapped.get(key)
        if slab is None:  # two threads may both map it; one of the maps goes at once
            fd = self._descriptors.fetch(place.slab, write=write)
            slab = _Slab(_Map(fd, place.slab_bytes, write=write))
        surplus: list[_Slab] = []
        with self._lock:
            slab = self._mapped.setdefault(key, slab)
            self._recent.pop(key, None)
            self._recent[key] = slab
            while len(self._recent) > SLABS_UNUSED_COUNT_MAX:
                surplus.append(self._recent.pop(next(iter(self._recent))))
        return slab  # the surplus goes without the lock: unmapping takes its time
