"""What a worker says of tasks that were cancelled: never begun, or without their output.

Rules of this file: what is cancelled in a queue never begins, and nothing that a cancelled body
makes from then on reaches its owner. What may start instead is not decided here.

Theory of operation. The body of a plain task or of an async actor is interrupted, and its owner
hears when it has ended. That of another actor can only look for itself whether it is wanted: its
owner hears of its end at once, and it keeps its place until it is over. Calls of a dead owner are
not cancelled; their generators only stop between two items. A worker whose owner died ends itself:
at once, or when what generators it runs for that have stopped. Its node, which knows only that the
owner is dead, kills it after a grace.
"""

from typing import Final, TypeAlias

from zgen.core.admission import Admission, Waiting
from zgen.core.call_admission import CallAdmission
from zgen.core.cancel_words import AbandonBody, InterruptBody, KillSelf, StopBody
from zgen.core.effects import Effect, Send
from zgen.core.events import TaskEnded
from zgen.core.marks import reached
from zgen.core.parking import Parking
from zgen.core.stream_out import StreamsOut
from zgen.ids import PeerId, TaskId
from zgen.limits import TASK_SHORT_NS
from zgen.wire.stream import CloseStream, ReportEnd
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelTask,
)
from zgen.wire.value import is_error, keeping

#: Words of owners who want an execution no more.
End: TypeAlias = CancelTask | CloseStream

#: Neither short nor long: how long it would have run is not known.
_RUN_NS: Final = TASK_SHORT_NS


class Unwanted:
    """The cancelled tasks of one worker, which stand in the tables of others."""

    def __init__(self, reports: StreamsOut, parking: Parking) -> None:
        """Speak by ``reports``, and let go of bodies in ``parking``."""
        self._reports = reports
        self._parking = parking
        #: Generators of dead owners that are to stop. Added by ``_let_stop``; removed at their end.
        self._stopping: dict[TaskId, None] = {}
        #: Whether the process for which this one lives has died.
        self._is_orphan = False

    def withdraw(
        self,
        queue: Admission | CallAdmission,
        sender: PeerId,
        message: End,
        now_ns: int,
        out: list[Effect],
    ) -> Waiting | None:
        """Take out what has not begun, and tell its owner that it never does; return it."""
        waiting = queue.withdraw(sender, message.task, message.attempt)
        if waiting is not None:
            reached("cancelled in a worker's queue")
            self._say(waiting, OUTCOME_WITHDRAWN, 0, now_ns, out)
        return waiting

    def interrupt(
        self,
        queue: Admission | CallAdmission,
        sender: PeerId,
        message: End,
        now_ns: int,
        out: list[Effect],
    ) -> bool:
        """Interrupt what runs, but by force; return whether it runs, and on for a while.

        A generator that its user closes is not: it stops at its ``yield``.
        """
        running = queue.running_as(sender, message.task, message.attempt)
        if running is None:
            reached("cancel of what this worker does not have")
            return False
        if isinstance(message, CloseStream):
            self._stop(running, now_ns, out)
            return True
        if message.force and type(queue) is Admission:
            return True
        if running.cancelled:
            return True
        running.cancelled = True
        out.append(InterruptBody(message.task, message.attempt))
        count = 0
        if running.task.returns_count == STREAMING:
            count = self._reports.cancel(message.task, now_ns, out)
            self._parking.free(message.task, now_ns, out)
        if type(queue) is CallAdmission and not queue.is_async:
            running.told = True
            self._say(running, OUTCOME_CANCELLED, count, now_ns, out)
        return True

    def _stop(self, running: Waiting, now_ns: int, out: list[Effect]) -> None:
        """Let a generator that runs stop at its ``yield``, wherever that is."""
        task = running.task
        if task.returns_count == STREAMING:
            self._reports.close(task.task, task.attempt)
            out.append(StopBody(task.task, task.attempt))
            self._parking.free(task.task, now_ns, out)  # it looks why as soon as it is let go

    def abandon(
        self, calls: CallAdmission, owner: PeerId, died: bool, now_ns: int, out: list[Effect]
    ) -> None:
        """The owner of these calls is gone: nothing is said of them, and generators end soon.

        What has no items runs to its end, which may matter to others, unless the actor's creator
        has died.
        """
        for running in calls.running_of(owner):
            running.cancelled = running.told = True
            if running.task.returns_count == STREAMING:
                out.append(AbandonBody(running.task.task, running.task.attempt))
                self._let_stop(running, now_ns, out)
        if died and owner == calls.creator:
            self._be_orphan(out)

    def orphan(self, queue: Admission, owner: PeerId, now_ns: int, out: list[Effect]) -> None:
        """The owner of what a plain worker runs has died: nobody else has work for the worker."""
        running = queue.running
        if running is None or running.owner != owner:
            return
        if running.task.returns_count == STREAMING:
            reached("generator of a dead owner stops at its yield")
            running.cancelled = running.told = True
            out.append(StopBody(running.task.task, running.task.attempt))
            self._let_stop(running, now_ns, out)
        self._be_orphan(out)

    def _let_stop(self, running: Waiting, now_ns: int, out: list[Effect]) -> None:
        stream = running.task.task
        self._stopping[stream] = None
        self._reports.cancel(stream, now_ns, out)
        self._parking.free(stream, now_ns, out)

    def _be_orphan(self, out: list[Effect]) -> None:
        self._is_orphan = True
        if not self._stopping:
            out.append(KillSelf())

    def drop_if_told(self, ended: Waiting, event: TaskEnded, out: list[Effect]) -> bool:
        """A cancelled body has ended; drop its output and return True if its owner was told."""
        if not ended.told:
            return False
        reached("body ended that was told to have ended")
        if ended.task.returns_count == STREAMING:
            self._reports.forget(event.task)
        self._reports.dropped.extend(keeping(event.values))
        self._stopping.pop(event.task, None)
        if self._is_orphan:
            self._be_orphan(out)
        return True

    def as_cancelled(self, event: TaskEnded) -> TaskEnded:
        """Return how a cancelled body ended: its output is dropped, its own error stands."""
        if event.outcome in (OUTCOME_ERROR, OUTCOME_CANCELLED):
            return event
        reached("output of a cancelled body dropped")
        kept = keeping(event.values)
        self._reports.dropped.extend([value for value in kept if not is_error(value)])
        errors = [value for value in event.values if is_error(value)]
        if event.outcome == OUTCOME_RETRY and errors:
            return TaskEnded(event.task, event.attempt, OUTCOME_ERROR, (errors[-1],))
        return TaskEnded(event.task, event.attempt, OUTCOME_CANCELLED, ())

    def _say(
        self, waiting: Waiting, outcome: int, count: int, now_ns: int, out: list[Effect]
    ) -> None:
        """Tell the owner how a task has ended for it, after ``count`` items."""
        task, attempt = waiting.task.task, waiting.task.attempt
        if waiting.task.returns_count == STREAMING:
            out.append(Send(waiting.owner, ReportEnd(task, attempt, count, outcome, _RUN_NS, ())))
        else:
            said = (task, attempt, outcome, _RUN_NS)
            self._reports.add_outcome(waiting.owner, said, (), 0, now_ns, out)
