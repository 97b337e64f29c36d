"""Parts of regions on their way between nodes, in a thread and on connections of their own.

Rules of this file: it moves bytes. What is asked for, of whom, and again, is the machine's to say.

Theory of operation. One thread sends what was ordered, see ``part_lines``, and writes what came to
its place. Parts come to the inbox that a node has for other machines anyway; who receives there
hands them over as they are. So neither loop touches their bytes, and messages wait for one part at
most.
"""

import ctypes
import mmap
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from zgen.core.store_effects import CloseCopy, ForgetLine, OpenCopy, SendChunks
from zgen.core.store_events import ChunksUnsent, ChunkWritten
from zgen.exceptions import InternalError
from zgen.io import copying
from zgen.io.security import Locks
from zgen.limits import (
    CHUNK_BYTES,
    CHUNKS_OF_NODE_COUNT_MAX,
    SECOND,
    SPILL_STOP_NS,
)
from zgen.slotted import slotted
from zgen.wire.parts import PartHeader
from zgen.wire.store import Place
from zgen_node.io import linux
from zgen_node.io.part_lines import PartLines, checksum_of, unsent
from zgen_node.io.processes import Watcher

Order: TypeAlias = SendChunks | OpenCopy | CloseCopy | ForgetLine
Answer: TypeAlias = ChunksUnsent | ChunkWritten

#: Stands for a descriptor that is not open.
_NONE: Final = -1
#: Parts that wait to be written; what comes on top nobody asked for.
_CAME_COUNT_MAX: Final = 2 * CHUNKS_OF_NODE_COUNT_MAX
_DAMAGED: Final = "it came damaged, again and again"


@slotted
class _Copy:
    """A copy that is being made.

    Attributes:
        region: Of which region.
        size_bytes: Its bytes.
        place: Where it goes.
        slab: Descriptor of the slab, by which pages are made; closed with the copy.
        address: Where the slab is mapped, if all pages exist; else 0.
        map: Keeps the map.
    """

    region: int
    size_bytes: int
    place: Place
    slab: int
    address: int
    map: mmap.mmap | None


class Transfer:
    """What a node sends and receives of regions, as its loop sees it."""

    def __init__(
        self,
        locks: Locks | None,
        watcher: Watcher,
        post: Callable[[Answer], None],
        copy_of: Callable[[int], int],
    ) -> None:
        """Nothing is made before the first order.

        Args:
            locks: Keys for connections to other nodes; None if there are none.
            watcher: Tells when there are answers.
            post: Takes answers, on the loop's thread.
            copy_of: Returns a new descriptor of a slab.
        """
        self._watcher = watcher
        self._post = post
        self._copy_of = copy_of
        #: Slab -> its map. Of the loop's thread; removed by ``close_slab``.
        self._maps: dict[int, mmap.mmap] = {}
        #: Number of a copying -> it. Changed by the loop's thread, under ``_writing``.
        self._copies: dict[int, _Copy] = {}
        #: Held while a part is written.
        self._writing = threading.Lock()
        #: Added by the loop's thread; removed by the other one.
        self._orders: deque[tuple[SendChunks, mmap.mmap] | ForgetLine] = deque()
        self._came: deque[tuple[PartHeader, list[Any]]] = deque()
        #: Added by the thread; removed by the loop's.
        self._answers: deque[Answer] = deque()
        self._answers_told = False
        self._answers_fd = self._wake_fd = _NONE
        self._asleep = False
        self._ending = False
        #: Story of what ended the thread too soon, or empty.
        self._broken = ""
        self._thread: threading.Thread | None = None
        #: Of the thread.
        self._lines = PartLines(locks)

    @property
    def sent_count(self) -> int:
        """How many parts were given to ZeroMQ."""
        return self._lines.sent_count

    @property
    def lines_count(self) -> int:
        """How many nodes it is connected to."""
        return len(self._lines)

    # -- the loop's thread -------------------------------------------------------------------------
    def order(self, order: Order) -> None:
        """Do this; what follows comes as events."""
        match order:
            case SendChunks():
                try:
                    self._order((order, self._map_of(order.place)))
                except (OSError, RuntimeError, ValueError) as error:  # no descriptor, or no thread
                    self._post(unsent(order, str(error)))
            case ForgetLine():
                if self._thread is not None:
                    self._order(order)
            case OpenCopy():
                try:
                    self._open(order)
                except (OSError, RuntimeError, ValueError) as error:
                    failure = f"it cannot be written into shared memory: {error}"
                    self._post(ChunkWritten(order.pull, 0, failure, False))
            case CloseCopy(pull):
                with self._writing:
                    copy = self._copies.pop(pull, None)
                if copy is not None:
                    os.close(copy.slab)

    def take(self, header: PartHeader, frames: list[Any]) -> None:
        """Write a part that came, if it was asked for."""
        if header.pull in self._copies and len(self._came) < _CAME_COUNT_MAX:
            self._came.append((header, frames))
            self._wake()

    def close_slab(self, slab: int) -> None:
        """Forget a slab; what is being sent of it stays."""
        self._maps.pop(slab, None)

    def end(self) -> None:
        """Stop; harmless twice."""
        thread = self._thread
        if thread is None:
            return
        self._ending = True
        self._wake()
        thread.join(SPILL_STOP_NS / SECOND)
        if thread.is_alive():
            return  # what it has ends with the process
        self._thread = None
        self._watcher.unwatch(self._answers_fd)
        os.close(self._answers_fd)
        os.close(self._wake_fd)
        for copy in self._copies.values():
            os.close(copy.slab)
        self._copies.clear()
        self._maps.clear()

    def _open(self, order: OpenCopy) -> None:
        self._start()
        slab, mapped, address = _NONE, None, 0
        if order.place.is_warm:
            mapped = self._map_of(order.place)
            address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        slab = self._copy_of(order.place.slab)
        copy = _Copy(order.region, order.size_bytes, order.place, slab, address, mapped)
        with self._writing:
            self._copies[order.pull] = copy

    def _map_of(self, place: Place) -> mmap.mmap:
        mapped = self._maps.get(place.slab)
        if mapped is None:
            slab = self._copy_of(place.slab)
            try:
                mapped = self._maps[place.slab] = mmap.mmap(slab, place.slab_bytes)
            finally:
                os.close(slab)
        return mapped

    def _order(self, order: tuple[SendChunks, mmap.mmap] | ForgetLine) -> None:
        self._start()
        self._orders.append(order)
        self._wake()

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            os.eventfd_write(self._wake_fd, 1)

    def _start(self) -> None:
        if self._thread is not None:
            return
        if self._answers_fd == _NONE:
            self._answers_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._watcher.watch(self._answers_fd, self._on_answers)
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            linux.keep_freed(CHUNK_BYTES, CHUNKS_OF_NODE_COUNT_MAX * CHUNK_BYTES)
        thread = threading.Thread(target=self._run, name="zgen-transfer", daemon=True)
        thread.start()
        self._thread = thread

    def _on_answers(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._answers_fd)
        if self._broken:
            raise InternalError(self._broken)
        self._answers_told = False
        while self._answers:
            self._post(self._answers.popleft())

    # -- the other thread --------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        except Exception:
            # The loop raises it: dirty state is never continued.
            self._broken = traceback.format_exc()
            os.eventfd_write(self._answers_fd, 1)
        finally:
            self._lines.close()

    def _turn(self) -> None:
        """Do what there is, then wait for more."""
        while self._orders or self._came:
            if self._orders:
                self._take_order(self._orders.popleft())
            if self._came:
                self._write(*self._came.popleft())
        self._lines.pump()
        self._asleep = True
        if not (self._orders or self._came or self._ending):
            self._lines.wait(self._wake_fd)
        self._asleep = False
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _take_order(self, order: tuple[SendChunks, mmap.mmap] | ForgetLine) -> None:
        if isinstance(order, ForgetLine):
            self._lines.forget(order.node)
            return
        unsent = self._lines.send(*order)
        if unsent is not None:
            self._answer(unsent)

    def _answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        if not self._answers_told:
            self._answers_told = True
            os.eventfd_write(self._answers_fd, 1)

    # -- receiving ---------------------------------------------------------------------------------
    def _write(self, header: PartHeader, frames: list[Any]) -> None:
        """Write a part to its place, if it is of any use and undamaged."""
        pull, offset = header.pull, header.offset
        data = [frame.buffer for frame in frames]
        with self._writing:
            copy = self._copies.get(pull)
            if copy is None or copy.region != header.region or offset % CHUNK_BYTES:
                return
            if sum(map(len, data)) != min(CHUNK_BYTES, copy.size_bytes - offset):
                return
            if header.checksum is not None and header.checksum != checksum_of(data):
                self._answer(ChunkWritten(pull, offset, _DAMAGED, True))
                return
            failure = _put(copy, copy.place.offset + offset, data)
        self._answer(ChunkWritten(pull, offset, failure, False))


def _put(copy: _Copy, at: int, data: list[memoryview]) -> str:
    """Write frames into a slab; return why that cannot be, for people."""
    if copy.address:
        for frame in data:
            copying.copy(copy.address + at, frame)
            at += len(frame)
        return ""
    try:
        copying.write_all(copy.slab, at, deque(data))
    except OSError as error:
        return f"it cannot be written into shared memory: {error.strerror or error}"
    return ""
