"""Rows of `zgen.state`, and lists of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from zgen.wire.stream import PARKED_BY_ACTOR, PARKED_BY_BYTES, PARKED_BY_ITEMS

T = TypeVar("T")

#: Why a body waits for its consumer, as rows say it.
PARKED_BY: Final = {PARKED_BY_ITEMS: "items", PARKED_BY_BYTES: "bytes", PARKED_BY_ACTOR: "actor"}


@dataclass(frozen=True)
class Hold:
    """One reason why an object is held.

    Attributes:
        reason: Of which kind: "local reference", "actor state", "pending task", "pending call",
            "running task", "inside a value", "unread item", "function", "borrower", "dead borrower"
            or "loan".
        by: Who or what holds it.
        count: How often.
    """

    reason: str
    by: str
    count: int


@dataclass(frozen=True)
class ObjectState:
    """One object.

    Attributes:
        object_id: Its id.
        size_bytes: Bytes of its value; 0 while there is none.
        place: Where they are: "inline" in the owner, "shared memory", "disk"; or "pending", or
            "error" for an object that holds one.
        held_by: Why it is held, the first reasons of many.
        holds_more: How many further reasons there are.
        owner: Worker id of the process that owns it.
        owner_pid: Its process id.
        job_id: Job of that process.
        node_id: Node of that process.
    """

    object_id: str
    size_bytes: int
    place: str
    held_by: tuple[Hold, ...]
    holds_more: int
    owner: str
    owner_pid: int
    job_id: str
    node_id: str


@dataclass(frozen=True)
class TaskState:
    """One task or call that has not ended.

    Attributes:
        task_id: Its id.
        name: What it calls.
        state: "PENDING_ARGS_AVAIL", "PENDING_NODE_ASSIGNMENT", "SUBMITTED_TO_WORKER", "RUNNING" or
            "PENDING_RETRY".
        type: "NORMAL_TASK", "ACTOR_TASK" or "ACTOR_CREATION_TASK".
        attempt_number: Which execution it is, from 0.
        retries_left: How often it may run again; -1 for ever.
        waits_for: Ids of the first objects that it misses.
        actor_id: Actor that it is a call of; None for a plain task.
        worker_id: Process that has it; None if none has.
        worker_pid: Its process id.
        parent_task_id: Task that submitted it; for the program itself the id of its job, and None
            for calls of actors.
        owner: Worker id of the process that submitted it.
        owner_pid: Its process id.
        job_id: Job of that process.
        node_id: Node of that process.
    """

    task_id: str
    name: str
    state: str
    type: str
    attempt_number: int
    retries_left: int
    waits_for: str
    actor_id: str | None
    worker_id: str | None
    worker_pid: int | None
    parent_task_id: str | None
    owner: str
    owner_pid: int
    job_id: str
    node_id: str


@dataclass(frozen=True)
class ActorState:
    """One actor; a dead one as long as somebody has a handle.

    Attributes:
        actor_id: Its id.
        class_name: Its class.
        state: "PENDING_CREATION", "ALIVE", "RESTARTING" or "DEAD".
        name: Its name; empty for none.
        namespace: Where that counts.
        restarts: How often it was made anew.
        pid: Process id of its worker; None if it has none.
        worker_id: Its worker; None if it has none.
        death_cause: Why it is dead; empty if it is not.
        owner: Worker id of the process that created it.
        owner_pid: Its process id.
        job_id: Job of that process.
        node_id: Node of that process.
    """

    actor_id: str
    class_name: str
    state: str
    name: str
    namespace: str
    restarts: int
    pid: int | None
    worker_id: str | None
    death_cause: str
    owner: str
    owner_pid: int
    job_id: str
    node_id: str


@dataclass(frozen=True)
class StreamState:
    """One generator whose body runs, or whose items somebody may still take.

    Attributes:
        stream_id: Its id, which is that of its task.
        name: The generator function.
        attempt_number: Which execution feeds it, from 0.
        reported: Items that it has yielded.
        taken: Items that were taken.
        unread: Items that wait to be taken.
        unread_bytes: Their bytes.
        ended: Whether it yields nothing more.
        is_held: Whether anybody holds the generator.
        window: Items that may wait; 0 for any number.
        window_bytes: Bytes that may wait; 0 for any number.
        parked_by: Why its body waits for its consumer: ``"items"``, ``"bytes"`` or ``"actor"`` for
            as many of either as its actor may have; empty if it does not.
        worker_id: Process that runs its body; None if none does.
        worker_pid: Its process id.
        owner: Worker id of the process that reads it.
        owner_pid: Its process id.
        job_id: Job of that process.
        node_id: Node of that process.
    """

    stream_id: str
    name: str
    attempt_number: int
    reported: int
    taken: int
    unread: int
    unread_bytes: int
    ended: bool
    is_held: bool
    window: int
    window_bytes: int
    parked_by: str
    worker_id: str | None
    worker_pid: int | None
    owner: str
    owner_pid: int
    job_id: str
    node_id: str


@dataclass(frozen=True)
class WorkerState:
    """One process of a node: a worker, or a driver.

    Attributes:
        worker_id: Its id.
        worker_type: "WORKER" or "DRIVER".
        pid: Its process id; 0 if that is not known yet.
        state: What it does: "starting", "idle", "leased" or "driver".
        works_on: What its lease was asked for.
        actor_id: Actor that lives there; None for none.
        silence: Why it did not answer; empty if it did.
        job_id: Its job.
        node_id: Its node.
    """

    worker_id: str
    worker_type: str
    pid: int
    state: str
    works_on: str
    actor_id: str | None
    silence: str
    job_id: str
    node_id: str


@dataclass(frozen=True)
class Total:
    """Objects that have something in common.

    Attributes:
        count: How many.
        size_bytes: Bytes of their values.
    """

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Total") -> "Total":
        """Count both."""
        return Total(self.count + other.count, self.size_bytes + other.size_bytes)


class Listing(list[T], Generic[T]):
    """Rows, and what they are not.

    Attributes:
        total: How many rows there are without a limit and filters, of those who answered.
        silent: Processes that did not answer, with why.
    """

    def __init__(self, rows: Iterable[T], total: int, silent: Sequence[WorkerState]) -> None:
        """List ``rows``."""
        super().__init__(rows)
        self.total = total
        self.silent = list(silent)

    @property
    def is_partial(self) -> bool:
        """Whether a process did not answer."""
        return bool(self.silent)


@dataclass(frozen=True)
class ObjectsSummary:
    """All objects, added up.

    Attributes:
        objects: The largest of them.
        by_owner: Worker id of each owner -> its objects.
        by_reason: Reason -> objects that are held for it; one that is held for two counts twice.
        pids: Worker id of each owner -> its process id.
    """

    objects: Listing[ObjectState]
    by_owner: dict[str, Total]
    by_reason: dict[str, Total]
    pids: dict[str, int] = field(default_factory=dict)
