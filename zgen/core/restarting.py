"""Streams that run and are past an item that was lost: they are stopped, and run again.

Rules of this file: which attempt will not yield what is lost, and what its worker is told. Who is
retried, and what the next attempt gives, is not decided here.

Theory of operation. An attempt yields an item once. One that has reported what follows a lost item
does not give it again, and may not end for long: its body sleeps, or is parked until its consumer
takes more, who waits for that item. So it is stopped: a plain body is interrupted, and its worker
killed where that does not help; the generator of an actor, where others live, stops at its next
yield. What it has submitted runs on, since items that were yielded may refer to it. Its task runs
again then as after a crash, and the item comes on the way.
"""

from collections.abc import Iterable

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.lineage_pins import LineagePins
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import Doing, TaskEntry, TaskTable
from zgen.ids import ITEM_INDEX_FIRST, ObjectId, PeerId, TaskId, index_of, task_of
from zgen.limits import STUBBORN_BODY_NS
from zgen.wire.stream import CloseStream, ReportEnd
from zgen.wire.task import OUTCOME_VALUE, CancelTask
from zgen.wire.value import REASON_NO_RETRIES, REASON_SPENT, REASON_TWO_WAY


class Restarting:
    """The streams of one owner that run and are past what was lost of them.

    Attributes:
        deadlines: Task and attempt whose worker is killed, if it does not stop before.
    """

    def __init__(
        self, tasks: TaskTable, streams: StreamsIn, placement: Placement, pins: LineagePins
    ) -> None:
        """Stop streams of these tables."""
        self.deadlines: Deadlines[tuple[TaskId, int]] = Deadlines()
        self._tasks = tasks
        self._streams = streams
        self._placement = placement
        self._pins = pins

    def note(self, name: ObjectId) -> None:
        """An object is pending again: its stream fills it in, or a run that has not begun does."""
        entry = self._tasks.entries.get(task_of(name))
        if entry is None:
            return
        if entry.wanted is None:
            self._pins.filling[entry.spec.task] = (entry.attempt, 0)
        elif entry.doing.state is not Doing.PUSHED:
            entry.wanted[index_of(name)] = None

    def why_not(self, name: ObjectId) -> str:
        """Return why an item that is lost can not come from a stream that runs; nothing if so."""
        entry = self._tasks.entries[task_of(name)]
        if entry.worker is None or entry.retries_left or not self._passed(entry, (name,)):
            return ""
        reached("lost item of a stream that may not run again")
        if entry.log is not None and entry.log.is_missed:
            return REASON_TWO_WAY
        return REASON_SPENT if entry.spec.retries_max else REASON_NO_RETRIES

    def look(self, task: TaskId, now_ns: int, out: list[Effect], position: int = 0) -> None:
        """Items of a stream are lost that has not ended: stop it if it is past one of them.

        Args:
            task: The stream, or another task, which is left alone.
            now_ns: The time.
            out: Effects are added here.
            position: Where its attempt has begun, if nothing it has reported is taken in yet.
        """
        entry = self._tasks.entries[task]
        passed = self._passed(entry, self._pins.pending(task), position)
        worker = entry.worker
        if passed and worker is None:  # it begins again anyway
            self._streams.rewind(task, min(passed), fills=True)
        if not passed or worker is None or entry.is_stopping or not entry.retries_left:
            return
        reached("stream stopped that is past a lost item")
        entry.is_stopping = True
        if entry.spec.method:
            out.append(Send(worker, CloseStream(task, entry.attempt, True)))
        else:
            out.append(Send(worker, CancelTask(task, entry.attempt, False, False)))
            self.deadlines.set((task, entry.attempt), now_ns + STUBBORN_BODY_NS)

    def is_cut(self, entry: TaskEntry, message: ReportEnd) -> bool:
        """Return whether an attempt ended for having been stopped, wherever it was."""
        if not entry.is_stopping:
            return False
        record = self._streams.streams[entry.spec.task]
        return message.outcome != OUTCOME_VALUE or message.count != record.position

    def close(self, stream: TaskId) -> bool:
        """Nobody reads a stream any more: return whether its producer is to hear of that now."""
        record = self._streams.streams[stream]
        record.fills = stream in self._pins.filling and bool(self._pins.pending(stream))
        return not record.fills

    def close_if_filled(self, stream: TaskId, sender: PeerId, out: list[Effect]) -> None:
        """What was lost of a stream that nobody reads may be there again."""
        record = self._streams.streams[stream]
        if record.fills and not self._pins.pending(stream):
            reached("stream that nobody reads is filled in")
            record.fills = False
            out.append(Send(sender, CloseStream(stream, record.attempt)))

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Have those workers killed whose bodies go on."""
        for task, attempt in self.deadlines.pop_due(now_ns):
            entry = self._tasks.entries.get(task)
            if entry is not None and entry.attempt == attempt and entry.lease is not None:
                reached("worker killed that holds a stream up")
                self._placement.end_worker(entry.lease, out)

    def _passed(self, entry: TaskEntry, names: Iterable[ObjectId], position: int = 0) -> list[int]:
        """Return the positions of those of a stream's items that its attempt will not yield."""
        record = self._streams.streams.get(entry.spec.task)
        if record is None or entry.wanted is not None or entry.cancel is not None:
            return []
        position = max(position, record.position)
        if entry.doing.state is not Doing.PUSHED or not (record.handle or record.fills):
            position = record.known
        items = [index_of(name) - ITEM_INDEX_FIRST for name in names]
        return [item for item in items if item < position]
