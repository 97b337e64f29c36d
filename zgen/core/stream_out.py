"""Executor side: report each yield and each end, at once on an idle line, together on a busy one.

Rules of this file: what was handed in first leaves first, to each owner. Nothing is dropped but
items of a stream that its owner closed. What a full window means for the body is not decided here.

Theory of operation. A line that was flushed less than ``LINE_BUSY_NS`` ago is busy: what comes
waits for the next flush, by a later entry or by the tick that the first waiting entry arms. One
flush carries the entries of everything on the line.
"""

from collections.abc import Iterable
from typing import Any

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.core.metering import Metering
from zgen.core.out_stream import UNLIMITED, OutStream
from zgen.core.report_line import How, ReportLine
from zgen.core.stream_words import AskPosition, PositionIs
from zgen.ids import PeerId, TaskId
from zgen.limits import (
    BATCH_BYTES_MAX,
    BATCH_COUNT_MAX,
    LINE_BUSY_NS,
    LINE_TICK_NS,
)
from zgen.wire.schema import NO_BUFFERS, Buffers
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import Outcome, TasksDone
from zgen.wire.value import (
    NestedRef,
    Parcel,
    Stored,
    Value,
    keeping,
    pack_items,
    size_bytes,
    whole_bytes,
)


class StreamsOut:
    """Everything that this process reports to owners.

    Attributes:
        deadlines: Owners whose first waiting entry has to leave.
        dropped: Values that will not be reported and may keep something, until that is let go.
        metering: What waits of streams that are held back by bytes, or by all of their actor.
    """

    def __init__(self, dropped: list[Parcel | Stored] | None = None) -> None:
        """Start with nothing to report."""
        self.metering = Metering()
        self.dropped: list[Parcel | Stored] = dropped if dropped is not None else []
        self.deadlines: Deadlines[PeerId] = Deadlines()
        #: Stream -> record. Added by ``open``; removed by ``end``.
        self.streams: dict[TaskId, OutStream] = {}
        #: Owner -> what waits for it. Added by the first report; removed by ``drop_owner``.
        self.lines: dict[PeerId, ReportLine] = {}

    def open(
        self,
        stream: TaskId,
        attempt: int,
        owner: PeerId,
        window: int = 0,
        consumed: int = 0,
        resume: int = 0,
        window_bytes: int = 0,
        ahead_bytes: int = 0,
        per_yield: int = 1,
    ) -> None:
        """Begin to report a stream.

        Args:
            stream: The stream.
            attempt: Which execution.
            owner: Who reads it.
            window: Yields that may be there without being taken; 0 for any number, ``LOCK_STEP``
                for one for each input.
            consumed: Items that an earlier attempt yielded and that were taken.
            resume: Items that earlier attempts yielded and that need not be yielded again.
            window_bytes: Bytes that may be there without being taken; 0 for any number.
            ahead_bytes: Bytes of those to ``resume`` behind that were not taken.
            per_yield: Items that each yield makes.
        """
        record = self.streams[stream] = OutStream(owner, attempt)
        record.resume, record.per_yield = resume, max(1, per_yield)
        metering = self.metering
        if window_bytes > 0 or (window > 0 and (metering.items_max or metering.bytes_max)):
            record.is_metered, record.ahead_bytes = True, ahead_bytes
            metering.open(stream, window, window_bytes, consumed // record.per_yield)
        elif window > 0:
            record.window = window * record.per_yield
            record.limit = consumed + record.window
        elif window < 0:
            record.window, record.limit = window, 0

    def on_ask(self, event: AskPosition, now_ns: int, out: list[Effect]) -> None:
        """A body asks which item it is to yield next; where its window is full, one again."""
        if (record := self.streams.get(event.task)) is None:
            out.append(PositionIs(event.task, -1))
            return
        if record.resume and not record.count:
            reached("stream resumed")
            index = min(record.resume, record.limit - record.per_yield)
            if record.is_metered:
                before = index // record.per_yield, record.ahead_bytes
                index = self.metering.resume(event.task, *before) * record.per_yield
            record.count = record.first = index
        out.append(PositionIs(event.task, record.count // record.per_yield))

    def add_item(
        self, stream: TaskId, attempt: int, value: Value, now_ns: int, out: list[Effect]
    ) -> bool:
        """Report one item; return whether its consumer has to take some before the next one.

        One that does not fit is kept back until it does.
        """
        record = self.streams[stream]
        assert record.attempt == attempt, "an item of another attempt"
        count, owner, may_fill = record.count, record.owner, record.is_metered
        if may_fill:
            meter = self.metering.meters[stream]
            size = len(value) if type(value) is bytes else whole_bytes(value)
            with_it = meter.waiting_bytes + size
            is_free = with_it < meter.free_bytes and len(meter.sizes) < meter.free_count
            if is_free and count >= meter.taken and not meter.is_reserved:
                meter.sizes.append(size)
                meter.waiting_bytes = with_it
                may_fill = False
            elif not self.metering.admit(stream, count, size, (value,)):
                self.flush_stream(stream, now_ns, out)
                return True
        record.count = count = count + 1
        if record.closed:
            reached("item of a closed stream dropped at the producer")
            record.count -= record.cancelled
            record.first = record.count
            self._drop((value,))
            return False
        line = self.lines.get(owner)
        if line is None:
            line = self.lines[owner] = ReportLine()
        waiting = record.waiting
        if not waiting:
            line.streams[stream] = None
        waiting.append(value)
        line.size_bytes += len(value) if type(value) is bytes else size_bytes(value)
        is_full = count >= record.limit or (may_fill and self.metering.fill(stream))
        if (
            now_ns - line.flushed_ns >= LINE_BUSY_NS
            or line.size_bytes >= BATCH_BYTES_MAX
            or len(waiting) >= BATCH_COUNT_MAX
            or is_full  # there will be no company to wait for
        ):
            self.flush(owner, now_ns, out)
        elif len(waiting) <= record.per_yield and owner not in self.deadlines:  # the first yield
            self.deadlines.set(owner, now_ns + LINE_TICK_NS)
        return is_full

    def add_yield(
        self,
        stream: TaskId,
        attempt: int,
        values: tuple[Value, ...],
        now_ns: int,
        out: list[Effect],
    ) -> bool:
        """Report all items of one yield as ``add_item`` does, in one message."""
        record = self.streams[stream]
        *before, last = values
        if record.is_metered:
            position, size = record.count // record.per_yield, sum(map(whole_bytes, values))
            if not self.metering.admit_all(stream, position, size, values):
                self.flush_stream(stream, now_ns, out)
                return True
        if record.closed:
            record.count += 0 if record.cancelled else len(before)
            self._drop(before)
        elif before:
            line = self.lines.setdefault(record.owner, ReportLine())
            line.streams[stream] = None
            line.size_bytes += sum(map(size_bytes, before))
            record.count += len(before)
            record.waiting.extend(before)
        return self.add_item(stream, attempt, last, now_ns, out)

    def grant(self, stream: TaskId, attempt: int, upto: int) -> bool:
        """So many items were taken; return whether the body may go on for all it has yielded.

        Of one that is metered ``metering`` says when.
        """
        record = self.streams[stream]
        if record.is_metered:
            if record.attempt == attempt:
                self.metering.take(stream, upto // record.per_yield)
            return False
        if record.attempt == attempt and record.limit < UNLIMITED and record.window > 0:
            record.limit = max(record.limit, upto + record.window)
        return record.count < record.limit

    def end(
        self,
        stream: TaskId,
        outcome: int,
        run_ns: int,
        last: tuple[Value, ...],
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """Report the end of a stream, and its error or what it returned, after all that waits."""
        record = self.streams.pop(stream)
        if record.is_metered:
            self._unmeter(stream, record)
        line = self.lines.setdefault(record.owner, ReportLine())
        self._send_items(stream, record, out)
        line.streams.pop(stream, None)
        buffers: list[bytes] = []
        entries, _, refs = pack_items(last, buffers)
        count = record.count
        message = ReportEnd(
            stream, record.attempt, count, outcome, run_ns, entries, Buffers(tuple(buffers))
        )
        if record.closed:
            reached("end of a closed stream")
        self.flush(record.owner, now_ns, out)
        out.append(Send(record.owner, message, None, 0, refs, refs != ()))

    def add_outcome(
        self,
        owner: PeerId,
        how: How,
        values: tuple[Value, ...],
        patience_ns: int,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """Report the end of a task with fixed results.

        Args:
            owner: Whose task it is.
            how: How it ended.
            values: Its results, or one error.
            patience_ns: For how long after the last flush it may wait for company: not at all if
                nothing runs behind it, whose end would be company.
            now_ns: The time.
            out: Effects are added here.
        """
        line = self.lines.get(owner)
        if line is None:
            line = self.lines[owner] = ReportLine()
        line.outcomes.append((how, values))
        for value in values:
            line.size_bytes += len(value) if type(value) is bytes else size_bytes(value)
        if now_ns - line.flushed_ns >= patience_ns or line.size_bytes >= BATCH_BYTES_MAX:
            self.flush(owner, now_ns, out)
        elif owner not in self.deadlines:
            self.deadlines.set(owner, now_ns + LINE_TICK_NS)

    def close(self, stream: TaskId, attempt: int) -> None:
        """The owner wants no more items of this execution."""
        record = self.streams.get(stream)
        if record is not None and record.attempt == attempt:
            self._close(stream, record)
            line = self.lines.get(record.owner)
            if line is not None:
                line.streams.pop(stream, None)

    def flush(self, owner: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Let everything that waits for ``owner`` leave."""
        line = self.lines[owner]
        for stream in line.streams:
            self._send_items(stream, self.streams[stream], out)
        line.streams.clear()
        if line.outcomes:
            self._send_outcomes(owner, line, out)
        line.size_bytes = 0
        line.flushed_ns = now_ns
        # The tick stays armed: clearing and arming it again would cost every flush of a busy line.

    def flush_stream(self, stream: TaskId, now_ns: int, out: list[Effect]) -> None:
        """Let what waits of a stream leave, since its consumer has to take it first."""
        record = self.streams[stream]
        if record.waiting:
            self.flush(record.owner, now_ns, out)

    def flush_all(self, now_ns: int, out: list[Effect]) -> None:
        """Let everything leave that waits."""
        for owner in self.lines:
            self.flush(owner, now_ns, out)

    def cancel(self, stream: TaskId, now_ns: int, out: list[Effect]) -> int:
        """Let what waits leave; what the body yields from now on was never yielded.

        Returns:
            How many items it has yielded.
        """
        record = self.streams[stream]
        if record.owner in self.lines:
            self.flush(record.owner, now_ns, out)
        record.closed = record.cancelled = True
        record.limit = UNLIMITED
        if record.is_metered:
            self._unmeter(stream, record)
        return record.count

    def forget(self, stream: TaskId) -> None:
        """The body of a cancelled stream has ended, of which its owner heard the end before."""
        record = self.streams.pop(stream)
        assert record.cancelled, "a stream without an end"

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Flush the lines whose first entry has waited long enough."""
        for owner in self.deadlines.pop_due(now_ns):
            line = self.lines.get(owner)
            if line is None or not (line.streams or line.outcomes):
                continue
            if now_ns - line.flushed_ns >= LINE_TICK_NS:
                self.flush(owner, now_ns, out)
            else:
                self.deadlines.set(owner, line.flushed_ns + LINE_TICK_NS)

    def drop_owner(self, owner: PeerId) -> None:
        """Forget what waits for a dead owner; its running stream goes on into nothing."""
        line = self.lines.pop(owner, None)
        for _, values in line.outcomes if line is not None else ():
            self._drop(values)
        for stream, record in self.streams.items():
            if record.owner == owner:
                self._close(stream, record)

    def values(self) -> list[Value]:
        """Return the items and results that have not left."""
        values = self.metering.values()
        for record in self.streams.values():
            values.extend(record.waiting)
        for line in self.lines.values():
            values.extend([value for _, results in line.outcomes for value in results])
        return values

    def check(self) -> None:
        """Assert the invariants of lines and streams."""
        self.metering.check()
        for owner, line in self.lines.items():
            waits = bool(line.streams or line.outcomes)
            assert not waits or owner in self.deadlines, "entries wait without a tick"
            for stream in line.streams:
                assert self.streams[stream].waiting
        for record in self.streams.values():
            assert record.first + len(record.waiting) == record.count
            assert record.limit == UNLIMITED or record.count <= record.limit
            assert record.count % record.per_yield == 0
            assert record.first % record.per_yield == 0

    def _close(self, stream: TaskId, record: OutStream) -> None:
        """Report nothing more of a stream, and hold its body back no more."""
        record.closed = True
        record.limit = UNLIMITED
        if record.is_metered:
            self._unmeter(stream, record)
        self._drop(record.waiting)
        record.waiting.clear()
        record.first = record.count

    def _unmeter(self, stream: TaskId, record: OutStream) -> None:
        """Hold a stream back no more: what it yields from here on goes nowhere, or nothing does."""
        record.is_metered = False
        values = self.metering.close(stream)
        record.count += 0 if record.cancelled else len(values)
        self._drop(values)

    def _drop(self, values: Iterable[Value]) -> None:
        self.dropped.extend(keeping(values))

    def _send_items(self, stream: TaskId, record: OutStream, out: list[Effect]) -> None:
        waiting = record.waiting
        if not waiting:
            return
        buffers: list[bytes] = []
        entries, size, refs = pack_items(waiting, buffers)
        packed = Buffers(tuple(buffers)) if buffers else NO_BUFFERS
        message = ReportItems(stream, record.attempt, record.first, entries, packed)
        out.append(Send(record.owner, message, None, size, refs, refs != ()))
        record.first = record.count
        record.waiting = []

    def _send_outcomes(self, owner: PeerId, line: ReportLine, out: list[Effect]) -> None:
        buffers: list[bytes] = []
        outcomes: list[Any] = []
        refs: tuple[NestedRef, ...] = ()
        for how, values in line.outcomes:
            entries, _, nested = pack_items(values, buffers)
            if nested:
                refs += nested
            outcomes.append(Outcome(*how, entries))
        done = TasksDone(tuple(outcomes), Buffers(tuple(buffers)) if buffers else NO_BUFFERS)
        out.append(Send(owner, done, None, 0, refs, refs != ()))
        line.outcomes = []
