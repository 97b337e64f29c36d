"""Lost objects: when their tasks run again, for what, and what those hear who wait for them.

Rules of this file: an object is lost when somebody who needs it finds its region gone. Why it may
not be made again is said to who asks; nothing else changes then. How lineage is kept is not known
here.

Theory of operation. A lost object is pending again: who wants it waits as for any other. Its task
is submitted once more under the next attempt, for those of its objects that are lost; so are the
tasks that made its arguments, where these are gone too. When the node is gone where one result lay,
so are the others that lay there and cannot be read here. What is found lost of a task that runs
comes with a further run; a stream that is past what was lost is stopped. A borrower asks its owner.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, Send
from zgen.core.lineage import LOST_STORY, Kept
from zgen.core.lineage_pins import LineagePins, inputs_of
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import OwnedRef, RefTable
from zgen.core.restarting import Restarting
from zgen.core.settlement import Result, Settlement, cancelled
from zgen.core.store_client import StoreClient
from zgen.core.store_effects import ValueInstead
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import (
    ITEM_INDEX_FIRST,
    PUT_INDEX_FIRST,
    ObjectId,
    PeerId,
    TaskId,
    index_of,
    task_of,
)
from zgen.limits import HISTORY_COUNT_MAX, NODES_GONE_COUNT_MAX
from zgen.wire.object import ObjectsGone, ObjectsLost
from zgen.wire.store import NODE_GONE
from zgen.wire.task import ArgumentsLost
from zgen.wire.value import (
    REASON_BEHIND,
    REASON_NO_ACTOR,
    REASON_NO_RETRIES,
    REASON_PUT,
    REASON_SPENT,
    Fault,
    FaultKind,
    Parcel,
    Stored,
    Value,
    is_error,
)

#: What a borrower is told of an object that its owner does not know.
GONE = "its owner does not have it any more"


class Recovery:
    """What one owner does about objects that are lost.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
    """

    def __init__(
        self,
        tasks: TaskTable,
        refs: RefTable,
        streams: StreamsIn,
        placement: Placement,
        settlement: Settlement,
        borrowing: Borrowing,
        pins: LineagePins,
        store: StoreClient,
        restarting: Restarting,
    ) -> None:
        """Rebuild objects of these tables."""
        self._tasks = tasks
        self._refs = refs
        self._streams = streams
        self._placement = placement
        self._settlement = settlement
        self._borrowing = borrowing
        self._pins = pins
        self._lineage = pins.lineage.entries
        self._store = store
        self._restarting = restarting
        self._regions = store.regions
        #: Nodes of which somebody said that they are gone.
        self._nodes_gone: dict[PeerId, None] = {}
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ObjectsLost: self._on_objects_lost,
            ArgumentsLost: self._on_arguments_lost,
        }

    # -- who finds something lost ------------------------------------------------------------------
    def on_views_lost(self, now_ns: int, out: list[Effect]) -> None:
        """Users of this process cannot read what they want to: they wait, or hear why not."""
        lost, self._regions.lost_views = self._regions.lost_views, []
        for request, name, region, reason in lost:
            record = self._refs.records.get(name)
            fault: Fault | None
            if record is None:
                fault = Fault(FaultKind.OBJECT_LOST, name.hex(), "nothing refers to it any more")
            else:
                stuck = self._stuck(name, record, region, self._borrowing.me, reason)
                fault = stuck or self._lose(name, record, region, reason, now_ns, out)
            if fault is not None:
                out.append(ValueInstead(request, fault))
            elif record is not None and record.value is not None:
                self._store.view(request, name, record.value, out)
            else:
                self._store.await_value(request, name)

    def _on_objects_lost(
        self, sender: PeerId, message: ObjectsLost, now_ns: int, out: list[Effect]
    ) -> None:
        """A borrower cannot read objects of this process: it is told of them again."""
        self._borrowing.watch(self._borrowing.session.address_of(sender), out)
        gone: list[ObjectId] = []
        for name, region in message.objects:
            record = self._refs.records.get(name)
            if record is None or record.borrow is not None:
                gone.append(name)
                continue
            stuck = self._stuck(name, record, region, sender, message.reason)
            fault = stuck or self._lose(name, record, region, message.reason, now_ns, out)
            if fault is not None:
                self._borrowing.tell(sender, name, fault, out)
            else:
                self._borrowing.asked(sender, name, out)
        if gone:
            out.append(Send(sender, ObjectsGone(tuple(gone), GONE)))

    def _on_arguments_lost(
        self, sender: PeerId, message: ArgumentsLost, now_ns: int, out: list[Effect]
    ) -> None:
        """A worker cannot read the arguments of a task that it was given.

        Raises:
            RemoteProtocolError: It was not given that.
        """
        task, node = message.task, self._placement.node
        entry = self._tasks.accept(task, message.attempt)
        if entry is None or node is None:
            return
        spec = entry.spec
        known = all(0 <= position < len(spec.slots) for position, _ in message.slots)
        was_given = entry.worker == sender and (spec.method or entry.lease == message.lease)
        if not known or not was_given:
            raise RemoteProtocolError("arguments lost that the worker was not given")
        if spec.creates_actor:
            if not self._placement.calls.take_back(entry, out):
                raise RemoteProtocolError("arguments lost of an actor that was created")
        elif spec.method:
            self._placement.release(entry, task, 0, now_ns, out)
        else:
            self._placement.leases.release(message.lease, task, None, node, now_ns, out)
        if entry.cancel is not None:
            fault = cancelled(spec, may_have_run=entry.started > 0)
            self._settlement.fail(task, fault, now_ns, "cancelled", out)
        else:
            failed: Value | None = None
            for position, region in message.slots:
                name = spec.slots[position]
                record = self._refs.records[name]
                failed = self._lose(name, record, region, message.reason, now_ns, out) or failed
            self._wait_again(entry, failed, now_ns, out)
        if not spec.method:
            self._placement.pump(spec.shape, now_ns, out)

    def _wait_again(
        self, entry: TaskEntry, failed: Value | None, now_ns: int, out: list[Effect]
    ) -> None:
        """Let a pushed task wait for the arguments that are not there, or fail for an error."""
        spec = entry.spec
        missing: dict[ObjectId, None] = {}
        for name in spec.slots:
            value = self._refs.value_of(name)
            if value is None:
                missing[name] = None
            elif is_error(value):
                failed = value
        if failed is not None:
            self._settlement.fail_for_argument(spec.task, failed, now_ns, out)
        elif missing:
            self._tasks.on_arguments_lost(spec.task, list(missing), now_ns)
        else:
            reached("argument that was lost is there again")
            self._tasks.on_not_started(spec.task, entry.attempt, now_ns)
            self._placement.enqueue(spec.task, now_ns, out)

    # -- what runs again ---------------------------------------------------------------------------
    def go_on(self, now_ns: int, out: list[Effect]) -> None:
        """Run those tasks again that have ended while results of them were found lost."""
        while self._pins.unmet:
            task = self._pins.unmet.pop()
            lost = self._pins.pending(task)
            failed: list[Result] = []
            for name in lost:
                why = self._why_not(name)
                if why:
                    failed.append((name, self._fault(name, "it was lost while its task ran", why)))
            if failed:
                reached("nothing left to rebuild what was lost meanwhile")
                self._settlement.settle(failed, now_ns, out)
            else:
                reached("lost while its task ran")
                self._run_again(task, now_ns, out)

    def _lose(
        self,
        name: ObjectId,
        record: OwnedRef,
        region: int,
        reason: str,
        now_ns: int,
        out: list[Effect],
    ) -> Fault | None:
        """Somebody cannot read what lies in ``region``; return what he is told, None to wait."""
        value = record.value
        if type(value) is not Stored or value.region != region:
            return None
        if record.borrow is not None:
            self._ask_owner(name, record, value, reason, out)
            return None
        why = self._why_not(name)
        if why:
            return self._fault(name, reason, why)
        reached("lost object is to be made again")
        task = task_of(name)
        self._forget(name, record, value)
        if reason == NODE_GONE:
            self._nodes_gone[value.node] = None
            if len(self._nodes_gone) > NODES_GONE_COUNT_MAX:
                del self._nodes_gone[next(iter(self._nodes_gone))]
        self._sweep(self._lineage[task])
        self._run_again(task, now_ns, out)
        return None

    def _stuck(
        self, name: ObjectId, record: OwnedRef, region: int, reader: PeerId, reason: str
    ) -> Fault | None:
        """Return what an actor is told that waits for what only it can make again; else None."""
        kept, entry = self._lineage.get(task_of(name)), self._tasks.entries.get(task_of(name))
        if kept is None or not kept.spec.method:
            return None
        value, calls = record.value, self._placement.calls
        again = entry is not None and (entry.wanted is not None or entry.spec.returns_count < 0)
        is_lost = value.region == region if type(value) is Stored else value is None and again
        if not is_lost or self._why_not(name) or not calls.is_behind(kept.spec.actor, reader):
            return None
        reached("actor that reads what only it can make again")
        return self._fault(name, reason, REASON_BEHIND)

    def _ask_owner(
        self, name: ObjectId, record: OwnedRef, value: Stored, reason: str, out: list[Effect]
    ) -> None:
        borrow = record.borrow
        assert borrow is not None, "asked of what is owned here"
        assert borrow.credits, "what a dead owner had lies nowhere"
        reached("borrower asks for what is lost")
        self._refs.dropped.append(Parcel(b"", (), False, value.refs))  # the region is its owner's
        record.value = None
        self._refs.watched[name] = None  # who waits for a view of it hears when it goes
        borrow.asked = True
        out.append(Send(borrow.owner.peer, ObjectsLost(((name, value.region),), reason)))

    def _forget(self, name: ObjectId, record: OwnedRef, value: Stored) -> None:
        """An object is pending again."""
        record.value = None
        self._refs.dropped.append(value)
        self._lineage[task_of(name)].results[name] = bool(value.data)
        self._restarting.note(name)

    def _sweep(self, kept: Kept) -> None:
        """What lay on nodes that are gone is lost too, unless it can be read here."""
        if not self._nodes_gone:
            return
        for name in kept.results:
            record = self._refs.records.get(name)  # None if it went in this step
            value = record.value if record is not None else None
            if record is not None and type(value) is Stored and self._is_gone(value):
                self._forget(name, record, value)

    def _is_gone(self, value: Stored) -> bool:
        return value.node in self._nodes_gone and not self._regions.is_held(value)

    def _why_not(self, name: ObjectId) -> str:
        """Return why an object cannot be made again; nothing if it can, or is being made."""
        kept = self._lineage.get(task_of(name))
        if kept is None:
            return REASON_PUT if index_of(name) >= PUT_INDEX_FIRST else REASON_NO_RETRIES
        if kept.why or task_of(name) in self._tasks.entries:
            return kept.why or self._restarting.why_not(name)
        return REASON_SPENT if kept.retries_left == 0 else ""

    def _fault(self, name: ObjectId, reason: str, why: str) -> Fault:
        kept = self._lineage.get(task_of(name))
        story = f"{reason}; it came from {kept.spec.name}()" if kept is not None else reason
        return Fault(FaultKind.NOT_REBUILT, name.hex(), story, why=why)

    def _run_again(self, task: TaskId, now_ns: int, out: list[Effect]) -> None:
        """Submit a task again, and those that make what it takes, however many they are."""
        work = [task]
        while work:
            task = work.pop()
            if task in self._tasks.entries:
                self._restarting.look(task, now_ns, out)
            if task in self._tasks.entries or not self._pins.pending(task):
                continue  # it runs, or what needed it has failed meanwhile
            kept = self._lineage[task]
            spec = kept.spec
            if self._placement.node is None:
                lost = Fault(FaultKind.NODE_DIED, "", "the node is gone")
                self._settlement.settle(
                    [(name, lost) for name in self._pins.pending(task)], now_ns, out
                )
            elif spec.method and not self._placement.calls.call_again(spec, now_ns, out):
                reached("lost result of an actor that is gone")
                self._pins.give_up(kept, REASON_NO_ACTOR)
                faults = [
                    (name, self._fault(name, "every copy is gone", REASON_NO_ACTOR))
                    for name in self._pins.pending(task)
                ]
                self._settlement.settle(faults, now_ns, out)
            else:
                self._submit(kept, work, now_ns, out)

    def _submit(self, kept: Kept, work: list[TaskId], now_ns: int, out: list[Effect]) -> None:
        """Submit a task again; the tasks that it waits for are added to ``work``."""
        spec, task = kept.spec, kept.spec.task
        kept.is_again = True
        history = (*kept.history, f"attempt {kept.attempt}: {LOST_STORY}")[-HISTORY_COUNT_MAX:]
        kept.attempt += 1
        kept.retries_left -= kept.retries_left > 0
        for name in inputs_of(spec):
            self._revive(name, work)
        if type(spec.arguments) is Parcel:
            self._borrowing.hold(spec.arguments)
        missing: dict[ObjectId, None] = {}
        failed: Value | None = None
        for name in spec.slots:
            self._refs.pin(name)
            value = self._refs.value_of(name)
            if value is None:
                missing[name] = None
            elif is_error(value):
                failed = value
        if spec.returns_count < 0:
            self._pins.filling[task] = (kept.attempt, 0)
        how = (spec, kept.attempt, kept.retries_left, self._wanted(kept), list(missing), now_ns)
        is_ready = self._tasks.resubmit(*how)
        self._tasks.entries[task].history = history
        if failed is not None:
            self._settlement.fail_for_argument(task, failed, now_ns, out)
        elif is_ready:
            self._placement.enqueue(task, now_ns, out)

    def _revive(self, name: ObjectId, work: list[TaskId]) -> None:
        """An argument is needed again; if its value went meanwhile, it is made again too."""
        record = self._refs.records.get(name)
        if record is not None:
            value = record.value
            is_gone = type(value) is Stored and record.borrow is None and self._is_gone(value)
            if is_gone and type(value) is Stored and not self._why_not(name):
                self._forget(name, record, value)
                self._sweep(self._lineage[task_of(name)])
                work.append(task_of(name))
            return
        reached("argument of a lost object made again")
        parent = task_of(name)
        record = self._refs.records[name] = OwnedRef(None, 0)
        self._pins.add(self._lineage[parent], name)
        why = self._why_not(name)
        if why:
            record.value = self._fault(name, "its value was let go", why)
            return
        self._restarting.note(name)
        work.append(parent)

    def _wanted(self, kept: Kept) -> list[int]:
        """Return the indices of what is lost of a task, with items that nobody has taken."""
        task = kept.spec.task
        wanted = [index_of(name) for name in self._pins.pending(task)]
        record = self._streams.streams.get(task)
        for at, value in enumerate(record.unread if record is not None else ()):
            if record is not None and type(value) is Stored and self._is_gone(value):
                wanted.append(ITEM_INDEX_FIRST + record.taken + at)
        return wanted
