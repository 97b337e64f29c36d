"""Write large values into shared memory and read them there, waiting where that takes time.

Rules of this file: it asks the machine, waits, and moves the bytes. Every region that it is given
ends in a value or goes back, and every view that was counted for it is made once or goes back,
whatever comes between: an error, an interrupt, an answer after its asker gave up.

Theory of operation. ``perform_inside`` hands an answer to who waits for it, under the process lock;
who gives up takes his request back under the same lock, so that an answer has either found him or
finds nobody and is given back by ``perform``.
"""

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from zgen.core.effects import (
    Effect,
)
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
    ValueInstead,
    ViewOpened,
    ViewRefused,
)
from zgen.core.store_events import (
    OpenView,
    RegionUnused,
    WantRegion,
)
from zgen.exceptions import (
    CapacityError,
    GetTimeoutError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    StreamClosedError,
)
from zgen.ids import ObjectId, PeerId, StreamId
from zgen.io import loading, serializer
from zgen.io.loop import Loop
from zgen.io.serializer import Large
from zgen.io.waiter import Waiter
from zgen.limits import DROPPED_COUNT_MAX, LOAD_IN_PLACE_BYTES_MAX
from zgen.wire.store import REFUSED_DISK, Place
from zgen.wire.value import Stored, room_bytes

if TYPE_CHECKING:  # ctypes is loaded with the first large value, not with the package
    from zgen.io.shared_memory import SharedMemory

log: Final = logging.getLogger("zgen")

#: What comes of the request for a view.
Opened: TypeAlias = ViewOpened | ViewRefused | ValueInstead
T = TypeVar("T")


class Reply(Waiter):
    """Waits for the answer to one request.

    Attributes:
        answer: The answer, or None.
    """

    __slots__ = ("answer",)

    def __init__(self) -> None:
        """Start without an answer."""
        super().__init__()
        self.answer: RegionGiven | RegionRefused | Opened | None = None


class Wait(Protocol):
    """Waits without holding up others."""

    def __call__(self, waiter: Waiter, deadline_ns: int | None) -> bool:
        """Wait at most until ``deadline_ns``; return whether ``waiter`` is done."""


class LargeObjects:
    """The large objects of one process.

    Attributes:
        dropped: Region of each view that went; the I/O thread takes them from here.
    """

    def __init__(
        self,
        loop: Loop,
        folder: str,
        kick: Callable[[], None],
        wait: Wait,
        refuse_if_lost: Callable[[], None],
    ) -> None:
        """Map nothing yet.

        Args:
            loop: What steps the machine.
            folder: Session folder of the node.
            kick: Wakes the I/O thread for the first of a burst of drops; takes no lock.
            wait: Waits for an answer.
            refuse_if_lost: Raises if the node is gone.
        """
        self.dropped: Final[deque[int]] = deque()
        self._loop = loop
        self._folder = folder
        self._kick = kick
        self._wait = wait
        self._refuse_if_lost = refuse_if_lost
        self._numbers = itertools.count(1)
        #: Request -> who waits for its answer. Added by ``_ask``; removed when it comes or is given
        #: up. Process lock.
        self._asked: dict[int, Reply] = {}
        self._memory: SharedMemory | None = None
        self._making = threading.Lock()

    @property
    def memory(self) -> "SharedMemory":
        """The slabs, from the first use on."""
        if self._memory is None:
            from zgen.io.shared_memory import SharedMemory

            with self._making:
                if self._memory is None:
                    self._memory = SharedMemory(self._folder, self._kick, self.dropped)
        return self._memory

    # -- for who has a value or wants one ----------------------------------------------------------
    def store(self, large: Large, owner: PeerId, stream: StreamId) -> Stored:
        """Write a value into a region; it must become a value of ``owner``, or be given back.

        Args:
            large: The value.
            owner: Who will own it.
            stream: Stream that it is an item of, or zeroes.

        Raises:
            ObjectStoreFullError: There is no room for it.
            OutOfDiskError: And none could be made, for a full disk.
            NodeDiedError: The node is gone.
            StreamClosedError: zgen was shut down meanwhile.
        """
        sizes = large.sizes
        request = next(self._numbers)
        answer = self._ask(request, WantRegion(request, owner, stream, room_bytes(sizes)), None)
        if isinstance(answer, RegionRefused):
            self._refuse_if_lost()
            raise _refusal(answer)
        assert isinstance(answer, RegionGiven), answer
        try:
            self.memory.write(answer.place, large.parts)
        except OSError as error:
            self.unused(answer.region)
            limit = f"the machine has no memory for {sum(sizes)} bytes more: {error}"
            raise ObjectStoreFullError(limit) from error
        except BaseException:
            self.unused(answer.region)
            raise
        place = answer.place
        return Stored(answer.node, answer.region, place, large.data, sizes, large.refs)

    def unused(self, region: int) -> None:
        """Give a region back that no value will name."""
        self._loop.post(RegionUnused(region))

    def open(
        self,
        name: ObjectId,
        deadline_ns: int | None,
        load: Callable[[bytes, list[memoryview]], Any] = serializer.deserialize_parts,
    ) -> Any:
        """Return an object of this process that lies in shared memory; what it shares is read-only.

        Args:
            name: The object, with a reference that stays meanwhile; it lies in shared memory, or
                did a moment ago and is being made again.
            deadline_ns: When to stop waiting for it to be brought back or made again, or None.
            load: Unpickles its parts.

        Raises:
            ObjectLostError: It is gone.
            NodeDiedError: The node is gone, and its memory was not mapped before.
            GetTimeoutError: It was not brought back in time.
            StreamClosedError: zgen was shut down meanwhile.
            Exception: Whatever unpickling it raises.
        """
        request = next(self._numbers)
        answer = self._ask(request, OpenView(request, name), deadline_ns)
        assert isinstance(answer, (ViewOpened, ViewRefused, ValueInstead)), answer
        return self.opened(name, answer, load)

    def ask_view(self, name: ObjectId, reply: Reply) -> int:
        """Ask for a view of an object, for who does not block; return the number of the request.

        ``reply`` is finished when the answer is there, which may be at once.
        """
        request = next(self._numbers)
        self._asked[request] = reply
        try:
            self._loop.post(OpenView(request, name))
        except BaseException:
            self.give_up(request, reply)
            raise
        return request

    def give_up(self, request: int, reply: Reply) -> None:
        """Take a request back; an answer that came meanwhile goes back too."""
        self._forget(request)
        if reply.answer is not None:
            self.perform(reply.answer)

    def is_at_hand(self, answer: Opened) -> bool:
        """Return whether ``opened`` takes no longer than a small value does."""
        if not isinstance(answer, ViewOpened):
            return True
        value = answer.value
        size_bytes = loading.bytes_to_load(value.data, value.sizes)
        return size_bytes <= LOAD_IN_PLACE_BYTES_MAX and self.memory.is_mapped(answer.place)

    def opened(
        self,
        name: ObjectId,
        answer: Opened,
        load: Callable[[bytes, list[memoryview]], Any],
    ) -> Any:
        """Return the object that ``answer`` is about; as ``open`` from there on.

        Args:
            name: The object.
            answer: What came of the request for a view.
            load: Unpickles its parts.
        """
        if isinstance(answer, ValueInstead):
            return serializer.deserialize(answer.value)
        if isinstance(answer, ViewRefused):
            error = serializer.error_of(answer.fault)
            raise (
                ObjectLostError(name.hex(), error.story)
                if type(error) is ObjectLostError
                else error
            )
        value = answer.value
        try:
            parts = self.memory.views(value.region, answer.place, value.sizes)
        except ObjectLostError as lost:
            raise ObjectLostError(name.hex(), lost.story) from None
        return load(value.data, parts)

    def view(self, value: Stored) -> Any:
        """Return the object in a value for which a view is counted, in its place.

        Raises:
            NodeDiedError: The node is gone, and its memory was not mapped before.
            Exception: Whatever unpickling it raises.
        """
        parts = self.memory.views(value.region, value.place, value.sizes)
        return serializer.deserialize_parts(value.data, parts)

    def give_back(self, region: int) -> None:
        """Take back a view that is counted and will not be made; nothing is mapped for it."""
        dropped = self.dropped
        first = not dropped
        dropped.append(region)
        if first or len(dropped) == 1:  # either alone misses a race with another thread
            self._kick()

    # -- for the runtime ---------------------------------------------------------------------------
    def perform_inside(self, effect: Effect) -> bool:
        """Hand an answer to who waits for it, under the process lock; False if nobody does."""
        if type(effect) not in _ANSWERS:
            return False
        assert isinstance(effect, _ANSWERS), effect
        reply = self._asked.pop(effect.request, None)
        if reply is None:
            return False
        reply.answer = effect
        reply.finish()
        return True

    def perform(self, effect: Effect) -> bool:
        """Give back what nobody waits for any more; return False for other effects."""
        if isinstance(effect, RegionGiven):
            self.unused(effect.region)
        elif isinstance(effect, ViewOpened):
            self.give_back(effect.value.region)
        else:
            return isinstance(effect, (RegionRefused, ViewRefused, ValueInstead))
        return True

    def keep(self, place: Place) -> None:
        """Map a slab and leave it so until ``let_go``; may block.

        Raises:
            OSError: It could not be opened or mapped.
            NodeDiedError: The node is gone.
            ObjectLostError: The node has no such slab.
        """
        self.memory.keep(place)

    def let_go(self, slab: int) -> None:
        """Leave a slab to its views."""
        self.memory.let_go(slab)

    def detach(self) -> None:
        """Let what is viewed outlive the use of its node, which goes on without this process."""
        if self._memory is not None:
            try:
                self._memory.detach()
            except OSError as error:
                log.error("arrays from shared memory may change from now on: %s", error)

    def finish_all(self) -> None:
        """End every wait, answered or not: the runtime is over. Process lock."""
        for reply in self._asked.values():
            reply.finish()

    def close(self) -> None:
        """Unmap what nobody looks at; views stay readable as long as they are."""
        if self._memory is not None:
            self._memory.close()

    def _ask(
        self, request: int, event: WantRegion | OpenView, deadline_ns: int | None
    ) -> RegionGiven | RegionRefused | Opened:
        reply = self._asked[request] = Reply()
        in_time = True
        try:
            self._loop.post(event)
            if not reply.done:
                in_time = self._wait(reply, deadline_ns)
        except BaseException:
            self.give_up(request, reply)
            raise
        if reply.answer is None:
            self._forget(request)
        if reply.answer is not None:  # it may have come just before
            return reply.answer
        if in_time or deadline_ns is None:
            raise StreamClosedError("", "zgen was shut down before shared memory was at hand")
        raise GetTimeoutError("timed out while it was brought back or made; it may still arrive")

    def _forget(self, request: int) -> None:
        with self._loop.lock:
            self._asked.pop(request, None)


def _refusal(refused: RegionRefused) -> CapacityError:
    holders = tuple([(each.name, each.size_bytes, each.count) for each in refused.holders])
    kind = OutOfDiskError if refused.reason == REFUSED_DISK else ObjectStoreFullError
    return kind(refused.text, holders)


_ANSWERS: Final = (RegionGiven, RegionRefused, ViewOpened, ViewRefused, ValueInstead)


def drained(dropped: deque[T]) -> tuple[T, ...]:
    """Take out what was dropped first, ``DROPPED_COUNT_MAX`` at most.

    Another thread may take some too, so what ``len`` says need not be there.
    """
    taken: list[T] = []
    with suppress(IndexError):
        while len(taken) < DROPPED_COUNT_MAX:
            taken.append(dropped.popleft())
    return tuple(taken)
