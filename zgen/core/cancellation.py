"""Cancelled tasks: what waits ends at once, what was pushed ends when its worker says how.

Rules of this file: a cancelled task never runs again, and what ended before its worker heard of it
keeps its result. How tasks end is ``settlement``'s.

Theory of operation. Whether a task is wanted is the entry's ``cancel``; what it does is as before.
A task that no worker has ends here. Of a pushed one the worker is told, and its outcome, its
hand-back or its death ends the task, as for any other. By force, the worker kills itself if it runs
the task; if it does not answer, for a body that holds it up, its node kills it. A call of an actor
is a task like others, but never by force: others live there. Who borrows a reference asks its
owner.
"""

from zgen.core.cancel_words import CancelRequested
from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.lent_refs import LentRefs
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.settlement import Settlement, cancelled
from zgen.core.task_table import Doing, TaskEntry, TaskTable
from zgen.ids import PeerId, TaskId, task_of
from zgen.limits import FORCED_CANCEL_NS
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    CancelBorrowed,
    CancelTask,
    TasksReturned,
)
from zgen.wire.value import Fault


class Cancellation:
    """What one owner's user wants no more.

    Attributes:
        deadlines: When a worker that was asked to end by force is killed.
    """

    def __init__(
        self,
        tasks: TaskTable,
        placement: Placement,
        settlement: Settlement,
        refs: RefTable,
        lent: LentRefs,
    ) -> None:
        """Cancel tasks of these tables."""
        self.deadlines: Deadlines[TaskId] = Deadlines()
        self._refs = refs
        self._lent = lent
        self._tasks = tasks
        self._placement = placement
        self._settlement = settlement

    def request(self, event: CancelRequested, now_ns: int, out: list[Effect]) -> None:
        """The user wants a task no more: one of this process, or of who lent the reference."""
        record = self._refs.records.get(event.object) if event.object is not None else None
        borrow = record.borrow if record is not None else None
        if borrow is None or event.object is None:
            self.cancel(event.task, event.force, event.recursive, now_ns, out)
        elif borrow.credits:  # else its owner is dead
            reached("borrower cancels")
            message = CancelBorrowed(event.object, event.force, event.recursive)
            out.append(Send(borrow.owner.peer, message))

    def on_borrowed(
        self, sender: PeerId, message: CancelBorrowed, now_ns: int, out: list[Effect]
    ) -> None:
        """A borrower wants the task no more that its reference comes from."""
        if message.object not in self._lent.borrowers.get(sender, {}):
            reached("cancel by who borrows nothing")
            return
        self.cancel(task_of(message.object), message.force, message.recursive, now_ns, out)

    def cancel(
        self, task: TaskId, force: bool, recursive: bool, now_ns: int, out: list[Effect]
    ) -> None:
        """End a task that has not ended.

        Args:
            task: The task; harmless if it has ended or is not known.
            force: Whether the worker that runs it is to die; not that of a call of an actor.
            recursive: Whether what it has submitted is to be cancelled too.
            now_ns: The time.
            out: Effects are added here.
        """
        entry = self._tasks.entries.get(task)
        if entry is None or entry.spec.creates_actor:  # ``kill`` ends actors
            reached("cancel of what has ended")
            return
        doing, is_call = entry.doing.state, bool(entry.spec.method)
        if doing is Doing.PUSHED:
            self._ask(task, entry, force and not is_call, recursive, now_ns, out)
            return
        reached(f"cancelled {'call ' if is_call else ''}{doing.value}")
        queues = doing is Doing.WAITING_LEASE and not is_call
        if queues:
            self._placement.withdraw(task)
        self._end(task, now_ns, out)
        if queues:
            self._placement.pump(entry.spec.shape, now_ns, out)

    def cancel_children(self, parent: TaskId, attempt: int, now_ns: int, out: list[Effect]) -> None:
        """End what an execution in this process has submitted, and what that has submitted.

        Not by force: whoever is killed owns nothing any more.
        """
        children = [
            task
            for task, entry in self._tasks.entries.items()
            if entry.spec.parent == parent and entry.spec.parent_attempt == attempt
        ]
        for task in children:  # the end of one may have ended another that needs it
            reached("child cancelled with its parent")
            self.cancel(task, False, True, now_ns, out)

    def on_returned(
        self, sender: PeerId, message: TasksReturned, now_ns: int, out: list[Effect]
    ) -> None:
        """A worker handed tasks back: those that were cancelled meanwhile end, the others wait."""
        for task in self._placement.on_returned(sender, message.lease, message.tasks, now_ns, out):
            reached("cancelled task handed back")
            self._end(task, now_ns, out)

    def verdict(self, entry: TaskEntry, outcome: int) -> Fault | None:
        """Return what a pushed task ends with for being cancelled; None if it ended on its own."""
        if outcome == OUTCOME_WITHDRAWN:
            return cancelled(entry.spec, may_have_run=entry.started > 0)
        if outcome == OUTCOME_CANCELLED:
            return cancelled(entry.spec)
        if outcome == OUTCOME_RETRY and entry.cancel is not None:
            reached("cancelled task would have run again")
            return cancelled(entry.spec)
        return None

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Have those workers killed that do not answer."""
        for task in self.deadlines.pop_due(now_ns):
            entry = self._tasks.entries.get(task)
            if entry is not None and entry.lease is not None:
                reached("worker killed that held a cancelled task")
                self._placement.end_worker(entry.lease, out)

    def check(self) -> None:
        """Assert that whoever is pushed and cancelled by force has a deadline or is doomed."""
        for task, entry in self._tasks.entries.items():
            if entry.cancel is not None and entry.cancel[0]:
                assert entry.lease is not None, entry.doing.story()
                doomed = self._placement.leases.held[entry.lease].doomed
                assert doomed or task in self.deadlines, entry.doing.story()

    def _end(self, task: TaskId, now_ns: int, out: list[Effect]) -> None:
        """End a cancelled task that no worker has begun, in this attempt."""
        entry = self._tasks.entries[task]
        fault = cancelled(entry.spec, may_have_run=entry.started > 0)
        self._settlement.fail(task, fault, now_ns, "cancelled", out)

    def _ask(
        self,
        task: TaskId,
        entry: TaskEntry,
        force: bool,
        recursive: bool,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        before = entry.cancel or (False, False)
        asked = (force or before[0], recursive or before[1])
        if asked == entry.cancel and not entry.is_closing:
            reached("cancelled again for nothing")
            return
        entry.cancel, entry.is_closing = asked, False
        worker = entry.worker
        assert worker is not None, entry.doing.story()
        out.append(Send(worker, CancelTask(task, entry.attempt, *asked)))
        if force:
            self.deadlines.set_if_unset(task, now_ns + FORCED_CANCEL_NS)
