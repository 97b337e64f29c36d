"""Tasks whose one result is all that they yield: `num_returns="dynamic"`.

Rules of this file: such a task is a stream that nobody reads before it has ended. Whether it runs
again and when it ends is not decided here.

Theory of operation. The items come as those of any stream and wait there, so that a worker may die
in between. At the end each becomes an object, and the result a value that refers to them all and
keeps them. Nothing can be pickled here, so that value is put together by hand: a call of
``zgen.dynamic.gathered`` with the names of the objects. An error that the body raised is the last
object; a failure of the system is the result itself.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from zgen.core.borrowing import Borrowing
from zgen.core.marks import reached
from zgen.core.ref_table import OwnedRef, RefTable
from zgen.core.region_table import RegionTable
from zgen.core.stream_in import StreamsIn
from zgen.ids import COMPLETION_INDEX, ObjectId, StreamId, TaskId, item_ids, object_id, task_of
from zgen.wire.session import Address
from zgen.wire.value import NestedRef, Parcel, Stored, Value, is_error

#: ``pickle`` of protocol 5: a global and a mark; names as short bytes; a tuple, a call, the end.
_HEAD: Final = b"\x80\x05czgen.dynamic\ngathered\n("
_NAME: Final = b"C"
_TAIL: Final = b"tR."


def value_of(names: Sequence[ObjectId], owner: Address) -> Value:
    """Return the value that refers to these objects of ``owner``, in order."""
    parts = [_NAME + bytes((len(name),)) + name for name in names]
    data = b"".join([_HEAD, *parts, _TAIL])
    return Parcel(data, (), False, tuple([NestedRef(name, owner) for name in names]))


class Gathering:
    """The tasks of one owner whose items are gathered."""

    def __init__(
        self, refs: RefTable, streams: StreamsIn, regions: RegionTable, borrowing: Borrowing
    ) -> None:
        """Gather in these tables."""
        self._refs = refs
        self._streams = streams
        self._regions = regions
        self._borrowing = borrowing

    def begin(self, task: TaskId, name: str) -> None:
        """Begin to gather what a task will yield."""
        self._refs.create(object_id(task, COMPLETION_INDEX))
        self._streams.open(task, name)
        self._streams.gathered[task] = None

    def unwanted(self, dropped: Iterable[ObjectId]) -> tuple[StreamId, ...]:
        """References were dropped: return the streams whose result nobody holds any more."""
        gone: dict[StreamId, None] = {}
        for stream in map(task_of, dropped):
            result = object_id(stream, COMPLETION_INDEX)
            if stream in self._streams.gathered and result not in self._refs.records:
                reached("gathering stopped for want of its result")
                gone[stream] = None
        return tuple(gone)

    def gather(self, stream: StreamId, completion: Value) -> Value:
        """Return the completion of a stream; if it is gathered, a value with all its items."""
        if stream not in self._streams.gathered:
            return completion
        if is_error(completion):
            self._streams.close(stream)
            return completion
        values = self._streams.take_all(stream)
        names = item_ids(stream, 0, len(values))
        for name, value in zip(names, values, strict=True):
            assert name not in self._refs.records, "an item exists already"
            self._refs.records[name] = OwnedRef(value, 0)
            if type(value) is Stored:
                self._regions.take(value)
        result = value_of(names, self._borrowing.session.identity.address)
        self._borrowing.hold(result)
        return result
