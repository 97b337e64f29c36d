"""What a process says of what it owns: objects, tasks, actors and streams, as rows.

Rules of this file: it looks and changes nothing, and one look costs what is there: about two
microseconds an object. Rows beyond the limit are counted and not told; of objects the largest are.
"""

import heapq
from collections.abc import Callable, Iterator
from typing import Any, Final

from zgen.core import object_holds
from zgen.core.actor_table import Actor, Standing
from zgen.core.effects import Effect, Send
from zgen.core.executor import Executor
from zgen.core.in_stream import InStream
from zgen.core.object_holds import UNREAD, Holds
from zgen.core.owner import Owner
from zgen.core.state_words import AskState, StateCame
from zgen.core.task_table import Doing, TaskEntry
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ID_BYTES, NO_ACTOR, ActorId, ObjectId, PeerId, StreamId, item_ids, short
from zgen.limits import (
    MISSING_NAMED_COUNT_MAX,
    STATE_HOLDS_COUNT_MAX,
    STATE_PART_COUNT_MAX,
    STATE_ROWS_COUNT_MAX,
)
from zgen.slotted import slotted
from zgen.wire import state as said
from zgen.wire.stream import PARKED_BY_ITEMS
from zgen.wire.value import Stored, Value, is_error, whole_bytes

NOBODY: Final = PeerId(bytes(ID_BYTES))
#: Where a task stands, in Ray's words.
TASK_STATES: Final = {
    Doing.WAITING_ARGS: "PENDING_ARGS_AVAIL",
    Doing.WAITING_LEASE: "PENDING_NODE_ASSIGNMENT",
    Doing.PUSHED: "SUBMITTED_TO_WORKER",
    Doing.WAITING_RETRY: "PENDING_RETRY",
}
#: How an actor is, in Ray's words.
ACTOR_STATES: Final = {
    Standing.CREATING: "PENDING_CREATION",
    Standing.ALIVE: "ALIVE",
    Standing.RESTARTING: "RESTARTING",
    Standing.DEAD: "DEAD",
}


@slotted
class _Totals:
    """Objects that are counted while they are looked at: reason -> how many, and their bytes."""

    counts: dict[str, tuple[int, int]]

    def add(self, reason: str, size: int) -> None:
        """Count one more."""
        count, total = self.counts.get(reason, (0, 0))
        self.counts[reason] = count + 1, total + size


class StateReport:
    """What one process says of itself, and what it asks about others.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
    """

    def __init__(self, me: PeerId, owner: Owner, executor: Executor | None) -> None:
        """Tell of these; ``executor`` is None in a driver."""
        self._me = me
        self._owner = owner
        self._executor = executor
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            said.TellState: self._on_tell,
            said.StateRows: self._on_came,
            said.StateTold: self._on_came,
        }

    def on_ask(self, event: AskState, now_ns: int, out: list[Effect]) -> None:
        """The user asks what processes own."""
        node = self._owner.placement.node
        if node is not None:
            how = (event.limit, event.patience_ns, event.everywhere)
            out.append(Send(node, said.ListState(event.query, event.what, *how)))

    def _on_came(
        self,
        sender: PeerId,
        message: said.StateRows | said.StateTold,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        if sender != self._owner.placement.node:
            raise RemoteProtocolError("an answer about state by a stranger")
        out.append(StateCame(message))

    def _on_tell(
        self, sender: PeerId, message: said.TellState, now_ns: int, out: list[Effect]
    ) -> None:
        if sender != self._owner.placement.node:
            raise RemoteProtocolError("a question about state by a stranger")
        limit = max(0, min(message.limit, STATE_ROWS_COUNT_MAX))
        count, fields = self._rows(message.what, limit)
        rows = max(map(len, fields.values()), default=0)
        starts = range(0, max(rows, 1), STATE_PART_COUNT_MAX)
        for first in starts:
            end = first + STATE_PART_COUNT_MAX
            part = {name: tuple(told[first:end]) for name, told in fields.items()}
            is_last = first == starts[-1]
            answer = said.StateRows(message.query, self._me, is_last, self._actor, count, **part)
            out.append(Send(sender, answer))

    @property
    def _actor(self) -> ActorId:
        calls = self._executor.calls if self._executor is not None else None
        return calls.actor if calls is not None else NO_ACTOR

    def _rows(self, what: str, limit: int) -> tuple[int, dict[str, list[Any]]]:
        """Return how many rows there are, and those that are told, by field."""
        owner = self._owner
        if what == said.OBJECTS:
            return self._objects(limit)
        if what == said.TASKS:
            tasks = [entry for entry in owner.tasks.entries.values() if not self._is_over(entry)]
            running = object_holds.running_in(self._executor) if self._executor is not None else []
            fields: dict[str, list[Any]] = {
                "tasks": [self._task_row(entry) for entry in tasks[:limit]],
                "running": [waiting.task.task for waiting in running[:limit]],
            }
            return len(tasks), fields
        if what == said.ACTORS:
            actors = list(owner.actors.supervision.table.actors.items())
            return len(actors), {"actors": [self._actor_row(*each) for each in actors[:limit]]}
        if what == said.STREAMS:
            known = owner.streams.streams.items()
            streams = [each for each in known if not each[1].is_far]
            return len(streams), {"streams": [self._stream_row(*each) for each in streams[:limit]]}
        return 0, {}

    # -- objects -----------------------------------------------------------------------------------
    def _objects(self, limit: int) -> tuple[int, dict[str, list[Any]]]:
        """Return how many objects this process owns, the rows of the largest, and the totals."""
        pins = object_holds.pins_of(self._owner, self._executor)
        local = object_holds.local_reason(self._executor)
        totals = _Totals({})
        #: Size, order, and what the row is made of: a heap of the largest.
        largest: list[tuple[int, int, ObjectId, Value | None, Holds]] = []
        borrowed: list[said.ObjectSaid] = []
        count = 0
        for name, record in self._owner.refs.records.items():
            holds = pins.get(name, {})
            if record.local:
                holds = {local: record.local, **holds}
            if record.borrow is not None:
                if len(borrowed) < STATE_ROWS_COUNT_MAX:
                    owner = record.borrow.owner.peer
                    borrowed.append(_object_row(name, owner, record.value, holds))
                continue
            count += 1
            size = _count(totals, record.value, holds)
            _keep(largest, limit, (size, -count, name, record.value, holds))
        for name, value, holds in self._unread():
            count += 1
            size = _count(totals, value, holds)
            _keep(largest, limit, (size, -count, name, value, holds))
        owned = [
            _object_row(name, self._me, value, holds)
            for _, _, name, value, holds in sorted(largest, reverse=True)
        ]
        told = [said.TotalSaid(reason, *total) for reason, total in totals.counts.items()]
        return count, {"objects": owned + borrowed, "totals": told}

    def _unread(self) -> Iterator[tuple[ObjectId, Value, Holds]]:
        """Yield the items of streams that nobody has taken: objects in all but name."""
        for stream, record in self._owner.streams.streams.items():
            if record.unread:
                holds: Holds = {(UNREAD, f"{record.name}() {short(stream)}"): 1}
                names = item_ids(stream, record.taken, len(record.unread))
                for name, value in zip(names, record.unread, strict=True):
                    yield name, value, holds

    # -- rows --------------------------------------------------------------------------------------
    def _is_over(self, entry: TaskEntry) -> bool:
        """Return whether a task is kept only because its actor may be made anew."""
        if not (entry.spec.method and entry.spec.creates_actor):
            return False
        actor = self._owner.actors.supervision.table.actors[entry.spec.actor]
        return actor.standing.state is Standing.ALIVE

    def _task_row(self, entry: TaskEntry) -> said.TaskSaid:
        spec = entry.spec
        return said.TaskSaid(
            spec.task,
            spec.name,
            TASK_STATES[entry.doing.state],
            entry.attempt,
            entry.retries_left,
            spec.parent,
            spec.actor,
            entry.worker or NOBODY,
            _named(list(entry.missing or ())),
            bool(spec.method) and spec.creates_actor,
        )

    def _actor_row(self, actor: ActorId, record: Actor) -> said.ActorSaid:
        settings, verdict = record.settings, record.verdict
        return said.ActorSaid(
            actor,
            settings.class_name,
            settings.name,
            settings.namespace,
            ACTOR_STATES[record.standing.state],
            record.life,
            record.worker.peer if record.worker is not None else NOBODY,
            record.pid if record.worker is not None else 0,
            verdict.reason if verdict is not None else "",
        )

    def _stream_row(self, stream: StreamId, record: InStream) -> said.StreamSaid:
        entry = self._owner.tasks.entries.get(stream)
        worker = entry.worker if entry is not None else None
        return said.StreamSaid(
            stream,
            record.name,
            record.attempt,
            record.known,
            record.taken,
            len(record.unread),
            sum(map(value_bytes, record.unread)),
            record.ended,
            record.handle,
            record.window,
            worker or NOBODY,
            record.window_bytes,
            parked_by(record) if worker is not None else 0,
        )


def parked_by(record: InStream) -> int:
    """Return why the body of a stream waits for its consumer, as far as that is known here."""
    if record.parked_by or not record.window:
        return record.parked_by
    return PARKED_BY_ITEMS if record.position >= record.granted + record.window else 0


def value_bytes(value: Value | None) -> int:
    """Return the bytes of a value, wherever they are."""
    return 0 if value is None else whole_bytes(value)


def _place_of(value: Value | None) -> str:
    if value is None:
        return said.PENDING
    if is_error(value):
        return said.ERROR
    return said.SHARED if type(value) is Stored else said.INLINE


def _count(totals: _Totals, value: Value | None, holds: Holds) -> int:
    size = value_bytes(value)
    totals.add("", size)
    for reason in dict.fromkeys([reason for reason, _ in holds]):
        totals.add(reason, size)
    return size


def _keep(
    largest: list[tuple[int, int, ObjectId, Value | None, Holds]],
    limit: int,
    entry: tuple[int, int, ObjectId, Value | None, Holds],
) -> None:
    """Keep the largest entries; among equal ones the oldest."""
    if len(largest) < limit:
        heapq.heappush(largest, entry)
    elif largest and entry > largest[0]:
        heapq.heapreplace(largest, entry)


def _object_row(
    name: ObjectId, owner: PeerId, value: Value | None, holds: Holds
) -> said.ObjectSaid:
    told = [said.HoldSaid(reason, by, count) for (reason, by), count in holds.items()]
    region = value.region if type(value) is Stored else said.NO_REGION
    few = tuple(told[:STATE_HOLDS_COUNT_MAX])
    size = value_bytes(value)
    return said.ObjectSaid(name, owner, size, _place_of(value), region, few, len(told) - len(few))


def _named(missing: list[ObjectId]) -> str:
    """Return what a task misses, for people."""
    names = [name.hex() for name in missing[:MISSING_NAMED_COUNT_MAX]]
    more = len(missing) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
