"""Streams of which items were lost: a run of their task fills them in, and nothing else changes.

Rules of this file: what a replay yields goes to the items that are lost, and it ends as the stream
did. Why and when the task runs again is not decided here.

Theory of operation. Items are lost while their stream still runs, or after its end. In the first
case a further attempt of it, if there is one, fills them in on its way; if there is one since a
node died, it does so for all that it yields elsewhere, lost or not. In the second one the
whole attempt is for nobody else: what it reports of other items is dropped, and its count, its end
and the kind of what was lost are compared with those of the first time. Items are given out as they
come; if the end differs they are taken back, and are that error from then on. A replay that goes on
behind the end of the first time differs already, and may go on for ever: it is stopped.
"""

from zgen.core.effects import Effect, Report, Send
from zgen.core.in_stream import InStream, resumes_at
from zgen.core.lineage import Kept
from zgen.core.lineage_pins import LineagePins
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.region_table import RegionTable
from zgen.core.restarting import Restarting
from zgen.core.settlement import Result, Settlement, cancelled
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import (
    COMPLETION_INDEX,
    ITEM_INDEX_FIRST,
    ObjectId,
    PeerId,
    TaskId,
    index_of,
    object_id,
)
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import RAISED
from zgen.wire.value import NONE, REASON_SPENT, Fault, FaultKind, Stored, Value, keeping


class Refilling:
    """The streams of one owner of which items were lost."""

    def __init__(
        self,
        tasks: TaskTable,
        refs: RefTable,
        streams: StreamsIn,
        settlement: Settlement,
        pins: LineagePins,
        regions: RegionTable,
        restarting: Restarting,
    ) -> None:
        """Fill in items of these tables."""
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._settlement = settlement
        self._pins = pins
        self._lineage = pins.lineage.entries
        self._regions = regions
        self._restarting = restarting

    def on_items(
        self,
        sender: PeerId,
        message: ReportItems,
        values: list[Value],
        now_ns: int,
        out: list[Effect],
    ) -> list[Value]:
        """A stream reports of which items were lost: take those; return what is the stream's.

        Raises:
            RemoteProtocolError: They do not follow what this attempt reported before.
        """
        stream, first = message.stream, message.first_index
        entry = self._tasks.entries.get(stream)
        assert entry is not None, "what has ended is filled in"
        if entry.wanted is None:
            record = self._streams.streams.get(stream)
            is_current = record is not None and message.attempt == record.attempt
            if record is not None and is_current and _follows(record, first):
                self._fill_on_the_way(stream, first, values, now_ns, out)
                if first and not record.position:  # it has passed over what was lost since its push
                    self._restarting.look(stream, now_ns, out, first)
                    self._give_up(entry, first, now_ns, out)
                self._restarting.close_if_filled(stream, sender, out)
            return values
        if self._tasks.accept(stream, message.attempt) is None or entry.worker != sender:
            self._refs.dropped.extend(keeping(values))
            return []
        position = self._position(entry)
        if first != position:
            self._refs.dropped.extend(keeping(values))
            raise RemoteProtocolError(f"item {first} of a replay, expected {position}")
        kept, behind = self._lineage[stream], position + len(values)
        if not position:
            kept.odd = -1
        if position <= kept.count < behind:
            reached("replay stopped behind the end of the first time")
            out.append(Send(sender, CloseStream(stream, entry.attempt, True)))
        self._pins.filling[stream] = (entry.attempt, behind)
        self._fill(stream, first, values, entry.wanted, now_ns, out)
        self._refs.dropped.extend(keeping(values))
        return []

    def _give_up(self, entry: TaskEntry, first: int, now_ns: int, out: list[Effect]) -> None:
        """An attempt begins at an item: what was lost before that, no other attempt makes."""
        if entry.retries_left or entry.cancel is not None:
            return
        stream, story = entry.spec.task, f"it came from {entry.spec.name}()"
        lost = [
            (name, Fault(FaultKind.NOT_REBUILT, name.hex(), story, why=REASON_SPENT))
            for name in self._pins.pending(stream)
            if index_of(name) < first + ITEM_INDEX_FIRST
        ]
        if lost:
            reached("lost item passed over by the last attempt")
            self._settlement.settle(lost, now_ns, out)

    def check_end(self, entry: TaskEntry, message: ReportEnd) -> bool:
        """Look at the reported end of a stream that ran again.

        Returns:
            Whether it was stopped, behind the end of the first time.

        Raises:
            RemoteProtocolError: ``count`` is not what this attempt reported.
        """
        position = self._position(entry)
        # A producer that was stopped drops items, and counts them.
        is_stopped = position > self._lineage[message.stream].count
        if message.count != position and not (is_stopped and message.count > position):
            raise RemoteProtocolError(f"end after {message.count} items, {position} were reported")
        return is_stopped

    def on_replayed(
        self, entry: TaskEntry, message: ReportEnd, last: Value, now_ns: int, out: list[Effect]
    ) -> bool:
        """A stream that ran again has ended: it must have done so as it did before.

        Returns:
            Whether ``last``, which came with its end, was lost before and is there again.
        """
        kept = self._lineage[message.stream]
        how = _difference(kept, message)
        returned = object_id(message.stream, COMPLETION_INDEX)
        record = (
            self._refs.records.get(returned) if COMPLETION_INDEX in (entry.wanted or ()) else None
        )
        wants = record is not None and record.value is None
        if wants and not how and type(last) is not Stored:
            how = "returned a value of another kind"
        if not how:
            if wants:
                reached("returned value that was lost is there again")
                self._settlement.settle([(returned, last)], now_ns, out)
            self._settlement.end_again(entry, now_ns)
            return wants
        if entry.cancel is not None:
            reached("replay that raised for being cancelled")
            self._settlement.fail(message.stream, cancelled(entry.spec), now_ns, "cancelled", out)
            return False
        reached("replay for lost items that ended otherwise")
        name, expected = entry.spec.name, kept.count
        fault = Fault(FaultKind.REPLAY_MISMATCH, name, how, expected=expected, got=message.count)
        self._take_back(entry, fault)
        self._settlement.fail(message.stream, fault, now_ns, "its replay differs", out)
        story = f"{name}() ran again for items that were lost, and {how}"
        out.append(Report("warning", f"{story}; these items raise ReplayMismatchError from now on"))
        return False

    def _position(self, entry: TaskEntry) -> int:
        """Return how many items the current attempt of a replay has reported."""
        attempt, position = self._pins.filling[entry.spec.task]
        return position if attempt == entry.attempt else 0

    def _fill(
        self,
        stream: TaskId,
        first: int,
        values: list[Value],
        wanted: dict[int, None],
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """Give items that were lost their values, which are left out of ``values``."""
        kept = self._lineage[stream]
        results: list[Result] = []
        for position, value in enumerate(values, first):
            index = ITEM_INDEX_FIRST + position
            if index not in wanted:
                continue
            name = object_id(stream, index)
            record = self._refs.records.get(name)
            is_pending = record is not None and record.value is None
            before = self._streams.unread_at(stream, position)
            had_parts = bool(before.data) if type(before) is Stored else kept.results.get(name)
            if not (is_pending or before is not None):
                continue
            if type(value) is not Stored or had_parts is (not value.data):
                kept.odd = position if kept.odd < 0 else kept.odd
                continue
            if is_pending:
                self._take(name, value, results)
            else:
                self._streams.replace(stream, position, value)
            values[position - first] = NONE
        self._settlement.settle(results, now_ns, out)

    def _take_back(self, entry: TaskEntry, error: Fault) -> None:
        """A replay ended otherwise: nobody is to get any of what was lost from it."""
        stream = entry.spec.task
        for index in entry.wanted or ():
            record = self._refs.records.get(object_id(stream, index))
            if record is None:
                self._streams.replace(stream, index - ITEM_INDEX_FIRST, error)
            elif record.value is not None:
                reached("item of a replay taken back")
                self._refs.dropped.extend(keeping((record.value,)))
                record.value = None

    def _fill_on_the_way(
        self, stream: TaskId, first: int, values: list[Value], now_ns: int, out: list[Effect]
    ) -> None:
        """The same while the stream has not ended, and for what lay on another node before."""
        results: list[Result] = []
        for at, value in enumerate(values):
            name = object_id(stream, ITEM_INDEX_FIRST + first + at)
            record = self._refs.records.get(name)
            if record is None:
                if self._has_moved(self._streams.unread_at(stream, first + at), value):
                    self._streams.replace(stream, first + at, value)
                    values[at] = NONE
                continue
            before = record.value
            if type(before) is Stored and self._has_moved(before, value):
                reached("item that a replay yields on another node")
                self._refs.dropped.append(before)
                record.value = None
            if record.value is None:
                self._take(name, value, results)
                values[at] = NONE
        self._settlement.settle(results, now_ns, out)

    def _take(self, name: ObjectId, value: Value, results: list[Result]) -> None:
        results.append((name, value))
        if type(value) is Stored:
            self._regions.take(value)

    def _has_moved(self, before: Value | None, value: Value) -> bool:
        """Return whether an item lies on another node now, and cannot be read here as it was."""
        if type(before) is not Stored or type(value) is not Stored:
            return False
        return before.node != value.node and not self._regions.is_held(before)


def _follows(record: InStream, first: int) -> bool:
    return first == record.position or resumes_at(record, first)


def _difference(kept: Kept, message: ReportEnd) -> str:
    """Say in which way a replay differs from the first time; nothing if it does not."""
    if kept.odd >= 0:
        return f"its item {kept.odd} was of another kind"
    if message.count != kept.count:
        return f"yielded {message.count} items instead of {kept.count}"
    raised = message.outcome in RAISED
    if raised != kept.raised:
        return f"{'raised' if raised else 'did not raise'} behind its {kept.count} items"
    return ""
