"""Large values that lie on other nodes, brought here for who waits for them with ``wait``.

Rules of this file: what is on its way is not asked for again, whoever waits for it, and comes also
where nobody waits any more. How a value comes, and what becomes of a lost one, is the machine's.

Theory of operation. A view is opened, as ``get`` does it, and given back at once. What has come
counts as here from then on, though it may go again for want of room: nobody holds it. What cannot
come counts too, since ``get`` says why. A generator is looked at for the item that is next. What is
found under the process lock is noted in ``due``, and asked for when that is released.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from zgen.core.owner import Owner
from zgen.core.region_table import RegionTable
from zgen.core.store_effects import ViewOpened
from zgen.ids import ObjectId, StreamId, item_ids
from zgen.runtime.objects import LargeObjects, Reply
from zgen.wire.value import Stored, Value


class Arrival(Reply):
    """Waits for one value to come.

    Attributes:
        key: The object, or the stream whose next item it is.
        name: The object.
    """

    __slots__ = ("_came", "key", "name")

    def __init__(self, key: bytes, name: ObjectId, came: Callable[["Arrival"], None]) -> None:
        """Call ``came`` when it is there, under the process lock."""
        super().__init__()
        self.key = key
        self.name = name
        self._came = came

    def finish(self) -> None:
        """It is there, or never will be; under the process lock."""
        super().finish()
        self._came(self)


class Arrivals:
    """What is brought to this node for who waits. Under the process lock where not said otherwise.

    Attributes:
        due: What is to be asked for: what waits know it by, and the object. Added by ``want``;
            removed by ``begin``.
        here: Object or stream -> region of what came of it, or of its next item. Added by
            ``_came``; removed by ``forget``.
        tell: Tells who waits that something is here.
        may_borrow: Whether a wait found borrowed objects in this process.
    """

    def __init__(
        self,
        owner: Owner,
        regions: RegionTable,
        objects: LargeObjects,
        lock: AbstractContextManager[Any],
    ) -> None:
        """Bring nothing yet; ``lock`` is the process lock."""
        self.due: deque[tuple[bytes, ObjectId]] = deque()
        self.here: dict[bytes, int] = {}
        self.tell: Callable[[bytes], None] = lambda key: None
        self.may_borrow = False
        self._owner = owner
        self._regions = regions
        self._objects = objects
        self._lock = lock
        #: What is due or on its way, as waits know it.
        self._coming: dict[bytes, None] = {}

    @property
    def is_used(self) -> bool:
        """Whether anything may lie elsewhere at all; needs no lock."""
        return self._regions.has_far or self.may_borrow

    # -- for who waits -----------------------------------------------------------------------------
    def bring(self, items: Iterable[Any]) -> "Arrivals":
        """Ask for what of these has to come; takes the lock itself, and returns this."""
        if self.is_used:
            with self._lock:
                self.want_all(items)
            self.begin()
        return self

    def ready_among(self, items: Sequence[Any], count_max: int) -> list[int]:
        """Return the positions of what is ready and here, ``count_max`` at most; needs no lock."""
        ready: list[int] = []
        home = self._regions.home
        for index, item in enumerate(items):
            value = item.record.value
            if value is True:
                is_ready = item.would_not_block() and self.is_here(item)
            elif type(value) is Stored and value.node != home:
                is_ready = self.is_here(item)
            else:
                is_ready = value is not None
            if is_ready:
                ready.append(index)
                if len(ready) == count_max:
                    break
        return ready

    # -- what is where -----------------------------------------------------------------------------
    def is_here(self, item: Any) -> bool:
        """Return whether a ready reference, or the next item of a generator, is here; no lock."""
        next_item = self._next_of(item)
        return next_item is None or not self._is_far(item._id, next_item[1])  # noqa: SLF001  # as ``wait`` does

    def want_all(self, items: Iterable[Any]) -> None:
        """Note what of these references and generators has to come."""
        for item in items if self.is_used else ():
            value = item.record.value
            if value is True or type(value) is Stored:
                next_item = self._next_of(item)
                if next_item is not None and self._is_far(item._id, next_item[1]):  # noqa: SLF001  # as above
                    self.want(item._id, next_item[0])  # noqa: SLF001  # as above

    def far_among(self, objects: Sequence[ObjectId]) -> dict[bytes, ObjectId]:
        """Return which of these, which have their values, have to come."""
        records = self._owner.refs.records
        far: dict[bytes, ObjectId] = {}
        for name in objects:
            record = records.get(name)
            if record is not None and self._is_far(name, record.value):
                far[name] = name
        return far

    def far_next(self, stream: StreamId) -> dict[bytes, ObjectId]:
        """Return a stream and its next item if that has to come."""
        first = self._owner.streams.first_unread(stream)
        if first is None or not self._is_far(stream, first[1]):
            return {}
        return {stream: item_ids(stream, first[0], 1)[0]}

    # -- bringing it -------------------------------------------------------------------------------
    def want(self, key: bytes, name: ObjectId) -> None:
        """Note that an object has to come, unless it is on its way."""
        if key not in self._coming:
            self._coming[key] = None
            self.due.append((key, name))

    def begin(self) -> None:
        """Ask for what is due; without the process lock."""
        while self.due:
            try:
                key, name = self.due.popleft()
            except IndexError:
                return  # another thread took it
            try:
                self._objects.ask_view(name, Arrival(key, name, self._came))
            except BaseException:
                with self._lock:
                    self._coming.pop(key, None)
                raise

    def forget(self, names: Iterable[bytes]) -> None:
        """Nobody holds these objects and generators any more; needs no lock."""
        for name in names:
            self.here.pop(name, None)

    def _came(self, arrival: Arrival) -> None:
        key, answer = arrival.key, arrival.answer
        self._coming.pop(key, None)
        record = self._owner.refs.records.get(arrival.name)
        value = record.value if record is not None else None
        if isinstance(answer, ViewOpened):
            value = answer.value
            self._objects.give_back(value.region)
        elif record is None:
            first = self._owner.streams.first_unread(StreamId(key))
            value = first[1] if first is not None else None
        is_held = key in self._owner.refs.records or key in self._owner.streams.streams
        if is_held and type(value) is Stored:
            self.here[key] = value.region
        self.tell(key)

    def _is_far(self, key: bytes, value: Value | None) -> bool:
        regions = self._regions
        if type(value) is not Stored or value.node == regions.home:
            return False
        region = regions.regions.get(value.region)
        is_held = region is not None and region.place is not None
        return not is_held and self.here.get(key) != value.region

    def _next_of(self, item: Any) -> tuple[ObjectId, Value | None] | None:
        """Return the object that a reference, or the next step of a generator, stands for."""
        value = item.record.value
        if value is not True:
            return item._id, value  # noqa: SLF001  # as above
        ref = item.at_hand()
        if ref is not None:
            return ref._id, ref.record.value  # noqa: SLF001  # as above
        stream = item.stream
        first = self._owner.streams.first_unread(stream)
        return (item_ids(stream, first[0], 1)[0], first[1]) if first is not None else None
