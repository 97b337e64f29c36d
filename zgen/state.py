"""`zgen.state`: what a cluster's processes own, and why each object is held.

Each process answers for what it owns, when it is asked: nothing is kept for these lists, and what
has ended is not in them. Who does not answer in time is named in ``silent``: a process, or a node,
whose row has the type "NODE".
"""

from collections.abc import Sequence
from typing import Any

from zgen.limits import SECOND, STATE_PATIENCE_NS_MAX, STATE_ROWS_COUNT_MAX
from zgen.runtime import start
from zgen.state_answers import Answers, listing, matching, summary
from zgen.state_rows import (
    ActorState,
    Hold,
    Listing,
    ObjectsSummary,
    ObjectState,
    StreamState,
    TaskState,
    Total,
    WorkerState,
)
from zgen.wire.state import ACTORS, OBJECTS, STREAMS, TASKS, WORKERS

__all__ = [
    "ActorState",
    "Hold",
    "Listing",
    "ObjectState",
    "ObjectsSummary",
    "StreamState",
    "TaskState",
    "Total",
    "WorkerState",
    "list_actors",
    "list_objects",
    "list_streams",
    "list_tasks",
    "list_workers",
    "summarize_objects",
]

#: One condition on a row: the name of a field, "=" or "!=", and a value.
Filter = tuple[str, str, Any]


def list_objects(
    *, filters: Sequence[Filter] = (), limit: int = 100, timeout: float = 5.0
) -> Listing[ObjectState]:
    """List the objects of the cluster's processes, the largest first.

    Args:
        filters: Conditions that all rows fit, such as ``("place", "=", "inline")``.
        limit: Rows at most; filters see the first 10,000 of each process.
        timeout: Seconds to wait for each process.

    Raises:
        ValueError: An argument is out of range, or a filter names no field.
        NodeDiedError: The node is gone.
        GetTimeoutError: The node does not answer.
    """
    return _list(OBJECTS, filters, limit, timeout)


def list_tasks(
    *, filters: Sequence[Filter] = (), limit: int = 100, timeout: float = 5.0
) -> Listing[TaskState]:
    """List the tasks and calls that have not ended; see ``list_objects``."""
    return _list(TASKS, filters, limit, timeout)


def list_actors(
    *, filters: Sequence[Filter] = (), limit: int = 100, timeout: float = 5.0
) -> Listing[ActorState]:
    """List the actors, dead ones as long as there are handles; see ``list_objects``."""
    return _list(ACTORS, filters, limit, timeout)


def list_workers(
    *, filters: Sequence[Filter] = (), limit: int = 100, timeout: float = 5.0
) -> Listing[WorkerState]:
    """List the processes of all nodes, drivers included; see ``list_objects``."""
    return _list(WORKERS, filters, limit, timeout)


def list_streams(
    *, filters: Sequence[Filter] = (), limit: int = 100, timeout: float = 5.0
) -> Listing[StreamState]:
    """List the generators that run, or whose items may be taken; see ``list_objects``."""
    return _list(STREAMS, filters, limit, timeout)


def summarize_objects(*, limit: int = 100, timeout: float = 5.0) -> ObjectsSummary:
    """Add up all objects of the cluster, by owner and by reason; see ``list_objects``."""
    return summary([_ask(OBJECTS, limit, timeout)], limit)


def _list(what: str, filters: Sequence[Filter], limit: int, timeout: float) -> Listing[Any]:
    found = listing(
        what,
        [_ask(what, STATE_ROWS_COUNT_MAX if filters else limit, timeout)],
        STATE_ROWS_COUNT_MAX if filters else limit,
    )
    if not filters:
        return found
    return Listing(matching(found, filters)[:limit], found.total, found.silent)


def _ask(what: str, limit: int, timeout: float) -> Answers:
    check_bounds(limit, timeout)
    runtime = start.ensure()
    runtime.enter()
    return Answers(*runtime.questions.ask_state(what, limit, timeout))


def check_bounds(limit: int, timeout: float) -> None:
    """Check what bounds a question.

    Raises:
        ValueError: One is out of range.
    """
    if type(limit) is not int or not 1 <= limit <= STATE_ROWS_COUNT_MAX:
        raise ValueError(f"limit must be between 1 and {STATE_ROWS_COUNT_MAX}, got {limit!r}")
    timeout_max = STATE_PATIENCE_NS_MAX / SECOND
    if not 0 <= timeout <= timeout_max:
        raise ValueError(f"timeout must be between 0 and {timeout_max:g} s, got {timeout!r}")
