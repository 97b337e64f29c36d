"""Lineage joined with references: which results count, and what keeps the arguments of kept tasks.

Rules of this file: an argument that a kept task can make again needs no value; any other is pinned.
When something is made again is not decided here.
"""

from collections.abc import Iterable

from zgen.core.lineage import Kept, Lineage
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import TaskEntry
from zgen.ids import COMPLETION_INDEX, ObjectId, TaskId, object_id, task_of
from zgen.wire.value import (
    REASON_CANCELLED,
    REASON_NO_RETRIES,
    REASON_SPENT,
    REASON_TWO_WAY,
    Fault,
    FaultKind,
    Stored,
    Value,
    refs_of,
    size_bytes,
)


def inputs_of(spec: TaskSpec) -> dict[ObjectId, None]:
    """Return the objects that the arguments of a task refer to, each once."""
    inputs = dict.fromkeys(spec.slots)
    if type(spec.arguments) is not bytes:
        for ref in refs_of(spec.arguments):
            inputs[ref.object] = None
    return inputs


class LineagePins:
    """What one owner keeps to rebuild what may be lost.

    Attributes:
        lineage: The kept tasks.
        unmet: Tasks that have ended while results of them were found lost, until they run again.
        filling: Stream of which items were or may be lost -> attempt that runs, and how many items
            it has reported if that counts nowhere else. Removed when it ends.
    """

    def __init__(self, refs: RefTable) -> None:
        """Keep nothing yet; arguments are pinned in ``refs``."""
        self.lineage = Lineage()
        self.unmet: list[TaskId] = []
        self.filling: dict[TaskId, tuple[int, int]] = {}
        self._refs = refs

    # -- results -----------------------------------------------------------------------------------
    def add(self, kept: Kept, name: ObjectId) -> None:
        """A living object is a result of a kept task, and lies in shared memory."""
        kept.results[name] = None
        self._refs.watched[name] = None

    def take(self, entry: TaskEntry | None, name: ObjectId) -> None:
        """Somebody took an item that lies in shared memory, of a stream that runs or has ended."""
        kept = self.lineage.entries.get(task_of(name))
        if kept is None:
            assert entry is not None, f"nothing is kept of what yielded {name.hex()}"
            kept = self.lineage.open(entry.spec)
        self.add(kept, name)

    def take_returned(self, entry: TaskEntry) -> None:
        """A stream ends and has returned a value that lies in shared memory."""
        name = object_id(entry.spec.task, COMPLETION_INDEX)
        if name in self._refs.records:
            self.take(entry, name)

    def gathered(self, entry: TaskEntry, completion: Value) -> None:
        """What a task has yielded is one value now, which refers to its items."""
        for ref in refs_of(completion):
            if type(self._refs.records[ref.object].value) is Stored:
                self.take(entry, ref.object)

    def on_gone(self, names: Iterable[ObjectId]) -> list[ObjectId]:
        """These watched objects are gone; return those that are none of here."""
        others: list[ObjectId] = []
        for name in names:
            if task_of(name) not in self.lineage.entries:
                others.append(name)
            elif name in self._refs.records:
                reached("result let go and needed again in one step")
            else:
                self._unpin(self.lineage.remove(name))
        return others

    def give_up(self, kept: Kept, why: str) -> None:
        """A kept task can never run again."""
        self._unpin(self.lineage.give_up(kept, why))

    def pending(self, task: TaskId) -> list[ObjectId]:
        """Return the results of a kept task that were lost and are not there again."""
        kept = self.lineage.entries.get(task)
        if kept is None:
            return []
        records = self._refs.records
        return [name for name in kept.results if name in records and records[name].value is None]

    # -- tasks -------------------------------------------------------------------------------------
    def keep(self, entry: TaskEntry, values: Iterable[Value]) -> None:
        """A task with fixed results ends with these, of which some lie in shared memory."""
        kept = self.lineage.open(entry.spec)
        for index, value in enumerate(values):
            name = object_id(entry.spec.task, index)
            if type(value) is Stored and name in self._refs.records:
                self.add(kept, name)
        self.ended(kept, entry)

    def keep_stream(self, entry: TaskEntry, count: int, is_unread: bool, *, raised: bool) -> None:
        """A stream ends after ``count`` items; ``is_unread`` if some in shared memory are left."""
        kept = self.lineage.open(entry.spec)
        kept.count, kept.raised = count, raised
        self.ended(kept, entry, is_open=is_unread)
        self.look(entry.spec.task)

    def refill(self, entry: TaskEntry) -> None:
        """The next attempt of a stream is to give anew what it yields on another node."""
        self.lineage.open(entry.spec)
        self.filling[entry.spec.task] = (entry.attempt, 0)

    def ended(self, kept: Kept, entry: TaskEntry, *, is_open: bool = False) -> None:
        """A task has ended well; its arguments are not let go yet."""
        spec = kept.spec
        self.filling.pop(spec.task, None)
        kept.attempt, kept.retries_left = entry.attempt, entry.retries_left
        kept.history = entry.history
        kept.is_open, kept.is_again = is_open, False
        if spec.retries_max == 0:
            kept.why = REASON_NO_RETRIES
        elif entry.cancel is not None:
            reached("result of a task that was cancelled too late")
            self.give_up(kept, REASON_CANCELLED)
        elif spec.window < 0:
            self.give_up(kept, REASON_TWO_WAY)
        elif not (kept.why or kept.size_bytes):
            self._hold(kept)
        self._unpin(self.lineage.release(spec.task))
        self._unpin(self.lineage.evict())

    def look(self, task: TaskId, results: Iterable[tuple[ObjectId, Value]] = ()) -> None:
        """A task has ended; note it if results of it were lost that are not among ``results``."""
        met = dict(results)
        if any(name not in met for name in self.pending(task)):
            self.unmet.append(task)

    def failed(self, entry: TaskEntry, fault: Fault, *, is_open: bool) -> list[ObjectId]:
        """A task ended for good without a result; return what was lost of it and never comes.

        ``is_open`` if it is a stream with items in shared memory that nobody has taken.
        """
        task = entry.spec.task
        kept = self.lineage.entries.get(task)
        if kept is None:
            if not is_open:
                return []
            kept = self.lineage.open(entry.spec)
        lost = self.pending(task)
        self.filling.pop(task, None)
        kept.is_open, kept.is_again = is_open, False
        is_cancelled = fault.kind is FaultKind.CANCELLED or entry.cancel is not None
        retriable = REASON_SPENT if entry.spec.retries_max else REASON_NO_RETRIES
        self.give_up(kept, REASON_CANCELLED if is_cancelled else retriable)
        return lost

    def close(self, task: TaskId) -> None:
        """The items of a stream that nobody has taken are no more."""
        self.lineage.entries[task].is_open = False
        self._unpin(self.lineage.release(task))

    def needs(self) -> list[ObjectId]:
        """Return what is pinned here, an object for each task that pins it."""
        return [name for kept in self.lineage.entries.values() for name in kept.pinned]

    def check(self) -> None:
        """Assert the invariants of what is kept."""
        self.lineage.check()
        assert not self.unmet, f"{self.unmet} ended short and nobody looked"
        for kept in self.lineage.entries.values():
            for name in kept.results:
                assert name in self._refs.records, f"{name.hex()} is gone"
                assert name in self._refs.watched, f"nobody hears of the end of {name.hex()}"

    def _hold(self, kept: Kept) -> None:
        parents: list[TaskId] = []
        pinned: list[ObjectId] = []
        pinned_bytes = 0
        for name in inputs_of(kept.spec):
            record = self._refs.records[name]
            value = record.value
            is_large = value is None or type(value) is Stored
            if is_large and record.borrow is None and self.lineage.can_make(name):
                parents.append(task_of(name))
                continue
            pinned.append(name)
            self._refs.pin(name)
            pinned_bytes += size_bytes(value) if value is not None else 0
        self.lineage.hold(kept, parents, pinned, pinned_bytes)

    def _unpin(self, names: list[ObjectId]) -> None:
        if names:
            reached("arguments of a kept task let go")
        for name in names:
            self._refs.unpin(name)
