"""`ObjectRef`, `ObjectRefGenerator`; dropping one posts an event.

What must not happen here: ``__del__`` taking a lock. It may run anywhere, also inside one, so it
appends to a queue and wakes the I/O thread if that sleeps.
"""

from collections.abc import Iterator
from typing import Any, Final, Generic, NoReturn, TypeVar

from zgen.core.effects import ItemsTaken
from zgen.core.events import CountRef, PutObject, RefCompletion, TakeItems
from zgen.core.handover_words import StreamRefusal
from zgen.core.ref_table import OwnedRef
from zgen.exceptions import NestedRefError, ObjectLostError, StreamClosedError
from zgen.ids import (
    NO_STREAM,
    PUT_INDEX_FIRST,
    ObjectId,
    StreamId,
    object_id,
    task_of,
)
from zgen.io import clock, serializer
from zgen.io.nested_refs import collect
from zgen.io.serializer import Large
from zgen.io.waiter import Waiter
from zgen.limits import TAKE_COUNT_MAX
from zgen.runtime import process
from zgen.runtime.awaiting import ONE_WAY, AwaitableRef
from zgen.runtime.handing import HandingSteps
from zgen.runtime.process import Runtime, dropped_objects, dropped_streams, kick
from zgen.runtime.waits import UNKNOWN, CountWaiter, Mark
from zgen.wire.value import NONE, NestedRef, Stored, Value, is_error

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ObjectRef(AwaitableRef[T_co], Generic[T_co]):
    """A counted handle on one object, of this process or of another one.

    Two references to the same object are equal. The object lives as long as one of them does in any
    process, a value that contains one, or a pending task that needs it as an argument; but no
    longer than the process that made its first reference, which owns it.
    """

    __slots__ = ("__weakref__", "_id", "record")

    def __init__(self, name: ObjectId, record: OwnedRef) -> None:
        """Made by zgen only, for a reference that is counted already."""
        self._id = name
        self.record = record

    def __del__(self) -> None:
        """Count one reference less, soon."""
        first = not dropped_objects
        dropped_objects.append(self._id)
        if first or len(dropped_objects) == 1:  # either alone misses a race with another thread
            kick()

    def hex(self) -> str:
        """Return the id as hex digits."""
        return self._id.hex()

    def binary(self) -> bytes:
        """Return the id."""
        return self._id

    def task_id(self) -> bytes:
        """Return the id of the task whose result this is."""
        return task_of(self._id)

    def __hash__(self) -> int:
        """Hash by id."""
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        """Compare by id."""
        return isinstance(other, ObjectRef) and self._id == other._id

    def __repr__(self) -> str:
        """Name the object."""
        return f"ObjectRef({self._id.hex()})"

    def __iter__(self) -> NoReturn:
        """A reference is not a sequence.

        Raises:
            TypeError: Always.
        """
        raise TypeError("an ObjectRef cannot be iterated; use zgen.get(ref) for its value")

    def __deepcopy__(self, memo: object = None) -> "ObjectRef[T_co]":
        """Return itself, which never changes: what refers to objects can be copied, not these."""
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name inside a value that zgen pickles, which then keeps the object.

        Raises:
            NestedRefError: Somebody else pickles it.
            ObjectLostError: Its zgen was shut down.
        """
        runtime = process.current
        if runtime is None or runtime.machine.owner.refs.records.get(self._id) is not self.record:
            raise ObjectLostError(self.hex(), "its zgen was shut down")
        borrow = self.record.borrow
        owner = borrow.owner if borrow else runtime.machine.session.identity.address
        if not collect(NestedRef(self._id, owner)):
            raise NestedRefError(
                f"{self!r} was to be pickled by hand, and zgen could not tell for how long its "
                "object is needed; put it into an argument, a result or zgen.put()"
            )
        return unpickled, (self._id,)


def unpickled(name: ObjectId) -> ObjectRef[Any]:
    """Return a reference that came inside a value, which keeps its object until then.

    Raises:
        NestedRefError: That value is gone: its bytes were kept by hand.
        LocalProtocolError: zgen does not run in this process.
    """
    runtime = process.require()
    with runtime.loop.lock:
        record = runtime.machine.owner.refs.records.get(name)
        if record is None:
            raise NestedRefError(f"the value that kept object {name.hex()} for a reference is gone")
        runtime.loop.post(CountRef(name))
    return ObjectRef(name, record)


class ObjectRefGenerator(HandingSteps["ObjectRef[T]"], Generic[T]):
    """References to the items of a remote generator, in yield order, as it yields them.

    Iterate it, or call ``next``: each step blocks until the next item is there and returns its
    reference. A failure is a reference whose ``get`` raises; after it, and after the last item,
    ``next`` raises ``StopIteration`` for ever. Dropping the generator frees what was not taken; the
    remote body runs on to its end. ``close``, or the end of a ``with`` block, stops it too. As an
    argument or in a value it hands the right to read it to another process, until it comes back.
    Not thread-safe.
    """

    __slots__ = ("__weakref__", "_id", "record")

    def __init__(self, stream: StreamId, runtime: Runtime) -> None:
        """Made by zgen only."""
        self._id = self.stream = stream
        self._runtime = runtime
        #: What ``wait`` looks at first, as at the record of a reference: no value, not ready.
        self.record = UNKNOWN
        #: References taken over from the owner's table, those before the cursor given out already.
        self._items: list[ObjectRef[T] | None] = []
        self._cursor = 0
        self._ended = False
        self._loan = None
        #: When the event loop last had a turn, 0 before the first asynchronous step.
        self._turned_ns = 0

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        """Return itself."""
        return self

    def __next__(self) -> ObjectRef[T]:
        """Block until the next item is there and return its reference.

        Raises:
            StopIteration: There is none and never will be.
            StreamClosedError: zgen was shut down before it came.
            StreamLentError: It was handed over.
            OwnerDiedError: It came from another process, which died.
        """
        # Between the read of the item and the return nothing is called, so that no interrupt can
        # come between moving the cursor and handing the item over.
        cursor = self._cursor
        items = self._items
        if cursor == len(items):
            items = self._refill(None)
            cursor = 0
        item = items[cursor]
        items[cursor] = None
        self._cursor = cursor + 1
        return item  # type: ignore[return-value]  # None stands before the cursor only

    def next(self, timeout: float | None = None) -> ObjectRef[T]:
        """Like ``next(gen)``, for a bounded time.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            GetTimeoutError: Nothing came in time; the next call goes on from here.
            StopIteration: There is no item and never will be.
            ValueError: ``timeout`` is negative.
            TypeError: It is no number.
        """
        clock.deadline_ns(timeout)  # which checks it
        if self._cursor == len(self._items):
            self._refill(timeout)
            self._cursor = 0
        return self.__next__()

    def completed(self) -> ObjectRef[Any]:
        """Return a reference to what the remote generator returns, ready when it has ended.

        It holds None after an exception of the body, which was delivered as an item; it raises
        where the system failed. A generator that was handed over has it too, whoever reads it.
        """
        runtime = self._runtime
        runtime.enter()
        runtime.loop.post(RefCompletion(self.stream))
        name = runtime.machine.owner.handover.completion(self.stream)
        return ObjectRef(name, runtime.machine.owner.refs.records[name])

    def send(self, value: Any) -> ObjectRef[T]:
        """Give the body a value at its yield and return its next item, if it is two-way.

        Raises:
            NotImplementedError: It was not opened for it, by ``two_way=True``.
        """
        raise NotImplementedError(ONE_WAY)

    def throw(self, error: BaseException | type[BaseException]) -> ObjectRef[T]:
        """Raise an exception at the yield of the body, if it is two-way; return its next item.

        Raises:
            NotImplementedError: It was not opened for it, by ``two_way=True``.
        """
        raise NotImplementedError(ONE_WAY)

    def __del__(self) -> None:
        """Free what was not taken, soon."""
        first = not dropped_streams
        dropped_streams.append(self.stream)
        if first or len(dropped_streams) == 1:
            kick()

    def __repr__(self) -> str:
        """Name the stream."""
        return f"ObjectRefGenerator({self.stream.hex()})"

    def would_not_block(self) -> bool:
        """Return whether ``next`` would not block; if it would, ``record`` tells from now on."""
        if self._cursor < len(self._items) or self._ended:
            return True
        runtime = self._runtime
        table = runtime.machine.owner.streams
        record = table.streams[self.stream]
        if (record.unread or record.ended) and not record.is_lent:
            return True
        if record.step:
            self._come_back(record)
        with runtime.loop.lock:
            if table.is_ready(self.stream):
                return True
            if self.record is UNKNOWN:
                self.record = Mark(None)
            runtime.waits.mark_blocking(self.stream, self.record)
        return False

    def _refill(self, timeout_s: float | None) -> list["ObjectRef[T] | None"]:
        """Take over the next items; the cursor of what is returned is 0.

        Raises:
            StopIteration: There is none and never will be; it has what the generator returned.
            GetTimeoutError: None came in time.
            StreamClosedError: The runtime was shut down.
        """
        runtime = self._runtime
        deadline_ns = clock.deadline_ns(timeout_s)
        if self._ended:
            raise self._stop(deadline_ns)
        runtime.enter()
        while True:
            taken = self._take(runtime)
            if taken:
                self._items, self._cursor = taken, 0
                return taken
            if self._ended:
                raise self._stop(deadline_ns)
            if not self._wait(runtime, deadline_ns) and not runtime.closed:
                raise serializer.timed_out("the next item", timeout_s or 0.0)

    def _stop(self, deadline_ns: int | None) -> StopIteration:
        runtime = self._runtime
        record = runtime.machine.owner.streams.streams[self.stream]
        value = record.completion
        if record.returned and not runtime.closed:
            return StopIteration(value_of(self.completed(), deadline_ns))
        if value is None or value == NONE or is_error(value):
            return StopIteration()
        return StopIteration(serializer.deserialize(value))

    def _take(self, runtime: Runtime) -> list["ObjectRef[T] | None"]:
        if runtime.closed:
            raise StreamClosedError("", f"the generator can no longer be read: {runtime.closed}")
        for effect in runtime.loop.post(TakeItems(self.stream, TAKE_COUNT_MAX)):
            if type(effect) is ItemsTaken:
                self._ended = effect.ended
                records = runtime.machine.owner.refs.records
                return [ObjectRef(name, records[name]) for name in effect.objects]
            if type(effect) is StreamRefusal:
                raise serializer.error_of(effect.fault)
        raise AssertionError("TakeItems was not answered")

    def _wait(self, runtime: Runtime, deadline_ns: int | None) -> bool:
        waiter = CountWaiter(1, stop_at_error=False)
        with runtime.loop.lock:
            if runtime.machine.owner.streams.is_ready(self.stream):
                return True
            runtime.waits.add(waiter, (), (self.stream,))
        try:
            return wait_blocked(runtime, waiter, deadline_ns)
        finally:
            if not waiter.done:
                with runtime.loop.lock:
                    runtime.waits.remove(waiter, (), (self.stream,))


#: Ray's older name.
StreamingObjectRefGenerator: Final = ObjectRefGenerator


def wait_blocked(runtime: Runtime, waiter: Waiter, deadline_ns: int | None) -> bool:
    """Wait, giving the CPU of a running task away; return whether ``waiter`` is done."""
    if runtime.blocks_task():
        with runtime.blocked():
            return runtime.loop.wait(waiter, deadline_ns)
    return runtime.loop.wait(waiter, deadline_ns)


def put_packed(runtime: Runtime, packed: Value | Large) -> ObjectRef[Any]:
    """Own a serialised value as an object and return a reference to it.

    Raises:
        ObjectStoreFullError: It is large, and there is no room for it.
        OutOfDiskError: And none can be made, for a full disk.
        NodeDiedError: The node is gone.
    """
    if type(packed) is Large:
        me = runtime.machine.session.identity.address.peer
        packed = runtime.objects.store(packed, me, NO_STREAM)
    context = runtime.context
    name = object_id(context.puts_of, PUT_INDEX_FIRST + next(context.puts))
    runtime.loop.post(PutObject(name, packed))
    if type(packed) is Stored:
        runtime.keep_slabs()
    return ObjectRef(name, runtime.machine.owner.refs.records[name])


def value_of(ref: ObjectRef[Any], deadline_ns: int | None = None) -> Any:
    """Return the object behind a ready reference, or raise the error that it holds.

    Args:
        ref: The reference.
        deadline_ns: When to stop waiting for a large object that has to be brought back from disk
            or made again.

    Raises:
        GetTimeoutError: It was not brought back in time.
        ObjectLostError: It was in the shared memory of a zgen that was shut down.
        Exception: What it holds.
    """
    value = ref.record.value
    if type(value) is Stored or value is None:  # found lost since it was ready
        return _open(ref, deadline_ns)
    return serializer.deserialize(value)


def _open(ref: ObjectRef[Any], deadline_ns: int | None) -> Any:
    if process.forked:
        process.require()
    runtime = process.current
    name = ObjectId(ref.binary())
    if runtime is None or runtime.machine.owner.refs.records.get(name) is not ref.record:
        raise ObjectLostError(ref.hex(), "its zgen was shut down")
    runtime.enter()
    return runtime.objects.open(name, deadline_ns)
