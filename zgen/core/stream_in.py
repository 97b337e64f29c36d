"""Owner side of a generator stream: order, de-duplicate, end.

Rules of this file: an item reaches the user once and in yield order; what was reported survives any
failure of its producer. When to run the producer again is not decided here.

Theory of operation. ``known`` items of a stream have been reported by one attempt or another; those
not taken yet wait in ``unread``. A replay starts from item 0 and what it repeats is dropped by
index. Reports of an older attempt than the one recorded are refused. The end comes once: by count,
by an error item, or by an error that follows what was reported. After it, ``unread`` drains and the
stream is exhausted.

A stream with a window counts what its user has certainly taken: who takes items over gets the first
one at once and the others later, so these count when he comes back for more. Its producer hears of
it item by item, or, where the window is wide, by the part of it.
"""

from collections.abc import Iterable, Sequence

from zgen.core.in_stream import (
    InStream,
    check_stream,
    count_in,
    count_out,
    is_due,
    open_window,
    resumes_at,
    until_stored,
    whole_yields,
)
from zgen.core.marks import reached
from zgen.exceptions import RemoteProtocolError
from zgen.ids import StreamId, short
from zgen.limits import (
    CONSUMER_IDLE_NS,
    ITEMS_COUNT_MAX,
)
from zgen.wire.value import (
    NONE,
    Fault,
    FaultKind,
    Parcel,
    Stored,
    Value,
    keeping,
    stored_count,
)


class StreamsIn:
    """The streams that this process consumes.

    Attributes:
        streams: The streams.
        dropped: Values that nobody will take and that may keep something, until that is let go.
        unkept: Streams that went with their handles and had ``returned``, until that is let go.
    """

    def __init__(self, dropped: list[Parcel | Stored] | None = None) -> None:
        """Start without streams."""
        self.dropped: list[Parcel | Stored] = dropped if dropped is not None else []
        self.unkept: list[StreamId] = []
        #: Stream -> record. Added by ``open``; removed when it has ended and its handle is gone.
        self.streams: dict[StreamId, InStream] = {}
        #: Streams that are taken as a whole at their end. Removed by ``take_all`` and ``close``.
        self.gathered: dict[StreamId, None] = {}

    def open(
        self,
        stream: StreamId,
        name: str,
        window: int = 0,
        window_bytes: int = 0,
        per_yield: int = 1,
    ) -> None:
        """Begin a stream, before its task is submitted; so much may wait, 0 for any number."""
        record = self.streams[stream] = InStream(name)
        if window > 0 or window_bytes > 0 or per_yield > 1:
            open_window(record, window, window_bytes, per_yield)

    def begin_attempt(self, stream: StreamId, attempt: int) -> None:
        """Record a new attempt; older ones are refused from here on."""
        record = self.streams.get(stream)
        if record is not None:
            assert attempt >= record.attempt, f"attempt {attempt} after {record.attempt}"
            if attempt > record.attempt:
                record.resume = record.known
                record.fills = False
            record.attempt = attempt
            record.position = record.parked_by = 0
            record.producer = None

    def rewind(self, stream: StreamId, position: int, *, fills: bool) -> None:
        """Items from ``position`` on are to be yielded again, and large ones that nobody took.

        ``fills`` if some of them are lost: they are wanted even if nobody reads the stream.
        """
        record = self.streams.get(stream)
        if record is not None:
            unread = enumerate(record.unread, record.taken)
            large = [at for at, value in unread if type(value) is Stored]
            resume = min([record.resume, position, *large[:1]])
            record.resume = resume - resume % record.per_yield
            record.fills = fills and not record.handle

    def grant(self, stream: StreamId) -> int | None:
        """Return how many items were taken, if it is time to tell the producer."""
        record = self.streams[stream]
        if record.ended or not is_due(record):
            return None
        return self.grant_first(stream)

    def park(self, stream: StreamId, parked_by: int) -> bool:
        """The producer of a stream says why it waits; return whether anybody is to know."""
        record = self.streams.get(stream)
        if record is None or record.ended or not record.step:
            return False
        record.parked_by = parked_by
        return True

    def grant_first(self, stream: StreamId) -> int:
        """Return how many items were taken, for a producer that is about to begin."""
        record = self.streams.get(stream)
        if record is None:
            return 0
        record.granted = record.consumed
        record.untold_bytes = 0
        return record.consumed

    def report(
        self,
        stream: StreamId,
        attempt: int,
        first_index: int,
        values: list[Value],
        now_ns: int,
        stored: int = 0,
    ) -> bool:
        """Take in reported items; return whether there is something new for the user.

        Args:
            stream: The stream.
            attempt: Execution that reports them.
            first_index: Position of the first.
            values: The items.
            now_ns: The time.
            stored: How many of them lie in shared memory.

        Raises:
            RemoteProtocolError: They do not follow what this attempt reported before.
        """
        record = self.streams.get(stream)
        if record is None or record.ended:
            reached("report after the end dropped")
            self._drop(values)
            return False
        if attempt < record.attempt:
            reached("stale attempt dropped")
            self._drop(values)
            return False
        refusal = _refusal(record, attempt, first_index, len(values))
        if refusal:
            self._drop(values)
            raise RemoteProtocolError(refusal)
        record.position = first_index + len(values)
        fresh = record.position - record.known
        if fresh <= 0:
            reached("replayed items dropped")
            self._drop(values)
            return False
        record.known = record.position
        if not record.handle:
            self._drop(values)
            return False
        if fresh < len(values):
            self._drop(values[:-fresh])
            values = values[-fresh:]
            stored = stored_count(values)
        record.unread.extend(values)
        if record.step:
            count_in(record, values)
        if stored:
            record.moved_ns = record.moved_ns if record.stored else now_ns
            record.stored += stored
        return True

    def has_stored(self, stream: StreamId) -> bool:
        """Return whether there are items in shared memory that nobody has taken."""
        record = self.streams.get(stream)
        return record is not None and record.stored > 0

    def unread_at(self, stream: StreamId, index: int) -> Value | None:
        """Return an item that nobody has taken, or None if there is no such one."""
        record = self.streams.get(stream)
        at = index - record.taken if record is not None else -1
        return record.unread[at] if record is not None and 0 <= at < len(record.unread) else None

    def first_unread(self, stream: StreamId) -> tuple[int, Value] | None:
        """Return position and value of the item that is taken next, or None if there is none."""
        record = self.streams.get(stream)
        if record is None or not record.unread:
            return None
        return record.taken, record.unread[0]

    def replace(self, stream: StreamId, index: int, value: Value) -> bool:
        """Give an item that nobody has taken another value; return False if there is none."""
        record = self.streams.get(stream)
        at = index - record.taken if record is not None else -1
        if record is None or not 0 <= at < len(record.unread):
            return False
        before = record.unread[at]
        self._drop((before,))
        record.unread[at] = value
        record.stored += (type(value) is Stored) - (type(before) is Stored)
        return True

    def check_end(self, stream: StreamId, count: int) -> None:
        """Look at the reported end of the current attempt before anything is done about it.

        Raises:
            RemoteProtocolError: ``count`` is not what this attempt reported.
        """
        record = self.streams[stream]
        # A producer that heard that the stream is closed drops items, and counts them.
        reported = count == record.position or (not record.handle and count > record.position)
        if not (reported or resumes_at(record, count)):
            raise RemoteProtocolError(f"end after {count} items, {record.position} were reported")

    def finish(
        self, stream: StreamId, count: int, error: Value | None, is_cut: bool = False
    ) -> Value:
        """End a stream as the producer of its current attempt reports it; return its completion.

        Args:
            stream: The stream.
            count: Items that the attempt yielded.
            error: What it raised after them, or None.
            is_cut: Whether it may have raised that for being cancelled, wherever it was.

        Raises:
            RemoteProtocolError: As ``check_end``.
        """
        self.check_end(stream, count)
        record = self.streams[stream]
        if count < record.known and not (is_cut and error is not None):
            reached("replay shorter than before")
            expected, got = record.known // record.per_yield, count // record.per_yield
            error = Fault(FaultKind.REPLAY_MISMATCH, record.name, expected=expected, got=got)
            return self._end(stream, record, error, error)
        return self._end(stream, record, error, NONE)

    def set_returned(self, stream: StreamId, value: Value) -> bool:
        """A stream has ended with a value; return whether its object lives as long as its handle.

        One that is no more than bytes is kept here instead.
        """
        record = self.streams.get(stream)
        if record is None:
            reached("value returned to nobody")
            return False
        if type(value) is bytes:
            record.completion = value
        else:
            record.returned = True
        return record.returned

    def fail(self, stream: StreamId, error: Value, completion: Value | None = None) -> None:
        """End a stream after what was reported, with one error, as a rule its completion too."""
        self._end(stream, self.streams[stream], error, error if completion is None else completion)

    def take(
        self, stream: StreamId, count_max: int, now_ns: int
    ) -> tuple[int, list[Value], bool, Sequence[int]]:
        """Hand out items from the cursor, none behind the first yield with any in shared memory.

        So a producer without room is held back by what its consumer has not come to yet.

        Returns:
            Position of the first, the values, whether nothing will ever follow them, and which of
            the values lie in shared memory.
        """
        record = self.streams[stream]
        first = record.taken
        unread = record.unread
        if record.step:
            if record.per_yield > 1:
                count_max = whole_yields(record, count_max)
            count_max = min(count_max, record.step)
            consumed = first + (record.per_yield if unread and count_max else 0)
            if record.window_bytes:
                count_max = count_out(record, consumed, count_max)
            record.consumed = consumed
        stored: Sequence[int] = ()
        if record.stored:
            values = until_stored(unread, count_max, record.per_yield)
            stored = [at for at, value in enumerate(values) if type(value) is Stored]
        elif len(unread) <= count_max:
            values = list(unread)
            unread.clear()
        else:
            values = [unread.popleft() for _ in range(count_max)]
        record.taken += len(values)
        if record.stored:
            record.stored -= len(stored)
            record.moved_ns = now_ns
        return first, values, (record.ended or record.stays) and not unread, stored

    def take_all(self, stream: StreamId) -> list[Value]:
        """Hand out everything of a stream that has ended, and forget it; nothing if it is gone."""
        record = self.streams.pop(stream, None)
        self.gathered.pop(stream, None)
        return list(record.unread) if record is not None else []

    def holds_back(self, stream: StreamId, now_ns: int) -> bool:
        """Return whether a producer without room should wait for its consumer to take more.

        It should while its consumer has items in shared memory to take and does take them.
        """
        record = self.streams.get(stream)
        return (
            record is not None and record.stored > 0 and now_ns - record.moved_ns < CONSUMER_IDLE_NS
        )

    def is_read(self, stream: StreamId) -> bool:
        """Return whether anybody wants items of a stream that has not ended."""
        record = self.streams[stream]
        return record.handle or record.fills

    def is_ready(self, stream: StreamId) -> bool:
        """Return whether ``next`` would not block."""
        record = self.streams[stream]
        ready = bool(record.unread or record.back) or record.ended or record.stays
        return ready and not record.is_lent

    def close(self, stream: StreamId) -> bool:
        """The handle is gone: free what was not taken; return whether more may be reported."""
        record = self.streams.get(stream)
        if record is None or not (record.handle or record.stays):
            return False
        more, record.stays = record.handle, False
        self.gathered.pop(stream, None)
        self._free(record)
        if record.ended:
            del self.streams[stream]
            if record.returned:
                self.unkept.append(stream)
            return False
        reached("stream closed before its end")
        return more

    def stop(self, stream: StreamId) -> bool:
        """The user closed it: free what was not taken; return False if he had done so before."""
        record = self.streams[stream]
        if record.handle:
            record.stays = True
            self._free(record)
            return True
        return False

    def check(self) -> None:
        """Assert the invariants of every stream."""
        for stream in self.gathered:
            record = self.streams[stream]
            assert record.handle, f"stream {short(stream)} is gathered for nobody"
            assert not record.ended, f"stream {short(stream)} was not gathered at its end"
        for stream, record in self.streams.items():
            check_stream(record, short(stream))

    def _free(self, record: InStream) -> None:
        record.handle = False
        self._drop(record.unread)
        record.stored = 0
        record.unread.clear()

    def _drop(self, values: Iterable[Value]) -> None:
        self.dropped.extend(keeping(values))

    def _end(
        self, stream: StreamId, record: InStream, error: Value | None, completion: Value
    ) -> Value:
        assert not record.ended, f"stream {short(stream)} ended twice"
        record.ended = True
        record.completion = completion
        if not (record.handle or record.stays):
            del self.streams[stream]
        elif record.handle and error is not None:
            record.unread.extend([error] * record.per_yield)
        return completion


def _refusal(record: InStream, attempt: int, first_index: int, count: int) -> str:
    """Return why items do not follow what this attempt reported before; empty if they do."""
    follows = first_index == record.position or resumes_at(record, first_index)
    follows = follows and not (record.step and count % record.per_yield)
    if attempt > record.attempt or not follows:
        return f"attempt {attempt} item {first_index}, expected {record.attempt} {record.position}"
    return f"more than {ITEMS_COUNT_MAX} items" if first_index + count > ITEMS_COUNT_MAX else ""
