"""How tasks end: results, errors, another attempt, and what waits for them.

Rules of this file: every path out of the task table goes through here, so that no result stays
pending
and no stream stays open. Where tasks run is not decided here.

Theory of operation. The end of a task gives values to its objects; a value may let other tasks run,
an
error fails those that need it, whose objects then get errors too. That chain is worked off from a
queue,
since it may be as long as the program is.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from zgen.core.borrowing import Borrowing
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, ObjectsReady, Report, StreamAdvanced
from zgen.core.lineage_pins import LineagePins
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import OwnedRef, RefTable
from zgen.core.store_client import StoreClient
from zgen.core.stream_in import StreamsIn
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.ids import (
    COMPLETION_INDEX,
    FIRST_RESULT,
    ITEM_INDEX_FIRST,
    ObjectId,
    TaskId,
    index_of,
    object_id,
)
from zgen.limits import (
    INPUT_LOG_BYTES_MAX,
    ITEMS_COUNT_MAX,
    MEMORY_RETRY_NS,
    RETRIES_TOLD_COUNT,
)
from zgen.wire.lease import ProcessDown, memory_text
from zgen.wire.task import DYNAMIC
from zgen.wire.value import NONE, Fault, FaultKind, Parcel, Stored, Value, is_error, keeping

#: An object and the value that it gets.
Result = tuple[ObjectId, Value]


def cancelled(spec: TaskSpec, *, may_have_run: bool = True) -> Fault:
    """Return what a cancelled task ends with."""
    return Fault(FaultKind.CANCELLED, spec.name, spec.task.hex(), may_have_run=may_have_run)


def log_lost(spec: TaskSpec, story: str) -> Fault:
    """Return what a two-way task ends with that cannot be repeated, after a death."""
    return Fault(FaultKind.LOG_LOST, spec.name, story, limit_bytes=INPUT_LOG_BYTES_MAX)


def _story_of(down: ProcessDown | str, pid: int) -> str:
    """Say how a worker died, for the history of a task."""
    if isinstance(down, str):
        end = f"is gone: {down}"
    elif down.limit_bytes:
        end = f"died, since {memory_text(down)}"
    elif down.started < 0:
        end = f"is gone: {down.log_tail}"
    else:
        end = f"died of signal {down.signal}" if down.signal else f"exited with {down.exit_code}"
    return f"worker pid={pid} {end}"


class Settlement:
    """The ends of one owner's tasks.

    Attributes:
        deadlines: When the next attempt of a task is due.
    """

    def __init__(
        self,
        tasks: TaskTable,
        refs: RefTable,
        streams: StreamsIn,
        placement: Placement,
        borrowing: Borrowing,
        pins: LineagePins,
        store: StoreClient,
    ) -> None:
        """End tasks of these tables."""
        self.deadlines: Deadlines[TaskId] = Deadlines()
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._placement = placement
        self._borrowing = borrowing
        self._askers = borrowing.askers
        self._pins = pins
        self._lineage = pins.lineage.entries
        self._store = store
        self._views = store.waiting

    def retry(self, task: TaskId, cause: str, now_ns: int, pause_ns: int = 0) -> bool:
        """Begin another attempt if the budget allows one, not before ``pause_ns`` are over."""
        due_ns = self._tasks.retry(task, now_ns, cause)
        if due_ns is None:
            return False
        due_ns = max(due_ns, now_ns + pause_ns)
        self._streams.begin_attempt(task, self._tasks.entries[task].attempt)
        if task in self._pins.filling:
            self._rewind(task)
        self.deadlines.set(task, due_ns)
        return True

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Queue the attempts that are due."""
        for task in self.deadlines.pop_due(now_ns):
            self._tasks.on_retry_due(task, now_ns)
            self._placement.enqueue(task, now_ns, out)

    def crash(
        self, task: TaskId, pid: int, down: ProcessDown | str, now_ns: int, out: list[Effect]
    ) -> None:
        """The worker of a started attempt died: retry it, or fail it with what is known.

        Args:
            task: The task.
            pid: Process id of the worker.
            down: What its node says of its death, or a reason for people if the node says nothing.
            now_ns: The time.
            out: Effects are added here.
        """
        reached("worker died under a task")
        entry = self._tasks.entries[task]
        if entry.cancel is not None:
            reached("worker died under a cancelled task")
            entry.started += 1
            force, _ = entry.cancel
            fault = self._death_under(entry, pid, down) if force else cancelled(entry.spec)
            self.fail(task, fault, now_ns, "its worker died", out)
            return
        for_memory = not isinstance(down, str) and down.limit_bytes > 0
        pause_ns = MEMORY_RETRY_NS if for_memory else 0
        if self.retry(task, _story_of(down, pid), now_ns, pause_ns):
            self._warn(entry, out)
            if not isinstance(down, str) and down.started < 0:
                self.refill(entry)
            return
        self.fail(task, self._death_under(entry, pid, down), now_ns, "its worker died", out)

    def refill(self, entry: TaskEntry) -> None:
        """A stream that has not ended runs again elsewhere: what lay where it ran may be gone."""
        task = entry.spec.task
        if entry.wanted is None and (task in self._lineage or self._streams.has_stored(task)):
            self._pins.refill(entry)
            self._rewind(task)

    def _rewind(self, task: TaskId) -> None:
        """Items that were lost, or may have been with their node, come with the next attempt."""
        kept = self._lineage.get(task)
        taken = [index_of(name) for name in kept.results] if kept is not None else []
        first = min(taken, default=ITEMS_COUNT_MAX) - ITEM_INDEX_FIRST
        self._streams.rewind(task, first, fills=bool(self._pins.pending(task)))

    def lose(
        self, task: TaskId, pid: int, down: ProcessDown | str, now_ns: int, out: list[Effect]
    ) -> bool:
        """The worker died before it began a task: return whether that goes back into the queue.

        It fails when too many workers in a row died so; the arguments are those of ``crash``.
        """
        entry = self._tasks.entries[task]
        if entry.cancel is not None:
            reached("worker died before it began a cancelled task")
            fault = cancelled(entry.spec, may_have_run=entry.started > 0)
            self.fail(task, fault, now_ns, "cancelled", out)
            return False
        if self._tasks.on_lost(task, now_ns):
            return True
        reached("task failed that no worker lived to begin")
        fault = self._death_under(entry, pid, down)
        fault.may_have_run = entry.started > 0
        self.fail(task, fault, now_ns, "its workers died before they began it", out)
        return False

    def fail(self, task: TaskId, fault: Fault, now_ns: int, cause: str, out: list[Effect]) -> None:
        """End a task with an error, whatever it was doing."""
        self.settle(self._abandon(task, fault, now_ns, cause, out), now_ns, out)

    def fail_for_argument(self, task: TaskId, error: Value, now_ns: int, out: list[Effect]) -> None:
        """End a task whose argument is an error."""
        self.settle(self._abandon_for_argument(task, error, now_ns, out), now_ns, out)

    def end(self, task: TaskId, values: Sequence[Value], now_ns: int) -> list[Result]:
        """End a task with its results, or with one error for all of them; ``settle`` next."""
        entry = self._tasks.entries[task]
        if entry.wanted is not None:
            return self._end_again(entry, values, now_ns)
        for value in values:
            if type(value) is Stored:
                self._pins.keep(entry, values)
                break
        self._finish(task, now_ns, "it ended")
        count = entry.spec.returns_count
        if count == len(values) == 1:
            return [(ObjectId(task + FIRST_RESULT), values[0])]
        if len(values) == count:
            return [(object_id(task, index), value) for index, value in enumerate(values)]
        return [(object_id(task, index), values[0]) for index in range(count)]

    def end_stream(self, stream: TaskId, completion: Value, now_ns: int, out: list[Effect]) -> None:
        """End the task of a stream that has ended."""
        self._finish(stream, now_ns, "it ended")
        out.append(StreamAdvanced(stream))
        self.settle([(object_id(stream, COMPLETION_INDEX), completion)], now_ns, out)

    def keep_returned(self, stream: TaskId) -> None:
        """What a generator has returned lives as long as who holds the generator."""
        name = object_id(stream, COMPLETION_INDEX)
        if name not in self._refs.records:
            self._refs.records[name] = OwnedRef(None, 0)
        self._refs.pin(name)

    def end_again(self, entry: TaskEntry, now_ns: int) -> None:
        """End the task of a stream that ran again for some of its items, which have come."""
        task = entry.spec.task
        is_unread = self._streams.has_stored(task)
        self._pins.ended(self._lineage[task], entry, is_open=is_unread)
        self._finish(task, now_ns, "it ended again")
        self._pins.look(task)

    def settle(self, results: Iterable[Result], now_ns: int, out: list[Effect]) -> None:
        """Give objects their values, and move on what waited for them."""
        ready: list[ObjectId] = []
        missing_by = self._tasks.missing_by
        work = deque(results)
        while work:
            name, value = work.popleft()
            if not self._refs.settle(name, value):
                continue
            ready.append(name)
            if name in self._askers:
                self._borrowing.answer(name, value, out)
            if self._views and name in self._views:
                self._store.on_value(name, value, out)
            if name not in missing_by:
                continue
            if not is_error(value):
                for task in self._tasks.on_settled(name, now_ns):
                    self._placement.enqueue(task, now_ns, out)
                continue
            for task in list(missing_by[name]):
                if task in self._tasks.entries:  # else it went with an actor that went before it
                    work.extend(self._abandon_for_argument(task, value, now_ns, out))
        if ready:
            out.append(ObjectsReady(tuple(ready)))

    def close(self, task: TaskId, now_ns: int, cause: str) -> None:
        """Take out a task whose results have their values already."""
        self._finish(task, now_ns, cause)

    def unpin_arguments(self, entry: TaskEntry) -> None:
        """Let go of the arguments of a task that will not be pushed again."""
        for name in entry.spec.slots:
            self._refs.unpin(name)
        if type(entry.spec.arguments) is Parcel:
            self._refs.dropped.append(entry.spec.arguments)
        entry.spec.slots = ()
        entry.spec.arguments = b""

    @staticmethod
    def _death_under(entry: TaskEntry, pid: int, down: ProcessDown | str) -> Fault:
        if entry.log is not None and entry.log.is_missed:
            story = _story_of(down, pid)
            return log_lost(entry.spec, story)
        fault = Fault(FaultKind.NODE_DIED, entry.spec.name, "", pid, attempts=entry.started)
        fault.history = entry.history
        if isinstance(down, str):
            fault.reason = down
            return fault
        fault.reason = down.log_tail
        if down.started < 0:
            reached("node died under a task")
            return fault
        fault.kind = FaultKind.OUT_OF_MEMORY if down.limit_bytes else FaultKind.WORKER_CRASHED
        fault.exit_code, fault.signal = down.exit_code, down.signal
        fault.rss_bytes, fault.limit_bytes = down.rss_bytes, down.limit_bytes
        return fault

    @staticmethod
    def _warn(entry: TaskEntry, out: list[Effect]) -> None:
        """Say so where a task without a bound on its retries fails again and again."""
        count = entry.started
        if entry.retries_left < 0 and count >= RETRIES_TOLD_COUNT and not count & (count - 1):
            reached("endless retries reported")
            text = f"{entry.spec.name}() failed {count} times and is tried again for ever"
            out.append(Report("warning", f"{text}; the last time {entry.history[-1]}"))

    def _abandon_for_argument(
        self, task: TaskId, error: Value, now_ns: int, out: list[Effect]
    ) -> list[Result]:
        if isinstance(error, Fault) and error.cause is not None:
            error = error.cause  # the root of a chain, however long
        name = self._tasks.entries[task].spec.name
        fault = Fault(FaultKind.ARGUMENT, name, may_have_run=False, cause=error)
        return self._abandon(task, fault, now_ns, "an argument is an error", out)

    def _abandon(
        self, task: TaskId, fault: Fault, now_ns: int, cause: str, out: list[Effect]
    ) -> list[Result]:
        """Take a task out with an error; return what its objects get."""
        entry = self._finish(task, now_ns, cause)
        if entry.spec.method:
            self._placement.calls.on_failed(entry, fault, now_ns, out)
        is_unread = entry.spec.returns_count != DYNAMIC and self._streams.has_stored(task)
        lost = self._pins.failed(entry, fault, is_open=is_unread)
        if entry.wanted is not None:
            return [(name, fault) for name in lost]
        if entry.spec.creates_actor:
            handle = self._refs.records.get(ObjectId(task + FIRST_RESULT))
            if handle is None or handle.value is not None:
                return []  # it has had its value since the first life
        if entry.spec.returns_count >= 0:
            return [(object_id(task, index), fault) for index in range(entry.spec.returns_count)]
        is_closed = entry.is_closing and fault.kind is FaultKind.CANCELLED
        completion: Value = NONE if is_closed else fault
        self._streams.fail(task, fault, completion)
        out.append(StreamAdvanced(task))
        if entry.spec.returns_count == DYNAMIC:
            self._streams.close(task)  # what it yielded goes: the failure is its only result
        return [(object_id(task, COMPLETION_INDEX), completion), *[(name, fault) for name in lost]]

    def _end_again(self, entry: TaskEntry, values: Sequence[Value], now_ns: int) -> list[Result]:
        """End a task that ran again for some of its results; the others have their values."""
        task, wanted, results = entry.spec.task, entry.wanted, list[Result]()
        assert wanted is not None, entry.doing.story()
        kept = self._lineage[task]
        self._pins.ended(kept, entry)
        self._finish(task, now_ns, "it ended again")
        is_failed = len(values) != entry.spec.returns_count
        for index in range(entry.spec.returns_count):
            name, value = object_id(task, index), values[0 if is_failed else index]
            record = self._refs.records.get(name)
            if index in wanted and record is not None and record.value is None:
                results.append((name, value))
            else:
                self._refs.dropped.extend(keeping((value,)))
        self._pins.look(task, results)
        return results

    def _finish(self, task: TaskId, now_ns: int, cause: str) -> TaskEntry:
        entry = self._tasks.finish(task, now_ns, cause)
        spec = entry.spec
        if entry.attempt:  # else it never waited for another one
            self.deadlines.clear(task)
        for name in spec.slots:
            self._refs.unpin(name)
        if type(spec.arguments) is Parcel:
            self._refs.dropped.append(spec.arguments)
        if entry.log is not None:
            self._refs.dropped.extend(keeping(entry.log.values()))
        if spec.method:
            self._placement.calls.on_finished(entry)
        return entry
