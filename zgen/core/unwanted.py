"""What a worker says of tasks that were cancelled: never begun, or without their output."""

from zgen.core.admission import Waiting
from zgen.core.effects import Effect, Send
from zgen.core.events import TaskEnded
from zgen.core.marks import reached
from zgen.core.stream_out import StreamsOut
from zgen.limits import TASK_SHORT_NS
from zgen.wire.stream import ReportEnd
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    STREAMING,
    Outcome,
)
from zgen.wire.value import Parcel, Stored, is_error, keeping


def report_withdrawn(waiting: Waiting, reports: StreamsOut, now_ns: int, out: list[Effect]) -> None:
    """Tell the owner of a queued task that it never begins."""
    # Neither short nor long: how long it would have run is not known.
    task, attempt, run_ns = waiting.task.task, waiting.task.attempt, TASK_SHORT_NS
    if waiting.task.returns_count == STREAMING:
        out.append(Send(waiting.owner, ReportEnd(task, attempt, 0, OUTCOME_WITHDRAWN, run_ns, ())))
    else:
        outcome = Outcome(task, attempt, OUTCOME_WITHDRAWN, run_ns, ())
        reports.add_outcome(waiting.owner, outcome, (), now_ns, out)


def as_cancelled(event: TaskEnded, dropped: list[Parcel | Stored]) -> TaskEnded:
    """Return how a cancelled body ended: its output is dropped, its own error stands."""
    if event.outcome in (OUTCOME_ERROR, OUTCOME_CANCELLED):
        return event
    reached("output of a cancelled body dropped")
    dropped.extend([value for value in keeping(event.values) if not is_error(value)])
    errors = [value for value in event.values if is_error(value)]
    if event.outcome == OUTCOME_RETRY and errors:
        return TaskEnded(event.task, event.attempt, OUTCOME_ERROR, (errors[-1],))
    return TaskEnded(event.task, event.attempt, OUTCOME_CANCELLED, ())
