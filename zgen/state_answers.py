"""What the processes of nodes said of themselves, put together as rows of `zgen.state`."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from zgen.core.object_holds import BORROWER
from zgen.ids import ActorId, ObjectId, PeerId, short
from zgen.state_rows import (
    PARKED_BY,
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
from zgen.wire import state as said
from zgen.wire.state import ProcessSaid, StateRows, StateTold

T = TypeVar("T")


class Answers:
    """What the processes of the nodes of a cluster said.

    Attributes:
        total: How many rows there are of what was asked for.
        workers: The processes.
        nodes: Ids of the nodes, those that said nothing too.
    """

    def __init__(self, parts: Sequence[StateRows], told: Sequence[StateTold]) -> None:
        """Put these together."""
        self._parts = parts
        self._known: dict[PeerId, ProcessSaid] = {}
        self._nodes: dict[PeerId, str] = {}
        self._silent_nodes = [node for node in told if node.silence]
        self.nodes = [node.node.hex() for node in told]
        for node in told:
            for each in node.processes:
                self._known[each.process] = each
                self._nodes[each.process] = node.node.hex()
        self._actors: dict[PeerId, ActorId] = {part.process: part.actor for part in parts}
        self.total = sum(part.count for part in parts if part.is_last)
        self.workers = [self._worker(each) for each in self._known.values()]

    @property
    def silent(self) -> list[WorkerState]:
        """The processes that did not answer, and the nodes that did not."""
        workers = [worker for worker in self.workers if worker.silence]
        return workers + [_silent_node(node) for node in self._silent_nodes]

    def objects(self) -> list[ObjectState]:
        """Return the objects, the largest first."""
        borrowed = {
            (each.object, part.process): each
            for part in self._parts
            for each in part.objects
            if each.owner != part.process
        }
        rows = [
            self._object(each, borrowed)
            for part in self._parts
            for each in part.objects
            if each.owner == part.process
        ]
        return sorted(rows, key=lambda row: -row.size_bytes)

    def totals(self) -> tuple[dict[str, Total], dict[str, Total]]:
        """Return how much each owner has, and how much is held for each reason."""
        by_owner: dict[str, Total] = {}
        by_reason: dict[str, Total] = {}
        for part in self._parts:
            for each in part.totals:
                where = by_reason if each.reason else by_owner
                key = each.reason or part.process.hex()
                where[key] = where.get(key, Total()) + Total(each.count, each.size_bytes)
        return by_owner, by_reason

    def tasks(self) -> list[TaskState]:
        """Return the tasks, by owner and in the order in which they were submitted."""
        running = {task: None for part in self._parts for task in part.running}
        return [
            TaskState(
                task_id=each.task.hex(),
                name=each.name,
                state="RUNNING" if each.task in running else each.state,
                type=_type_of(each),
                attempt_number=each.attempt,
                retries_left=each.retries_left,
                waits_for=each.waits_for,
                actor_id=_hex(each.actor),
                parent_task_id=_hex(each.parent),
                **self._at(each.worker),
                **self._by(part.process),
            )
            for part in self._parts
            for each in part.tasks
        ]

    def actors(self) -> list[ActorState]:
        """Return the actors, by creator and in the order in which they were created."""
        return [
            ActorState(
                actor_id=each.actor.hex(),
                class_name=each.class_name,
                state=each.state,
                name=each.name,
                namespace=each.namespace,
                restarts=each.restarts,
                pid=each.pid or None,
                worker_id=_hex(each.worker),
                death_cause=each.reason,
                **self._by(part.process),
            )
            for part in self._parts
            for each in part.actors
        ]

    def streams(self) -> list[StreamState]:
        """Return the streams, by who reads them and in the order in which they were opened."""
        return [
            StreamState(
                stream_id=each.stream.hex(),
                name=each.name,
                attempt_number=each.attempt,
                reported=each.reported,
                taken=each.taken,
                unread=each.unread,
                unread_bytes=each.unread_bytes,
                ended=each.ended,
                is_held=each.is_held,
                window=each.window,
                window_bytes=each.window_bytes,
                parked_by=PARKED_BY.get(each.parked_by, ""),
                **self._at(each.worker),
                **self._by(part.process),
            )
            for part in self._parts
            for each in part.streams
        ]

    # -- inside ------------------------------------------------------------------------------------
    def _by(self, process: PeerId) -> dict[str, Any]:
        known = self._known.get(process)
        return {
            "owner": process.hex(),
            "owner_pid": known.pid if known is not None else 0,
            "job_id": known.job.hex() if known is not None else "",
            "node_id": self._nodes.get(process, ""),
        }

    def _at(self, worker: PeerId) -> dict[str, Any]:
        known = self._known.get(worker)
        return {"worker_id": _hex(worker), "worker_pid": known.pid if known is not None else None}

    def _worker(self, each: ProcessSaid) -> WorkerState:
        return WorkerState(
            worker_id=each.process.hex(),
            worker_type="DRIVER" if each.is_driver else "WORKER",
            pid=each.pid,
            state=each.state,
            works_on=each.what,
            actor_id=_hex(self._actors.get(each.process, b"")),
            silence=each.silence,
            job_id=each.job.hex(),
            node_id=self._nodes[each.process],
        )

    def _object(
        self, each: said.ObjectSaid, borrowed: dict[tuple[ObjectId, PeerId], said.ObjectSaid]
    ) -> ObjectState:
        holds = [
            Hold(hold.reason, self._who(each.object, hold, borrowed), hold.count)
            for hold in each.holds
        ]
        return ObjectState(
            object_id=each.object.hex(),
            size_bytes=each.size_bytes,
            place=each.place,
            held_by=tuple(holds),
            holds_more=each.more,
            **self._by(each.owner),
        )

    def _who(
        self,
        name: ObjectId,
        hold: said.HoldSaid,
        borrowed: dict[tuple[ObjectId, PeerId], said.ObjectSaid],
    ) -> str:
        """Return who holds an object, for people; of a borrower also why, if it says so."""
        if hold.reason != BORROWER:
            return hold.by
        peer = PeerId(bytes.fromhex(hold.by))
        known = self._known.get(peer)
        who = f"process {short(peer)}" if known is None else f"pid {known.pid}"
        actor = self._actors.get(peer)
        if actor is not None and any(actor):
            who += f", actor {short(actor)}"
        there = borrowed.get((name, peer))
        reasons = [each.reason for each in there.holds] if there is not None else []
        return f"{who}: {', '.join(dict.fromkeys(reasons))}" if reasons else who


def _silent_node(told: StateTold) -> WorkerState:
    """Return a row that stands for a node that said nothing."""
    return WorkerState(
        worker_id="",
        worker_type="NODE",
        pid=0,
        state="",
        works_on="",
        actor_id=None,
        silence=told.silence,
        job_id="",
        node_id=told.node.hex(),
    )


def _type_of(each: said.TaskSaid) -> str:
    if each.creates_actor:
        return "ACTOR_CREATION_TASK"
    return "ACTOR_TASK" if any(each.actor) else "NORMAL_TASK"


def _hex(name: bytes) -> str | None:
    """Return an id as hex digits, or None for zeroes."""
    return name.hex() if any(name) else None


ROWS: Final[dict[str, Callable[[Answers], list[Any]]]] = {
    said.OBJECTS: Answers.objects,
    said.TASKS: Answers.tasks,
    said.ACTORS: Answers.actors,
    said.STREAMS: Answers.streams,
    said.WORKERS: lambda answers: answers.workers,
}


def listing(what: str, nodes: Sequence[Answers], limit: int) -> Listing[Any]:
    """Return what the processes of all ``nodes`` said, ``limit`` rows at most."""
    rows = [row for node in nodes for row in ROWS[what](node)]
    total = len(rows) if what == said.WORKERS else sum(node.total for node in nodes)
    silent = [worker for node in nodes for worker in node.silent]
    return Listing(rows[:limit], total, silent)


def summary(nodes: Sequence[Answers], limit: int) -> ObjectsSummary:
    """Return all objects of ``nodes``, added up, and the largest ``limit`` of them."""
    by_owner: dict[str, Total] = {}
    by_reason: dict[str, Total] = {}
    pids: dict[str, int] = {}
    for node in nodes:
        owners, reasons = node.totals()
        by_owner.update(owners)
        for reason, total in reasons.items():
            by_reason[reason] = by_reason.get(reason, Total()) + total
        pids.update({worker.worker_id: worker.pid for worker in node.workers})
    return ObjectsSummary(
        listing(said.OBJECTS, nodes, limit),
        by_owner,
        by_reason,
        {owner: pids[owner] for owner in by_owner if owner in pids},
    )


def matching(rows: Sequence[T], filters: Sequence[Any]) -> list[T]:
    """Return the rows that fit all ``filters``.

    Raises:
        ValueError: A filter is no (name, "=" or "!=", value), or the rows have no such field.
    """
    for each in filters:
        if len(each) != 3 or each[1] not in ("=", "!="):
            raise ValueError(f'a filter is (name, "=" or "!=", value), got {each!r}')
    return [row for row in rows if all(_fits(row, *each) for each in filters)]


def _fits(row: Any, name: str, operator: str, value: Any) -> bool:
    if not hasattr(row, name):
        raise ValueError(f"{type(row).__name__} has no field {name!r}")
    found = getattr(row, name)
    return (found == value or str(found) == str(value)) is (operator == "=")
