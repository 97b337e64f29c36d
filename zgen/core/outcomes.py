"""What workers say of how tasks ended: into results, ends of streams and further attempts.

Rules of this file: what an outcome must look like, and whose it may be. How tasks end is
``settlement``'s.
"""

from typing import Final

from zgen.core.borrowing import Borrowing
from zgen.core.cancellation import Cancellation
from zgen.core.effects import Effect
from zgen.core.gathering import Gathering
from zgen.core.lineage_pins import LineagePins
from zgen.core.placement import Placement
from zgen.core.recovery import Recovery
from zgen.core.refilling import Refilling
from zgen.core.restarting import Restarting
from zgen.core.settlement import Result, Settlement, cancelled
from zgen.core.store_client import StoreClient
from zgen.core.stream_in import StreamsIn
from zgen.core.supervision import Supervision
from zgen.core.task_spec import CREATION
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, TaskId
from zgen.wire.lease import Demand
from zgen.wire.stream import ReportEnd
from zgen.wire.task import (
    DYNAMIC,
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    OUTCOME_WITHDRAWN,
    RAISED,
    STREAMING,
    Outcome,
    TasksDone,
)
from zgen.wire.value import NONE, Parcel, Stored, Value, is_error, keeping, unpack

#: Types of the entries of most outcomes.
_ONE_PLAIN: Final = [bytes]

#: How an attempt ended that ``retry_exceptions`` lets run again, for people.
RAISED_STORY: Final = "it raised"
#: The same of one that was stopped, since it was past an item that was lost.
STOPPED_STORY: Final = "it was stopped, since an item of it was lost"


class Outcomes:
    """How the executions of one owner's tasks ended, as their workers say it."""

    def __init__(
        self,
        tasks: TaskTable,
        streams: StreamsIn,
        placement: Placement,
        settlement: Settlement,
        borrowing: Borrowing,
        cancellation: Cancellation,
        supervision: Supervision,
        gathering: Gathering,
        store: StoreClient,
        recovery: Recovery,
        refilling: Refilling,
        pins: LineagePins,
        restarting: Restarting,
    ) -> None:
        """Take in outcomes of the tasks of these tables."""
        self._tasks = tasks
        self._streams = streams
        self._placement = placement
        self._settlement = settlement
        self._borrowing = borrowing
        self._cancellation = cancellation
        self._supervision = supervision
        self._gathering = gathering
        self._regions = store.regions
        self._dropped = store.dropped
        self._recovery = recovery
        self._refilling = refilling
        self._pins = pins
        self._restarting = restarting

    def on_report_end(
        self, sender: PeerId, message: ReportEnd, now_ns: int, out: list[Effect]
    ) -> None:
        """A stream ended at its worker.

        Raises:
            RemoteProtocolError: It cannot have, or not so.
        """
        values, _ = unpack(message.entries, message.buffers)
        needless = self._own(sender, values, out)
        try:
            entry = self._accept(sender, message.stream, message.attempt)
            if entry is not None and self._on_end(entry, message, values, now_ns, out):
                needless.clear()
        finally:
            if needless:
                self._dropped.extend(needless)

    def _on_end(
        self,
        entry: TaskEntry,
        message: ReportEnd,
        values: list[Value],
        now_ns: int,
        out: list[Effect],
    ) -> bool:
        """Take in how a stream ended; return whether what it came with went anywhere."""
        if entry.spec.returns_count not in (STREAMING, DYNAMIC):
            raise RemoteProtocolError("the end of a stream by a task that is none")
        last = values[0] if values else NONE
        fits = len(values) < 2 if message.outcome == OUTCOME_VALUE else not values
        if message.outcome in RAISED:
            fits = len(values) == 1
        if not fits or is_error(last) != (message.outcome in RAISED):
            raise RemoteProtocolError("an end carries one error, or what was returned, or nothing")
        is_taken = False
        stream = message.stream
        fault = self._cancellation.verdict(entry, message.outcome)
        is_cut = self._restarting.is_cut(entry, message)
        if is_cut:
            fault = None if entry.cancel is None else cancelled(entry.spec)
        elif entry.wanted is None:
            self._streams.check_end(stream, message.count)
        elif self._refilling.check_end(entry, message) and message.outcome == OUTCOME_CANCELLED:
            fault = None  # nobody has cancelled it: it differs
        self._placement.release(entry, stream, message.run_ns, now_ns, out)
        retry = message.outcome == OUTCOME_RETRY
        if fault is not None:
            self._settlement.fail(stream, fault, now_ns, "cancelled", out)
        elif message.outcome == OUTCOME_WITHDRAWN:
            self._tasks.on_not_started(stream, entry.attempt, now_ns)
            self._placement.enqueue(stream, now_ns, out)
        elif is_cut:
            has_budget = self._settlement.retry(stream, STOPPED_STORY, now_ns)
            assert has_budget, entry.doing.story()
        elif not (retry and self._settlement.retry(stream, RAISED_STORY, now_ns)):
            if entry.wanted is None:
                is_taken = self._end_stream(entry, message, last, now_ns, out)
            else:
                is_taken = self._refilling.on_replayed(entry, message, last, now_ns, out)
        if self._pins.unmet:
            self._recovery.go_on(now_ns, out)
        if not entry.spec.method:
            self._placement.pump(entry.spec.shape, now_ns, out)
        return is_taken

    def _end_stream(
        self,
        entry: TaskEntry,
        message: ReportEnd,
        last: Value,
        now_ns: int,
        out: list[Effect],
    ) -> bool:
        """End a stream; return whether it keeps what came with its end."""
        stream, count, raised = message.stream, message.count, message.outcome in RAISED
        error = last if raised else None
        completion = self._streams.finish(stream, count, error, entry.cancel is not None)
        returns = not raised and completion is NONE and entry.spec.returns_count == STREAMING
        if returns:
            completion = last
            if self._streams.set_returned(stream, last):
                self._settlement.keep_returned(stream)
        else:
            completion = self._gathering.gather(stream, completion)
        if entry.spec.returns_count == DYNAMIC:
            self._pins.gathered(entry, completion)
        is_unread = self._streams.has_stored(stream)
        if type(last) is Stored and returns:
            self._pins.take_returned(entry)
        if is_unread or stream in self._pins.lineage.entries:
            self._pins.keep_stream(entry, count, is_unread, raised=raised)
        self._settlement.end_stream(stream, completion, now_ns, out)
        return raised or returns

    def on_tasks_done(
        self, sender: PeerId, message: TasksDone, now_ns: int, out: list[Effect]
    ) -> None:
        """Tasks with fixed results ended at their worker.

        Raises:
            RemoteProtocolError: One of them cannot have, or not so; those before it have.
        """
        results: list[Result] = []
        shapes: dict[Demand, None] = {}
        at = 0
        try:
            for outcome in message.outcomes:
                entries = outcome.entries
                if list(map(type, entries)) == _ONE_PLAIN:
                    values: list[Value] = [entries[0]]  # type: ignore[list-item]  # plain bytes
                    needless: list[Parcel | Stored] = []
                else:
                    values, at = unpack(entries, message.buffers, at)
                    needless = self._own(sender, values, out)
                try:
                    entry = self._accept(sender, outcome.task, outcome.attempt)
                    if entry is not None:
                        if not entry.spec.method:
                            shapes[entry.spec.shape] = None
                        ended = self._results_of(entry, outcome, values, now_ns, out)
                        if ended is not None:
                            results += ended
                            needless.clear()
                finally:
                    if needless:
                        self._dropped.extend(needless)
        finally:  # what stands in front of an outcome that is refused has ended
            self._settlement.settle(results, now_ns, out)
            if self._pins.unmet:
                self._recovery.go_on(now_ns, out)
            for shape in shapes:
                self._placement.pump(shape, now_ns, out)

    def _own(self, sender: PeerId, values: list[Value], out: list[Effect]) -> list[Parcel | Stored]:
        """Own those of ``values`` that may keep something, and return them."""
        kept: list[Parcel | Stored] = []
        for value in values:
            if isinstance(value, (Parcel, Stored)):
                if type(value) is Stored:
                    self._regions.own(value)
                self._borrowing.take_in(sender, (value,), out)
                kept.append(value)
        return kept

    def _results_of(
        self,
        entry: TaskEntry,
        outcome: Outcome,
        values: list[Value],
        now_ns: int,
        out: list[Effect],
    ) -> list[Result] | None:
        """Take in how an execution ended; return what its objects get, None if nothing takes it.

        A generator that may run again sends what it yielded too, in case that it does not.
        """
        task, count = outcome.task, entry.spec.returns_count
        is_good = outcome.outcome == OUTCOME_VALUE
        fault = None if is_good else self._cancellation.verdict(entry, outcome.outcome)
        fits = len(values) == count
        if not is_good:
            expected = {OUTCOME_RETRY: (1, count), OUTCOME_ERROR: (1,)}
            fits = len(values) in expected.get(outcome.outcome, (0,)) and count >= 0
        if not fits:
            raise RemoteProtocolError(f"{len(values)} results, expected {count}")
        if entry.spec.method == CREATION:
            return self._supervision.on_created(entry, outcome.outcome, values, now_ns, out) or None
        self._placement.release(entry, task, outcome.run_ns, now_ns, out)
        if fault is not None:
            self._dropped.extend(keeping(values))
            return self._settlement.end(task, [fault], now_ns)
        retry = outcome.outcome == OUTCOME_RETRY
        if retry and self._settlement.retry(task, RAISED_STORY, now_ns):
            return None
        return self._settlement.end(task, values, now_ns)

    def _accept(self, sender: PeerId, task: TaskId, attempt: int) -> TaskEntry | None:
        entry = self._tasks.accept(task, attempt)
        if entry is not None and entry.worker != sender:
            raise RemoteProtocolError("an outcome by a worker that was not given the task")
        return entry
